//! The engine against the built-in one: the same keys in both, and what either makes the other takes.

use std::sync::Arc;

use crate::crypto::engine::CryptoEngine;
use crate::crypto::public_key::PublicKey;
use crate::crypto::{CryptoKey, Engine};
use crate::env::{Entropy, OsEntropy};
use crate::error::ErrorKind;
use crate::format::material;
use crate::model::material::KeyMaterial;
use crate::model::spec::KeySpec;

mod differential;
mod generation;
mod keys;
mod refusals;

/// Both engines, this one first.
fn engines() -> [Arc<dyn Engine>; 2] {
    [CryptoEngine::AwsLc, CryptoEngine::RustCrypto].map(|engine| engine.start(Arc::new(OsEntropy)))
}

fn aws_lc() -> Arc<dyn Engine> {
    CryptoEngine::AwsLc.start(Arc::new(OsEntropy))
}

fn generate(engine: &dyn Engine, spec: KeySpec) -> KeyMaterial {
    engine.generate(spec, None, &OsEntropy).unwrap()
}

fn public(engine: &dyn Engine, material: &KeyMaterial) -> PublicKey {
    PublicKey::on(engine, &material.public_parts().unwrap()).unwrap()
}

/// Whether it is this engine's own, and no key of the one that does the rest.
fn is_own(key: &dyn CryptoKey) -> bool {
    format!("{key:?}").starts_with("aws_lc::")
}
