//! The built-in engine, on the RustCrypto crates.

use std::sync::Arc;

use crate::crypto::{CryptoError, CryptoKey, CryptoPublicKey, CryptoResult, Engine};
use crate::env::Entropy;
use crate::model::material::{KeyMaterial, MaterialParts, PublicParts};
use crate::model::spec::KeySpec;

pub(in crate::crypto) mod ec;
mod random;
pub(in crate::crypto) mod rsa;
mod symmetric;
#[cfg(test)]
mod tests;

pub(in crate::crypto) use self::symmetric::{unwrap_under_aes_256, wrap_under_aes_256};

/// The engine; its own entropy blinds RSA and hedges ECDSA.
#[derive(Clone, Debug)]
pub(crate) struct RustCryptoEngine {
    entropy: Arc<dyn Entropy>,
}

impl RustCryptoEngine {
    pub(crate) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy }
    }
}

impl Engine for RustCryptoEngine {
    fn generate(
        &self,
        spec: KeySpec,
        public_exponent: Option<u64>,
        entropy: &dyn Entropy,
    ) -> CryptoResult<KeyMaterial> {
        if public_exponent.is_some() && !matches!(spec, KeySpec::Rsa(_)) {
            return Err(CryptoError::InvalidInput(format!(
                "only RSA keys have a public exponent, and the key is {spec}"
            )));
        }
        let parts = match spec {
            KeySpec::Rsa(size) => {
                MaterialParts::Rsa(rsa::generate(size, public_exponent, entropy)?)
            }
            KeySpec::Ec(curve) => MaterialParts::Ec(ec::generate(curve, entropy)?),
            KeySpec::Oct(length) => MaterialParts::Oct {
                length,
                key: symmetric::generate(length, entropy)?,
            },
        };
        Ok(KeyMaterial::new(parts))
    }

    fn load(&self, material: &KeyMaterial) -> CryptoResult<Box<dyn CryptoKey>> {
        Ok(match &material.parts {
            MaterialParts::Rsa(rsa) => Box::new(rsa::RsaKey::load(rsa, Arc::clone(&self.entropy))?),
            MaterialParts::Ec(ec) => Box::new(ec::EcKey::load(ec, Arc::clone(&self.entropy))?),
            MaterialParts::Oct { length, key } => {
                Box::new(symmetric::SymmetricKey::load(*length, key)?)
            }
        })
    }
    fn load_public(&self, parts: &PublicParts) -> CryptoResult<Box<dyn CryptoPublicKey>> {
        load_public(parts)
    }
}

/// No randomness goes into public keys before they are used.
pub(in crate::crypto) fn load_public(
    parts: &PublicParts,
) -> CryptoResult<Box<dyn CryptoPublicKey>> {
    Ok(match parts {
        PublicParts::Rsa { n, e } => Box::new(rsa::RsaPublicKey::from_parts(n, e)?),
        PublicParts::Ec { curve, x, y } => {
            Box::new(ec::EcPublicKey::from_coordinates(*curve, x, y)?)
        }
    })
}
