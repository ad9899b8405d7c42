//! The engine against published vectors and another implementation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use super::RustCryptoEngine;
use crate::crypto::public_key::PublicKey;
use crate::crypto::{CryptoKey, Engine};
use crate::env::{Entropy, OsEntropy};
use crate::error::{Error, ErrorKind};
use crate::model::material::{KeyMaterial, MaterialParts, RsaMaterial};
use crate::model::spec::{KeySpec, OctKeyLength, RsaKeySize};
use crate::secret::SecretBytes;

mod ec;
mod entropy;
mod rsa;
mod rsa_keys;
mod symmetric;
mod wycheproof_public;
mod wycheproof_secret;

/// One generated key for all tests that do not need a new one.
static RSA_2048: LazyLock<KeyMaterial> =
    LazyLock::new(|| generate(KeySpec::Rsa(RsaKeySize::Bits2048)));

/// Works for a number of calls, then fails for ever.
#[derive(Debug)]
struct FailsAfter {
    calls: AtomicUsize,
}

impl FailsAfter {
    fn new(calls: usize) -> Self {
        Self {
            calls: AtomicUsize::new(calls),
        }
    }
}

impl Entropy for FailsAfter {
    fn fill(&self, bytes: &mut [u8]) -> crate::Result<()> {
        let left = self
            .calls
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match left {
            Ok(_) => OsEntropy.fill(bytes),
            Err(_) => Err(Error::new(
                ErrorKind::RandomUnavailable,
                "the test's generator failed",
            )),
        }
    }
}

/// The same byte for ever.
#[derive(Debug)]
struct Constant(u8);

impl Entropy for Constant {
    fn fill(&self, bytes: &mut [u8]) -> crate::Result<()> {
        bytes.fill(self.0);
        Ok(())
    }
}

fn engine() -> RustCryptoEngine {
    RustCryptoEngine::new(Arc::new(OsEntropy))
}

fn generate(spec: KeySpec) -> KeyMaterial {
    engine().generate(spec, None, &OsEntropy).unwrap()
}

fn load(material: &KeyMaterial) -> Box<dyn CryptoKey> {
    engine().load(material).unwrap()
}

fn load_with(material: &KeyMaterial, entropy: impl Entropy + 'static) -> Box<dyn CryptoKey> {
    RustCryptoEngine::new(Arc::new(entropy))
        .load(material)
        .unwrap()
}

fn public(material: &KeyMaterial) -> PublicKey {
    PublicKey::from_parts(&material.public_parts().unwrap()).unwrap()
}

fn rsa_parts(material: &KeyMaterial) -> &RsaMaterial {
    match &material.parts {
        MaterialParts::Rsa(rsa) => rsa,
        _ => panic!("not an RSA key"),
    }
}

fn oct(key: &[u8]) -> Box<dyn CryptoKey> {
    load(&KeyMaterial::new(MaterialParts::Oct {
        length: OctKeyLength::try_from(key.len()).unwrap(),
        key: SecretBytes::copied_from(key),
    }))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
