//! Key identifiers and the selection of a version.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::KeyName;
use super::version::KeyVersion;
use crate::error::{Error, Result};

/// The base URL of a vault in identifiers, for example `https://vault.invalid`.
///
/// It is presentation: name and version alone say which key is meant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VaultUrl {
    text: Arc<str>,
}

impl VaultUrl {
    /// The longest URL, in bytes.
    pub const MAX_LENGTH: usize = 512;

    /// The URL without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Default for VaultUrl {
    /// `https://vault.invalid`: a name that RFC 2606 reserves and no resolver knows.
    fn default() -> Self {
        Self {
            text: Arc::from("https://vault.invalid"),
        }
    }
}

impl FromStr for VaultUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let authority = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let legal = authority.is_some_and(|authority| {
            !authority.is_empty()
                && authority
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"<>".contains(&byte))
        });
        if legal && text.len() <= Self::MAX_LENGTH {
            Ok(Self {
                text: Arc::from(text),
            })
        } else {
            Err(Error::bad_parameter(
                "a vault URL is http:// or https:// with a host and perhaps a port, and no path",
            ))
        }
    }
}

impl fmt::Display for VaultUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One exact version of a key: `{vault URL}/keys/{name}/{version}`.
///
/// Two identifiers are equal when name and version are; the URL is presentation.
///
/// # Examples
///
/// ```
/// use strongroom::KeyIdentifier;
///
/// let id: KeyIdentifier =
///     "https://vault.invalid/keys/signer/0123456789abcdef0123456789abcdef".parse()?;
/// assert_eq!(id.name().as_str(), "signer");
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyIdentifier {
    /// Every result of an operation has one: copies share it.
    parts: Arc<Parts>,
}

struct Parts {
    url: VaultUrl,
    name: KeyName,
    version: KeyVersion,
}

impl KeyIdentifier {
    pub(crate) fn new(url: VaultUrl, name: KeyName, version: KeyVersion) -> Self {
        Self {
            parts: Arc::new(Parts { url, name, version }),
        }
    }

    /// The vault's base URL.
    #[must_use]
    pub fn vault_url(&self) -> &VaultUrl {
        &self.parts.url
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.parts.name
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> KeyVersion {
        self.parts.version
    }
}

impl FromStr for KeyIdentifier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.rsplit_once("/keys/").and_then(|(url, rest)| {
            rest.split_once('/')
                .map(|(name, version)| (url, name, version))
        });
        let Some((url, name, version)) = parts else {
            return Err(Error::bad_parameter(
                "a key identifier is {vault URL}/keys/{name}/{version}",
            ));
        };
        Ok(Self::new(url.parse()?, name.parse()?, version.parse()?))
    }
}

impl PartialEq for KeyIdentifier {
    fn eq(&self, other: &Self) -> bool {
        self.parts.name == other.parts.name && self.parts.version == other.parts.version
    }
}

impl Eq for KeyIdentifier {}

impl std::hash::Hash for KeyIdentifier {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts.name.hash(state);
        self.parts.version.hash(state);
    }
}

impl fmt::Display for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/keys/{}/{}",
            self.parts.url, self.parts.name, self.parts.version
        )
    }
}

impl fmt::Debug for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyIdentifier({self})")
    }
}

impl Serialize for KeyIdentifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyIdentifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which version of a key is meant: the newest, or an exact one.
///
/// Methods take `impl Into<KeySelector>`: `&KeyName` selects the newest version, even when that one
/// is disabled; `&KeyIdentifier` and `(&KeyName, KeyVersion)` select exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySelector<'a> {
    name: &'a KeyName,
    version: Option<KeyVersion>,
}

impl<'a> KeySelector<'a> {
    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &'a KeyName {
        self.name
    }

    /// The exact version, or `None` for the newest.
    #[must_use]
    pub fn version(&self) -> Option<KeyVersion> {
        self.version
    }
}

impl<'a> From<&'a KeyName> for KeySelector<'a> {
    fn from(name: &'a KeyName) -> Self {
        Self {
            name,
            version: None,
        }
    }
}

impl<'a> From<&'a KeyIdentifier> for KeySelector<'a> {
    fn from(id: &'a KeyIdentifier) -> Self {
        Self {
            name: id.name(),
            version: Some(id.version()),
        }
    }
}

impl<'a> From<(&'a KeyName, KeyVersion)> for KeySelector<'a> {
    fn from((name, version): (&'a KeyName, KeyVersion)) -> Self {
        Self {
            name,
            version: Some(version),
        }
    }
}

impl fmt::Display for KeySelector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}/{version}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}
