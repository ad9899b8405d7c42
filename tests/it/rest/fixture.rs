//! Fixtures: what is sent, and what must come back, as files.
//!
//! A file holds exchanges, which are carried out in their order on a vault of its own:
//!
//! ```json
//! { "shows": ["KeyBundle"], "soft_delete_days": 7, "purge_protection": true, "device": true, "busy": false,
//!   "exchanges": [ { "send": "GET /keys?api-version=7.4", "token": "list", "headers": {}, "body": {},
//!                    "advance_seconds": 60, "device_away": false, "status": 200, "answer": {}, "answer_headers": {} } ] }
//! ```
//!
//! The vault's clock stands, so that times are known. What is not known stands as `{{name:kind}}` inside a string, with
//! the kinds `version` (32 hexadecimal characters), `bytes` and `bytes(N)` (base64url) and `text`; later `{{name}}` means
//! what stood there. `{"base64url of": value}` stands for the JSON of that value in base64url, and in an answer
//! `{"JWS of": value}` for a signed one.
//!
//! With `device`, the vault has a hardware backend, which can be away, and with `busy` one that asks to slow down. The
//! vault trusts the attestation service of `attested`, and `{{attestation}}` is a token of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use strongroom::backend::testing::MemoryDevice;
use strongroom::rest::{AuthenticationFailure, RestService, bearer_token};
use strongroom::{
    AttestationAuthority, Clock, Permissions, SignatureAlgorithm, SoftDelete, Vault, VaultOptions,
};

use super::busy::Busy;
use crate::attested::{Service, base64url, claims, parsed, verified};
use crate::support::FakeClock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixture {
    pub(super) shows: Vec<String>,
    #[serde(default)]
    soft_delete_days: Option<u8>,
    #[serde(default)]
    purge_protection: bool,
    #[serde(default)]
    device: bool,
    #[serde(default)]
    busy: bool,
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    send: String,
    /// Permissions, `all`, or nothing at all; `all` if it is not said.
    #[serde(default = "all")]
    token: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    advance_seconds: u64,
    #[serde(default)]
    device_away: bool,
    status: u16,
    #[serde(default)]
    answer: Option<Value>,
    #[serde(default)]
    answer_headers: BTreeMap<String, String>,
}

#[expect(clippy::unnecessary_wraps, reason = "a default has the field's type")]
fn all() -> Option<String> {
    Some("all".to_owned())
}

static ATTESTATION: LazyLock<Arc<Service>> = LazyLock::new(|| Arc::new(Service::new()));

/// Every fixture of a folder, by its path.
pub(super) fn fixtures(folder: &str) -> Vec<(PathBuf, Fixture)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/rest/fixtures")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let fixture = serde_json::from_slice(&std::fs::read(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, fixture)
        })
        .collect()
}

impl Fixture {
    pub(super) fn run(&self, path: &Path) {
        let clock = FakeClock::new();
        let attestation = Arc::clone(&ATTESTATION);
        let token = attestation.token(SignatureAlgorithm::Rs256, &claims());
        let mut options = VaultOptions::new()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .attestation_authority(attestation as Arc<dyn AttestationAuthority>);
        options = match self.soft_delete_days {
            None => options,
            Some(0) => options.soft_delete(SoftDelete::OFF),
            Some(days) => options.soft_delete(SoftDelete::days(days).unwrap()),
        };
        let device = MemoryDevice::new("device".parse().unwrap());
        if self.device {
            options = options.backend(Arc::new(device.clone()));
        }
        if self.busy {
            options = options.backend(Arc::new(Busy::new()));
        }
        let vault = options.create_in_memory().unwrap();
        if self.purge_protection {
            vault.enable_purge_protection().unwrap();
        }
        let service = RestService::new(vault.clone(), by_permissions);
        let mut known = Known {
            texts: BTreeMap::from([("attestation".to_owned(), token)]),
            vault,
        };
        for (number, exchange) in self.exchanges.iter().enumerate() {
            let at = format!("{}, exchange {}", path.display(), number + 1);
            clock.advance_seconds(exchange.advance_seconds);
            device.set_away(exchange.device_away);
            exchange.run(&service, &mut known, &at);
        }
    }
}

/// The token is a list of permissions, or `all`.
fn by_permissions(
    vault: &Vault,
    request: &http::request::Parts,
) -> Result<Vault, AuthenticationFailure> {
    match bearer_token(request) {
        None => Err(AuthenticationFailure::NoToken),
        Some("expired") => Err(AuthenticationFailure::InvalidToken),
        Some("all") => Ok(vault.clone()),
        Some(list) => {
            let permissions = list
                .split(',')
                .map(str::parse)
                .collect::<strongroom::Result<Vec<_>>>()?
                .into_iter()
                .fold(Permissions::none(), Permissions::with);
            Ok(vault.restricted(permissions))
        }
    }
}

/// What the exchanges so far have told.
struct Known {
    texts: BTreeMap<String, String>,
    vault: Vault,
}

/// The value in `{name: value}`.
fn only<'v>(members: &'v serde_json::Map<String, Value>, name: &str) -> Option<&'v Value> {
    members.get(name).filter(|_| members.len() == 1)
}

const BASE64URL: &str = "base64url of";
const JWS: &str = "JWS of";

impl Exchange {
    fn run(&self, service: &RestService, known: &mut Known, at: &str) {
        let (method, target) = self.send.split_once(' ').unwrap();
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("https://vault.invalid{}", filled(target, known)));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = match &self.body {
            None => Vec::new(),
            // What is no JSON is written as a string.
            Some(Value::String(text)) => filled(text, known).into_bytes(),
            Some(body) => serde_json::to_vec(&filled_value(body, known)).unwrap(),
        };
        let response = service.handle(request.body(body).unwrap());
        let text = String::from_utf8(response.body().clone()).unwrap();
        assert_eq!(response.status(), self.status, "{at}: {text}");
        for (name, value) in &self.answer_headers {
            let given = response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap());
            assert_eq!(given, Some(value.as_str()), "{at}: header {name}");
        }
        match &self.answer {
            None => assert_eq!(text, "", "{at}"),
            Some(expected) => {
                assert_eq!(
                    response.headers()["content-type"],
                    "application/json; charset=utf-8",
                    "{at}"
                );
                let given: Value = serde_json::from_str(&text).unwrap();
                compare(expected, &given, known, at);
            }
        }
    }
}

fn filled_value(value: &Value, known: &Known) -> Value {
    match value {
        Value::String(text) => Value::String(filled(text, known)),
        Value::Array(items) => items.iter().map(|item| filled_value(item, known)).collect(),
        Value::Object(members) => match only(members, BASE64URL) {
            Some(value) => base64url(filled_value(value, known).to_string().as_bytes()).into(),
            None => members
                .iter()
                .map(|(name, value)| (name.clone(), filled_value(value, known)))
                .collect(),
        },
        other => other.clone(),
    }
}

fn filled(text: &str, known: &Known) -> String {
    known
        .texts
        .iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
}

/// Exactly the same members, and the same values but for the placeholders.
fn compare(expected: &Value, given: &Value, known: &mut Known, at: &str) {
    match (expected, given) {
        (Value::Object(expected), Value::Object(members)) => {
            let names = |map: &serde_json::Map<String, Value>| {
                map.keys()
                    .cloned()
                    .collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(names(expected), names(members), "{at}: {given}");
            for (name, value) in expected {
                compare(value, &members[name], known, &format!("{at}: {name}"));
            }
        }
        (Value::Array(expected), Value::Array(items)) => {
            assert_eq!(expected.len(), items.len(), "{at}: {given}");
            for (number, (expected, item)) in expected.iter().zip(items).enumerate() {
                compare(expected, item, known, &format!("{at}[{number}]"));
            }
        }
        (Value::Object(members), Value::String(given)) => {
            if let Some(value) = only(members, BASE64URL) {
                compare(value, &parsed(given), known, at);
            } else if let Some(value) = only(members, JWS) {
                compare(value, &verified(&known.vault, given), known, at);
            } else {
                panic!("{at}: {given}");
            }
        }
        (Value::String(expected), Value::String(given)) => matches(expected, given, known, at),
        _ => assert_eq!(expected, given, "{at}"),
    }
}

fn matches(expected: &str, given: &str, known: &mut Known, at: &str) {
    let expected = filled(expected, known);
    let Some((before, rest)) = expected.split_once("{{") else {
        assert_eq!(expected, given, "{at}");
        return;
    };
    let (placeholder, after) = rest.split_once("}}").unwrap();
    let (name, kind) = placeholder
        .split_once(':')
        .unwrap_or_else(|| panic!("{at}: {placeholder} is not known"));
    let value = given
        .strip_prefix(before)
        .and_then(|given| given.strip_suffix(after))
        .unwrap_or_else(|| panic!("{at}: {given} is not like {expected}"));
    match kind {
        "text" => assert_ne!(value, "", "{at}"),
        "version" => assert!(
            value.len() == 32
                && value
                    .bytes()
                    .all(|byte| b"0123456789abcdef".contains(&byte)),
            "{at}: {value}"
        ),
        kind => {
            let bytes = BASE64_URL_SAFE_NO_PAD
                .decode(value)
                .unwrap_or_else(|error| panic!("{at}: {value}: {error}"));
            let length = kind
                .strip_prefix("bytes")
                .unwrap_or_else(|| panic!("{at}: the kind {kind} is not known"));
            match length
                .strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'))
            {
                None => assert_eq!(length, "", "{at}: the kind {kind} is not known"),
                Some(length) => assert_eq!(bytes.len().to_string(), length, "{at}"),
            }
        }
    }
    known.texts.insert(name.to_owned(), value.to_owned());
}
