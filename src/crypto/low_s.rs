//! ES256K signatures of devices, which know nothing of the low `s` of that algorithm.

use k256::ecdsa::Signature;

use super::{CryptoError, CryptoResult};

/// The signature `r ‖ s` with the lower of the two numbers that serve as `s`: n - s is as valid as s.
/// `InvalidSignature` unless there are 64 bytes and both numbers are between 1 and n - 1.
pub(crate) fn es256k_low_s(signature: &[u8]) -> CryptoResult<[u8; 64]> {
    let signature = Signature::from_slice(signature).map_err(|_| CryptoError::InvalidSignature)?;
    Ok(signature.normalize_s().to_bytes().into())
}
