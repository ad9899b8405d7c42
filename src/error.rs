//! The one error type of the crate.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, to which key, in which operation, and what to do about it.
///
/// Match on [`Error::kind`]; print the error for a person. A message never holds key bytes, PINs,
/// plaintext or the values of tags.
///
/// # Examples
///
/// ```
/// use strongroom::{ErrorKind, KeyName};
///
/// let error = "not a name!".parse::<KeyName>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::BadParameter);
/// assert_eq!(error.azure().map(|azure| azure.status()), Some(400));
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    key: Option<Box<str>>,
    operation: Option<&'static str>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                key: None,
                operation: None,
                retry_after: None,
                source: None,
            }),
        }
    }

    pub(crate) fn bad_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::BadParameter, message)
    }

    /// Something that the code's own invariants exclude.
    pub(crate) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Names the key; the first name given stays.
    pub(crate) fn with_key(mut self, key: impl fmt::Display) -> Self {
        if self.inner.key.is_none() {
            self.inner.key = Some(key.to_string().into_boxed_str());
        }
        self
    }

    /// Names the operation, in the snake case of the method; the first name given stays.
    pub(crate) fn with_operation(mut self, operation: &'static str) -> Self {
        self.inner.operation.get_or_insert(operation);
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync + 'static>>,
    ) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The key concerned, as `name` or `name/version`, where one is known.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.inner.key.as_deref()
    }

    /// The operation that failed, for example `sign` or `create_key`, where it is known.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.inner.operation
    }

    /// The message alone, without the operation and the key.
    #[cfg(feature = "rest")]
    pub(crate) fn message(&self) -> &str {
        &self.inner.message
    }

    /// The answer that Azure Key Vault gives in this situation, if it has one.
    ///
    /// Failures of the local store (a damaged file, a wrong master key) have none.
    #[must_use]
    pub fn azure(&self) -> Option<AzureError> {
        self.inner.kind.azure()
    }

    /// How long a backend asks to be left alone, with [`Throttled`](ErrorKind::Throttled), if it says.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    pub(crate) fn with_retry_after(mut self, duration: Option<Duration>) -> Self {
        self.inner.retry_after = duration;
        self
    }

    /// Whether the same call can succeed later without anything being repaired.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.inner.kind,
            ErrorKind::VaultInUse
                | ErrorKind::BackendUnavailable
                | ErrorKind::GuardUnavailable
                | ErrorKind::Throttled
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.inner.operation, &self.inner.key) {
            (Some(operation), Some(key)) => write!(f, "{operation} {key}: ")?,
            (Some(operation), None) => write!(f, "{operation}: ")?,
            (None, Some(key)) => write!(f, "{key}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            message,
            key,
            operation,
            retry_after: _,
            source,
        } = &*self.inner;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("operation", operation)
            .field("key", key)
            .field("message", message)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    // What the caller asked for.
    /// A value is outside what the operation accepts; nothing was changed.
    BadParameter,
    /// The algorithm does not fit the key's type, size or curve.
    AlgorithmMismatch,
    /// The vault's settings refuse this algorithm.
    AlgorithmRefused,
    /// Key material (JWK, PKCS#8, PKCS#1, SEC1, raw bytes) is malformed, weak or inconsistent.
    InvalidKeyMaterial,
    /// An input is longer than its documented limit.
    TooLarge,

    /// The handle of the vault lacks a permission, or is not for keys of this name.
    Forbidden,

    // The state of a key.
    /// No such key or version, or the key is deleted.
    KeyNotFound,
    /// No deleted key of this name.
    DeletedKeyNotFound,
    /// The name is in use.
    KeyExists,
    /// The name belongs to a deleted key that can still be recovered.
    KeyDeleted,
    /// The version is disabled.
    KeyDisabled,
    /// The version's expiry has passed, and the operation is one that needs a current key.
    KeyExpired,
    /// The version's not-before time has not come, and the operation is one that needs a current key.
    KeyNotYetValid,
    /// The version's `key_ops` do not list the operation.
    OperationNotPermitted,
    /// The version has done as many encryptions as its algorithm allows: rotate it.
    KeyExhausted,
    /// The key cannot leave its backend.
    NotExportable,
    /// The attestation of an environment is not valid, or does not meet the release policy of the key.
    ReleaseRefused,
    /// Purge protection forbids the purge, or the vault has no soft delete and so nothing to purge.
    PurgeRefused,

    // The outcome of a cryptographic operation.
    /// The signature or MAC is not valid for this key, algorithm and data.
    InvalidSignature,
    /// The ciphertext or wrapped key does not open with this key, algorithm and parameters.
    DecryptFailed,
    /// The operating system gave no random bytes.
    RandomUnavailable,

    // Backups.
    /// The blob is not a backup or is damaged or altered.
    InvalidBackup,
    /// The blob belongs to another security domain, or to an epoch that the domain gave up.
    WrongDomain,
    /// No vault of this security domain vouches for the blob, and the caller did not accept that.
    UnauthenticatedBackup,

    // The vault as a whole.
    /// There is no vault at this path.
    VaultNotFound,
    /// There is a vault, or something else, at this path.
    VaultExists,
    /// Another process, or another handle of this process, has the vault open.
    VaultInUse,
    /// No slot of the vault, or no stanza of the backup, opens with this key or passphrase, or it was altered.
    WrongKey,
    /// The vault opens, but its root key is not the one that the caller expects.
    WrongRoot,
    /// A passphrase slot or backup asks for more work than the caller allows.
    KdfCostRefused,
    /// A file or record is damaged.
    Corrupt,
    /// A file or record is not the one that the vault wrote last: altered, moved, missing or old.
    Tampered,
    /// The stored state is older than the anchor.
    RolledBack,
    /// The rollback guard cannot be reached, or does not hold a pin.
    GuardUnavailable,
    /// The header is older than the stored state.
    HeaderReplayed,
    /// The anchor file is missing or holds nothing valid.
    AnchorMissing,
    /// The vault or blob was written by a newer version of this library.
    NewerFormat,
    /// Owner or mode of the directory or a file is not safe.
    UnsafePermissions,
    /// No space is left.
    StorageFull,
    /// The disk or the handle is read-only.
    ReadOnly,
    /// Reading or writing failed.
    Io,
    /// An earlier error left this handle unusable: reopen the vault.
    VaultFailed,
    /// The clock jumped further than is plausible; the caller must confirm.
    ClockJump,
    /// The vault was locked, by [`Vault::lock`](crate::Vault::lock) or because nobody used it: open it again.
    VaultLocked,
    /// Full protection of memory is required, and the system does not grant it.
    MemoryProtection,
    /// The process is a fork of the one that opened the vault: open it again in this process.
    ForkedProcess,

    // Backends.
    /// The backend does not offer this.
    Unsupported,
    /// The backend cannot be reached now; stored metadata is untouched.
    BackendUnavailable,
    /// The backend refused the credentials.
    BackendAuthentication,
    /// The backend refused or failed the request.
    BackendRejected,
    /// The backend asks to slow down.
    Throttled,

    /// A defect of this library.
    Internal,
}

impl ErrorKind {
    pub(crate) fn azure(self) -> Option<AzureError> {
        let (status, code, inner_code) = match self {
            Self::BadParameter
            | Self::AlgorithmMismatch
            | Self::InvalidKeyMaterial
            | Self::TooLarge
            | Self::InvalidBackup
            | Self::WrongDomain
            | Self::UnauthenticatedBackup
            | Self::DecryptFailed
            | Self::Unsupported
            | Self::NotExportable => (400, "BadParameter", None),
            Self::KeyNotFound | Self::DeletedKeyNotFound => (404, "KeyNotFound", None),
            Self::KeyExists => (409, "Conflict", None),
            Self::KeyDeleted => (409, "Conflict", Some("ObjectIsDeletedButRecoverable")),
            Self::KeyDisabled => (403, "Forbidden", Some("KeyDisabled")),
            Self::KeyExpired => (403, "Forbidden", Some("KeyExpired")),
            Self::KeyNotYetValid => (403, "Forbidden", Some("KeyNotYetValid")),
            Self::OperationNotPermitted => (403, "Forbidden", Some("KeyOperationForbidden")),
            Self::Forbidden | Self::AlgorithmRefused => {
                (403, "Forbidden", Some("ForbiddenByPolicy"))
            }
            Self::PurgeRefused | Self::KeyExhausted | Self::ReleaseRefused => {
                (403, "Forbidden", None)
            }
            Self::Throttled => (429, "Throttled", None),
            Self::BackendUnavailable => (503, "ServiceUnavailable", None),
            _ => return None,
        };
        Some(AzureError {
            status,
            code,
            inner_code,
        })
    }
}

/// The HTTP status and error codes with which Azure Key Vault answers in the same situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AzureError {
    status: u16,
    code: &'static str,
    inner_code: Option<&'static str>,
}

impl AzureError {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// `error.code` of the answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// `error.innererror.code` of the answer.
    #[must_use]
    pub fn inner_code(&self) -> Option<&'static str> {
        self.inner_code
    }
}
