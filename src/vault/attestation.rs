//! Who vouches for the environments to which keys are released, and what his tokens must say.

use std::error::Error as StdError;
use std::fmt::Debug;

use super::Inner;
use crate::crypto::public_key::PublicKey;
use crate::crypto::validation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::CryptoOperation;
use crate::model::base64url;
use crate::model::jwt::Token;
use crate::model::material::PublicParts;
use crate::model::release_policy::Rules;
use crate::model::strict_json::Json;

/// How many keys of an authority are tried for one token.
const MAX_AUTHORITY_KEYS: usize = 16;
/// How many keys of an environment are looked at.
const MAX_RUNTIME_KEYS: usize = 64;
/// By how many seconds the dates of tokens are stretched at least.
const MIN_LEEWAY_SECONDS: u64 = 60;

/// The attestation services that an application trusts: it knows their keys; see
/// [`VaultOptions::attestation_authority`](crate::VaultOptions::attestation_authority).
///
/// # Examples
///
/// ```
/// use std::error::Error;
/// use strongroom::{AttestationAuthority, PublicKey};
///
/// #[derive(Debug)]
/// struct OneService {
///     key: PublicKey,
/// }
///
/// impl AttestationAuthority for OneService {
///     fn keys(&self, issuer: &str, _: Option<&str>) -> Result<Vec<PublicKey>, Box<dyn Error + Send + Sync>> {
///         let known = issuer == "https://attest.example";
///         Ok(known.then(|| self.key.clone()).into_iter().collect())
///     }
/// }
/// ```
pub trait AttestationAuthority: Debug + Send + Sync {
    /// The keys with which `issuer` signs, at most 16, or the one with this `kid`; none for an issuer that is not trusted. It is
    /// asked only for issuers that the key's release policy names, before anything of the token is believed.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from finding out; the release fails then.
    fn keys(
        &self,
        issuer: &str,
        key_id: Option<&str>,
    ) -> std::result::Result<Vec<PublicKey>, Box<dyn StdError + Send + Sync>>;

    /// For whom the tokens of `issuer` must be, in their claim `aud`. With `None`, the default, a token that is for
    /// somebody is refused.
    fn audience(&self, issuer: &str) -> Option<String> {
        let _ = issuer;
        None
    }
}

/// The key of an environment that was attested.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) key_id: String,
    pub(super) key: PublicKey,
}

impl Inner {
    /// Verifies a token against a policy, and gives the key to which the key is to be wrapped.
    ///
    /// Errors: `BadParameter`, `TooLarge` for what is no such token; `ReleaseRefused`; `BackendUnavailable` when the
    /// authority fails; `Unsupported` without one.
    pub(super) fn attested_target(
        &self,
        token: &str,
        rules: &Rules,
        nonce: Option<&str>,
    ) -> Result<Target> {
        let token = Token::parse(token)?;
        let claims = &token.claims;
        let issuer = text(claims, "iss").ok_or_else(|| {
            Error::bad_parameter("the attestation token does not name its issuer: iss")
        })?;
        if !rules.names(issuer) {
            return Err(refused(
                "the release policy does not name the issuer of the attestation token",
            ));
        }
        let authority = self.attestation_authority.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "nobody says which attestation tokens to trust: give VaultOptions::attestation_authority",
            )
        })?;
        require_signature(authority, issuer, &token)?;
        self.require_dates(claims)?;
        require_audience(authority.audience(issuer).as_deref(), claims)?;
        if let Some(nonce) = nonce {
            require_nonce(nonce, claims)?;
        }
        if !rules.are_met_by(issuer, claims) {
            return Err(refused(
                "the claims of the attestation token do not meet the key's release policy",
            ));
        }
        target(claims)
    }

    fn require_dates(&self, claims: &Json) -> Result<()> {
        let now = self.now().unix_seconds();
        let leeway = self.leeway_seconds.max(MIN_LEEWAY_SECONDS);
        let date = |name: &str| match claims.member(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                Error::bad_parameter(format!(
                    "{name} of the attestation token is not a whole number of seconds"
                ))
            }),
        };
        let expires = date("exp")?.ok_or_else(|| {
            Error::bad_parameter("the attestation token does not say until when it is valid: exp")
        })?;
        if now >= expires.saturating_add(leeway) {
            return Err(refused("the attestation token has expired"));
        }
        for name in ["nbf", "iat"] {
            if date(name)?.is_some_and(|date| now.saturating_add(leeway) < date) {
                return Err(refused("the attestation token is not valid yet"));
            }
        }
        Ok(())
    }
}

fn require_signature(
    authority: &dyn AttestationAuthority,
    issuer: &str,
    token: &Token<'_>,
) -> Result<()> {
    let keys = authority
        .keys(issuer, token.key_id.as_deref())
        .map_err(|error| {
            Error::new(
                ErrorKind::BackendUnavailable,
                "the keys of the attestation authority are not to be had",
            )
            .with_source(error)
        })?;
    let operation = CryptoOperation::Verify(token.algorithm);
    let verified = keys
        .iter()
        .take(MAX_AUTHORITY_KEYS)
        .filter(|key| operation.fits(key.spec()))
        .any(|key| {
            key.verify_data(token.algorithm, token.signed.as_bytes(), &token.signature)
                .is_ok()
        });
    if verified {
        Ok(())
    } else {
        Err(refused(
            "no key of the attestation authority verifies the signature of the attestation token",
        ))
    }
}

fn require_audience(expected: Option<&str>, claims: &Json) -> Result<()> {
    let fits = match (claims.member("aud"), expected) {
        (None, None) => true,
        (Some(Json::Text(audience)), Some(expected)) => audience == expected,
        (Some(Json::List(audiences)), Some(expected)) => audiences
            .iter()
            .any(|audience| audience.as_text() == Some(expected)),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(refused(
            "the attestation token is for another audience than the authority's",
        ))
    }
}

/// At the top, or where Azure's attestation service puts what the environment gave it, in base64.
fn require_nonce(nonce: &str, claims: &Json) -> Result<()> {
    let at_top = text(claims, "nonce");
    let from_client = claims
        .at(["x-ms-runtime", "client-payload", "nonce"])
        .and_then(Json::as_text);
    let encoded = base64url::encode_standard(nonce.as_bytes());
    if at_top == Some(nonce)
        || at_top.is_none() && (from_client == Some(nonce) || from_client == Some(&*encoded))
    {
        Ok(())
    } else {
        Err(refused(
            "the attestation token does not hold the nonce of this release",
        ))
    }
}

/// The first key of the environment that is for encryption.
fn target(claims: &Json) -> Result<Target> {
    let keys = claims
        .at(["x-ms-runtime", "keys"])
        .and_then(Json::as_list)
        .unwrap_or_default();
    let jwk = keys
        .iter()
        .take(MAX_RUNTIME_KEYS)
        .find(|key| is_for_encryption(key))
        .ok_or_else(|| {
            refused("the attestation token has no RSA key for encryption among x-ms-runtime.keys")
        })?;
    let wrong =
        || refused("the key for encryption in the attestation token is not a usable RSA key");
    let number = |name| {
        text(jwk, name)
            .and_then(base64url::decode)
            .ok_or_else(wrong)
    };
    let parts = PublicParts::Rsa {
        n: number("n")?,
        e: number("e")?,
    };
    let key = validation::validate_public(&parts)
        .map_err(Error::from)
        .and_then(|parts| PublicKey::from_parts(&parts))
        .map_err(|error| wrong().with_source(error))?;
    Ok(Target {
        key_id: text(jwk, "kid").unwrap_or_default().to_owned(),
        key,
    })
}

fn is_for_encryption(jwk: &Json) -> bool {
    let says = |name| text(jwk, name) == Some("enc");
    let encrypts = jwk
        .member("key_ops")
        .and_then(Json::as_list)
        .unwrap_or_default()
        .iter()
        .any(|operation| operation.as_text() == Some("encrypt"));
    text(jwk, "kty") == Some("RSA")
        && text(jwk, "kid").is_some()
        && (says("key_use") || says("use") || encrypts)
}

fn text<'a>(json: &'a Json, name: &str) -> Option<&'a str> {
    json.member(name).and_then(Json::as_text)
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::ReleaseRefused, message)
}
