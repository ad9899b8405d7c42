//! What a module's return codes mean here.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cryptoki::error::Error as CryptokiError;
use cryptoki_sys::*;

use super::mechanism::Ulong;
use super::return_codes::{code_of, name_of};
use crate::backend::{BackendError, BackendErrorKind};

pub(super) type TokenResult<T> = Result<T, TokenError>;

/// Why a call to a token failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenError {
    pub(super) class: ErrorClass,
    /// The module's return code. Never there for a failed decryption, whose cause nobody must see.
    pub(super) code: Option<Ulong>,
    /// The function of PKCS#11 that failed, or the step of ours.
    pub(super) function: &'static str,
    /// A sentence of its own instead of the class's.
    detail: Option<Arc<str>>,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ErrorClass {
    /// The PIN was refused: never try it again.
    Authentication,
    /// The PIN is locked, expired or not set: a person has to act.
    TokenLocked,
    /// The session or the login is gone: open another.
    SessionLost,
    /// The token or the module is gone: reconnect.
    TokenLost,
    /// The handle names no object any more: find it again.
    StaleHandle,
    Unsupported,
    NotPermitted,
    NotExportable,
    BadParameter,
    /// No session or memory was free.
    Throttled,
    ReadOnly,
    /// The one answer for everything that a ciphertext can be blamed for.
    DecryptFailed,
    InvalidSignature,
    NotFound,
    /// The process is a fork of the one that loaded the module.
    Forked,
    /// Anything else.
    Device,
}

impl TokenError {
    /// An error of our own.
    pub(super) fn new(class: ErrorClass, function: &'static str) -> Self {
        Self {
            class,
            code: None,
            function,
            detail: None,
        }
    }

    /// An error of our own with a sentence for a person.
    pub(super) fn with_detail(
        class: ErrorClass,
        function: &'static str,
        detail: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(class, function)
        }
    }

    /// The same error with a sentence of its own.
    pub(super) fn explained(self, detail: impl Into<Arc<str>>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The error that `code` stands for when `function` returned it.
    pub(super) fn from_code(code: Ulong, function: &'static str) -> Self {
        let class = classify(code, function);
        let code = (class != ErrorClass::DecryptFailed).then_some(code);
        Self {
            class,
            code,
            function,
            detail: None,
        }
    }

    /// `Ok` for `CKR_OK`.
    pub(super) fn check(code: Ulong, function: &'static str) -> TokenResult<()> {
        if code == CKR_OK {
            Ok(())
        } else {
            Err(Self::from_code(code, function))
        }
    }

    /// An error of the cryptoki crate.
    pub(super) fn from_cryptoki(error: CryptokiError, function: &'static str) -> Self {
        match error {
            CryptokiError::Pkcs11(value, _) => Self::from_code(code_of(&value), function),
            CryptokiError::NullFunctionPointer => {
                Self::from_code(CKR_FUNCTION_NOT_SUPPORTED, function)
            }
            other => Self::with_detail(
                ErrorClass::Device,
                function,
                format!("the PKCS#11 module could not be used: {other}"),
            ),
        }
    }

    /// Whether the module failed without saying why. SoftHSM2 does so now and then while objects are made by several
    /// threads, and succeeds when it is asked again.
    pub(super) fn gives_no_reason(&self) -> bool {
        matches!(self.code, Some(CKR_GENERAL_ERROR | CKR_FUNCTION_FAILED))
    }

    /// `CKR_…`, or the number of a code without a name.
    fn code_name(&self) -> Option<Cow<'static, str>> {
        let code = self.code?;
        Some(match name_of(code) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("code {code:#010x}")),
        })
    }

    fn sentence(&self) -> Cow<'static, str> {
        if self.class == ErrorClass::DecryptFailed {
            return Cow::Borrowed(self.class.sentence());
        }
        let sentence = self.detail.as_deref().unwrap_or(self.class.sentence());
        match self.code_name() {
            Some(name) => format!("{sentence} ({} answered {name})", self.function).into(),
            None => format!("{sentence} ({})", self.function).into(),
        }
    }
}

impl ErrorClass {
    fn sentence(self) -> &'static str {
        match self {
            Self::Authentication => {
                "the token refused the PIN, and it is not tried again; check the PIN and make the backend anew"
            }
            Self::TokenLocked => {
                "the token's PIN is locked, expired or not set; its security officer has to set it"
            }
            Self::SessionLost => "the token ended the session; try again",
            Self::TokenLost => {
                "the token or its module cannot be reached; check the device and try again"
            }
            Self::StaleHandle => "the token does not know the key's handle any more; try again",
            Self::Unsupported => "the token does not offer this operation",
            Self::NotPermitted => {
                "the token does not permit this use of the key; its attributes were fixed when it was made"
            }
            Self::NotExportable => "the key may not leave the token",
            Self::BadParameter => "the token takes no input or key of this size or form",
            Self::Throttled => "the token has no free session or memory; try again later",
            Self::ReadOnly => "the token is write protected; make it writable and try again",
            Self::DecryptFailed => {
                "the ciphertext does not open with this key, algorithm and parameters"
            }
            Self::InvalidSignature => "the signature is not valid",
            Self::NotFound => "the token does not hold the key",
            Self::Forked => {
                "the process was forked after the PKCS#11 module was loaded; open the vault in the new process after \
                 it has replaced its image, or load the module only after the fork"
            }
            Self::Device => "the token failed; see its own log",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for TokenError {}

impl From<TokenError> for BackendError {
    fn from(error: TokenError) -> Self {
        let kind = match error.class {
            ErrorClass::Authentication | ErrorClass::TokenLocked => {
                BackendErrorKind::Authentication
            }
            ErrorClass::SessionLost
            | ErrorClass::TokenLost
            | ErrorClass::StaleHandle
            | ErrorClass::Forked => BackendErrorKind::Unavailable,
            ErrorClass::Unsupported => BackendErrorKind::Unsupported,
            ErrorClass::NotPermitted | ErrorClass::ReadOnly => BackendErrorKind::Rejected,
            ErrorClass::NotExportable => BackendErrorKind::NotExportable,
            ErrorClass::BadParameter => BackendErrorKind::InvalidInput,
            ErrorClass::Throttled => BackendErrorKind::Throttled { retry_after: None },
            ErrorClass::DecryptFailed => BackendErrorKind::DecryptFailed,
            ErrorClass::InvalidSignature => BackendErrorKind::InvalidSignature,
            ErrorClass::NotFound => BackendErrorKind::NotFound,
            ErrorClass::Device => BackendErrorKind::Device,
        };
        Self::new(kind, error.sentence())
    }
}

/// Functions whose failures can be an oracle about a ciphertext.
fn opens(function: &str) -> bool {
    matches!(function, "C_Decrypt" | "C_UnwrapKey")
}

fn classify(code: Ulong, function: &'static str) -> ErrorClass {
    match code {
        CKR_SESSION_HANDLE_INVALID
        | CKR_SESSION_CLOSED
        | CKR_OPERATION_ACTIVE
        | CKR_OPERATION_NOT_INITIALIZED
        | CKR_USER_NOT_LOGGED_IN => ErrorClass::SessionLost,
        CKR_CRYPTOKI_NOT_INITIALIZED
        | CKR_DEVICE_REMOVED
        | CKR_TOKEN_NOT_PRESENT
        | CKR_SLOT_ID_INVALID
        | CKR_TOKEN_NOT_RECOGNIZED => ErrorClass::TokenLost,
        CKR_OBJECT_HANDLE_INVALID
        | CKR_KEY_HANDLE_INVALID
        | CKR_WRAPPING_KEY_HANDLE_INVALID
        | CKR_UNWRAPPING_KEY_HANDLE_INVALID => ErrorClass::StaleHandle,
        CKR_SESSION_COUNT | CKR_HOST_MEMORY | CKR_DEVICE_MEMORY | CKR_TOKEN_RESOURCE_EXCEEDED => {
            ErrorClass::Throttled
        }
        // Some modules answer even CKR_DEVICE_ERROR to a ciphertext that does not open. Whoever runs the
        // operation asks for the token's health afterwards.
        _ if opens(function) => ErrorClass::DecryptFailed,
        CKR_DEVICE_ERROR => ErrorClass::TokenLost,
        CKR_PIN_INCORRECT | CKR_PIN_INVALID | CKR_PIN_LEN_RANGE => ErrorClass::Authentication,
        CKR_PIN_LOCKED | CKR_PIN_EXPIRED | CKR_USER_PIN_NOT_INITIALIZED => ErrorClass::TokenLocked,
        CKR_ARGUMENTS_BAD if function.ends_with("Init") => ErrorClass::Unsupported,
        CKR_MECHANISM_INVALID
        | CKR_MECHANISM_PARAM_INVALID
        | CKR_CURVE_NOT_SUPPORTED
        | CKR_DOMAIN_PARAMS_INVALID
        | CKR_PARAMETER_SET_NOT_SUPPORTED
        | CKR_FUNCTION_NOT_SUPPORTED
        | CKR_RANDOM_NO_RNG => ErrorClass::Unsupported,
        CKR_KEY_FUNCTION_NOT_PERMITTED | CKR_ACTION_PROHIBITED => ErrorClass::NotPermitted,
        CKR_KEY_UNEXTRACTABLE | CKR_KEY_NOT_WRAPPABLE => ErrorClass::NotExportable,
        CKR_KEY_SIZE_RANGE
        | CKR_DATA_LEN_RANGE
        | CKR_DATA_INVALID
        | CKR_WRAPPING_KEY_SIZE_RANGE
        | CKR_UNWRAPPING_KEY_SIZE_RANGE => ErrorClass::BadParameter,
        CKR_TOKEN_WRITE_PROTECTED | CKR_SESSION_READ_ONLY => ErrorClass::ReadOnly,
        CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE => ErrorClass::InvalidSignature,
        _ => ErrorClass::Device,
    }
}
