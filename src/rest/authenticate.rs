//! Who sends a request, and so which handle of the vault answers it.

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::problem::Problem;
use crate::error::{Error, Result};
use crate::model::identifier::VaultUrl;
use crate::vault::Vault;

/// Decides which handle of the vault answers a request.
///
/// It is asked before anything else is looked at. It may give a clone of the vault, a
/// [restricted handle](Vault::restricted), or the [handle of a principal](Vault::as_principal), who is then the actor
/// in the audit log. Functions and closures are authenticators.
///
/// # Examples
///
/// ```
/// use http::request::Parts;
/// use strongroom::rest::{AuthenticationFailure, RestService, bearer_token};
/// # use strongroom::*;
///
/// # fn subject_of(_token: &str) -> Option<Principal> { "billing-service".parse().ok() }
/// # let vault = VaultOptions::new().create_in_memory()?;
/// let by_token = |vault: &Vault, request: &Parts| {
///     let token = bearer_token(request).ok_or(AuthenticationFailure::NoToken)?;
///     let principal = subject_of(token).ok_or(AuthenticationFailure::InvalidToken)?;
///     Ok(vault.as_principal(&principal)?)
/// };
/// let service = RestService::new(vault, by_token);
/// # let _ = service;
/// # Ok::<(), Error>(())
/// ```
pub trait Authenticator: Send + Sync {
    /// The handle with which the request is carried out.
    ///
    /// # Errors
    ///
    /// Whatever [`AuthenticationFailure`] says.
    fn authenticate(
        &self,
        vault: &Vault,
        request: &Parts,
    ) -> std::result::Result<Vault, AuthenticationFailure>;
}

impl<F> Authenticator for F
where
    F: Fn(&Vault, &Parts) -> std::result::Result<Vault, AuthenticationFailure> + Send + Sync,
{
    fn authenticate(
        &self,
        vault: &Vault,
        request: &Parts,
    ) -> std::result::Result<Vault, AuthenticationFailure> {
        self(vault, request)
    }
}

/// Why a request is not carried out.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthenticationFailure {
    /// It has no token: 401 and the challenge. The SDKs send their first request like this, on purpose.
    NoToken,
    /// Its token is not valid here: 401 and the challenge.
    InvalidToken,
    /// What the vault said, for example [`Forbidden`](crate::ErrorKind::Forbidden) for an unknown principal.
    Vault(Error),
}

impl From<Error> for AuthenticationFailure {
    fn from(error: Error) -> Self {
        Self::Vault(error)
    }
}

/// The token of the header `Authorization: Bearer …`.
#[must_use]
pub fn bearer_token(request: &Parts) -> Option<&str> {
    let value = request.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// Lets everyone do everything who shows a token, whatever it says: for tests, and where nobody else can reach the
/// service.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AnyToken;

impl AnyToken {
    /// The authenticator.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Authenticator for AnyToken {
    fn authenticate(
        &self,
        vault: &Vault,
        request: &Parts,
    ) -> std::result::Result<Vault, AuthenticationFailure> {
        match bearer_token(request) {
            Some(_) => Ok(vault.clone()),
            None => Err(AuthenticationFailure::NoToken),
        }
    }
}

/// What a client without a valid token is told: the header `WWW-Authenticate`.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    header: String,
}

impl Challenge {
    pub(super) fn new(authorization: &str, resource: &str) -> Result<Self> {
        let legal = |text: &str| {
            (text.starts_with("https://") || text.starts_with("http://"))
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"\"\\,=".contains(&byte))
        };
        if legal(authorization) && legal(resource) {
            Ok(Self {
                header: format!(r#"Bearer authorization="{authorization}", resource="{resource}""#),
            })
        } else {
            Err(Error::bad_parameter(
                "authorization and resource of a challenge are http:// or https:// URLs without quotes, commas and \
                 equals signs",
            ))
        }
    }

    /// The SDKs demand that the host of the vault ends in a dot and the host of the resource, as
    /// `myvault.vault.azure.net` and `vault.azure.net` do.
    pub(super) fn of_vault(url: &VaultUrl) -> Self {
        let text = url.as_str();
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        let has_digits_at_end = authority
            .rsplit(['.', ':'])
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        let resource = match authority.split_once('.') {
            Some((_, parent)) if !has_digits_at_end && !authority.starts_with('[') => {
                format!("https://{parent}")
            }
            _ => text.to_owned(),
        };
        Self {
            header: format!(
                r#"Bearer authorization="https://login.invalid/{NO_TENANT}", resource="{resource}""#
            ),
        }
    }

    pub(super) fn refuse(&self, failure: AuthenticationFailure) -> Problem {
        match failure {
            AuthenticationFailure::NoToken => {
                Problem::unauthorized(&self.header, "Request is missing a Bearer token.")
            }
            AuthenticationFailure::InvalidToken => {
                Problem::unauthorized(&self.header, "The Bearer token is not valid here.")
            }
            AuthenticationFailure::Vault(error) => error.into(),
        }
    }
}

/// Where the SDKs look for a tenant.
const NO_TENANT: &str = "00000000-0000-0000-0000-000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_is_the_parent_of_the_vaults_host() {
        for (url, resource) in [
            ("https://vault.invalid", "https://invalid"),
            ("https://a.vault.azure.net", "https://vault.azure.net"),
            ("https://localhost", "https://localhost"),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("https://127.0.0.1", "https://127.0.0.1"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            let challenge = Challenge::of_vault(&url.parse().unwrap());
            let expected = format!(r#"resource="{resource}""#);
            assert!(
                challenge.header.ends_with(&expected),
                "{url}: {}",
                challenge.header
            );
        }
    }

    #[test]
    fn a_challenge_holds_urls() {
        assert!(Challenge::new("https://login.invalid/tenant", "https://vault.invalid").is_ok());
        for bad in [
            "",
            "login",
            "https://a\"b",
            "https://a,b",
            "https://a b",
            "https://a\r\nb",
        ] {
            assert!(Challenge::new(bad, "https://a").is_err(), "{bad}");
            assert!(Challenge::new("https://a", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bearer_token_is_found() {
        let token = |value: &str| {
            let (parts, ()) = http::Request::builder()
                .header("authorization", value)
                .body(())
                .unwrap()
                .into_parts();
            bearer_token(&parts).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc ").as_deref(), Some("abc"));
        for bad in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
            assert_eq!(token(bad), None, "{bad}");
        }
    }
}
