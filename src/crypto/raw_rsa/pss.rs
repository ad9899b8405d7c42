//! EMSA-PSS encoding, RFC 8017 section 9.1.1.

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::mgf1::mgf1_xor;
use crate::crypto::rustcrypto::rsa::Scheme;
use crate::crypto::{CryptoError, CryptoResult};
use crate::model::algorithm::{HashAlgorithm, SignatureAlgorithm};
use crate::model::spec::RsaKeySize;

/// The k bytes to be signed raw for PS256, PS384 and PS512; one bit shorter than the modulus, so below it.
/// `salt` is random and of the digest's length.
pub(crate) fn pss_encode(
    algorithm: SignatureAlgorithm,
    size: RsaKeySize,
    digest: &[u8],
    salt: &[u8],
) -> CryptoResult<Vec<u8>> {
    let scheme = Scheme::of(algorithm).ok_or(CryptoError::Unsupported)?;
    let Scheme::Pss(hash) = scheme else {
        return Err(CryptoError::Unsupported);
    };
    scheme.check(algorithm, size, digest)?;
    if salt.len() != hash.digest_length() {
        return Err(CryptoError::Internal(
            "the salt of a PSS signature is not of the digest's length".to_owned(),
        ));
    }
    let k = size.modulus_length();
    Ok(match hash {
        HashAlgorithm::Sha256 => encode::<Sha256>(k, digest, salt),
        HashAlgorithm::Sha384 => encode::<Sha384>(k, digest, salt),
        HashAlgorithm::Sha512 => encode::<Sha512>(k, digest, salt),
    })
}

/// EM = DB ⊕ MGF(H) ‖ H ‖ bc, DB = 00 … 00 ‖ 01 ‖ salt, H = Hash(eight zeros ‖ digest ‖ salt).
fn encode<D: Digest>(k: usize, digest: &[u8], salt: &[u8]) -> Vec<u8> {
    let hash = D::new()
        .chain_update([0; 8])
        .chain_update(digest)
        .chain_update(salt)
        .finalize();
    let mut encoded = vec![0; k - 2 - hash.len() - salt.len()];
    encoded.push(1);
    encoded.extend_from_slice(salt);
    mgf1_xor::<D>(&hash, &mut encoded);
    encoded[0] &= 0x7f;
    encoded.extend_from_slice(&hash);
    encoded.push(0xbc);
    encoded
}
