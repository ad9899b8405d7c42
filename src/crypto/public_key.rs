//! Public keys, which work without a vault.

use std::fmt;
use std::sync::Arc;

use super::engine::CryptoEngine;
use super::rustcrypto::{self, rsa::RsaPadding};
use super::{CryptoError, CryptoPublicKey, Engine, hash};
use crate::env::{Entropy, OsEntropy};
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::material::PublicParts;
use crate::model::spec::KeySpec;

/// The public half of an RSA or elliptic-curve key: it verifies, encrypts and wraps, needs no vault
/// and is parsed once.
///
/// A clone shares the parsed key. All operations run in software on the calling thread: about 0.1 ms
/// for RSA 2048 and up to 1 ms for P-384.
///
/// # Examples
///
/// ```
/// use strongroom::{Curve, ErrorKind, PublicKey, PublicParts};
///
/// let no_point = PublicParts::Ec { curve: Curve::P256, x: vec![1; 32], y: vec![1; 32] };
/// let error = PublicKey::from_parts(&no_point).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidKeyMaterial);
/// ```
#[derive(Clone)]
pub struct PublicKey {
    inner: Arc<Inner>,
}

struct Inner {
    parts: PublicParts,
    key: Box<dyn CryptoPublicKey>,
}

impl PublicKey {
    /// Parses and checks the numbers of a public key.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyMaterial`](ErrorKind::InvalidKeyMaterial): RSA with `n` even or not of exactly
    /// 2048, 3072 or 4096 bits, `e` even, below 65537 or not below 2^33, or leading zeros in either;
    /// a point that is not on its curve, or coordinates that are not of
    /// [`Curve::field_length`](crate::Curve::field_length) bytes and below the field's prime.
    pub fn from_parts(parts: &PublicParts) -> Result<Self> {
        Ok(Self::new(parts.clone(), rustcrypto::load_public(parts)?))
    }

    /// The same key on another engine; keys are made on [`CryptoEngine::RustCrypto`]. Which keys are legal does not
    /// depend on the engine.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal), if the engine has a defect.
    pub fn with_engine(&self, engine: CryptoEngine) -> Result<Self> {
        Self::on(&*engine.start(Arc::new(OsEntropy)), self.parts())
    }

    pub(crate) fn on(engine: &dyn Engine, parts: &PublicParts) -> Result<Self> {
        Ok(Self::new(parts.clone(), engine.load_public(parts)?))
    }

    fn new(parts: PublicParts, key: Box<dyn CryptoPublicKey>) -> Self {
        Self {
            inner: Arc::new(Inner { parts, key }),
        }
    }

    /// The numbers of the key.
    #[must_use]
    pub fn parts(&self) -> &PublicParts {
        &self.inner.parts
    }

    /// Size or curve.
    #[must_use]
    pub fn spec(&self) -> KeySpec {
        self.inner.key.spec()
    }

    /// Checks a signature over a digest.
    ///
    /// `digest` has the length of the algorithm's digest; for RSNULL it is the signed value. `signature`
    /// is of the modulus length for RSA, and `r ‖ s` for ECDSA
    /// ([`signature_from_der`](SignatureAlgorithm::signature_from_der) converts DER). PSS needs a salt
    /// of exactly the digest's length. ES256K accepts any `s`, low or high.
    ///
    /// # Errors
    ///
    /// * [`InvalidSignature`](ErrorKind::InvalidSignature): the signature is not valid, for whatever
    ///   reason, its length included.
    /// * [`BadParameter`](ErrorKind::BadParameter): a digest of another length than the algorithm's.
    /// * [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch): an algorithm for another kind of key.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        self.check(CryptoOperation::Verify(algorithm))?;
        self.inner
            .key
            .verify(algorithm, digest, signature)
            .map_err(Error::from)
    }

    /// Checks a signature over data, which it hashes as the algorithm says; RSNULL does not hash.
    ///
    /// # Errors
    ///
    /// Those of [`PublicKey::verify`].
    pub fn verify_data(
        &self,
        algorithm: SignatureAlgorithm,
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        self.check(CryptoOperation::Verify(algorithm))?;
        match algorithm.digest() {
            Some(hash) => self.verify(algorithm, &hash::digest(hash, data), signature),
            None => self.verify(algorithm, data, signature),
        }
    }

    /// Encrypts with RSA; the ciphertext has the modulus length.
    ///
    /// The longest plaintext, for a modulus of k bytes, is k - 42 bytes with RSA-OAEP, k - 66 with
    /// RSA-OAEP-256 and k - 11 with RSA1_5.
    ///
    /// # Errors
    ///
    /// * [`BadParameter`](ErrorKind::BadParameter): the plaintext is too long; the message tells the
    ///   limit.
    /// * [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch): an algorithm for another kind of key.
    /// * [`RandomUnavailable`](ErrorKind::RandomUnavailable).
    pub fn encrypt(&self, algorithm: EncryptionAlgorithm, plaintext: &[u8]) -> Result<Vec<u8>> {
        self.encrypt_with(algorithm, plaintext, &OsEntropy)
    }

    /// Wraps a key with RSA: the same as [`PublicKey::encrypt`], with the same limits.
    ///
    /// # Errors
    ///
    /// * [`BadParameter`](ErrorKind::BadParameter): the key is too long; the message tells the limit.
    /// * [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch): an algorithm for another kind of key.
    /// * [`RandomUnavailable`](ErrorKind::RandomUnavailable).
    pub fn wrap_key(&self, algorithm: WrapAlgorithm, key: &[u8]) -> Result<Vec<u8>> {
        self.wrap_key_with(algorithm, key, &OsEntropy)
    }

    pub(crate) fn encrypt_with(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        self.check(CryptoOperation::Encrypt(algorithm))?;
        self.encrypt_padded(RsaPadding::of_encryption(algorithm), plaintext, entropy)
    }

    pub(crate) fn wrap_key_with(
        &self,
        algorithm: WrapAlgorithm,
        key: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        self.check(CryptoOperation::WrapKey(algorithm))?;
        self.encrypt_padded(RsaPadding::of_wrap(algorithm), key, entropy)
    }

    pub(super) fn encrypt_padded(
        &self,
        padding: Option<RsaPadding>,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let padding = padding.ok_or(CryptoError::Unsupported)?;
        Ok(self.inner.key.encrypt(padding, plaintext, entropy)?)
    }

    fn check(&self, operation: CryptoOperation) -> Result<()> {
        if operation.fits(self.spec()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::AlgorithmMismatch,
            format!(
                "{} needs {}, but this key is {}",
                operation.algorithm(),
                operation.needed_key(),
                self.spec()
            ),
        ))
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.inner.parts == other.inner.parts
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.spec())
    }
}
