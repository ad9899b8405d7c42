//! What only known-answer tests and protocols with their own nonce discipline want.
//!
//! Two encryptions under one AES-GCM key with equal IVs reveal both plaintexts and the authentication
//! key. Deterministic ECDSA gives equal signatures for equal digests and invites fault attacks. Everything
//! else about these calls is as in the ordinary ones: policy, counting, limits. No permission covers them: a
//! restricted handle gets [`Forbidden`](crate::ErrorKind::Forbidden).

use super::operate::IvSource;
use super::{Operation, Vault};
use crate::error::Result;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm};
use crate::model::identifier::KeySelector;
use crate::model::options::EncryptOptions;
use crate::model::results::{EncryptResult, SignResult};

/// [`Vault::encrypt`] with the caller's IV, of 12 bytes for GCM and 16 for CBC.
///
/// # Errors
///
/// As [`Vault::encrypt`]; [`BadParameter`](crate::ErrorKind::BadParameter) for an IV of another length.
pub fn encrypt_with_iv<'a>(
    vault: &Vault,
    key: impl Into<KeySelector<'a>>,
    algorithm: EncryptionAlgorithm,
    plaintext: &[u8],
    iv: &[u8],
    options: EncryptOptions<'_>,
) -> Result<EncryptResult> {
    let selector = key.into();
    vault.act(Operation::EncryptWithIv, selector, |act| {
        let source = IvSource::Hazmat(iv);
        act.inner()
            .encrypt(act, selector, algorithm, plaintext, options, source)
    })
}

/// [`Vault::sign`] with the nonce of RFC 6979 and no fresh randomness: ES256, ES384, ES512 and ES256K.
///
/// # Errors
///
/// As [`Vault::sign`]; [`Unsupported`](crate::ErrorKind::Unsupported) for other algorithms and for backends
/// that cannot.
pub fn sign_deterministic<'a>(
    vault: &Vault,
    key: impl Into<KeySelector<'a>>,
    algorithm: SignatureAlgorithm,
    digest: &[u8],
) -> Result<SignResult> {
    let selector = key.into();
    vault.act(Operation::SignDeterministic, selector, |act| {
        act.inner().sign(act, selector, algorithm, digest, true)
    })
}
