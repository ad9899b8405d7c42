//! The audit log: what an entry says, and what is recorded.

use std::num::NonZeroU32;

use serde::Serialize;

use super::name::KeyName;
use super::principal::Principal;
use super::version::KeyVersion;
use crate::error::{Error, Result};

/// One entry of the audit log. It never holds plaintext, digests, key bytes or values of tags.
///
/// Serialised as one JSON object; absent members are left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AuditEntry {
    pub(crate) seq: u64,
    pub(crate) time_ms: u64,
    pub(crate) operation: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<KeyName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<KeyVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<Principal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<Principal>,
    pub(crate) count: u32,
}

impl AuditEntry {
    /// The number of the entry; numbers follow each other without gaps, from 0.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// When it happened, in milliseconds since 1970-01-01T00:00:00 UTC.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// What was done, as Azure's resource logs name it (`KeyCreate`, `KeySign`, ...); names that begin with `Vault`
    /// or `Audit`, `KeyRewrap`, `KeyExplain`, `KeyAttestationGet` and `RandomBytesGet` are this library's own.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// The key. For `KeyRewrap` it is the one that unwrapped.
    #[must_use]
    pub fn key(&self) -> Option<&KeyName> {
        self.key.as_ref()
    }

    /// The version that was made or used; for a refused operation the one that was asked for.
    #[must_use]
    pub fn version(&self) -> Option<KeyVersion> {
        self.version
    }

    /// For whom an access policy is that was set, removed or taken up.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The name of the [`ErrorKind`](crate::ErrorKind) of an operation that failed; `None` for success.
    #[must_use]
    pub fn error_kind(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Who did it; `None` for a handle that acts for no principal.
    #[must_use]
    pub fn actor(&self) -> Option<&Principal> {
        self.actor.as_ref()
    }

    /// How many operations the entry stands for: 1, or more for one of a sample; for `AuditEntriesLost` how many
    /// entries found no room, for `VaultAuditCut` how many were cut off.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// Which reads and uses of keys are recorded. Changes, backups, and everything that was refused for want of a permission are
/// recorded whenever the log is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AuditReads {
    /// None.
    #[default]
    Off,
    /// One of so many; its entry says how many it stands for.
    Sampled(NonZeroU32),
    /// All.
    All,
}

/// What a vault records in its audit log, and for how long it keeps that. The options are stored in the vault.
///
/// # Examples
///
/// ```
/// use strongroom::{AuditOptions, AuditReads, VaultOptions};
///
/// let vault = VaultOptions::new()
///     .audit(AuditOptions::on().reads(AuditReads::All).retain_days(365)?)
///     .create_in_memory()?;
/// assert!(vault.audit_options()?.is_on());
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditOptions {
    pub(crate) on: bool,
    pub(crate) reads: AuditReads,
    pub(crate) retained_entries: u32,
    pub(crate) retained_days: Option<u32>,
}

impl AuditOptions {
    /// How many entries are kept unless told otherwise.
    pub const DEFAULT_RETAINED_ENTRIES: u32 = 100_000;
    /// The most entries that can be kept.
    pub const MAX_RETAINED_ENTRIES: u32 = 10_000_000;

    /// Nothing is recorded: what a vault has that was never told otherwise. Entries that exist stay.
    #[must_use]
    pub fn off() -> Self {
        Self {
            on: false,
            reads: AuditReads::Off,
            retained_entries: Self::DEFAULT_RETAINED_ENTRIES,
            retained_days: None,
        }
    }

    /// Changes are recorded, each in the same commit as the change.
    #[must_use]
    pub fn on() -> Self {
        Self {
            on: true,
            ..Self::off()
        }
    }

    /// Whether reads and uses of keys are recorded too.
    #[must_use]
    pub fn reads(mut self, reads: AuditReads) -> Self {
        self.reads = reads;
        self
    }

    /// How many entries at least [`Vault::maintain`](crate::Vault::maintain) leaves: 100,000 by default.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) outside 1 to 10,000,000.
    pub fn retain_entries(mut self, entries: u32) -> Result<Self> {
        if !(1..=Self::MAX_RETAINED_ENTRIES).contains(&entries) {
            return Err(Error::bad_parameter(format!(
                "an audit log keeps 1 to {} entries, not {entries}",
                Self::MAX_RETAINED_ENTRIES
            )));
        }
        self.retained_entries = entries;
        Ok(self)
    }

    /// For how many days [`Vault::maintain`](crate::Vault::maintain) keeps entries; by default age does not matter.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for 0.
    pub fn retain_days(mut self, days: u32) -> Result<Self> {
        if days == 0 {
            return Err(Error::bad_parameter(
                "an audit log keeps its entries for at least one day",
            ));
        }
        self.retained_days = Some(days);
        Ok(self)
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Which reads and uses of keys are recorded.
    #[must_use]
    pub fn recorded_reads(&self) -> AuditReads {
        self.reads
    }

    /// How many entries are kept at least.
    #[must_use]
    pub fn retained_entries(&self) -> u32 {
        self.retained_entries
    }

    /// For how many days entries are kept; `None` when age does not matter.
    #[must_use]
    pub fn retained_days(&self) -> Option<u32> {
        self.retained_days
    }
}
