//! The bounds on what goes into an operation, checked before anything is computed or allocated.

use super::{CryptoError, CryptoResult};
use crate::model::algorithm::SignatureAlgorithm;

/// Longest plaintext of an AES encryption, in bytes.
pub(crate) const MAX_ENCRYPT_BYTES: usize = 16 * 1024 * 1024;
/// Longest additional authenticated data, in bytes.
pub(crate) const MAX_AAD_BYTES: usize = 64 * 1024;
/// Longest key to wrap with AES, in bytes.
pub(crate) const MAX_WRAP_BYTES: usize = 64 * 1024;
/// Longest input of HS256, HS384 and HS512, in bytes.
pub(crate) const MAX_HMAC_BYTES: usize = 64 * 1024;
/// Smallest public exponent of RSA.
pub(crate) const MIN_RSA_EXPONENT: u64 = 65_537;
/// The public exponent of RSA keys whose maker asks for none.
#[cfg(feature = "pkcs11")]
pub(crate) const DEFAULT_RSA_EXPONENT: u64 = MIN_RSA_EXPONENT;
/// Largest public exponent of RSA.
pub(crate) const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;

/// Whether `e` is odd and within the bounds.
pub(crate) fn is_rsa_exponent(e: u64) -> bool {
    e % 2 == 1 && (MIN_RSA_EXPONENT..=MAX_RSA_EXPONENT).contains(&e)
}

/// Refuses a digest that is not of the algorithm's length; RSNULL and HS* have no fixed length.
pub(crate) fn check_digest(algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<()> {
    match algorithm.digest().map(|hash| hash.digest_length()) {
        Some(length) if digest.len() != length => Err(CryptoError::InvalidInput(format!(
            "{algorithm} needs a digest of {length} bytes, but {}",
            were_given(digest.len())
        ))),
        _ => Ok(()),
    }
}

/// Refuses `bytes` that are not of exactly `length`.
#[inline]
pub(crate) fn check_length(
    algorithm: &str,
    what: &str,
    bytes: &[u8],
    length: usize,
) -> CryptoResult<()> {
    if bytes.len() == length {
        return Ok(());
    }
    Err(refused(format_args!(
        "{algorithm} needs {what} of {length} bytes, but {}",
        were_given(bytes.len())
    )))
}

/// Refuses a parameter that the algorithm does not have.
pub(crate) fn check_absent(algorithm: &str, what: &str, bytes: &[u8]) -> CryptoResult<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    Err(refused(format_args!(
        "{algorithm} takes no {what}, but bytes for it were given"
    )))
}

/// Refuses `bytes` longer than `limit`.
#[inline]
pub(crate) fn check_limit(
    algorithm: &str,
    what: &str,
    bytes: &[u8],
    limit: usize,
) -> CryptoResult<()> {
    if bytes.len() <= limit {
        return Ok(());
    }
    Err(refused(format_args!(
        "{algorithm} takes {what} of at most {limit} bytes, but {}",
        were_given(bytes.len())
    )))
}

/// Apart, so that the checks before every operation are no more than a comparison where they stand.
#[cold]
#[inline(never)]
fn refused(message: std::fmt::Arguments<'_>) -> CryptoError {
    CryptoError::InvalidInput(message.to_string())
}

/// "1 was given", "2 were given".
pub(crate) fn were_given(count: usize) -> String {
    let verb = if count == 1 { "was" } else { "were" };
    format!("{count} {verb} given")
}
