//! Times.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A moment in whole seconds since 1970-01-01T00:00:00 UTC: Azure's IntDate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp {
    unix_seconds: u64,
}

impl Timestamp {
    /// From seconds since 1970-01-01T00:00:00 UTC.
    #[must_use]
    pub const fn from_unix_seconds(unix_seconds: u64) -> Self {
        Self { unix_seconds }
    }

    pub(crate) const fn from_unix_milliseconds(unix_milliseconds: u64) -> Self {
        Self {
            unix_seconds: unix_milliseconds / 1_000,
        }
    }

    /// Seconds since 1970-01-01T00:00:00 UTC.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.unix_seconds
    }

    /// This moment and `days` times 86,400 seconds; stops at the largest representable moment.
    #[must_use]
    pub const fn plus_days(self, days: u32) -> Self {
        Self {
            unix_seconds: self.unix_seconds.saturating_add(days as u64 * 86_400),
        }
    }

    /// This moment and `seconds` more; stops at the largest representable moment.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self {
            unix_seconds: self.unix_seconds.saturating_add(seconds),
        }
    }
}

/// Seconds since 1970, as on Azure's wire.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.unix_seconds)
    }
}
