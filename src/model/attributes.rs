//! Attributes of keys: validity, recovery, properties.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::time::Timestamp;
use crate::error::{Error, Result};

/// From when until when a version may encrypt, wrap and sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Validity {
    not_before: Option<Timestamp>,
    expires_on: Option<Timestamp>,
}

impl Validity {
    /// Errors: `BadParameter` when the window ends before it begins.
    pub(crate) fn new(
        not_before: Option<Timestamp>,
        expires_on: Option<Timestamp>,
    ) -> Result<Self> {
        if let (Some(start), Some(end)) = (not_before, expires_on)
            && start > end
        {
            return Err(Error::bad_parameter(
                "not-before is later than expires-on: such a key could never be used",
            ));
        }
        Ok(Self {
            not_before,
            expires_on,
        })
    }

    pub(crate) fn has_dates(self) -> bool {
        self.not_before.is_some() || self.expires_on.is_some()
    }

    pub(crate) fn not_before(self) -> Option<Timestamp> {
        self.not_before
    }

    pub(crate) fn expires_on(self) -> Option<Timestamp> {
        self.expires_on
    }
}

/// What can become of a deleted key: Azure's `recoveryLevel`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RecoveryLevel {
    /// Deletion is final: the vault has no soft delete.
    Purgeable,
    /// Recoverable for 90 days; may be purged earlier.
    RecoverablePurgeable,
    /// Recoverable for 90 days; purged only then.
    Recoverable,
    /// Azure's level of protected subscriptions; never produced here.
    RecoverableProtectedSubscription,
    /// Recoverable for 7 to 89 days; may be purged earlier.
    CustomizedRecoverablePurgeable,
    /// Recoverable for 7 to 89 days; purged only then.
    CustomizedRecoverable,
    /// Azure's level of protected subscriptions; never produced here.
    CustomizedRecoverableProtectedSubscription,
}

impl RecoveryLevel {
    /// All levels.
    pub const ALL: [Self; 7] = [
        Self::Purgeable,
        Self::RecoverablePurgeable,
        Self::Recoverable,
        Self::RecoverableProtectedSubscription,
        Self::CustomizedRecoverablePurgeable,
        Self::CustomizedRecoverable,
        Self::CustomizedRecoverableProtectedSubscription,
    ];

    /// Azure's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purgeable => "Purgeable",
            Self::RecoverablePurgeable => "Recoverable+Purgeable",
            Self::Recoverable => "Recoverable",
            Self::RecoverableProtectedSubscription => "Recoverable+ProtectedSubscription",
            Self::CustomizedRecoverablePurgeable => "CustomizedRecoverable+Purgeable",
            Self::CustomizedRecoverable => "CustomizedRecoverable",
            Self::CustomizedRecoverableProtectedSubscription => {
                "CustomizedRecoverable+ProtectedSubscription"
            }
        }
    }
}

impl fmt::Display for RecoveryLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RecoveryLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| Error::bad_parameter("unknown recovery level"))
    }
}

impl Serialize for RecoveryLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RecoveryLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How long a deleted key can be recovered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoftDelete {
    /// 0 stands for off.
    days: u8,
}

impl SoftDelete {
    /// Deletion is final at once: what a test suite wants, and nobody else.
    pub const OFF: Self = Self { days: 0 };

    /// 90 days, the default.
    pub const DEFAULT: Self = Self { days: 90 };

    /// The longest that there is.
    pub(crate) const MAX_DAYS: u8 = 90;

    /// Keys are recoverable for `days` after their deletion.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) outside 7..=90.
    pub fn days(days: u8) -> Result<Self> {
        if (7..=Self::MAX_DAYS).contains(&days) {
            Ok(Self { days })
        } else {
            Err(Error::bad_parameter(format!(
                "deleted keys are recoverable for 7 to 90 days, not {days}"
            )))
        }
    }

    /// Days of recoverability; 0 when soft delete is off.
    #[must_use]
    pub const fn recoverable_days(self) -> u8 {
        self.days
    }

    /// Whether deletion is final at once.
    #[must_use]
    pub const fn is_off(self) -> bool {
        self.days == 0
    }

    /// The level that keys of a vault with this retention have.
    #[must_use]
    pub const fn recovery_level(self, purge_protection: bool) -> RecoveryLevel {
        match (self.days, purge_protection) {
            (0, _) => RecoveryLevel::Purgeable,
            (90, false) => RecoveryLevel::RecoverablePurgeable,
            (90, true) => RecoveryLevel::Recoverable,
            (_, false) => RecoveryLevel::CustomizedRecoverablePurgeable,
            (_, true) => RecoveryLevel::CustomizedRecoverable,
        }
    }
}

impl Default for SoftDelete {
    fn default() -> Self {
        Self::DEFAULT
    }
}
