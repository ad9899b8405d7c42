//! RSA signatures, encryption and key transport.

use std::fmt;
use std::sync::Arc;

use rsa::traits::{PaddingScheme, PrivateKeyParts, PublicKeyParts, SignatureScheme};
use rsa::{BoxedUint, Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::random::{with_infallible_random, with_random};
use crate::crypto::limits::{
    MAX_RSA_EXPONENT, MIN_RSA_EXPONENT, check_digest, check_length, check_limit, is_rsa_exponent,
};
use crate::crypto::{CryptoError, CryptoKey, CryptoResult};
use crate::env::Entropy;
use crate::model::algorithm::{
    EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::material::RsaMaterial;
use crate::model::spec::RsaKeySize;
use crate::secret::SecretBytes;

/// Bytes that PKCS#1 v1.5 needs around a value.
const PKCS1_V15_OVERHEAD: usize = 11;

/// A private key with its CRT values computed. The crate checks every CRT result against the public
/// key before it gives it out.
pub(super) struct RsaKey {
    size: RsaKeySize,
    key: RsaPrivateKey,
    entropy: Arc<dyn Entropy>,
}

/// A public key of a supported size and exponent.
pub(in crate::crypto) struct RsaPublic {
    size: RsaKeySize,
    key: RsaPublicKey,
}

/// How a plaintext or key is padded.
#[derive(Clone, Copy)]
pub(in crate::crypto) enum RsaPadding {
    OaepSha1,
    OaepSha256,
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

    const fn as_str(self) -> &'static str {
        match self {
            Self::OaepSha1 => WrapAlgorithm::RsaOaep.as_str(),
            Self::OaepSha256 => WrapAlgorithm::RsaOaep256.as_str(),
            Self::Pkcs1V15 => WrapAlgorithm::Rsa1_5.as_str(),
        }
    }

    /// The longest plaintext for a modulus of `k` bytes.
    const fn max_plaintext(self, k: usize) -> usize {
        match self {
            Self::OaepSha1 => k - 2 * 20 - 2,
            Self::OaepSha256 => k - 2 * 32 - 2,
            Self::Pkcs1V15 => k - PKCS1_V15_OVERHEAD,
        }
    }
}

/// A key whose material passes what is asked of imported keys, tested by a signature and a decryption.
pub(super) fn generate(
    size: RsaKeySize,
    public_exponent: Option<u64>,
    entropy: &dyn Entropy,
) -> CryptoResult<RsaMaterial> {
    let e = public_exponent.unwrap_or(MIN_RSA_EXPONENT);
    if !is_rsa_exponent(e) {
        return Err(CryptoError::InvalidInput(format!(
            "a public exponent is odd and between {MIN_RSA_EXPONENT} and {MAX_RSA_EXPONENT}, but {e} was given"
        )));
    }
    let key = with_infallible_random(
        entropy,
        |random| RsaPrivateKey::new_with_exp(random, bits(size), BoxedUint::from(e)),
        |error| CryptoError::Internal(format!("no RSA key could be generated: {error}")),
    )?;
    let material = material_of(size, &key)?;
    pairwise_test(size, key, &material, entropy)?;
    Ok(material)
}

/// The eight numbers, `p` the larger prime.
pub(super) fn material_of(size: RsaKeySize, key: &RsaPrivateKey) -> CryptoResult<RsaMaterial> {
    let broken = || CryptoError::Internal("the generated RSA key is not sound".to_owned());
    let [first, second] = key.primes() else {
        return Err(broken());
    };
    let (p, q) = if first > second {
        (first, second)
    } else {
        (second, first)
    };
    let half_bits = size.bits() / 2;
    // Both fail with a chance of about 2^-100 only, or when the random generator is broken.
    let difference = Zeroizing::new(p.wrapping_sub(q.as_ref()));
    if difference.bits() <= half_bits - 100 || key.d().bits() <= half_bits {
        return Err(broken());
    }
    let exponent_of = |prime: &BoxedUint| {
        let order = Zeroizing::new(prime.wrapping_sub(BoxedUint::one()));
        crypto_bigint::NonZero::new(BoxedUint::clone(&order))
            .into_option()
            .map(|order| {
                let order = Zeroizing::new(order);
                Zeroizing::new(key.d().rem(&*order))
            })
            .ok_or_else(broken)
    };
    let dp = exponent_of(p.as_ref())?;
    let dq = exponent_of(q.as_ref())?;
    let qi = Zeroizing::new(q.invert_odd_mod(p).into_option().ok_or_else(broken)?);

    let k = modulus_length(size);
    let half = k / 2;
    let n = fixed_length(key.n().as_ref(), k).ok_or_else(broken)?;
    if n.expose().first().is_none_or(|byte| byte & 0x80 == 0) {
        return Err(broken());
    }
    let secret = |number: &BoxedUint, length| fixed_length(number, length).ok_or_else(broken);
    Ok(RsaMaterial {
        size,
        n: n.expose().to_vec(),
        e: key.e_bytes().into_vec(),
        d: secret(key.d(), k)?,
        p: secret(p.as_ref(), half)?,
        q: secret(q.as_ref(), half)?,
        dp: secret(&dp, half)?,
        dq: secret(&dq, half)?,
        qi: secret(&qi, half)?,
    })
}

/// Big-endian in exactly `length` bytes, or `None` when the number is longer.
fn fixed_length(number: &BoxedUint, length: usize) -> Option<SecretBytes> {
    let bytes = Zeroizing::new(number.to_be_bytes().into_vec());
    let excess = bytes.len().saturating_sub(length);
    if bytes[..excess].iter().any(|byte| *byte != 0) {
        return None;
    }
    let tail = &bytes[excess..];
    SecretBytes::filled_with(length, |out| {
        out[length - tail.len()..].copy_from_slice(tail);
        Ok::<(), ()>(())
    })
    .ok()
}

/// Both uses of the pair, on a key parsed anew from the material: what is stored is what was tested.
fn pairwise_test(
    size: RsaKeySize,
    generated: RsaPrivateKey,
    material: &RsaMaterial,
    entropy: &dyn Entropy,
) -> CryptoResult<()> {
    drop(generated);
    let failed = || CryptoError::Internal("the generated RSA key fails its own test".to_owned());
    let key = parse(material)?;
    let public = RsaPublic::from_parts(&material.n, &material.e)?;
    if public.size != size {
        return Err(failed());
    }
    let digest = [0x5a; 32];
    let signature = sign_with(&key, size, SignatureAlgorithm::Rs256, &digest, entropy)?;
    public
        .verify(SignatureAlgorithm::Rs256, &digest, &signature)
        .map_err(|_| failed())?;
    let ciphertext = public.encrypt(RsaPadding::OaepSha256, &digest, entropy)?;
    let plaintext = decrypt_with(&key, RsaPadding::OaepSha256, &ciphertext, entropy)?;
    if plaintext.expose() != digest {
        return Err(failed());
    }
    Ok(())
}

fn parse(material: &RsaMaterial) -> CryptoResult<RsaPrivateKey> {
    let wrong = |_| CryptoError::InvalidKey("a number of the RSA key is too long".to_owned());
    let number = |bytes: &[u8], bits: u32| BoxedUint::from_be_slice(bytes, bits).map_err(wrong);
    let bits = material.size.bits();
    let key = RsaPrivateKey::from_components(
        number(&material.n, bits)?,
        exponent(&material.e)?,
        number(material.d.expose(), bits)?,
        vec![
            number(material.p.expose(), bits / 2)?,
            number(material.q.expose(), bits / 2)?,
        ],
    )
    .map_err(|error| CryptoError::InvalidKey(format!("the RSA key is inconsistent: {error}")))?;
    // Without them the crate would go the slow way for every operation.
    if key.qinv().is_none() {
        return Err(CryptoError::InvalidKey(
            "the primes of the RSA key have no CRT values".to_owned(),
        ));
    }
    Ok(key)
}

fn exponent(e: &[u8]) -> CryptoResult<BoxedUint> {
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

impl RsaKey {
    pub(super) fn load(material: &RsaMaterial, entropy: Arc<dyn Entropy>) -> CryptoResult<Self> {
        Ok(Self {
            size: material.size,
            key: parse(material)?,
            entropy,
        })
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKey")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl CryptoKey for RsaKey {
    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<Vec<u8>> {
        sign_with(
            &self.key,
            self.size,
            algorithm,
            digest,
            self.entropy.as_ref(),
        )
    }

    fn sign_deterministic(&self, _: SignatureAlgorithm, _: &[u8]) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
    }

    fn verify(&self, _: SignatureAlgorithm, _: &[u8], _: &[u8]) -> CryptoResult<()> {
        Err(CryptoError::Unsupported)
    }

    fn encrypt(
        &self,
        _: EncryptionAlgorithm,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> CryptoResult<(Vec<u8>, Option<[u8; 16]>)> {
        Err(CryptoError::Unsupported)
    }

    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        iv: &[u8],
        aad: &[u8],
        tag: &[u8],
    ) -> CryptoResult<SecretBytes> {
        let padding = RsaPadding::of_encryption(algorithm).ok_or(CryptoError::Unsupported)?;
        let name = algorithm.as_str();
        check_length(name, "an iv", iv, 0)?;
        check_length(name, "additional authenticated data", aad, 0)?;
        check_length(name, "a tag", tag, 0)?;
        decrypt_with(&self.key, padding, ciphertext, self.entropy.as_ref())
    }

    fn wrap_key(&self, _: WrapAlgorithm, _: &[u8]) -> CryptoResult<Vec<u8>> {
        Err(CryptoError::Unsupported)
    }

    fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> CryptoResult<SecretBytes> {
        let padding = RsaPadding::of_wrap(algorithm).ok_or(CryptoError::Unsupported)?;
        decrypt_with(&self.key, padding, wrapped, self.entropy.as_ref())
    }
}

/// RSA1_5 rejects implicitly: a ciphertext of the right length and range always opens, a badly padded
/// one to bytes that depend on it and on the key alone.
fn decrypt_with(
    key: &RsaPrivateKey,
    padding: RsaPadding,
    ciphertext: &[u8],
    entropy: &dyn Entropy,
) -> CryptoResult<SecretBytes> {
    with_random(
        entropy,
        |random| match padding {
            RsaPadding::OaepSha1 => Oaep::<Sha1>::new().decrypt(Some(random), key, ciphertext),
            RsaPadding::OaepSha256 => Oaep::<Sha256>::new().decrypt(Some(random), key, ciphertext),
            RsaPadding::Pkcs1V15 => Pkcs1v15Encrypt.decrypt(Some(random), key, ciphertext),
        },
        |_| CryptoError::DecryptFailed,
    )
    .map(SecretBytes::from)
}

fn sign_with(
    key: &RsaPrivateKey,
    size: RsaKeySize,
    algorithm: SignatureAlgorithm,
    digest: &[u8],
    entropy: &dyn Entropy,
) -> CryptoResult<Vec<u8>> {
    let scheme = Scheme::of(algorithm).ok_or(CryptoError::Unsupported)?;
    scheme.check(algorithm, size, digest)?;
    with_random(
        entropy,
        |random| match scheme {
            Scheme::Pkcs1V15(hash) => pkcs1_v15(hash).sign(Some(random), key, digest),
            Scheme::Pss(HashAlgorithm::Sha256) => {
                Pss::<Sha256>::new().sign(Some(random), key, digest)
            }
            Scheme::Pss(HashAlgorithm::Sha384) => {
                Pss::<Sha384>::new().sign(Some(random), key, digest)
            }
            Scheme::Pss(HashAlgorithm::Sha512) => {
                Pss::<Sha512>::new().sign(Some(random), key, digest)
            }
        },
        |error| CryptoError::Internal(format!("the signature could not be computed: {error}")),
    )
}

/// A signature scheme with its hash; PKCS#1 v1.5 without one pads the value itself.
#[derive(Clone, Copy)]
enum Scheme {
    Pkcs1V15(Option<HashAlgorithm>),
    Pss(HashAlgorithm),
}

impl Scheme {
    const fn of(algorithm: SignatureAlgorithm) -> Option<Self> {
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

    fn check(
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

fn pkcs1_v15(hash: Option<HashAlgorithm>) -> Pkcs1v15Sign {
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

impl RsaPublic {
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
            .and_then(|n| RsaPublicKey::new(n, e))
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
        let limit = padding.max_plaintext(modulus_length(self.size));
        check_limit(
            padding.as_str(),
            &format!("with a {}-bit key a plaintext", self.size.bits()),
            plaintext,
            limit,
        )?;
        with_random(
            entropy,
            |random| match padding {
                RsaPadding::OaepSha1 => Oaep::<Sha1>::new().encrypt(random, &self.key, plaintext),
                RsaPadding::OaepSha256 => {
                    Oaep::<Sha256>::new().encrypt(random, &self.key, plaintext)
                }
                RsaPadding::Pkcs1V15 => Pkcs1v15Encrypt.encrypt(random, &self.key, plaintext),
            },
            |error| CryptoError::Internal(format!("the plaintext could not be encrypted: {error}")),
        )
    }
}

const fn modulus_length(size: RsaKeySize) -> usize {
    (size.bits() / 8) as usize
}

const fn bits(size: RsaKeySize) -> usize {
    size.bits() as usize
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
