//! The RSA paddings for devices that only offer the raw operation (CKM_RSA_X_509): they compute
//! `c^d mod n`, and everything that must not become an oracle happens here.
//!
//! Decryption: [`check_ciphertext`], then the device writes into an [`AnswerBuffer`], which becomes the
//! [`EncodedMessage`] that [`oaep_decode`] or [`pkcs1v15_decode_implicit`] consumes. Time and memory
//! accesses depend on the size of the key and on what the caller gets to see, on nothing else in the
//! message.
//!
//! Signing: [`pss_encode`] and [`pkcs1v15_encode`] give the block to be signed raw, and
//! [`pkcs1v15_digest_info`] what a device pads itself (CKM_RSA_PKCS).

mod mgf1;
mod oaep;
mod pkcs1v15;
mod pss;
#[cfg(test)]
mod tests;

use std::fmt;

use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

pub(crate) use self::oaep::{OaepHash, oaep_decode};
pub(crate) use self::pkcs1v15::{pkcs1v15_decode_implicit, pkcs1v15_digest_info, pkcs1v15_encode};
pub(crate) use self::pss::pss_encode;
use super::{CryptoError, CryptoResult};
use crate::model::spec::RsaKeySize;

/// Refuses a ciphertext that is not a number below the modulus `n` in exactly the bytes of `n`. Both are
/// public. A device is not asked about such a ciphertext: some reduce it, some answer with an error of
/// their own.
pub(crate) fn check_ciphertext(n: &[u8], ciphertext: &[u8]) -> CryptoResult<()> {
    // Numbers of one length are ordered as their big-endian bytes are.
    if ciphertext.len() == n.len() && ciphertext < n {
        return Ok(());
    }
    Err(CryptoError::DecryptFailed)
}

/// Moves the number in the first `length` bytes of `buffer` to its end and puts zeros in front, in a time
/// that depends on the size of the buffer alone. Whatever was behind the number is gone.
///
/// A device may leave out leading zeros, so the length tells something about the message.
pub(crate) fn left_pad_constant_time(buffer: &mut [u8], length: usize) -> CryptoResult<()> {
    let distance = buffer
        .len()
        .checked_sub(length)
        .ok_or(CryptoError::DecryptFailed)?;
    // The distance is at most the length of the buffer, and all its bits are gone through.
    for bit in 0..usize::BITS - buffer.len().leading_zeros() {
        let moves = ((distance >> bit) & 1).ct_eq(&1);
        let step = 1 << bit;
        for to in (0..buffer.len()).rev() {
            let byte = to.checked_sub(step).map_or(0, |from| buffer[from]);
            buffer[to].conditional_assign(&byte, moves);
        }
    }
    Ok(())
}

/// Where a device writes the number that the raw private operation gives: k bytes, wiped when dropped.
pub(crate) struct AnswerBuffer {
    size: RsaKeySize,
    bytes: Zeroizing<Box<[u8]>>,
}

impl AnswerBuffer {
    pub(crate) fn new(size: RsaKeySize) -> Self {
        Self {
            size,
            bytes: Zeroizing::new(vec![0; size.modulus_length()].into_boxed_slice()),
        }
    }

    /// All k bytes, for the device to write from the first one on.
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// `length` is what the device says that it wrote.
    pub(crate) fn finish(mut self, length: usize) -> CryptoResult<EncodedMessage> {
        left_pad_constant_time(&mut self.bytes, length)?;
        Ok(EncodedMessage {
            size: self.size,
            bytes: self.bytes,
        })
    }
}

impl fmt::Debug for AnswerBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerBuffer({})", self.size.bits())
    }
}

/// The encoded message EM of RFC 8017: exactly the k bytes of the modulus, wiped when dropped.
pub(crate) struct EncodedMessage {
    size: RsaKeySize,
    bytes: Zeroizing<Box<[u8]>>,
}

impl fmt::Debug for EncodedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedMessage({})", self.size.bits())
    }
}
