//! Settings of a vault.

use std::collections::{BTreeMap, BTreeSet};

use super::algorithm::{CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use super::attributes::{RecoveryLevel, SoftDelete};
use super::audit::AuditOptions;
use super::permission::Permissions;
use super::principal::Principal;
use crate::error::{Error, Result};

/// An algorithm of any kind, by its JWA name.
fn is_known(name: &str) -> bool {
    name.parse::<SignatureAlgorithm>().is_ok()
        || name.parse::<EncryptionAlgorithm>().is_ok()
        || name.parse::<WrapAlgorithm>().is_ok()
}

/// Which algorithms a vault refuses, whatever its keys could do.
///
/// A new vault refuses `RSNULL` and nothing else.
///
/// # Examples
///
/// ```
/// let rules = strongroom::AlgorithmRules::default().refuse("RSA1_5")?;
/// assert!(rules.refused().any(|name| name == "RSA1_5"));
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlgorithmRules {
    refused: BTreeSet<Box<str>>,
}

impl AlgorithmRules {
    /// Refuses an algorithm in every operation.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for a name that is no algorithm's.
    pub fn refuse(mut self, name: &str) -> Result<Self> {
        if !is_known(name) {
            return Err(Error::bad_parameter("this is not the name of an algorithm"));
        }
        self.refused.insert(name.into());
        Ok(self)
    }

    /// Permits an algorithm that was refused; `RSNULL` signs whatever it is given.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for a name that is no algorithm's.
    pub fn permit(mut self, name: &str) -> Result<Self> {
        if !is_known(name) {
            return Err(Error::bad_parameter("this is not the name of an algorithm"));
        }
        self.refused.remove(name);
        Ok(self)
    }

    /// The names of the refused algorithms.
    pub fn refused(&self) -> impl Iterator<Item = &str> {
        self.refused.iter().map(AsRef::as_ref)
    }

    pub(crate) fn none_refused() -> Self {
        Self {
            refused: BTreeSet::new(),
        }
    }

    pub(crate) fn permits(&self, operation: CryptoOperation) -> bool {
        !self.refused.contains(operation.algorithm())
    }
}

impl Default for AlgorithmRules {
    fn default() -> Self {
        Self {
            refused: BTreeSet::from([Box::from(SignatureAlgorithm::RsNull.as_str())]),
        }
    }
}

/// How a vault treats deleted keys. The retention is fixed when the vault is created, or comes with the settings of
/// another vault ([`RestoreOptions::restore_settings`](crate::RestoreOptions::restore_settings)); purge protection can
/// be switched on later, and never off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeletionSettings {
    pub(crate) soft_delete: SoftDelete,
    pub(crate) purge_protection: bool,
}

impl DeletionSettings {
    /// How long deleted keys are recoverable.
    #[must_use]
    pub const fn soft_delete(self) -> SoftDelete {
        self.soft_delete
    }

    /// Whether deleted keys stay until their scheduled purge date.
    #[must_use]
    pub const fn purge_protection(self) -> bool {
        self.purge_protection
    }

    /// The recovery level of the vault's keys.
    #[must_use]
    pub const fn recovery_level(self) -> RecoveryLevel {
        self.soft_delete.recovery_level(self.purge_protection)
    }
}

/// What a vault was told besides its keys: what the backup of a whole vault holds of it.
///
/// Its unlock slots, its security domain, its own identity key, its audit log and what it remembers of purged keys are
/// not among these settings: they are not for another vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultSettings {
    pub(crate) deletion: DeletionSettings,
    pub(crate) algorithms: AlgorithmRules,
    pub(crate) audit: AuditOptions,
    pub(crate) access_policies: BTreeMap<Principal, Permissions>,
}

impl VaultSettings {
    /// Retention of deleted keys and purge protection.
    #[must_use]
    pub const fn deletion_settings(&self) -> DeletionSettings {
        self.deletion
    }

    /// The algorithms that the vault refuses.
    #[must_use]
    pub const fn algorithm_rules(&self) -> &AlgorithmRules {
        &self.algorithms
    }

    /// What the audit log records, and for how long it is kept.
    #[must_use]
    pub const fn audit_options(&self) -> &AuditOptions {
        &self.audit
    }

    /// What each principal may do.
    #[must_use]
    pub const fn access_policies(&self) -> &BTreeMap<Principal, Permissions> {
        &self.access_policies
    }
}
