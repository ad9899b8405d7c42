//! Settings that change while a vault is open.

use std::sync::PoisonError;

use super::{Inner, Operation, Subject, Vault};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::IndexKey;
use crate::format::settings::{
    self, ALGORITHM_RULES, DELETION_SETTINGS, DOMAIN_EPOCHS, DomainEpochs,
};
use crate::model::settings::{AlgorithmRules, DeletionSettings};
use crate::seal::hierarchy::Hierarchy;
use crate::store::{Change, CommitOptions};

impl Vault {
    /// Retention of deleted keys and purge protection.
    #[must_use]
    pub fn deletion_settings(&self) -> DeletionSettings {
        self.inner.deletion_settings()
    }

    /// The algorithms that this vault refuses.
    #[must_use]
    pub fn algorithm_rules(&self) -> AlgorithmRules {
        self.inner.rules.get()
    }

    /// Switches purge protection on, for ever: nobody can purge a deleted key before its scheduled date.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) in a vault without soft delete, and the errors of storage.
    pub fn enable_purge_protection(&self) -> Result<()> {
        self.act(Operation::EnablePurgeProtection, Subject::Vault, |act| {
            let inner = act.inner();
            let mut current = inner
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
            let change = deletion_change(&inner.hierarchy, protected, &*inner.entropy)?;
            act.commit(vec![change], CommitOptions::default())?;
            inner.note_time();
            *current = protected;
            Ok(())
        })
    }

    /// Replaces the set of refused algorithms; operations that begin afterwards obey it.
    ///
    /// # Errors
    ///
    /// The errors of storage.
    pub fn set_algorithm_rules(&self, rules: AlgorithmRules) -> Result<()> {
        self.act(Operation::SetAlgorithmRules, Subject::Vault, |act| {
            let inner = act.inner();
            let _one_at_a_time = inner.lock_rules();
            let change = algorithms_change(&inner.hierarchy, &rules, &*inner.entropy)?;
            act.commit(vec![change], CommitOptions::default())?;
            inner.note_time();
            inner.rules.set(rules);
            Ok(())
        })
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

pub(super) fn domain_epochs_change(
    hierarchy: &Hierarchy,
    epochs: &DomainEpochs,
    entropy: &dyn Entropy,
) -> Result<Change> {
    let plaintext = settings::encode_domain_epochs(epochs)?;
    setting(hierarchy, DOMAIN_EPOCHS, &plaintext, entropy)
}

pub(super) fn setting(
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
