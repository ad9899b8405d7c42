//! Key names.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// The name of a key: 1 to 127 of the characters `0-9 a-z A-Z -`.
///
/// A name keeps its spelling, and names that differ only in case are the same name.
///
/// # Examples
///
/// ```
/// use strongroom::KeyName;
///
/// const SIGNER: KeyName = KeyName::from_static("invoice-signer"); // checked while compiling
/// let parsed: KeyName = "Invoice-Signer".parse()?;
/// assert_eq!(parsed, SIGNER);
/// assert_eq!(parsed.as_str(), "Invoice-Signer");
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyName {
    text: Cow<'static, str>,
}

impl KeyName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 127;

    /// A name known when the program is written; in a `const` it is checked by the compiler.
    ///
    /// # Panics
    ///
    /// When the text is not a legal name.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(
            is_legal(text.as_bytes()),
            "a key name is 1 to 127 of the characters 0-9, a-z, A-Z and -"
        );
        Self {
            text: Cow::Borrowed(text),
        }
    }

    /// The name as it was spelled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The lowered name, eight characters at a time. The last word has one character less at least, so that no name
    /// begins as another one ends.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        // In what a name may have, this makes letters small and changes nothing else.
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let (words, rest) = self.text.as_bytes().as_chunks::<8>();
        let rest = rest
            .iter()
            .fold(0, |word, byte| (word << 8) | u64::from(*byte));
        words
            .iter()
            .map(|word| u64::from_be_bytes(*word))
            .chain([rest])
            .map(|word| word | LOWER)
    }

    /// The form that is compared and bound into stored records.
    pub(crate) fn lowered(&self) -> String {
        self.text.to_ascii_lowercase()
    }
}

const fn is_legal(text: &[u8]) -> bool {
    if text.is_empty() || text.len() > KeyName::MAX_LENGTH {
        return false;
    }
    let mut at = 0;
    while at < text.len() {
        if !(text[at].is_ascii_alphanumeric() || text[at] == b'-') {
            return false;
        }
        at += 1;
    }
    true
}

impl FromStr for KeyName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for KeyName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        if is_legal(text.as_bytes()) {
            Ok(Self {
                text: Cow::Owned(text),
            })
        } else {
            Err(Error::bad_parameter(
                "a key name is 1 to 127 of the characters 0-9, a-z, A-Z and -",
            ))
        }
    }
}

impl PartialEq for KeyName {
    fn eq(&self, other: &Self) -> bool {
        // Most are written alike, and that is quicker to see.
        self.text == other.text || self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for KeyName {}

impl Hash for KeyName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Hashers are slow byte by byte, and every operation hashes a name.
        self.words().for_each(|word| state.write_u64(word));
    }
}

impl Ord for KeyName {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |name: &Self| name.lowered();
        lower(self).cmp(&lower(other))
    }
}

impl PartialOrd for KeyName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyName({})", self.text)
    }
}

impl Serialize for KeyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::try_from(text).map_err(serde::de::Error::custom)
    }
}
