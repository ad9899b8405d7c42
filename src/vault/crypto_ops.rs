//! Using keys: encrypt, decrypt, sign, verify, wrap, unwrap.

use std::io::Read;

use super::grant::Need;
use super::operate::IvSource;
use super::perform::{self, Input};
use super::{Inner, Operation, Subject, Vault};
use crate::backend::BackendResult;
use crate::crypto::hash;
use crate::crypto::limits::MAX_HMAC_BYTES;
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::identifier::KeySelector;
use crate::model::key::BackendId;
use crate::model::options::{Ciphertext, EncryptOptions};
use crate::model::permission::Permission;
use crate::model::results::{DataKey, EncryptResult, SignResult, WrapResult};
use crate::secret::SecretBytes;

/// Longest data key, in bytes.
const MAX_DATA_KEY: usize = 64;

/// The most random bytes of one call, as Azure's.
const MAX_RANDOM: usize = 128;

impl Vault {
    /// Encrypts a block of data: Azure's
    /// [Encrypt](https://learn.microsoft.com/rest/api/keyvault/keys/encrypt/encrypt).
    ///
    /// **Shapes.** RSA takes up to k - 42 (RSA-OAEP), k - 66 (RSA-OAEP-256) or k - 11 (RSA1_5) bytes,
    /// where k is the length of the modulus in bytes, and needs no backend. AES takes up to 16 MiB; CBC a
    /// whole number of 16-byte blocks. GCM makes an IV of 12 bytes and a tag of 16; CBC takes or makes an
    /// IV of 16 bytes.
    ///
    /// Encryptions with GCM are counted per version, on disk and ahead of use: every 256th to
    /// 65,536th call writes.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound), [`KeyDisabled`](ErrorKind::KeyDisabled),
    /// [`KeyExpired`](ErrorKind::KeyExpired), [`KeyNotYetValid`](ErrorKind::KeyNotYetValid),
    /// [`OperationNotPermitted`](ErrorKind::OperationNotPermitted),
    /// [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch), [`AlgorithmRefused`](ErrorKind::AlgorithmRefused),
    /// [`BadParameter`](ErrorKind::BadParameter) and [`TooLarge`](ErrorKind::TooLarge) for lengths,
    /// [`KeyExhausted`](ErrorKind::KeyExhausted) at the limit of GCM, and the errors of backend and storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("kek");
    /// vault.create_key(&name, CreateKeyOptions::oct(OctKeySize::Bits256))?;
    /// let options = EncryptOptions::new().aad(b"row 7");
    /// let sealed = vault.encrypt(&name, EncryptionAlgorithm::A256Gcm, b"text", options)?;
    /// let ciphertext = Ciphertext::from(&sealed).aad(b"row 7");
    /// let text = vault.decrypt(sealed.key_id(), EncryptionAlgorithm::A256Gcm, ciphertext)?;
    /// assert_eq!(text.expose(), b"text");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn encrypt<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        options: EncryptOptions<'_>,
    ) -> Result<EncryptResult> {
        let selector = key.into();
        self.act(Operation::Encrypt, selector, |act| {
            require_no_iv(algorithm, &options)?;
            let source = IvSource::Policy;
            act.inner()
                .encrypt(act, selector, algorithm, plaintext, options, source)
        })
    }

    /// Decrypts a block of data: Azure's
    /// [Decrypt](https://learn.microsoft.com/rest/api/keyvault/keys/decrypt/decrypt). It works outside the
    /// version's validity window.
    ///
    /// Name the exact version that encrypted: [`EncryptResult::key_id`].
    ///
    /// RSA1_5 never reports a wrong padding: a ciphertext that was not made for this key gives
    /// pseudo-random bytes. CBC is not authenticated: an application that tells others whether it could
    /// decrypt gives the plaintext away.
    ///
    /// # Errors
    ///
    /// [`DecryptFailed`](ErrorKind::DecryptFailed), whatever the cause; the others of [`Vault::encrypt`] but
    /// those of the validity window.
    pub fn decrypt<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: EncryptionAlgorithm,
        ciphertext: Ciphertext<'_>,
    ) -> Result<SecretBytes> {
        let selector = key.into();
        let operation = CryptoOperation::Decrypt(algorithm);
        self.act(Operation::Decrypt, selector, |act| {
            perform::check_data(algorithm, ciphertext.bytes, ciphertext.aad)?;
            let (_, output) = act
                .inner()
                .run(act, selector, operation, Input::Decrypt(ciphertext))
                .map_err(|error| hint_at_older_version(error, selector))?;
            output.into_secret()
        })
    }

    /// Signs a digest: Azure's [Sign](https://learn.microsoft.com/rest/api/keyvault/keys/sign/sign).
    ///
    /// **Shapes.** The digest has the length of the algorithm's hash: 32, 48 or 64 bytes. HS256, HS384 and
    /// HS512 take the bytes to authenticate themselves, up to 64 KiB; RSNULL takes up to k - 11 bytes. The
    /// signature is k bytes for RSA, `r ‖ s` of 64, 96, 132 or 64 bytes for ES256, ES384, ES512 and ES256K, and
    /// the whole MAC for HMAC. ECDSA signatures are randomised.
    ///
    /// # Errors
    ///
    /// As [`Vault::encrypt`].
    pub fn sign<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> Result<SignResult> {
        let selector = key.into();
        self.act(Operation::Sign, selector, |act| {
            act.inner().sign(act, selector, algorithm, digest, false)
        })
    }

    /// Hashes `data` and signs the digest; HS256, HS384 and HS512 authenticate `data` themselves.
    ///
    /// # Errors
    ///
    /// As [`Vault::sign`]; [`BadParameter`](ErrorKind::BadParameter) for RSNULL, which has no hash.
    pub fn sign_data<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: SignatureAlgorithm,
        data: &[u8],
    ) -> Result<SignResult> {
        let selector = key.into();
        self.act(Operation::SignData, selector, |act| {
            let digest = digest_of(algorithm, data)?;
            let digest = digest.as_deref().unwrap_or(data);
            act.inner().sign(act, selector, algorithm, digest, false)
        })
    }

    /// Hashes everything that `reader` gives and signs the digest.
    ///
    /// # Errors
    ///
    /// As [`Vault::sign_data`], and [`Io`](ErrorKind::Io) from the reader.
    pub fn sign_reader<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: SignatureAlgorithm,
        reader: impl Read,
    ) -> Result<SignResult> {
        let selector = key.into();
        self.act(Operation::SignReader, selector, |act| {
            let digest = digest_of_reader(algorithm, reader)?;
            act.inner().sign(act, selector, algorithm, &digest, false)
        })
    }

    /// Verifies a signature of a digest: Azure's
    /// [Verify](https://learn.microsoft.com/rest/api/keyvault/keys/verify/verify). It works outside the
    /// version's validity window. Shapes as [`Vault::sign`]; ES256K accepts high and low `s`.
    ///
    /// # Errors
    ///
    /// [`InvalidSignature`](ErrorKind::InvalidSignature): `?` fails closed. The others as [`Vault::decrypt`].
    pub fn verify<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let selector = key.into();
        self.act(Operation::Verify, selector, |act| {
            act.inner()
                .verify(act, selector, algorithm, digest, signature)
        })
    }

    /// Hashes `data` and verifies a signature of the digest.
    ///
    /// # Errors
    ///
    /// As [`Vault::verify`]; [`BadParameter`](ErrorKind::BadParameter) for RSNULL, which has no hash.
    pub fn verify_data<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: SignatureAlgorithm,
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let selector = key.into();
        self.act(Operation::VerifyData, selector, |act| {
            let digest = digest_of(algorithm, data)?;
            let digest = digest.as_deref().unwrap_or(data);
            act.inner()
                .verify(act, selector, algorithm, digest, signature)
        })
    }

    /// Wraps another key: Azure's
    /// [Wrap Key](https://learn.microsoft.com/rest/api/keyvault/keys/wrap-key/wrap-key).
    ///
    /// **Shapes.** RSA as [`Vault::encrypt`], without a backend. AES Key Wrap (RFC 3394) takes a multiple of
    /// 8 bytes from 16 and gives 8 more; the padded form (RFC 5649) takes from 1 byte. At most 64 KiB.
    ///
    /// # Errors
    ///
    /// As [`Vault::encrypt`].
    pub fn wrap_key<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: WrapAlgorithm,
        key_to_wrap: &[u8],
    ) -> Result<WrapResult> {
        let selector = key.into();
        self.act(Operation::WrapKey, selector, |act| {
            act.inner().wrap(act, selector, algorithm, key_to_wrap)
        })
    }

    /// Unwraps a key: Azure's
    /// [Unwrap Key](https://learn.microsoft.com/rest/api/keyvault/keys/unwrap-key/unwrap-key). It works outside
    /// the version's validity window. Name the exact version that wrapped: [`WrapResult::key_id`].
    ///
    /// # Errors
    ///
    /// As [`Vault::decrypt`].
    pub fn unwrap_key<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: WrapAlgorithm,
        wrapped_key: &[u8],
    ) -> Result<SecretBytes> {
        let selector = key.into();
        self.act(Operation::UnwrapKey, selector, |act| {
            act.inner()
                .unwrap(act, selector, algorithm, wrapped_key)
                .map_err(|error| hint_at_older_version(error, selector))
        })
    }

    /// Unwraps a key and wraps it again, usually with the newest version after a rotation. The key
    /// itself does not leave the library.
    ///
    /// # Errors
    ///
    /// As [`Vault::unwrap_key`] for `from` and [`Vault::wrap_key`] for `to`.
    pub fn rewrap_key<'a, 'b>(
        &self,
        from: impl Into<KeySelector<'a>>,
        from_algorithm: WrapAlgorithm,
        wrapped_key: &[u8],
        to: impl Into<KeySelector<'b>>,
        to_algorithm: WrapAlgorithm,
    ) -> Result<WrapResult> {
        let (from, to) = (from.into(), to.into());
        self.act(Operation::RewrapKey, from, |act| {
            act.require(Need::One(Permission::WrapKey), to.name())?;
            let inner = act.inner();
            let key = inner
                .unwrap(act, from, from_algorithm, wrapped_key)
                .map_err(|error| hint_at_older_version(error, from).with_key(from))?;
            // One event, of the key that unwrapped.
            let wrap = act.beside(Operation::WrapKey, Subject::from(to));
            inner
                .wrap(&wrap, to, to_algorithm, key.expose())
                .map_err(|error| error.with_key(to))
        })
    }

    /// Makes a random key of `length` bytes (1 to 64) and wraps it.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for another length, and those of [`Vault::wrap_key`].
    pub fn generate_data_key<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        algorithm: WrapAlgorithm,
        length: usize,
    ) -> Result<DataKey> {
        let selector = key.into();
        self.act(Operation::GenerateDataKey, selector, |act| {
            if !(1..=MAX_DATA_KEY).contains(&length) {
                return Err(Error::bad_parameter(format!(
                    "a data key has 1 to {MAX_DATA_KEY} bytes, not {length}"
                )));
            }
            let key = SecretBytes::random(length, &*act.inner().entropy)?;
            let wrapped = act.inner().wrap(act, selector, algorithm, key.expose())?;
            Ok(DataKey { key, wrapped })
        })
    }

    /// Random bytes from the operating system, 1 to 128: Azure's
    /// [Get Random Bytes](https://learn.microsoft.com/rest/api/keyvault/keys/get-random-bytes/get-random-bytes).
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for another count;
    /// [`RandomUnavailable`](ErrorKind::RandomUnavailable).
    pub fn get_random_bytes(&self, count: usize) -> Result<SecretBytes> {
        self.act(Operation::GetRandomBytes, Subject::Vault, |act| {
            act.inner().random_bytes(count)
        })
    }

    /// Random bytes, 1 to 128, from the generator of a backend mixed with the operating system's: as good as
    /// the better of the two.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for another count;
    /// [`Unsupported`](ErrorKind::Unsupported) when the backend has no generator;
    /// [`BackendUnavailable`](ErrorKind::BackendUnavailable); [`RandomUnavailable`](ErrorKind::RandomUnavailable).
    pub fn get_random_bytes_from(&self, backend: &BackendId, count: usize) -> Result<SecretBytes> {
        self.act(Operation::GetRandomBytesFrom, Subject::Vault, |act| {
            let system = act.inner().random_bytes(count)?;
            let backend = act.inner().backend(backend)?;
            Ok(SecretBytes::filled_with(count, |bytes| {
                // The device does not see what it is mixed with.
                backend.random(bytes)?;
                for (byte, other) in bytes.iter_mut().zip(system.expose()) {
                    *byte ^= other;
                }
                BackendResult::Ok(())
            })?)
        })
    }
}

impl Inner {
    fn random_bytes(&self, count: usize) -> Result<SecretBytes> {
        if !(1..=MAX_RANDOM).contains(&count) {
            return Err(Error::bad_parameter(format!(
                "count cannot be greater than {MAX_RANDOM} or less than 1, but is {count}"
            )));
        }
        SecretBytes::random(count, &*self.entropy)
    }
}

/// Errors: `BadParameter` when the caller gives an IV for AES-GCM.
#[inline]
pub(super) fn require_no_iv(
    algorithm: EncryptionAlgorithm,
    options: &EncryptOptions<'_>,
) -> Result<()> {
    if algorithm.is_authenticated() && options.iv.is_some() {
        return Err(Error::bad_parameter(
            "the IV of AES-GCM is made by the library: two equal ones give the key away",
        ));
    }
    Ok(())
}

/// The digest of `data`, or `None` when the algorithm takes the bytes themselves.
fn digest_of(algorithm: SignatureAlgorithm, data: &[u8]) -> Result<Option<Vec<u8>>> {
    match (algorithm.digest(), algorithm.hmac()) {
        (Some(hash), _) => Ok(Some(hash::digest(hash, data))),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(no_hash(algorithm)),
    }
}

fn digest_of_reader(algorithm: SignatureAlgorithm, mut reader: impl Read) -> Result<Vec<u8>> {
    let io = |error: std::io::Error| {
        Error::new(ErrorKind::Io, "the data to be signed cannot be read").with_source(error)
    };
    if algorithm.hmac().is_some() {
        let mut data = Vec::new();
        reader
            .take(MAX_HMAC_BYTES as u64 + 1)
            .read_to_end(&mut data)
            .map_err(io)?;
        return Ok(data);
    }
    let mut hasher = hash::Hasher::new(algorithm.digest().ok_or_else(|| no_hash(algorithm))?);
    let mut buffer = [0; 16_384];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
}

fn no_hash(algorithm: SignatureAlgorithm) -> Error {
    Error::bad_parameter(format!(
        "{algorithm} has no hash of its own; give the value itself to sign or verify"
    ))
}

/// After a rotation the newest version is seldom the one that made an old ciphertext.
pub(super) fn hint_at_older_version(error: Error, selector: KeySelector<'_>) -> Error {
    if error.kind() == ErrorKind::DecryptFailed && selector.version().is_none() {
        Error::new(
            ErrorKind::DecryptFailed,
            "the newest version of the key does not open this; an older version may be meant: \
             name the one that encrypted or wrapped",
        )
    } else {
        error
    }
}
