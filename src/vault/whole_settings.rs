//! The settings of a vault on their way into the backup of the whole, and out of it.

use std::sync::PoisonError;

use super::settings::{algorithms_change, deletion_change, setting};
use super::{Act, Inner};
use crate::error::Result;
use crate::format::settings::{self, AUDIT_OPTIONS};
use crate::model::settings::{DeletionSettings, VaultSettings};
use crate::store::CommitOptions;

impl Inner {
    pub(super) fn vault_settings(&self) -> VaultSettings {
        VaultSettings {
            deletion: self.deletion_settings(),
            algorithms: self.rules.get(),
            audit: self.recorder.lock_options().clone(),
            access_policies: self.access.all(),
        }
    }

    /// Puts the settings of another vault in force, all of them in one group. Access policies of principals that they
    /// do not name stay.
    ///
    /// Errors: `BadParameter` when there would be too many principals, and those of the store.
    pub(super) fn adopt_settings(&self, act: &Act<'_>, adopted: &VaultSettings) -> Result<()> {
        let access = self.access.lock_changes();
        let mut audit = self.recorder.lock_options();
        let mut deletion = self
            .deletion
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let _rules = self.lock_rules();

        let wanted = merged(*deletion, adopted.deletion);
        let hierarchy = &self.hierarchy;
        let options = settings::encode_audit_options(&adopted.audit)?;
        let mut changes = vec![
            deletion_change(hierarchy, wanted, &*self.entropy)?,
            algorithms_change(hierarchy, &adopted.algorithms, &*self.entropy)?,
            setting(hierarchy, AUDIT_OPTIONS, &options, &*self.entropy)?,
        ];
        let places = self.access.places(adopted.access_policies.keys())?;
        for (number, (principal, permissions)) in places.iter().zip(&adopted.access_policies) {
            let plaintext = settings::encode_access_policy(principal, permissions)?;
            changes.push(setting(hierarchy, *number, &plaintext, &*self.entropy)?);
        }
        act.commit(changes, CommitOptions::default())?;
        self.note_time();

        *deletion = wanted;
        self.rules.set(adopted.algorithms);
        self.recorder.obey(&adopted.audit);
        *audit = adopted.audit.clone();
        self.access.adopt(&places, &adopted.access_policies);
        // Where the log was off until now, the group could not take the entry along.
        act.record_now();
        drop(access);
        Ok(())
    }
}

/// Purge protection never ends, and where it is in force, retention gets no shorter.
fn merged(current: DeletionSettings, adopted: DeletionSettings) -> DeletionSettings {
    let days = |settings: DeletionSettings| settings.soft_delete.recoverable_days();
    if current.purge_protection {
        DeletionSettings {
            soft_delete: if days(adopted) > days(current) {
                adopted.soft_delete
            } else {
                current.soft_delete
            },
            purge_protection: true,
        }
    } else {
        adopted
    }
}
