//! JSON Web Tokens in their compact form (RFC 7515, RFC 7519), before anything in them is believed.

use super::algorithm::SignatureAlgorithm;
use super::base64url;
use super::strict_json::Json;
use crate::error::{Error, ErrorKind, Result};

/// The longest token, in bytes.
pub(crate) const MAX_TOKEN_LENGTH: usize = 64 * 1024;

/// What a token may be signed with: signatures of public keys only. `none` and MACs are not among them, whatever the
/// key is.
const ALLOWED: [SignatureAlgorithm; 9] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Rs384,
    SignatureAlgorithm::Rs512,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Ps384,
    SignatureAlgorithm::Ps512,
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::Es384,
    SignatureAlgorithm::Es512,
];

/// A token that is well-formed. Its signature is not verified.
#[derive(Debug)]
pub(crate) struct Token<'t> {
    pub(crate) algorithm: SignatureAlgorithm,
    /// Which of its issuer's keys signed it.
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Json,
    pub(crate) signed: &'t str,
    pub(crate) signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Errors: `BadParameter`, and `TooLarge` above [`MAX_TOKEN_LENGTH`].
    pub(crate) fn parse(text: &'t str) -> Result<Self> {
        if text.len() > MAX_TOKEN_LENGTH {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("an attestation token has at most {MAX_TOKEN_LENGTH} bytes"),
            ));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(no_token)?;
        let (header, claims) = signed.split_once('.').ok_or_else(no_token)?;
        let header = object(header, "header")?;
        // An extension that must be understood, and is not.
        if header.member("crit").is_some() {
            return Err(refused(
                "the attestation token has critical header members, which are not supported",
            ));
        }
        let name = header.member("alg").and_then(Json::as_text);
        let algorithm = ALLOWED
            .into_iter()
            .find(|allowed| Some(allowed.as_str()) == name)
            .ok_or_else(|| {
                refused(
                    "an attestation token is signed with RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or ES512",
                )
            })?;
        let key_id = match header.member("kid") {
            None => None,
            Some(Json::Text(kid)) => Some(kid.clone()),
            Some(_) => return Err(refused("kid in an attestation token is a string")),
        };
        let signature = base64url::decode(signature)
            .filter(|signature| !signature.is_empty())
            .ok_or_else(no_token)?;
        Ok(Self {
            algorithm,
            key_id,
            claims: object(claims, "payload")?,
            signed,
            signature,
        })
    }
}

fn object(part: &str, what: &str) -> Result<Json> {
    let bytes = base64url::decode(part).ok_or_else(no_token)?;
    let json = Json::parse(&bytes)
        .map_err(|error| refused(format!("the {what} of the attestation token: {error}")))?;
    if json.as_object().is_none() {
        return Err(refused(format!(
            "the {what} of the attestation token is not a JSON object"
        )));
    }
    Ok(json)
}

fn no_token() -> Error {
    refused(
        "the target is not an attestation token: three parts in base64url with dots between them",
    )
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::bad_parameter(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| base64url::encode(text.as_bytes());
        format!("{}.{}.{}", part(header), part(claims), part("signature"))
    }

    #[test]
    fn only_public_key_signatures_are_allowed() {
        for algorithm in ALLOWED {
            let header = format!(r#"{{"alg":"{algorithm}","kid":"k"}}"#);
            let token = token(&header, "{}");
            let token = Token::parse(&token).unwrap();
            assert_eq!(
                (token.algorithm, token.key_id.as_deref()),
                (algorithm, Some("k"))
            );
        }
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"RSNULL"}"#,
            r#"{"alg":"ES256K"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","kid":7}"#,
            "{}",
            "[]",
            "",
        ] {
            let error = Token::parse(&token(header, "{}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadParameter, "{header}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = token(r#"{"alg":"ES256"}"#, r#"{"a":1}"#);
        assert!(Token::parse(&good).is_ok());
        for bad in [
            String::new(),
            "..".to_owned(),
            "a.b".to_owned(),
            format!("{good}."),
            format!("{good}="),
            format!(" {good}"),
            good.replacen('.', "..", 1),
            token(r#"{"alg":"ES256"}"#, r#"{"a":1,"a":2}"#),
            token(r#"{"alg":"ES256"}"#, "7"),
            token(r#"{"alg":"ES256"}"#, &("[".repeat(40_000))),
        ] {
            let error = Token::parse(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadParameter);
        }
        let long = "a".repeat(MAX_TOKEN_LENGTH + 1);
        assert_eq!(Token::parse(&long).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
