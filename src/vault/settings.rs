//! Settings that change while a vault is open.

use std::sync::{Arc, PoisonError};

use super::{Inner, Vault};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::IndexKey;
use crate::format::settings::{self, ALGORITHM_RULES, DELETION_SETTINGS};
use crate::model::settings::{AlgorithmRules, DeletionSettings};
use crate::seal::hierarchy::Hierarchy;
use crate::store::Change;

impl Vault {
    /// Retention of deleted keys and purge protection.
    #[must_use]
    pub fn deletion_settings(&self) -> DeletionSettings {
        self.inner.deletion_settings()
    }

    /// The algorithms that this vault refuses.
    #[must_use]
    pub fn algorithm_rules(&self) -> AlgorithmRules {
        (*self.inner.algorithm_rules()).clone()
    }

    /// Switches purge protection on, for ever: nobody can purge a deleted key before its scheduled date.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) in a vault without soft delete, and the errors of storage.
    pub fn enable_purge_protection(&self) -> Result<()> {
        let _operation = self.inner.enter("enable_purge_protection")?;
        let enable = || {
            let mut current = self
                .inner
                .deletion
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if current.soft_delete.is_off() {
                return Err(Error::new(
                    ErrorKind::BadParameter,
                    "purge protection needs soft delete, which this vault was created without",
                ));
            }
            let protected = DeletionSettings {
                purge_protection: true,
                ..*current
            };
            self.inner.store.commit(vec![deletion_change(
                &self.inner.hierarchy,
                protected,
                &*self.inner.entropy,
            )?])?;
            self.inner.note_time();
            *current = protected;
            Ok(())
        };
        enable().map_err(|error: Error| error.with_operation("enable_purge_protection"))
    }

    /// Replaces the set of refused algorithms; operations that begin afterwards obey it.
    ///
    /// # Errors
    ///
    /// The errors of storage.
    pub fn set_algorithm_rules(&self, rules: AlgorithmRules) -> Result<()> {
        let _operation = self.inner.enter("set_algorithm_rules")?;
        let set = || {
            let mut current = self
                .inner
                .rules
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            self.inner.store.commit(vec![algorithms_change(
                &self.inner.hierarchy,
                &rules,
                &*self.inner.entropy,
            )?])?;
            self.inner.note_time();
            *current = Arc::new(rules);
            Ok(())
        };
        set().map_err(|error: Error| error.with_operation("set_algorithm_rules"))
    }
}

pub(super) fn deletion_change(
    hierarchy: &Hierarchy,
    settings: DeletionSettings,
    entropy: &dyn Entropy,
) -> Result<Change> {
    let plaintext = settings::encode_deletion(settings)?;
    setting(hierarchy, DELETION_SETTINGS, &plaintext, entropy)
}

pub(super) fn algorithms_change(
    hierarchy: &Hierarchy,
    rules: &AlgorithmRules,
    entropy: &dyn Entropy,
) -> Result<Change> {
    let plaintext = settings::encode_algorithms(rules)?;
    setting(hierarchy, ALGORITHM_RULES, &plaintext, entropy)
}

fn setting(
    hierarchy: &Hierarchy,
    number: u64,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Change> {
    let index = IndexKey::settings(number);
    let record = hierarchy.seal_record(&*hierarchy.meta_key()?, &index, 0, plaintext, entropy)?;
    Ok(Change::Put(index, record))
}

impl Inner {
    /// What a vault without this setting has: an older build wrote it.
    pub(super) fn missing_setting() -> Error {
        Error::new(
            ErrorKind::Tampered,
            "a setting that every vault has is missing",
        )
    }
}
