//! To which environments a key may be released.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::base64url;
use super::strict_json::Json;
use crate::error::{Error, ErrorKind, Result};

/// Under which conditions an exportable key is released: Azure's
/// [Key Release Policy](https://learn.microsoft.com/azure/key-vault/keys/policy-grammar).
///
/// `{"version": "1.0.0", "anyOf": [{"authority": "https://…", "allOf": [{"claim": "a.b", "equals": true}]}]}`: the token
/// that attests the target must be issued by one of the authorities, and its claims must meet that authority's
/// conditions. `anyOf` and `allOf` may be nested. A claim is named by the members that lead to it, with dots between
/// them, and is compared with a string, a number or a truth value of the same type; `1` and `1.0` differ. A claim that is not there meets nothing.
///
/// In JSON it has Azure's form: `contentType`, `data` (the policy in base64url) and `immutable`.
///
/// # Examples
///
/// ```
/// use strongroom::ReleasePolicy;
///
/// let policy = ReleasePolicy::from_json(
///     br#"{"version": "1.0.0", "anyOf": [{"authority": "https://attest.example",
///          "allOf": [{"claim": "x-ms-isolation-tee.x-ms-compliance-status", "equals": "azure-compliant-cvm"}]}]}"#,
/// )?;
/// assert!(!policy.is_immutable());
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ReleasePolicy {
    content_type: String,
    json: Vec<u8>,
    immutable: bool,
}

const DEFAULT_CONTENT_TYPE: &str = "application/json; charset=utf-8";
/// The longest content type, in bytes.
const MAX_CONTENT_TYPE: usize = 128;
const VERSION: &str = "1.0.0";

impl ReleasePolicy {
    /// The longest policy, in bytes of JSON.
    pub const MAX_LENGTH: usize = 16 * 1024;

    /// Reads and checks a policy. The bytes are kept as they are.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for what the grammar does not allow, for nesting of more than 32
    /// levels, and for members that are there twice; [`TooLarge`](ErrorKind::TooLarge) above [`ReleasePolicy::MAX_LENGTH`].
    pub fn from_json(json: &[u8]) -> Result<Self> {
        Self::new(DEFAULT_CONTENT_TYPE, json, false)
    }

    /// From the members of Azure's form; what is missing there has its default.
    pub(crate) fn from_wire(
        content_type: Option<&str>,
        json: &[u8],
        immutable: Option<bool>,
    ) -> Result<Self> {
        let content_type = content_type.unwrap_or(DEFAULT_CONTENT_TYPE);
        Self::new(content_type, json, immutable.unwrap_or(false))
    }

    /// From what is stored.
    pub(crate) fn new(content_type: &str, json: &[u8], immutable: bool) -> Result<Self> {
        if json.len() > Self::MAX_LENGTH {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("a release policy has at most {} bytes", Self::MAX_LENGTH),
            ));
        }
        let is_json = content_type
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        if !is_json || content_type.len() > MAX_CONTENT_TYPE {
            return Err(Error::bad_parameter(
                "the content type of a release policy is application/json; charset=utf-8",
            ));
        }
        Rules::parse(json)?;
        Ok(Self {
            content_type: content_type.to_owned(),
            json: json.to_vec(),
            immutable,
        })
    }

    /// The same policy, which can never be changed once a key has it.
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// The policy as it was given.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// What kind of data [`ReleasePolicy::json`] is.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Whether it can never be changed.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// Errors: `BadParameter`, which a policy that exists does not meet.
    pub(crate) fn rules(&self) -> Result<Rules> {
        Rules::parse(&self.json)
    }
}

impl fmt::Debug for ReleasePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleasePolicy")
            .field("immutable", &self.immutable)
            .field("length", &self.json.len())
            .finish_non_exhaustive()
    }
}

impl Serialize for ReleasePolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            content_type: Some(self.content_type.clone()),
            data: self.json.clone(),
            immutable: Some(self.immutable),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReleasePolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire {
            content_type,
            data,
            immutable,
        } = Wire::deserialize(deserializer)?;
        Self::from_wire(content_type.as_deref(), &data, immutable).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "contentType", default)]
    content_type: Option<String>,
    #[serde(with = "base64url")]
    data: Vec<u8>,
    #[serde(default)]
    immutable: Option<bool>,
}

/// A policy that was read: one of the authorities and its conditions must be met.
#[derive(Debug, PartialEq)]
pub(crate) struct Rules {
    authorities: Vec<(String, Condition)>,
}

#[derive(Debug, PartialEq)]
enum Condition {
    Claim { path: String, equals: Json },
    Any(Vec<Condition>),
    All(Vec<Condition>),
}

impl Rules {
    fn parse(json: &[u8]) -> Result<Self> {
        let policy = Json::parse(json)
            .map_err(|error| refused(format!("a release policy is JSON: {error}")))?;
        only(&policy, &["version", "anyOf"])?;
        if let Some(version) = policy.member("version")
            && version.as_text() != Some(VERSION)
        {
            return Err(refused(format!(
                "the version of a release policy is \"{VERSION}\""
            )));
        }
        let authorities = list(&policy, "anyOf")?
            .iter()
            .map(|rule| {
                only(rule, &["authority", "anyOf", "allOf"])?;
                let authority = rule
                    .member("authority")
                    .and_then(Json::as_text)
                    .filter(|authority| !authority.is_empty())
                    .ok_or_else(|| refused("an authority of a release policy is a string"))?;
                Ok((authority.to_owned(), Condition::combined(rule)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { authorities })
    }

    /// Whether the policy has rules for tokens of this issuer.
    pub(crate) fn names(&self, issuer: &str) -> bool {
        self.authorities.iter().any(|(name, _)| name == issuer)
    }

    /// Whether the claims of this issuer meet the policy.
    pub(crate) fn are_met_by(&self, issuer: &str, claims: &Json) -> bool {
        self.authorities
            .iter()
            .any(|(name, condition)| name == issuer && condition.is_met_by(claims))
    }
}

impl Condition {
    fn parse(json: &Json) -> Result<Self> {
        if json.member("claim").is_none() {
            only(json, &["anyOf", "allOf"])?;
            return Self::combined(json);
        }
        only(json, &["claim", "equals"])?;
        let path = json
            .member("claim")
            .and_then(Json::as_text)
            .filter(|path| path.split('.').all(|name| !name.is_empty()))
            .ok_or_else(|| {
                refused("a claim of a release policy is a string of names with dots between them")
            })?;
        let equals = json
            .member("equals")
            .filter(|value| matches!(value, Json::Text(_) | Json::Number(_) | Json::Bool(_)))
            .ok_or_else(|| {
                refused("a claim of a release policy equals a string, a number or a truth value")
            })?;
        Ok(Self::Claim {
            path: path.to_owned(),
            equals: equals.clone(),
        })
    }

    /// `anyOf` or `allOf`, exactly one of them.
    fn combined(json: &Json) -> Result<Self> {
        let conditions =
            |name| -> Result<Vec<Self>> { list(json, name)?.iter().map(Self::parse).collect() };
        match (json.member("anyOf"), json.member("allOf")) {
            (Some(_), None) => conditions("anyOf").map(Self::Any),
            (None, Some(_)) => conditions("allOf").map(Self::All),
            _ => Err(refused(
                "a condition of a release policy is a claim, or has either anyOf or allOf",
            )),
        }
    }

    fn is_met_by(&self, claims: &Json) -> bool {
        match self {
            Self::Claim { path, equals } => claims.at(path.split('.')) == Some(equals),
            Self::Any(conditions) => conditions.iter().any(|one| one.is_met_by(claims)),
            Self::All(conditions) => conditions.iter().all(|one| one.is_met_by(claims)),
        }
    }
}

/// An object with none but these members.
fn only(json: &Json, names: &[&str]) -> Result<()> {
    let known = json
        .as_object()
        .is_some_and(|members| members.keys().all(|name| names.contains(&name.as_str())));
    if known {
        Ok(())
    } else {
        Err(refused(format!(
            "a release policy has an object here with no other members than {}",
            names.join(", ")
        )))
    }
}

/// A list that is not empty.
fn list<'a>(json: &'a Json, name: &str) -> Result<&'a [Json]> {
    json.member(name)
        .and_then(Json::as_list)
        .filter(|values| !values.is_empty())
        .ok_or_else(|| {
            refused(format!(
                "{name} of a release policy is a list that is not empty"
            ))
        })
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::bad_parameter(message)
}

/// How a key is wrapped for its transport under an RSA key: an AES-256 key by RSA-OAEP, and under that the key by AES Key
/// Wrap with Padding (RFC 5649), one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KeyEncryptionAlgorithm {
    /// With SHA-1 in RSA-OAEP, as PKCS#11's mechanism of this name.
    #[default]
    #[serde(rename = "CKM_RSA_AES_KEY_WRAP")]
    CkmRsaAesKeyWrap,
    /// With SHA-256 in RSA-OAEP.
    #[serde(rename = "RSA_AES_KEY_WRAP_256")]
    RsaAesKeyWrap256,
    /// With SHA-384 in RSA-OAEP.
    #[serde(rename = "RSA_AES_KEY_WRAP_384")]
    RsaAesKeyWrap384,
}

impl KeyEncryptionAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 3] = [
        Self::CkmRsaAesKeyWrap,
        Self::RsaAesKeyWrap256,
        Self::RsaAesKeyWrap384,
    ];

    /// The name on Azure's wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CkmRsaAesKeyWrap => "CKM_RSA_AES_KEY_WRAP",
            Self::RsaAesKeyWrap256 => "RSA_AES_KEY_WRAP_256",
            Self::RsaAesKeyWrap384 => "RSA_AES_KEY_WRAP_384",
        }
    }
}

impl fmt::Display for KeyEncryptionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyEncryptionAlgorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| {
                Error::bad_parameter(
                    "a key is encrypted by CKM_RSA_AES_KEY_WRAP, RSA_AES_KEY_WRAP_256 or RSA_AES_KEY_WRAP_384",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(conditions: &str) -> String {
        format!(r#"{{"version":"1.0.0","anyOf":[{{"authority":"https://a",{conditions}}}]}}"#)
    }

    fn met(conditions: &str, claims: &str) -> bool {
        let policy = ReleasePolicy::from_json(policy(conditions).as_bytes()).unwrap();
        let claims = Json::parse(claims.as_bytes()).unwrap();
        let rules = policy.rules().unwrap();
        assert!(!rules.are_met_by("https://b", &claims));
        rules.are_met_by("https://a", &claims)
    }

    #[test]
    fn conditions_mean_what_they_say() {
        let two = r#""allOf":[{"claim":"a","equals":"x"},{"claim":"b.c","equals":1}]"#;
        assert!(met(two, r#"{"a":"x","b":{"c":1}}"#));
        for claims in [
            r#"{"a":"x"}"#,
            r#"{"a":"x","b":{"c":1.0}}"#,
            r#"{"a":"x","b":{"c":"1"}}"#,
            r#"{"a":"x","b.c":1}"#,
            r#"{"a":["x"],"b":{"c":1}}"#,
            r#"{"a":"X","b":{"c":1}}"#,
            "{}",
            "[]",
        ] {
            assert!(!met(two, claims), "{claims}");
        }
        let either = r#""anyOf":[{"claim":"a","equals":true},{"allOf":[{"claim":"b","equals":false},{"claim":"c","equals":"y"}]}]"#;
        assert!(met(either, r#"{"a":true}"#));
        assert!(met(either, r#"{"b":false,"c":"y"}"#));
        assert!(!met(either, r#"{"a":"true","b":false}"#));
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        let claim = r#"{"claim":"a","equals":"x"}"#;
        let deep = |depth: usize| {
            r#""allOf":["#.to_owned()
                + &r#"{"allOf":["#.repeat(depth)
                + claim
                + &"]}".repeat(depth)
                + "]"
        };
        assert!(ReleasePolicy::from_json(policy(&deep(13)).as_bytes()).is_ok());
        let mut bad = vec![
            policy(&deep(15)),
            policy(&deep(500)),
            policy(""),
            policy(r#""allOf":[]"#),
            policy(r#""allOf":{}"#),
            policy(&format!(r#""allOf":[{claim}],"anyOf":[{claim}]"#)),
            policy(r#""allOf":[{"claim":"a","notEquals":"x"}]"#),
            policy(r#""allOf":[{"claim":"a","equals":"x","greater":1}]"#),
            policy(r#""allOf":[{"claim":"a","equals":{}}]"#),
            policy(r#""allOf":[{"claim":"a","equals":null}]"#),
            policy(r#""allOf":[{"claim":"a..b","equals":1}]"#),
            policy(r#""allOf":[{"claim":"","equals":1}]"#),
            policy(r#""allOf":[{"claim":7,"equals":1}]"#),
            policy(r#""allOf":["a"]"#),
            policy(&format!(r#""allOf":[{claim}],"more":1"#)),
            String::new(),
            "[]".to_owned(),
            r#"{"version":"1.0.0"}"#.to_owned(),
            r#"{"version":"1.0.0","anyOf":[]}"#.to_owned(),
        ];
        let good = policy(&format!(r#""allOf":[{claim}]"#));
        assert!(ReleasePolicy::from_json(good.as_bytes()).is_ok());
        bad.push(good.replace("1.0.0", "2.0.0"));
        bad.push(good.replace("https://a", ""));
        bad.push(good.replace(r#""anyOf""#, r#""allOf""#));
        for text in bad {
            let error = ReleasePolicy::from_json(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadParameter, "{text}");
        }
        let long = " ".repeat(ReleasePolicy::MAX_LENGTH) + &good;
        let error = ReleasePolicy::from_json(long.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn the_wire_form_reads_back() {
        let json = policy(r#""anyOf":[{"claim":"a","equals":1}]"#);
        let kept = ReleasePolicy::from_json(json.as_bytes())
            .unwrap()
            .immutable();
        let wire = serde_json::to_string(&kept).unwrap();
        assert!(wire.starts_with(r#"{"contentType":"application/json; charset=utf-8","data":""#));
        assert_eq!(serde_json::from_str::<ReleasePolicy>(&wire).unwrap(), kept);
        let data = base64url::encode(json.as_bytes());
        let short = format!(r#"{{"data":"{data}"}}"#);
        assert!(
            !serde_json::from_str::<ReleasePolicy>(&short)
                .unwrap()
                .is_immutable()
        );
        for bad in [
            r#"{"data":"e30"}"#.to_owned(),
            format!(r#"{{"data":"{data}","contentType":"text/plain"}}"#),
            "{}".to_owned(),
        ] {
            assert!(
                serde_json::from_str::<ReleasePolicy>(&bad).is_err(),
                "{bad}"
            );
        }
    }
}
