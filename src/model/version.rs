//! Version identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hex;
use crate::env::Entropy;
use crate::error::{Error, Result};

/// The identifier of one version of a key: 16 random bytes, written as 32 hexadecimal characters.
///
/// # Examples
///
/// ```
/// let version: strongroom::KeyVersion = "0123456789abcdef0123456789ABCDEF".parse()?;
/// assert_eq!(version.to_string(), "0123456789abcdef0123456789abcdef");
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyVersion {
    bytes: [u8; 16],
}

impl KeyVersion {
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { bytes }
    }

    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self> {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes)?;
        Ok(Self { bytes })
    }

    /// The 16 bytes that the hexadecimal characters stand for.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.bytes
    }
}

impl FromStr for KeyVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        hex::parse(text)
            .map(Self::from_bytes)
            .ok_or_else(|| Error::bad_parameter("a key version is 32 hexadecimal characters"))
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyVersion({self})")
    }
}

impl Serialize for KeyVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
