//! Unkeyed hashes of sealed bytes.

use sha2::{Digest, Sha512};

/// The first 32 bytes of SHA-512.
pub(crate) fn sha512_32(bytes: &[u8]) -> [u8; 32] {
    let digest = Sha512::digest(bytes);
    let mut first = [0; 32];
    first.copy_from_slice(&digest[..32]);
    first
}
