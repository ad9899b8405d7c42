//! Settings of a vault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::algorithm::{CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use super::attributes::{RecoveryLevel, SoftDelete};
use super::audit::AuditOptions;
use super::permission::Permissions;
use super::principal::Principal;
use crate::error::{Error, Result};

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
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AlgorithmRules {
    /// A bit for each algorithm of each kind: every operation looks here.
    refused: u64,
}

impl AlgorithmRules {
    /// Refuses an algorithm in every operation.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for a name that is no algorithm's.
    pub fn refuse(mut self, name: &str) -> Result<Self> {
        self.refused |= bits_of(name)?;
        Ok(self)
    }

    /// Permits an algorithm that was refused; `RSNULL` signs whatever it is given.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for a name that is no algorithm's.
    pub fn permit(mut self, name: &str) -> Result<Self> {
        self.refused &= !bits_of(name)?;
        Ok(self)
    }

    /// The names of the refused algorithms, in alphabetical order.
    pub fn refused(&self) -> impl Iterator<Item = &str> {
        CryptoOperation::all()
            .filter(|operation| !self.permits(*operation))
            .map(CryptoOperation::algorithm)
            .collect::<BTreeSet<_>>()
            .into_iter()
    }

    pub(crate) const fn none_refused() -> Self {
        Self { refused: 0 }
    }

    pub(crate) const fn permits(&self, operation: CryptoOperation) -> bool {
        self.refused & bit_of(operation) == 0
    }
}

impl Default for AlgorithmRules {
    fn default() -> Self {
        Self {
            refused: bit_of(CryptoOperation::Sign(SignatureAlgorithm::RsNull)),
        }
    }
}

impl fmt::Debug for AlgorithmRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused: Vec<_> = self.refused().collect();
        f.debug_struct("AlgorithmRules")
            .field("refused", &refused)
            .finish()
    }
}

/// Those in force in a vault, for any number of readers.
#[derive(Debug)]
pub(crate) struct RulesInForce {
    refused: AtomicU64,
}

impl RulesInForce {
    pub(crate) const fn new(rules: AlgorithmRules) -> Self {
        Self {
            refused: AtomicU64::new(rules.refused),
        }
    }

    pub(crate) fn get(&self) -> AlgorithmRules {
        AlgorithmRules {
            refused: self.refused.load(Ordering::SeqCst),
        }
    }

    /// Operations that begin afterwards obey them.
    pub(crate) fn set(&self, rules: AlgorithmRules) {
        self.refused.store(rules.refused, Ordering::SeqCst);
    }
}

const MOST_OF_A_KIND: u64 = u64::BITS as u64 / 3;

const _: () = {
    assert!(SignatureAlgorithm::ALL.len() as u64 <= MOST_OF_A_KIND);
    assert!(EncryptionAlgorithm::ALL.len() as u64 <= MOST_OF_A_KIND);
    assert!(WrapAlgorithm::ALL.len() as u64 <= MOST_OF_A_KIND);
};

const fn bit_of(operation: CryptoOperation) -> u64 {
    use CryptoOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
    1 << match operation {
        Sign(algorithm) | Verify(algorithm) => algorithm as u64,
        Encrypt(algorithm) | Decrypt(algorithm) => MOST_OF_A_KIND + algorithm as u64,
        WrapKey(algorithm) | UnwrapKey(algorithm) => 2 * MOST_OF_A_KIND + algorithm as u64,
    }
}

/// Of the algorithms of any kind that have this JWA name.
fn bits_of(name: &str) -> Result<u64> {
    let bits = CryptoOperation::all()
        .filter(|operation| operation.algorithm() == name)
        .fold(0, |bits, operation| bits | bit_of(operation));
    if bits == 0 {
        return Err(Error::bad_parameter("this is not the name of an algorithm"));
    }
    Ok(bits)
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
