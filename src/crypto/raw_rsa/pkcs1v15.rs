//! PKCS#1 v1.5: decoding with implicit rejection, draft-irtf-cfrg-rsa-guidance-10 section 7, and the
//! encoding for signatures, RFC 8017 section 9.2.

use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use super::EncodedMessage;
use crate::crypto::rustcrypto::rsa::{Scheme, pkcs1_v15};
use crate::crypto::{CryptoError, CryptoResult};
use crate::model::algorithm::SignatureAlgorithm;
use crate::model::spec::RsaKeySize;
use crate::secret::SecretBytes;

/// 00, 02, eight bytes and the separating 00; with 01 the same in a signature.
const OVERHEAD: u32 = 11;
/// A separator before this place leaves less than eight bytes of padding.
const FIRST_SEPARATOR: u32 = 10;
/// 128 candidates of two bytes for the length of the alternative message.
const CANDIDATES_LENGTH: usize = 256;

/// The message of a block, or, if its padding is wrong, bytes of a length and content that depend on the
/// ciphertext and the secret alone. Nobody without the secret can tell which, so there is no error.
///
/// The secret takes the place of the draft's hash of the private exponent, which a device does not give.
pub(crate) fn pkcs1v15_decode_implicit(
    mut encoded: EncodedMessage,
    ciphertext: &[u8],
    rejection_secret: &[u8; 32],
) -> SecretBytes {
    let k = encoded.size.bits() / 8;
    let alternative = Alternative::derive(k, ciphertext, rejection_secret);
    let (valid, length) = message_length(k, &encoded.bytes);

    let length = u32::conditional_select(&alternative.length, &length, valid);
    for (byte, other) in encoded.bytes.iter_mut().zip(&*alternative.bytes) {
        byte.conditional_assign(other, !valid);
    }
    // The length of what comes out is no secret; whose length it is, is.
    SecretBytes::copied_from(&encoded.bytes[(k - length) as usize..])
}

/// Whether EM is 00 ‖ 02 ‖ eight or more bytes that are not zero ‖ 00 ‖ message, and the length of the
/// message.
fn message_length(k: u32, encoded: &[u8]) -> (Choice, u32) {
    let kind = encoded[..2].ct_eq(&[0, 2]);
    let mut searching = Choice::from(1);
    let mut separator = 0_u32;
    for (place, byte) in (0_u32..).zip(encoded).skip(2) {
        let is_zero = byte.ct_eq(&0);
        separator.conditional_assign(&place, searching & is_zero);
        searching &= !is_zero;
    }
    let valid = kind & !searching & !FIRST_SEPARATOR.ct_gt(&separator);
    (valid, k - 1 - separator)
}

/// What a wrongly padded ciphertext opens to: the last `length` of k bytes.
struct Alternative {
    bytes: Zeroizing<Box<[u8]>>,
    length: u32,
}

impl Alternative {
    fn derive(k: u32, ciphertext: &[u8], rejection_secret: &[u8; 32]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        keyed(rejection_secret)
            .chain_update(ciphertext)
            .finalize_into((&mut *key).into());

        let mut candidates = Zeroizing::new([0; CANDIDATES_LENGTH]);
        expand(&key, b"length", &mut *candidates);
        let mut bytes = Zeroizing::new(vec![0; k as usize].into_boxed_slice());
        expand(&key, b"message", &mut bytes);

        let longest = k - OVERHEAD;
        let mask = (longest + 1).next_power_of_two() - 1;
        let mut length = 0_u32;
        for pair in candidates.chunks_exact(2) {
            let candidate = (u32::from(pair[0]) << 8 | u32::from(pair[1])) & mask;
            length.conditional_assign(&candidate, !candidate.ct_gt(&longest));
        }
        Self { bytes, length }
    }
}

/// The draft's IRPRF: blocks of HMAC-SHA-256(key, counter ‖ label ‖ bits of the output), counter and bits
/// in two bytes.
fn expand(key: &[u8; 32], label: &[u8], output: &mut [u8]) {
    let bits = u16::try_from(output.len() * 8).expect("an RSA modulus has at most 4096 bits");
    let mac = keyed(key);
    let mut block = Zeroizing::new([0; 32]);
    for (counter, chunk) in (0_u16..).zip(output.chunks_mut(32)) {
        mac.clone()
            .chain_update(counter.to_be_bytes())
            .chain_update(label)
            .chain_update(bits.to_be_bytes())
            .finalize_into((&mut *block).into());
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// DigestInfo of RS256, RS384 and RS512, the value itself for RSNULL: what a device pads and signs.
pub(crate) fn pkcs1v15_digest_info(
    algorithm: SignatureAlgorithm,
    size: RsaKeySize,
    digest: &[u8],
) -> CryptoResult<Vec<u8>> {
    let scheme = Scheme::of(algorithm).ok_or(CryptoError::Unsupported)?;
    let Scheme::Pkcs1V15(hash) = scheme else {
        return Err(CryptoError::Unsupported);
    };
    scheme.check(algorithm, size, digest)?;
    Ok([&pkcs1_v15(hash).prefix, digest].concat())
}

/// The k bytes to be signed raw: 00 ‖ 01 ‖ ff … ff ‖ 00 ‖ what [`pkcs1v15_digest_info`] gives.
pub(crate) fn pkcs1v15_encode(
    algorithm: SignatureAlgorithm,
    size: RsaKeySize,
    digest: &[u8],
) -> CryptoResult<Vec<u8>> {
    let info = pkcs1v15_digest_info(algorithm, size, digest)?;
    let mut encoded = vec![0xff; size.modulus_length()];
    let (padding, place) = encoded.split_at_mut(size.modulus_length() - info.len());
    place.copy_from_slice(&info);
    if let [first, second, .., separator] = padding {
        (*first, *second, *separator) = (0, 1, 0);
    }
    Ok(encoded)
}
