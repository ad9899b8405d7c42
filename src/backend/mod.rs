//! Where keys live: the interface that a backend implements.
//!
//! A backend makes keys, opens them and uses them; the vault decides whether an operation is allowed,
//! stores what the backend wants to remember, and does every public-key operation itself. Anyone can
//! write a backend: see [`KeyBackend`].

mod capabilities;
mod custody;
mod error;
#[cfg(feature = "keyring")]
pub mod keyring;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
mod request;
mod rollback;
pub mod software;
#[cfg(feature = "testing")]
pub mod testing;

use std::fmt::Debug;
use std::sync::Arc;

pub use self::capabilities::{Capabilities, Support};
pub use self::custody::KeyCustody;
pub use self::error::{BackendError, BackendErrorKind};
pub use self::request::{Abandoned, HeldKey, KeyReference, KeyRequest, NewKey};
pub use self::rollback::RollbackGuard;
use crate::crypto::public_key::PublicKey;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
pub use crate::model::encrypted::Encrypted;
pub use crate::model::key::{BackendId, BackendInstance, KeyBlob, KeyTag, VaultLabel};
use crate::model::material::KeyMaterial;
use crate::model::operation::KeyOperations;
use crate::model::release_policy::KeyEncryptionAlgorithm;
use crate::model::spec::KeySpec;
use crate::secret::SecretBytes;

/// The result of a call to a backend.
pub type BackendResult<T> = Result<T, BackendError>;

/// A place where keys live.
///
/// Methods may block. No method gives readable private key material; a [`KeyBlob`] may hold it, and
/// only the backend that made the blob reads it.
pub trait KeyBackend: Debug + Send + Sync {
    /// The name of this backend, the same after every restart; it is stored with each key.
    fn id(&self) -> &BackendId;

    /// What the backend can do. Asked before any key operation, so it must not block.
    fn capabilities(&self) -> Arc<Capabilities>;

    /// Whether the backend can be reached and used now.
    ///
    /// # Errors
    ///
    /// The reason why it cannot.
    fn check(&self) -> BackendResult<()>;

    /// Makes a key. The backend tests the key pair before it returns.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a kind of key that the capabilities do not list, and whatever the device says.
    fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey>;

    /// Takes in a key that the vault has validated.
    ///
    /// # Errors
    ///
    /// As [`KeyBackend::generate`].
    fn import(&self, request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey>;

    /// Opens a key for use. The vault keeps the handle.
    ///
    /// # Errors
    ///
    /// `NotFound` when the backend does not hold the key; `InvalidInput` for a blob that it did not make.
    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>>;

    /// Destroys what the backend itself holds of the key. It succeeds when there is nothing left.
    ///
    /// # Errors
    ///
    /// Whatever the device says; the vault tries again later.
    fn destroy(&self, tag: KeyTag, blob: Option<&KeyBlob>) -> BackendResult<()>;

    /// Whether the key of this blob, or with `None` a key that is made now, leaves something in the backend that
    /// only [`KeyBackend::destroy`] removes.
    ///
    /// For such keys the vault writes down what it is about to make before it makes it, and what it is
    /// about to destroy before it destroys it. A new one is *provisional* until
    /// [`KeyBackend::confirm`] has marked it.
    fn holds_keys(&self, blob: Option<&KeyBlob>) -> bool {
        let _ = blob;
        false
    }

    /// Which device the backend is connected to, for backends that can be pointed at one or another. The vault writes it
    /// down before a key is made, so that what a crash leaves in one device is not looked for in another.
    ///
    /// `None`, the default, says that there is but one.
    ///
    /// # Errors
    ///
    /// Whatever keeps the backend from finding out.
    fn instance(&self) -> BackendResult<Option<BackendInstance>> {
        Ok(None)
    }

    /// Which device the key of this blob belongs to, as [`KeyBackend::instance`] names it; `None` if the blob does not
    /// tell. Without asking a device.
    fn instance_of(&self, blob: &KeyBlob) -> Option<BackendInstance> {
        let _ = blob;
        None
    }

    /// Marks keys as belonging to durable records: from now on [`KeyBackend::abandon`] leaves them alone. What
    /// is marked already, or is not there, is passed over.
    ///
    /// # Errors
    ///
    /// Whatever the device says; the vault tries again when it is opened next.
    fn confirm(&self, tags: &[KeyTag]) -> BackendResult<()> {
        let _ = tags;
        Ok(())
    }

    /// Destroys what an interrupted call left under `tag`, unless it was confirmed.
    ///
    /// A confirmed key under the tag of an unfinished call shows that the caller is an older copy of a vault:
    /// its key is in use elsewhere.
    ///
    /// # Errors
    ///
    /// Whatever the device says; the vault tries again when it is opened next.
    fn abandon(&self, tag: KeyTag) -> BackendResult<Abandoned> {
        self.destroy(tag, None)?;
        Ok(Abandoned::NothingLeft)
    }

    /// What the backend holds, of this vault and of nobody known.
    ///
    /// # Errors
    ///
    /// Whatever the device says.
    fn inventory(&self, label: &VaultLabel) -> BackendResult<Vec<HeldKey>> {
        let _ = label;
        Ok(Vec::new())
    }

    /// Whether a key that exists can be given these operations. A key in a token may have been made for
    /// fewer.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with a sentence that says what to do instead.
    fn permit(&self, key: &KeyReference<'_>, operations: KeyOperations) -> BackendResult<()> {
        let _ = (key, operations);
        Ok(())
    }

    /// Whether keys of this backend live in hardware: the `-HSM` types.
    fn is_hardware(&self) -> bool {
        false
    }

    /// The form of a key that a backup carries: what [`KeyBackend::restore`] takes.
    ///
    /// # Errors
    ///
    /// `NotExportable` for a key that may not leave the backend.
    fn export(&self, key: &KeyReference<'_>) -> BackendResult<KeyBlob> {
        let _ = key;
        Err(BackendErrorKind::NotExportable.into())
    }

    /// Takes in what [`KeyBackend::export`] gave, here or in another backend of its kind, and checks it as
    /// strictly as imported material.
    ///
    /// # Errors
    ///
    /// `Unsupported` when blobs of this backend cannot be restored; `InvalidInput` for a bad one.
    fn restore(&self, request: &KeyRequest<'_>, blob: &KeyBlob) -> BackendResult<NewKey> {
        let _ = (request, blob);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// How the key is kept, as far as the backend can honestly say; by default nothing.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from finding out.
    fn custody(&self, key: &KeyReference<'_>) -> BackendResult<KeyCustody> {
        let _ = key;
        Ok(KeyCustody::UNKNOWN)
    }

    /// Whether keys of this kind can be made so that [`KeyBackend::release`] works.
    fn releases(&self, spec: KeySpec) -> bool {
        let _ = spec;
        false
    }

    /// Wraps a key that was made for it ([`KeyRequest::exportable`]) under the RSA key of an environment that may have it: a fresh AES-256
    /// key by RSA-OAEP, followed by the PKCS#8 of the key, or the bytes of a symmetric one, under it by RFC 5649.
    ///
    /// # Errors
    ///
    /// `Unsupported` for other keys.
    fn release(
        &self,
        key: &KeyReference<'_>,
        target: &PublicKey,
        algorithm: KeyEncryptionAlgorithm,
    ) -> BackendResult<Vec<u8>> {
        let _ = (key, target, algorithm);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// Fills `bytes` with random bytes of the device; the vault mixes them with the system's.
    ///
    /// # Errors
    ///
    /// `Unsupported` when the device has no generator.
    fn random(&self, bytes: &mut [u8]) -> BackendResult<()> {
        let _ = bytes;
        Err(BackendErrorKind::Unsupported.into())
    }
}

/// An opened key. It owns its kind and its public key: no call repeats them.
///
/// The vault has already checked that the algorithm fits the key and that the operation is allowed.
/// Every method answers `Unsupported` unless it is overridden.
pub trait KeyHandle: Debug + Send + Sync {
    /// What kind of key it is.
    fn spec(&self) -> KeySpec;

    /// The public key; `None` for symmetric keys.
    fn public_key(&self) -> Option<&PublicKey>;

    /// Signs a digest of the algorithm's length; for HS256, HS384 and HS512 the bytes to authenticate.
    /// ECDSA signatures are `r ‖ s`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a digest of another length.
    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> BackendResult<Vec<u8>> {
        let _ = (algorithm, digest);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// ECDSA without fresh randomness (RFC 6979), for known-answer tests.
    ///
    /// # Errors
    ///
    /// As [`KeyHandle::sign`].
    fn sign_deterministic(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> BackendResult<Vec<u8>> {
        let _ = (algorithm, digest);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// Checks a MAC of full length (HS256, HS384, HS512) in constant time.
    ///
    /// # Errors
    ///
    /// `InvalidSignature`.
    fn verify(&self, algorithm: SignatureAlgorithm, data: &[u8], mac: &[u8]) -> BackendResult<()> {
        let _ = (algorithm, data, mac);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// Encrypts with a symmetric key; `iv` has the algorithm's length and `aad` is empty unless GCM.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for data that do not fit the mode.
    fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        iv: &[u8],
        aad: &[u8],
    ) -> BackendResult<Encrypted> {
        let _ = (algorithm, plaintext, iv, aad);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// Decrypts. For RSA `iv`, `aad` and `tag` are empty.
    ///
    /// # Errors
    ///
    /// `DecryptFailed`, whatever the cause.
    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        iv: &[u8],
        aad: &[u8],
        tag: &[u8],
    ) -> BackendResult<SecretBytes> {
        let _ = (algorithm, ciphertext, iv, aad, tag);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// Wraps a key with a symmetric key.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a length that the algorithm does not take.
    fn wrap_key(&self, algorithm: WrapAlgorithm, key: &[u8]) -> BackendResult<Vec<u8>> {
        let _ = (algorithm, key);
        Err(BackendErrorKind::Unsupported.into())
    }

    /// Unwraps a key.
    ///
    /// # Errors
    ///
    /// `DecryptFailed`, whatever the cause.
    fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> BackendResult<SecretBytes> {
        let _ = (algorithm, wrapped);
        Err(BackendErrorKind::Unsupported.into())
    }
}
