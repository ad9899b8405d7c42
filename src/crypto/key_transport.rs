//! Whole keys on their way under an RSA key: `CKM_RSA_AES_KEY_WRAP` of PKCS#11, and its forms with other hashes.

use super::containers::pkcs8_der_from_material;
use super::public_key::PublicKey;
use super::rustcrypto::rsa::RsaPadding;
use super::rustcrypto::{unwrap_under_aes_256, wrap_under_aes_256};
use super::{CryptoError, CryptoResult};
use crate::env::Entropy;
use crate::error::Result;
use crate::model::material::{KeyMaterial, MaterialParts};
use crate::model::release_policy::KeyEncryptionAlgorithm;
use crate::secret::SecretBytes;

/// Bytes of the AES key in between.
pub(crate) const TRANSPORT_KEY_LENGTH: usize = 32;

/// RSA-OAEP(AES key) ‖ AES-KWP(PKCS#8 of an asymmetric key, or the bytes of a symmetric one).
///
/// Errors: `AlgorithmMismatch`-like `Unsupported` for a target that is not RSA; `RandomUnavailable`.
pub(crate) fn wrap(
    target: &PublicKey,
    algorithm: KeyEncryptionAlgorithm,
    material: &KeyMaterial,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    let transport_key = SecretBytes::random(TRANSPORT_KEY_LENGTH, entropy)?;
    let mut wrapped =
        target.encrypt_padded(Some(padding(algorithm)), transport_key.expose(), entropy)?;
    wrapped.extend(match &material.parts {
        MaterialParts::Oct { key, .. } => wrap_under_aes_256(&transport_key, key.expose())?,
        MaterialParts::Rsa(_) | MaterialParts::Ec(_) => {
            let key = pkcs8_der_from_material(material)?;
            wrap_under_aes_256(&transport_key, key.expose())?
        }
    });
    Ok(wrapped)
}

/// The second half of it, with the AES key that the first half held.
///
/// Errors: `DecryptFailed`.
pub(crate) fn unwrap(transport_key: &SecretBytes, wrapped: &[u8]) -> CryptoResult<SecretBytes> {
    if transport_key.len() != TRANSPORT_KEY_LENGTH {
        return Err(CryptoError::DecryptFailed);
    }
    unwrap_under_aes_256(transport_key, wrapped)
}

const fn padding(algorithm: KeyEncryptionAlgorithm) -> RsaPadding {
    match algorithm {
        KeyEncryptionAlgorithm::CkmRsaAesKeyWrap => RsaPadding::OaepSha1,
        KeyEncryptionAlgorithm::RsaAesKeyWrap256 => RsaPadding::OaepSha256,
        KeyEncryptionAlgorithm::RsaAesKeyWrap384 => RsaPadding::OaepSha384,
    }
}
