//! Tags.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Up to 15 names with values, each of up to 256 characters, stored with a key version.
///
/// Nothing is trimmed. Values do not appear in `Debug` output or in errors.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tags {
    entries: BTreeMap<String, String>,
}

impl Tags {
    /// The most tags that a version has.
    pub const MAX_COUNT: usize = 15;
    /// The longest name and the longest value, in characters.
    pub const MAX_CHARACTERS: usize = 256;

    /// No tags.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }

    /// Adds a tag or replaces its value.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) when the name is empty, when name or value is
    /// longer than 256 characters, or when it would be the 16th tag.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Result<()> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || name.chars().count() > Self::MAX_CHARACTERS {
            return Err(Error::bad_parameter(
                "the name of a tag has 1 to 256 characters",
            ));
        }
        if value.chars().count() > Self::MAX_CHARACTERS {
            return Err(Error::bad_parameter(format!(
                "the value of tag {name:?} has more than 256 characters"
            )));
        }
        if self.entries.len() == Self::MAX_COUNT && !self.entries.contains_key(&name) {
            return Err(Error::bad_parameter("a key has at most 15 tags"));
        }
        self.entries.insert(name, value);
        Ok(())
    }

    /// The value of a tag.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(String::as_str)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many tags there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Checks every entry.
    pub(crate) fn try_from_entries(
        entries: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut tags = Self::new();
        for (name, value) in entries {
            tags.insert(name, value)?;
        }
        Ok(tags)
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, String>::deserialize(deserializer)?;
        Self::try_from_entries(entries).map_err(serde::de::Error::custom)
    }
}
