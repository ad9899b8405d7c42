//! RSA signatures, encryption and key transport.

use std::fmt;
use std::sync::Arc;

use rsa::traits::{PaddingScheme, PrivateKeyParts, SignatureScheme};
use rsa::{BoxedUint, Oaep, Pkcs1v15Encrypt, Pss, RsaPrivateKey};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use self::public::exponent;
use super::random::with_random;
use crate::crypto::limits::check_absent;
use crate::crypto::{CryptoError, CryptoKey, CryptoResult};
use crate::env::Entropy;
use crate::model::algorithm::{
    EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::encrypted::Encrypted;
use crate::model::material::RsaMaterial;
use crate::model::spec::RsaKeySize;
use crate::secret::SecretBytes;

mod generate;
mod public;

pub(super) use generate::generate;
#[cfg(test)]
pub(super) use generate::material_of;
pub(in crate::crypto) use public::{RsaPadding, RsaPublicKey, Scheme, pkcs1_v15};

/// A private key with its CRT values computed. The crate checks every CRT result against the public
/// key before it gives it out.
pub(super) struct RsaKey {
    size: RsaKeySize,
    key: RsaPrivateKey,
    entropy: Arc<dyn Entropy>,
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
    ) -> CryptoResult<Encrypted> {
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
        check_absent(name, "iv", iv)?;
        check_absent(name, "additional authenticated data", aad)?;
        check_absent(name, "tag", tag)?;
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
            RsaPadding::OaepSha384 => Oaep::<Sha384>::new().decrypt(Some(random), key, ciphertext),
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
