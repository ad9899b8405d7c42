//! Refusals: what the vault and the service say no with, and the envelope in which Azure says it.

use std::borrow::Cow;

use http::StatusCode;
use http::header::{ALLOW, WWW_AUTHENTICATE};
use serde::Serialize;

use super::response::{self, Response};
use crate::error::{Error, ErrorKind};

/// A refused request.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    inner_code: Option<&'static str>,
    message: Cow<'static, str>,
    header: Option<(http::HeaderName, String)>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            inner_code: None,
            message: message.into(),
            header: None,
        }
    }

    /// 400 BadParameter.
    pub(super) fn bad_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadParameter", message)
    }

    /// A member or feature that the service knows of and that this vault does not offer: Azure's answer where an
    /// instance does not have something.
    pub(super) fn not_offered(what: &str) -> Self {
        Self::bad_parameter(format!("{what} is not supported by this vault."))
    }

    /// 401, with the challenge by which a client learns what token is wanted.
    pub(super) fn unauthorized(challenge: &str, message: &'static str) -> Self {
        Self {
            header: Some((WWW_AUTHENTICATE, challenge.to_owned())),
            ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
        }
    }

    /// No operation has this path.
    pub(super) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "No operation has this path.",
        )
    }

    /// The path is known with other methods.
    pub(super) fn method_not_allowed(method: &http::Method, allowed: &str) -> Self {
        Self {
            header: Some((ALLOW, allowed.to_owned())),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "BadParameter",
                format!("Method {method} does not allow this operation. Allowed: {allowed}."),
            )
        }
    }

    /// The body is longer than the operation ever needs.
    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("The request body of this operation has at most {limit} bytes."),
        )
    }

    /// No key, or no version of it, is called this.
    pub(super) fn key_not_found(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "KeyNotFound",
            format!(
                "A key with (name/id) {id} was not found in this key vault. If you recently deleted this key you \
                 may be able to recover it using the correct recovery command."
            ),
        )
    }

    /// The same with another message.
    pub(super) fn saying(self, message: &'static str) -> Self {
        Self {
            message: message.into(),
            ..self
        }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(super) fn into_response(self) -> Response {
        let body = Envelope {
            error: Entry {
                code: self.code,
                message: Some(&self.message),
                innererror: self.inner_code.map(|code| {
                    Box::new(Entry {
                        code,
                        message: None,
                        innererror: None,
                    })
                }),
            },
        };
        let mut response = response::json(self.status, &body);
        if let Some((name, value)) = self.header
            && let Ok(value) = value.parse()
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// `KeyVaultError`.
#[derive(Serialize)]
struct Envelope<'a> {
    error: Entry<'a>,
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    innererror: Option<Box<Entry<'a>>>,
}

/// The one place that says how an error of the vault is told on the wire.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let Some(azure) = error.azure() else {
            return internal(&error);
        };
        Self {
            status: StatusCode::from_u16(azure.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: azure.code(),
            inner_code: azure.inner_code(),
            message: message(&error),
            header: None,
        }
    }
}

/// What only a vault on a disk can suffer from. Messages of such errors may name files, which is no business of whoever
/// sends requests; the kind says enough to look it up where the vault runs.
fn internal(error: &Error) -> Problem {
    let later = error.is_retryable() || error.kind() == ErrorKind::VaultLocked;
    let (status, code) = if later {
        (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
    };
    Problem::new(
        status,
        code,
        format!("The vault cannot do this now ({:?}).", error.kind()),
    )
}

/// Azure's sentence where one is known, because programs look for it; else the vault's own.
fn message(error: &Error) -> Cow<'static, str> {
    let key = error.key().unwrap_or("?");
    let name = key.split('/').next().unwrap_or(key);
    let operation = operation_name(error.operation().unwrap_or("?"));
    match error.kind() {
        ErrorKind::KeyNotFound => return Problem::key_not_found(key).message,
        ErrorKind::DeletedKeyNotFound => format!("Deleted Key not found: {name}"),
        ErrorKind::KeyDeleted => format!(
            "Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this \
             state, the key can only be recovered or purged."
        ),
        ErrorKind::KeyExists => format!(
            "There was a conflict restoring the key '{name}'. This can happen if a key of the same name is in this key \
             vault."
        ),
        ErrorKind::KeyDisabled => {
            format!("Operation {operation} is not allowed on a disabled key.")
        }
        ErrorKind::KeyExpired => format!("Operation {operation} is not allowed on an expired key."),
        ErrorKind::KeyNotYetValid => {
            format!("Operation {operation} is not allowed on a key that is not yet valid.")
        }
        ErrorKind::OperationNotPermitted => {
            format!("Operation {operation} is not permitted on this key.")
        }
        ErrorKind::InvalidBackup => format!(
            "Backup blob contains invalid or corrupt version. {}",
            error.message()
        ),
        _ => return Cow::Owned(error.message().to_owned()),
    }
    .into()
}

/// `wrap_key` of the library is `wrapKey` on the wire.
fn operation_name(method: &str) -> String {
    if method == "import_transferred_key" {
        return "import".to_owned();
    }
    let mut words = method.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_named_as_on_the_wire() {
        assert_eq!(operation_name("wrap_key"), "wrapKey");
        assert_eq!(operation_name("sign"), "sign");
        assert_eq!(operation_name("import_transferred_key"), "import");
        assert_eq!(operation_name(""), "");
    }

    #[test]
    fn messages_of_the_disk_stay_at_home() {
        let error = Error::new(ErrorKind::Corrupt, "/var/lib/vault/db is damaged");
        let response = Problem::from(error).into_response();
        assert_eq!(response.status(), 500);
        let body = String::from_utf8(response.into_body()).unwrap();
        assert!(!body.contains("/var/lib"), "{body}");
        assert!(body.contains("Corrupt"), "{body}");
    }

    #[test]
    fn every_kind_of_error_has_a_status_and_a_code() {
        for (kind, status, code) in [
            (ErrorKind::Throttled, 429, "Throttled"),
            (ErrorKind::BackendUnavailable, 503, "ServiceUnavailable"),
            (ErrorKind::VaultLocked, 503, "ServiceUnavailable"),
            (ErrorKind::GuardUnavailable, 503, "ServiceUnavailable"),
            (ErrorKind::VaultFailed, 500, "InternalServerError"),
            (ErrorKind::BackendRejected, 500, "InternalServerError"),
            (ErrorKind::StorageFull, 500, "InternalServerError"),
            (ErrorKind::Internal, 500, "InternalServerError"),
            (ErrorKind::TooLarge, 400, "BadParameter"),
            (ErrorKind::WrongDomain, 400, "BadParameter"),
            (ErrorKind::Unsupported, 400, "BadParameter"),
            (ErrorKind::KeyExhausted, 403, "Forbidden"),
        ] {
            let problem = Problem::from(Error::new(kind, "text"));
            assert_eq!((problem.status(), problem.code), (status, code), "{kind:?}");
        }
    }
}
