//! EME-OAEP decoding, RFC 8017 section 7.1.2 step 3.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::EncodedMessage;
use super::mgf1::mgf1_xor;
use crate::crypto::{CryptoError, CryptoResult};
use crate::secret::SecretBytes;

/// The hash of the label and of the mask generation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OaepHash {
    /// RSA-OAEP.
    Sha1,
    /// RSA-OAEP-256.
    Sha256,
}

/// The message of a block padded with an empty label. There is one error, `DecryptFailed`, and one way to
/// it: who could tell a wrong first byte from another defect could decrypt by asking (Manger's attack).
pub(crate) fn oaep_decode(hash: OaepHash, encoded: EncodedMessage) -> CryptoResult<SecretBytes> {
    match hash {
        OaepHash::Sha1 => decode::<Sha1>(encoded),
        OaepHash::Sha256 => decode::<Sha256>(encoded),
    }
}

/// EM = 00 ‖ seed ⊕ MGF(DB) ‖ DB ⊕ MGF(seed), DB = Hash(label) ‖ 00 … 00 ‖ 01 ‖ message.
fn decode<D: Digest>(mut encoded: EncodedMessage) -> CryptoResult<SecretBytes> {
    let hash_length = <D as Digest>::output_size();
    let (first, masked) = encoded.bytes.split_at_mut(1);
    let (seed, block) = masked.split_at_mut(hash_length);
    mgf1_xor::<D>(block, seed);
    mgf1_xor::<D>(seed, block);

    let (label_hash, rest) = block.split_at(hash_length);
    let framed = first.ct_eq(&[0]) & label_hash.ct_eq(&D::digest(b""));
    let (separated, start) = message_start(rest);
    let valid = framed & separated;

    // A refused block takes the way of the longest message, so that up to here nothing branches.
    let start = u32::conditional_select(&1, &start, valid);
    let message = SecretBytes::copied_from(&rest[start as usize..]);
    if valid.into() {
        Ok(message)
    } else {
        Err(CryptoError::DecryptFailed)
    }
}

/// Whether there are only zeros before the first one, and where the bytes after it begin.
fn message_start(rest: &[u8]) -> (Choice, u32) {
    let mut searching = Choice::from(1);
    let mut only_zeros = Choice::from(1);
    let mut start = 1_u32;
    for (after, byte) in (1_u32..).zip(rest) {
        let is_one = byte.ct_eq(&1);
        start.conditional_assign(&after, searching & is_one);
        searching &= !is_one;
        only_zeros &= !searching | byte.ct_eq(&0);
    }
    (only_zeros & !searching, start)
}
