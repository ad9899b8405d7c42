//! Who acts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Whom an access policy is for, and who acts in the audit log: 1 to 128 bytes of printable UTF-8.
///
/// What it means is the application's: an object id, a user, a service. It is compared byte by byte.
///
/// # Examples
///
/// ```
/// let service: strongroom::Principal = "billing-service".parse()?;
/// assert_eq!(service.as_str(), "billing-service");
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    text: Box<str>,
}

impl Principal {
    /// The longest principal, in bytes of UTF-8.
    pub const MAX_LENGTH: usize = 128;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// No controls, no line ends, nothing invisible that makes two texts look alike or reorders them.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

impl FromStr for Principal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.chars().all(is_printable)
            && text.trim() == text
        {
            Ok(Self { text: text.into() })
        } else {
            Err(Error::bad_parameter(
                "a principal has 1 to 128 bytes of printable text and no space at its ends",
            ))
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({:?})", &*self.text)
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_principal_is_printable_and_bounded() {
        let longest = "ä".repeat(64);
        for right in ["a", "CN=Jürgen Groß, O=Example", &longest, "東京"] {
            assert_eq!(right.parse::<Principal>().unwrap().as_str(), right);
        }
        let too_long = format!("{longest}a");
        for wrong in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\0",
            "a\u{202e}b",
            "\u{200b}a",
            "a\u{2028}b",
            "\u{85}",
            &too_long,
        ] {
            assert!(wrong.parse::<Principal>().is_err(), "{wrong:?}");
        }
    }
}
