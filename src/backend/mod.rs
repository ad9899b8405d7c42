//! Where keys live: the interface that a backend implements.
//!
//! A backend makes keys, opens them and uses them; the vault decides whether an operation is allowed,
//! stores what the backend wants to remember, and does every public-key operation itself. Anyone can
//! write a backend: see [`KeyBackend`].

#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod software;
#[cfg(feature = "testing")]
pub mod testing;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::public_key::PublicKey;
use crate::error::{Error, ErrorKind};
use crate::model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
pub use crate::model::key::{BackendId, KeyBlob, KeyTag, VaultLabel};
use crate::model::material::{KeyMaterial, PublicParts};
use crate::model::operation::KeyOperations;
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

/// What a backend is asked to make or take in.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct KeyRequest<'a> {
    /// The name of the key towards the backend.
    pub tag: KeyTag,
    /// What kind of key.
    pub spec: KeySpec,
    /// The public exponent of a generated RSA key; `None` means 65537.
    pub public_exponent: Option<u64>,
    /// What the key is to do.
    pub operations: KeyOperations,
    /// Whether backups may carry the key.
    pub backup_allowed: bool,
    /// The vault's part of the labels in a device's own listings.
    pub label: &'a VaultLabel,
}

impl<'a> KeyRequest<'a> {
    /// A request without an exponent of its own, not for backups.
    #[must_use]
    pub fn new(
        tag: KeyTag,
        spec: KeySpec,
        operations: KeyOperations,
        label: &'a VaultLabel,
    ) -> Self {
        Self {
            tag,
            spec,
            public_exponent: None,
            operations,
            backup_allowed: false,
            label,
        }
    }

    /// The public exponent of a generated RSA key.
    #[must_use]
    pub fn with_public_exponent(mut self, exponent: Option<u64>) -> Self {
        self.public_exponent = exponent;
        self
    }

    /// Whether backups may carry the key.
    #[must_use]
    pub fn with_backup_allowed(mut self, allowed: bool) -> Self {
        self.backup_allowed = allowed;
        self
    }
}

/// A key version that exists, as the vault's records describe it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct KeyReference<'a> {
    /// The name of the key towards the backend.
    pub tag: KeyTag,
    /// What kind of key.
    pub spec: KeySpec,
    /// The public part of an asymmetric key.
    pub public: Option<&'a PublicParts>,
    /// What the backend wanted to find again.
    pub blob: &'a KeyBlob,
    /// 32 random bytes of each RSA version: the secret of implicit rejection where the backend only does the
    /// raw private-key operation.
    pub rejection_secret: Option<&'a SecretBytes>,
}

impl<'a> KeyReference<'a> {
    /// Without public part and rejection secret.
    #[must_use]
    pub fn new(tag: KeyTag, spec: KeySpec, blob: &'a KeyBlob) -> Self {
        Self {
            tag,
            spec,
            public: None,
            blob,
            rejection_secret: None,
        }
    }

    /// The public part of an asymmetric key.
    #[must_use]
    pub fn with_public(mut self, public: Option<&'a PublicParts>) -> Self {
        self.public = public;
        self
    }

    /// The secret of implicit rejection of an RSA key.
    #[must_use]
    pub fn with_rejection_secret(mut self, secret: Option<&'a SecretBytes>) -> Self {
        self.rejection_secret = secret;
        self
    }
}

/// What [`KeyBackend::abandon`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// There is nothing, or nothing any more.
    NothingLeft,
    /// The key is confirmed and was not touched.
    Confirmed,
}

/// One key that a backend holds, see [`KeyBackend::inventory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    tag: Option<KeyTag>,
    provisional: bool,
    description: String,
}

impl HeldKey {
    /// A key; `description` tells a person what it is, without key names or secrets.
    #[must_use]
    pub fn new(tag: Option<KeyTag>, provisional: bool, description: impl Into<String>) -> Self {
        Self {
            tag,
            provisional,
            description: description.into(),
        }
    }

    /// The tag; `None` for an object that has none, as an interrupted generation can leave it.
    #[must_use]
    pub fn tag(&self) -> Option<KeyTag> {
        self.tag
    }

    /// Whether it was never confirmed.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// What it is.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }
}

/// A key that a backend made or took in.
#[derive(Debug)]
pub struct NewKey {
    blob: KeyBlob,
    public: Option<PublicParts>,
}

impl NewKey {
    /// What the backend wants to find again, and the public part of an asymmetric key.
    #[must_use]
    pub fn new(blob: KeyBlob, public: Option<PublicParts>) -> Self {
        Self { blob, public }
    }

    /// Both, by value.
    #[must_use]
    pub fn into_parts(self) -> (KeyBlob, Option<PublicParts>) {
        (self.blob, self.public)
    }
}

/// What [`KeyHandle::encrypt`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    ciphertext: Vec<u8>,
    tag: Option<[u8; 16]>,
}

impl Encrypted {
    /// Ciphertext, and the tag for GCM.
    #[must_use]
    pub fn new(ciphertext: Vec<u8>, tag: Option<[u8; 16]>) -> Self {
        Self { ciphertext, tag }
    }

    /// Both, by value.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Option<[u8; 16]>) {
        (self.ciphertext, self.tag)
    }
}

/// How a backend does an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Support {
    /// The backend does all of it.
    Native,
    /// The backend does the private part and the library the rest, as the text says.
    Fallback(&'static str),
    /// Not at all.
    Unsupported,
}

/// What a backend can do, for every kind of key and every operation.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    entries: Vec<(KeySpec, CryptoOperation, Support)>,
    generates: Vec<KeySpec>,
    imports: Vec<KeySpec>,
}

impl Capabilities {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the backend does with keys of one kind.
    #[must_use]
    pub fn with(mut self, spec: KeySpec, operation: CryptoOperation, support: Support) -> Self {
        self.entries.push((spec, operation, support));
        self
    }

    /// Adds a kind of key that the backend generates.
    #[must_use]
    pub fn with_generation(mut self, spec: KeySpec) -> Self {
        self.generates.push(spec);
        self
    }

    /// Adds a kind of key that the backend imports.
    #[must_use]
    pub fn with_import(mut self, spec: KeySpec) -> Self {
        self.imports.push(spec);
        self
    }

    /// Whether the backend makes keys of this kind.
    #[must_use]
    pub fn generates(&self, spec: KeySpec) -> bool {
        self.generates.contains(&spec)
    }

    /// Whether the backend takes in keys of this kind.
    #[must_use]
    pub fn imports(&self, spec: KeySpec) -> bool {
        self.imports.contains(&spec)
    }

    /// How the backend does `operation` with keys of this kind.
    #[must_use]
    pub fn support(&self, spec: KeySpec, operation: CryptoOperation) -> Support {
        self.entries
            .iter()
            .find(|entry| entry.0 == spec && entry.1 == operation)
            .map_or(Support::Unsupported, |entry| entry.2)
    }

    /// Everything that is supported.
    pub fn iter(&self) -> impl Iterator<Item = (KeySpec, CryptoOperation, Support)> {
        self.entries.iter().copied()
    }
}

/// Why a call to a backend failed.
pub struct BackendError {
    kind: BackendErrorKind,
    text: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The classes of [`BackendError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// The backend does not offer this.
    Unsupported,
    /// The backend cannot be reached now.
    Unavailable,
    /// The credentials were refused.
    Authentication,
    /// The backend does not hold the key.
    NotFound,
    /// A parameter does not fit.
    InvalidInput,
    /// The signature or MAC is not valid.
    InvalidSignature,
    /// The ciphertext does not open.
    DecryptFailed,
    /// The backend understood and refused.
    Rejected,
    /// The key may not leave the backend.
    NotExportable,
    /// The backend asks to slow down.
    Throttled {
        /// For how long, if it says.
        retry_after: Option<Duration>,
    },
    /// The device failed.
    Device,
}

impl BackendError {
    /// An error with a sentence for a person; never key bytes, PINs or plaintext.
    #[must_use]
    pub fn new(kind: BackendErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            text: text.into(),
            source: None,
        }
    }

    /// Adds the cause. Not for cryptographic failures, whose causes nobody must see.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The class.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }
}

impl From<BackendErrorKind> for BackendError {
    fn from(kind: BackendErrorKind) -> Self {
        let text = match kind {
            BackendErrorKind::Unsupported => "the backend does not offer this operation",
            BackendErrorKind::Unavailable => "the backend cannot be reached",
            BackendErrorKind::Authentication => "the backend refused the credentials",
            BackendErrorKind::NotFound => "the backend does not hold the key",
            BackendErrorKind::InvalidInput => "a parameter does not fit",
            BackendErrorKind::InvalidSignature => "the signature is not valid",
            BackendErrorKind::DecryptFailed => {
                "the ciphertext does not open with this key, algorithm and parameters"
            }
            BackendErrorKind::Rejected => "the backend refused the request",
            BackendErrorKind::NotExportable => "the key may not leave its backend",
            BackendErrorKind::Throttled { .. } => "the backend asks to slow down",
            BackendErrorKind::Device => "the device failed",
        };
        Self::new(kind, text)
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Debug for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, text, source } = self;
        f.debug_struct("BackendError")
            .field("kind", kind)
            .field("text", text)
            .field("source", source)
            .finish()
    }
}

impl StdError for BackendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        let kind = match error.kind {
            BackendErrorKind::Unsupported => ErrorKind::Unsupported,
            BackendErrorKind::Unavailable | BackendErrorKind::NotFound => {
                ErrorKind::BackendUnavailable
            }
            BackendErrorKind::Authentication => ErrorKind::BackendAuthentication,
            BackendErrorKind::InvalidInput => ErrorKind::BadParameter,
            BackendErrorKind::InvalidSignature => ErrorKind::InvalidSignature,
            BackendErrorKind::DecryptFailed => ErrorKind::DecryptFailed,
            BackendErrorKind::Rejected | BackendErrorKind::Device => ErrorKind::BackendRejected,
            BackendErrorKind::NotExportable => ErrorKind::NotExportable,
            BackendErrorKind::Throttled { .. } => ErrorKind::Throttled,
        };
        let converted = Self::new(kind, error.text);
        match error.source {
            Some(source) => converted.with_source(source),
            None => converted,
        }
    }
}
