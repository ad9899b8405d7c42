//! The engine on aws-lc: RSA with the usual exponent, and the NIST curves. Every other key goes to RustCrypto, and so
//! does a key that aws-lc refuses: RustCrypto takes it, or says what is wrong with it.

use super::rustcrypto::RustCryptoEngine;
use super::{CryptoKey, CryptoPublicKey, CryptoResult, Engine};
use crate::env::Entropy;
use crate::model::material::{KeyMaterial, MaterialParts, PublicParts};
use crate::model::spec::KeySpec;

mod ec;
mod rsa;
#[cfg(test)]
mod tests;

/// The engine, with the one that does the rest.
#[derive(Clone, Debug)]
pub(super) struct AwsLcEngine {
    rest: RustCryptoEngine,
}

impl AwsLcEngine {
    pub(super) fn new(rest: RustCryptoEngine) -> Self {
        Self { rest }
    }
}

impl Engine for AwsLcEngine {
    fn generate(
        &self,
        spec: KeySpec,
        public_exponent: Option<u64>,
        entropy: &dyn Entropy,
    ) -> CryptoResult<KeyMaterial> {
        let own = match (spec, public_exponent) {
            (KeySpec::Rsa(size), None | Some(rsa::EXPONENT)) => Some(MaterialParts::Rsa(
                rsa::generate(size, &self.rest, entropy)?,
            )),
            (KeySpec::Ec(curve), None) => ec::generate(curve, entropy)?.map(MaterialParts::Ec),
            _ => None,
        };
        own.map_or_else(
            || self.rest.generate(spec, public_exponent, entropy),
            |parts| Ok(KeyMaterial::new(parts)),
        )
    }

    fn load(&self, material: &KeyMaterial) -> CryptoResult<Box<dyn CryptoKey>> {
        let own: Option<Box<dyn CryptoKey>> = match &material.parts {
            MaterialParts::Rsa(rsa) => {
                rsa::RsaKey::load(rsa, &self.rest).map(|key| Box::new(key) as _)
            }
            MaterialParts::Ec(ec) => ec::EcKey::load(ec, &self.rest).map(|key| Box::new(key) as _),
            MaterialParts::Oct { .. } => None,
        };
        own.map_or_else(|| self.rest.load(material), Ok)
    }

    fn load_public(&self, parts: &PublicParts) -> CryptoResult<Box<dyn CryptoPublicKey>> {
        // Which keys are legal is one question with one answer.
        let checked = self.rest.load_public(parts)?;
        Ok(match parts {
            PublicParts::Rsa { n, e } => rsa::RsaPublicKey::wrap(n, e, checked),
            PublicParts::Ec { curve, x, y } => ec::EcPublicKey::wrap(*curve, x, y, checked),
        })
    }
}
