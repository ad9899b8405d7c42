//! Patterns of key names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::KeyName;
use crate::error::{Error, Result};

/// Key names: one exact name, or all that begin with a prefix, written with a `*` at the end.
///
/// Like names, patterns compare without case.
///
/// # Examples
///
/// ```
/// use strongroom::{KeyName, NamePattern};
///
/// let billing: NamePattern = "billing-*".parse()?;
/// assert!(billing.matches(&KeyName::from_static("Billing-2026")));
/// assert!(!billing.matches(&KeyName::from_static("payroll")));
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamePattern {
    /// In lower case, without the `*`.
    text: Box<str>,
    is_prefix: bool,
}

impl NamePattern {
    /// Whether the name is one that the pattern means.
    #[must_use]
    pub fn matches(&self, name: &KeyName) -> bool {
        let (name, text) = (name.as_str().as_bytes(), self.text.as_bytes());
        if self.is_prefix {
            name.get(..text.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(text))
        } else {
            name.eq_ignore_ascii_case(text)
        }
    }
}

impl FromStr for NamePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (text, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let is_legal = (is_prefix && text.is_empty()) || text.parse::<KeyName>().is_ok();
        if !is_legal {
            return Err(Error::bad_parameter(
                "a name pattern is a key name, or the beginning of one followed by *",
            ));
        }
        Ok(Self {
            text: text.to_ascii_lowercase().into(),
            is_prefix,
        })
    }
}

impl From<&KeyName> for NamePattern {
    fn from(name: &KeyName) -> Self {
        Self {
            text: name.lowered().into(),
            is_prefix: false,
        }
    }
}

/// In lower case.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamePattern({self})")
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
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
    fn patterns_are_names_or_prefixes_without_case() {
        let name = |text: &str| text.parse::<KeyName>().unwrap();
        let matches = |pattern: &str, text: &str| {
            pattern.parse::<NamePattern>().unwrap().matches(&name(text))
        };
        assert!(matches("*", "anything"));
        assert!(matches("a-*", "A-"));
        assert!(matches("A-*", "a-b"));
        assert!(matches("Exact", "eXACT"));
        assert!(!matches("exact", "exactly"));
        assert!(!matches("a-b*", "a-"));
        assert!(!matches("b*", "ab"));
        let longest = "x".repeat(KeyName::MAX_LENGTH);
        assert!(matches(&format!("{longest}*"), &longest));
        for wrong in ["", "a**", "*a", "a*b", "a b", "ä*", &format!("{longest}x*")] {
            assert!(wrong.parse::<NamePattern>().is_err(), "{wrong:?}");
        }
    }
}
