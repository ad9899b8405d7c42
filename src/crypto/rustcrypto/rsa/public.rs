//! RSA public keys, and the paddings of both halves.

use std::fmt;

use rsa::traits::{PaddingScheme, SignatureScheme};
use rsa::{BoxedUint, Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use crate::crypto::limits::{
    MAX_RSA_EXPONENT, MIN_RSA_EXPONENT, check_digest, check_limit, is_rsa_exponent,
};
use crate::crypto::rustcrypto::random::with_random;
use crate::crypto::{CryptoError, CryptoPublicKey, CryptoResult};
use crate::env::Entropy;
use crate::model::algorithm::{
    EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::spec::{KeySpec, RsaKeySize};

/// Bytes that PKCS#1 v1.5 needs around a value.
const PKCS1_V15_OVERHEAD: usize = 11;

/// A public key of a supported size and exponent.
pub(in crate::crypto) struct RsaPublicKey {
    size: RsaKeySize,
    key: rsa::RsaPublicKey,
}

impl RsaPublicKey {
    /// `n` of exactly 2048, 3072 or 4096 bits and odd, `e` odd, 65537 <= e < 2^33.
    pub(in crate::crypto) fn from_parts(n: &[u8], e: &[u8]) -> CryptoResult<Self> {
        let size = RsaKeySize::ALL
            .into_iter()
            .find(|size| modulus_length(*size) == n.len())
            .filter(|_| n.first().is_some_and(|byte| byte & 0x80 != 0))
            .ok_or_else(|| {
                CryptoError::InvalidKey(
                    "n is not a number of exactly 2048, 3072 or 4096 bits without leading zeros"
                        .to_owned(),
                )
            })?;
        if n.last().is_some_and(|byte| byte & 1 == 0) {
            return Err(CryptoError::InvalidKey("n is even".to_owned()));
        }
        let e = exponent(e)?;
        let key = BoxedUint::from_be_slice(n, size.bits())
            .map_err(rsa::Error::from)
            .and_then(|n| rsa::RsaPublicKey::new(n, e))
            .map_err(|error| CryptoError::InvalidKey(format!("no RSA public key: {error}")))?;
        Ok(Self { size, key })
    }

    pub(in crate::crypto) fn size(&self) -> RsaKeySize {
        self.size
    }

    pub(in crate::crypto) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()> {
        let scheme = Scheme::of(algorithm).ok_or(CryptoError::Unsupported)?;
        scheme.check(algorithm, self.size, digest)?;
        match scheme {
            Scheme::Pkcs1V15(hash) => pkcs1_v15(hash).verify(&self.key, digest, signature),
            Scheme::Pss(HashAlgorithm::Sha256) => {
                Pss::<Sha256>::new().verify(&self.key, digest, signature)
            }
            Scheme::Pss(HashAlgorithm::Sha384) => {
                Pss::<Sha384>::new().verify(&self.key, digest, signature)
            }
            Scheme::Pss(HashAlgorithm::Sha512) => {
                Pss::<Sha512>::new().verify(&self.key, digest, signature)
            }
        }
        .map_err(|_| CryptoError::InvalidSignature)
    }

    pub(in crate::crypto) fn encrypt(
        &self,
        padding: RsaPadding,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> CryptoResult<Vec<u8>> {
        padding.check(self.size, plaintext)?;
        with_random(
            entropy,
            |random| match padding {
                RsaPadding::OaepSha1 => Oaep::<Sha1>::new().encrypt(random, &self.key, plaintext),
                RsaPadding::OaepSha256 => {
                    Oaep::<Sha256>::new().encrypt(random, &self.key, plaintext)
                }
                RsaPadding::OaepSha384 => {
                    Oaep::<Sha384>::new().encrypt(random, &self.key, plaintext)
                }
                RsaPadding::Pkcs1V15 => Pkcs1v15Encrypt.encrypt(random, &self.key, plaintext),
            },
            |error| CryptoError::Internal(format!("the plaintext could not be encrypted: {error}")),
        )
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPublicKey")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl CryptoPublicKey for RsaPublicKey {
    fn spec(&self) -> KeySpec {
        KeySpec::Rsa(self.size)
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()> {
        self.verify(algorithm, digest, signature)
    }

    fn encrypt(
        &self,
        padding: RsaPadding,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> CryptoResult<Vec<u8>> {
        self.encrypt(padding, plaintext, entropy)
    }
}

/// How a plaintext or key is padded.
#[derive(Clone, Copy)]
pub(crate) enum RsaPadding {
    OaepSha1,
    OaepSha256,
    /// In the transport of keys only.
    OaepSha384,
    Pkcs1V15,
}

impl RsaPadding {
    pub(in crate::crypto) fn of_encryption(algorithm: EncryptionAlgorithm) -> Option<Self> {
        match algorithm {
            EncryptionAlgorithm::RsaOaep => Some(Self::OaepSha1),
            EncryptionAlgorithm::RsaOaep256 => Some(Self::OaepSha256),
            EncryptionAlgorithm::Rsa1_5 => Some(Self::Pkcs1V15),
            _ => None,
        }
    }

    pub(in crate::crypto) fn of_wrap(algorithm: WrapAlgorithm) -> Option<Self> {
        match algorithm {
            WrapAlgorithm::RsaOaep => Some(Self::OaepSha1),
            WrapAlgorithm::RsaOaep256 => Some(Self::OaepSha256),
            WrapAlgorithm::Rsa1_5 => Some(Self::Pkcs1V15),
            _ => None,
        }
    }

    /// Refuses a plaintext that is too long.
    pub(in crate::crypto) fn check(self, size: RsaKeySize, plaintext: &[u8]) -> CryptoResult<()> {
        check_limit(
            self.as_str(),
            &format!("with a {}-bit key a plaintext", size.bits()),
            plaintext,
            self.max_plaintext(modulus_length(size)),
        )
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::OaepSha1 => WrapAlgorithm::RsaOaep.as_str(),
            Self::OaepSha256 => WrapAlgorithm::RsaOaep256.as_str(),
            Self::OaepSha384 => "RSA-OAEP-384",
            Self::Pkcs1V15 => WrapAlgorithm::Rsa1_5.as_str(),
        }
    }

    /// The longest plaintext for a modulus of `k` bytes.
    const fn max_plaintext(self, k: usize) -> usize {
        match self {
            Self::OaepSha1 => k - 2 * 20 - 2,
            Self::OaepSha256 => k - 2 * 32 - 2,
            Self::OaepSha384 => k - 2 * 48 - 2,
            Self::Pkcs1V15 => k - PKCS1_V15_OVERHEAD,
        }
    }
}

/// A signature scheme with its hash; PKCS#1 v1.5 without one pads the value itself.
#[derive(Clone, Copy)]
pub(in crate::crypto) enum Scheme {
    Pkcs1V15(Option<HashAlgorithm>),
    Pss(HashAlgorithm),
}

impl Scheme {
    pub(in crate::crypto) const fn of(algorithm: SignatureAlgorithm) -> Option<Self> {
        match algorithm {
            SignatureAlgorithm::Rs256 => Some(Self::Pkcs1V15(Some(HashAlgorithm::Sha256))),
            SignatureAlgorithm::Rs384 => Some(Self::Pkcs1V15(Some(HashAlgorithm::Sha384))),
            SignatureAlgorithm::Rs512 => Some(Self::Pkcs1V15(Some(HashAlgorithm::Sha512))),
            SignatureAlgorithm::Ps256 => Some(Self::Pss(HashAlgorithm::Sha256)),
            SignatureAlgorithm::Ps384 => Some(Self::Pss(HashAlgorithm::Sha384)),
            SignatureAlgorithm::Ps512 => Some(Self::Pss(HashAlgorithm::Sha512)),
            SignatureAlgorithm::RsNull => Some(Self::Pkcs1V15(None)),
            _ => None,
        }
    }

    pub(in crate::crypto) fn check(
        self,
        algorithm: SignatureAlgorithm,
        size: RsaKeySize,
        digest: &[u8],
    ) -> CryptoResult<()> {
        match self {
            Self::Pkcs1V15(None) => check_limit(
                algorithm.as_str(),
                "a value",
                digest,
                modulus_length(size) - PKCS1_V15_OVERHEAD,
            ),
            _ => check_digest(algorithm, digest),
        }
    }
}

/// DigestInfo up to the digest, RFC 8017 section 9.2 note 1.
const DIGEST_INFO_SHA256: [u8; 19] =
    *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const DIGEST_INFO_SHA384: [u8; 19] =
    *b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30";
const DIGEST_INFO_SHA512: [u8; 19] =
    *b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40";

pub(in crate::crypto) fn pkcs1_v15(hash: Option<HashAlgorithm>) -> Pkcs1v15Sign {
    let prefix: &[u8] = match hash {
        None => &[],
        Some(HashAlgorithm::Sha256) => &DIGEST_INFO_SHA256,
        Some(HashAlgorithm::Sha384) => &DIGEST_INFO_SHA384,
        Some(HashAlgorithm::Sha512) => &DIGEST_INFO_SHA512,
    };
    Pkcs1v15Sign {
        hash_len: hash.map(HashAlgorithm::digest_length),
        prefix: prefix.into(),
    }
}

/// The public exponent, canonical and within the bounds.
pub(super) fn exponent(e: &[u8]) -> CryptoResult<BoxedUint> {
    let value = match e {
        [first, ..] if *first != 0 && e.len() <= 8 => e
            .iter()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte)),
        _ => 0,
    };
    if !is_rsa_exponent(value) {
        return Err(CryptoError::InvalidKey(format!(
            "e is not an odd number between {MIN_RSA_EXPONENT} and {MAX_RSA_EXPONENT} without leading zeros"
        )));
    }
    Ok(BoxedUint::from(value))
}

pub(super) const fn modulus_length(size: RsaKeySize) -> usize {
    (size.bits() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_infos_are_those_of_the_object_identifiers() {
        assert_eq!(
            pkcs1_v15(Some(HashAlgorithm::Sha256)),
            Pkcs1v15Sign::new::<Sha256>()
        );
        assert_eq!(
            pkcs1_v15(Some(HashAlgorithm::Sha384)),
            Pkcs1v15Sign::new::<Sha384>()
        );
        assert_eq!(
            pkcs1_v15(Some(HashAlgorithm::Sha512)),
            Pkcs1v15Sign::new::<Sha512>()
        );
        assert_eq!(pkcs1_v15(None), Pkcs1v15Sign::new_unprefixed());
    }
}
