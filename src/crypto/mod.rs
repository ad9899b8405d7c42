//! Cryptography on key material: the engines, public keys, and the validation and decoding of
//! imported keys. With `seal`, the only room that names cryptographic crates.

#[cfg(feature = "aws-lc")]
mod aws_lc;
pub(crate) mod containers;
pub(crate) mod engine;
pub(crate) mod hash;
pub(crate) mod key_transport;
#[cfg(any(test, feature = "pkcs11"))]
pub(crate) mod key_wrap;
pub(crate) mod limits;
#[cfg(any(test, feature = "pkcs11"))]
pub(crate) mod low_s;
pub(crate) mod public_key;
mod public_key_forms;
#[cfg(any(test, feature = "pkcs11"))]
pub(crate) mod raw_rsa;
pub(crate) mod rustcrypto;
mod signature_der;
pub(crate) mod validation;

use std::fmt::{self, Debug};

use crate::env::Entropy;
use crate::error::{Error, ErrorKind};
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::encrypted::Encrypted;
use crate::model::material::{KeyMaterial, PublicParts};
use crate::model::spec::KeySpec;
use crate::secret::SecretBytes;
use rustcrypto::rsa::RsaPadding;

/// The result of a cryptographic operation.
pub(crate) type CryptoResult<T> = Result<T, CryptoError>;

/// Why a cryptographic operation failed.
#[derive(Debug)]
pub(crate) enum CryptoError {
    /// The engine does not offer this for such a key.
    Unsupported,
    /// A parameter (digest length, data length, iv, tag) does not fit; the text says which and how.
    InvalidInput(String),
    /// The key is malformed, weak or inconsistent; the text says how.
    InvalidKey(String),
    /// The signature or MAC is not valid.
    InvalidSignature,
    /// The ciphertext does not open. One error for every cause.
    DecryptFailed,
    /// No random bytes.
    Random(Error),
    /// A defect: the engine failed at what cannot fail.
    Internal(String),
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("the engine does not offer this operation"),
            Self::InvalidInput(text) | Self::InvalidKey(text) | Self::Internal(text) => {
                f.write_str(text)
            }
            Self::InvalidSignature => f.write_str("the signature is not valid"),
            Self::DecryptFailed => {
                f.write_str("the ciphertext does not open with this key, algorithm and parameters")
            }
            Self::Random(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CryptoError {}

impl From<CryptoError> for Error {
    fn from(error: CryptoError) -> Self {
        let kind = match &error {
            CryptoError::Unsupported => ErrorKind::Unsupported,
            CryptoError::InvalidInput(_) => ErrorKind::BadParameter,
            CryptoError::InvalidKey(_) => ErrorKind::InvalidKeyMaterial,
            CryptoError::InvalidSignature => ErrorKind::InvalidSignature,
            CryptoError::DecryptFailed => ErrorKind::DecryptFailed,
            CryptoError::Random(_) => ErrorKind::RandomUnavailable,
            CryptoError::Internal(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

/// An implementation of the primitives. Material made by one engine loads in every other.
pub(crate) trait Engine: Debug + Send + Sync {
    /// Makes a key; `public_exponent` is for RSA, odd, 65537 <= e < 2^33, 65537 when `None`.
    fn generate(
        &self,
        spec: KeySpec,
        public_exponent: Option<u64>,
        entropy: &dyn Entropy,
    ) -> CryptoResult<KeyMaterial>;

    /// Parses validated material once, for many operations.
    fn load(&self, material: &KeyMaterial) -> CryptoResult<Box<dyn CryptoKey>>;

    /// Parses a public key once; what is legal stands at [`PublicKey::from_parts`](public_key::PublicKey::from_parts).
    fn load_public(&self, parts: &PublicParts) -> CryptoResult<Box<dyn CryptoPublicKey>>;
}

/// A parsed public key of a legal size or curve. Every method answers `Unsupported` for an algorithm that does not
/// fit the key.
pub(crate) trait CryptoPublicKey: Debug + Send + Sync {
    fn spec(&self) -> KeySpec;

    /// Checks a signature over a digest of the algorithm's length (RSNULL: over the value), of modulus length or
    /// `r ‖ s`.
    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> CryptoResult<()>;

    /// RSA: a ciphertext of modulus length.
    fn encrypt(
        &self,
        padding: RsaPadding,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> CryptoResult<Vec<u8>>;
}

/// A parsed private or secret key. Every method answers `Unsupported` for an algorithm that does not
/// fit the key. Public-key operations (RSA encryption and wrapping, signature verification) are on
/// `PublicKey`; `verify`, `encrypt` and `wrap_key` here are those of symmetric keys.
pub(crate) trait CryptoKey: Debug + Send + Sync {
    /// Signs a digest of the algorithm's length (RSNULL: up to k - 11 bytes; HS*: the bytes to
    /// authenticate). The nonces of ECDSA depend on key, digest and fresh randomness, output `r ‖ s`, low `s` for ES256K only.
    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> CryptoResult<Vec<u8>>;

    /// ECDSA by RFC 6979 without extra randomness, for known-answer tests.
    fn sign_deterministic(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> CryptoResult<Vec<u8>>;

    /// HS*: checks a full-length MAC in constant time.
    fn verify(&self, algorithm: SignatureAlgorithm, data: &[u8], mac: &[u8]) -> CryptoResult<()>;

    /// AES: `iv` of exactly the algorithm's length, `aad` empty unless GCM. Gives ciphertext and, for
    /// GCM, the tag.
    fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        iv: &[u8],
        aad: &[u8],
    ) -> CryptoResult<Encrypted>;

    /// RSA: `iv`, `aad` and `tag` empty. AES: `iv` of the algorithm's length, `tag` of 16 bytes for GCM.
    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        iv: &[u8],
        aad: &[u8],
        tag: &[u8],
    ) -> CryptoResult<SecretBytes>;

    /// AES key wrap.
    fn wrap_key(&self, algorithm: WrapAlgorithm, key: &[u8]) -> CryptoResult<Vec<u8>>;

    /// RSA and AES key unwrap.
    fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> CryptoResult<SecretBytes>;
}
