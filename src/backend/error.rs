//! Why a call to a backend failed.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Debug};
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Why a call to a backend failed.
pub struct BackendError {
    /// One word, so that a result is not larger than what it is for.
    inner: Box<Inner>,
}

struct Inner {
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
            inner: Box::new(Inner {
                kind,
                text: text.into(),
                source: None,
            }),
        }
    }

    /// Adds the cause. Not for cryptographic failures, whose causes nobody must see.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The class.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.inner.kind
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
        f.write_str(&self.inner.text)
    }
}

impl Debug for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, text, source } = &*self.inner;
        f.debug_struct("BackendError")
            .field("kind", kind)
            .field("text", text)
            .field("source", source)
            .finish()
    }
}

impl StdError for BackendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        let Inner { kind, text, source } = *error.inner;
        let error_kind = match kind {
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
        let retry_after = match kind {
            BackendErrorKind::Throttled { retry_after } => retry_after,
            _ => None,
        };
        let converted = Self::new(error_kind, text).with_retry_after(retry_after);
        match source {
            Some(source) => converted.with_source(source),
            None => converted,
        }
    }
}
