//! What is told of the backup and the restore of a whole vault.

use crate::error::ErrorKind;
use crate::model::name::KeyName;
use crate::model::settings::VaultSettings;
use crate::seal::backup::BackupOrigin;

/// What [`Vault::backup_to`](crate::Vault::backup_to), [`Vault::restore_all_from`](crate::Vault::restore_all_from) and
/// [`Vault::restore_all_plan`](crate::Vault::restore_all_plan) tell after each key.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub(super) name: &'a KeyName,
    pub(super) outcome: KeyOutcome,
    pub(super) deleted: bool,
    pub(super) done: u64,
    pub(super) expected: u64,
}

impl Progress<'_> {
    /// The key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        self.name
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> KeyOutcome {
        self.outcome
    }

    /// Whether it is a deleted key, that can be recovered.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// How many keys were looked at, this one included.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// About how many there are: keys that are made or removed meanwhile make it more or less, and a deleted key whose
    /// scheduled purge date has come counts until [`Vault::maintain`](crate::Vault::maintain) removes it.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected
    }
}

/// What became of one key of a whole vault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyOutcome {
    /// It is in the backup.
    BackedUp,
    /// It is not in the backup, because [`Vault::backup_key`](crate::Vault::backup_key) refuses it.
    LeftOut(ErrorKind),
    /// It was restored, or got versions that it lacked.
    Restored,
    /// It was there with all its versions.
    Present,
    /// It was not restored, because [`Vault::restore_key`](crate::Vault::restore_key) refuses it.
    Conflict(ErrorKind),
    /// It was deleted, and its scheduled purge date has come since: it was not restored.
    Expired,
}

/// What [`Vault::backup_to`](crate::Vault::backup_to) wrote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VaultBackupReport {
    pub(super) keys: u64,
    pub(super) left_out: Vec<(KeyName, ErrorKind)>,
    pub(super) deleted: u64,
    pub(super) changed_meanwhile: bool,
}

impl VaultBackupReport {
    /// How many keys in use are in the backup.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The keys that are not in it, deleted ones too, and why: keys that may not leave their token, or have too many
    /// versions.
    #[must_use]
    pub fn left_out(&self) -> &[(KeyName, ErrorKind)] {
        &self.left_out
    }

    /// How many deleted keys are in the backup besides.
    #[must_use]
    pub fn deleted_keys(&self) -> u64 {
        self.deleted
    }

    /// Whether the vault was changed while it was backed up. Each key is in the backup as it was at one moment, but not
    /// all of them at the same one; keys that were made meanwhile may be missing.
    #[must_use]
    pub fn changed_meanwhile(&self) -> bool {
        self.changed_meanwhile
    }
}

/// What [`Vault::restore_all_from`](crate::Vault::restore_all_from) restored, or would restore as
/// [`Vault::restore_all_plan`](crate::Vault::restore_all_plan) tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultRestoreReport {
    pub(super) restored: u64,
    pub(super) deleted: u64,
    pub(super) present: u64,
    pub(super) conflicts: Vec<(KeyName, ErrorKind)>,
    pub(super) expired: Vec<KeyName>,
    pub(super) previously_purged: Vec<KeyName>,
    pub(super) left_out: u64,
    pub(super) origin: BackupOrigin,
    pub(super) vault_id: [u8; 16],
    pub(super) settings: Option<VaultSettings>,
}

impl VaultRestoreReport {
    /// How many keys were restored, or got versions that they lacked; deleted ones count too.
    #[must_use]
    pub fn restored(&self) -> u64 {
        self.restored
    }

    /// How many of them came back as deleted keys, with the dates of their deletion.
    #[must_use]
    pub fn restored_deleted(&self) -> u64 {
        self.deleted
    }

    /// How many keys were there already with all their versions.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.present
    }

    /// The keys that were not restored, and why.
    #[must_use]
    pub fn conflicts(&self) -> &[(KeyName, ErrorKind)] {
        &self.conflicts
    }

    /// The deleted keys that were not restored because their scheduled purge date has come.
    #[must_use]
    pub fn expired(&self) -> &[KeyName] {
        &self.expired
    }

    /// The restored keys that were purged from this vault in the last 90 days. A purge does not reach backups.
    #[must_use]
    pub fn previously_purged(&self) -> &[KeyName] {
        &self.previously_purged
    }

    /// How many keys the vault had that its backup does not hold.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whose word it is that the keys are those that were backed up.
    #[must_use]
    pub fn origin(&self) -> BackupOrigin {
        self.origin
    }

    /// The id of the vault that was backed up.
    #[must_use]
    pub fn vault_id(&self) -> &[u8; 16] {
        &self.vault_id
    }

    /// The settings of the vault that was backed up. They came into force here only with
    /// [`RestoreOptions::restore_settings`](crate::RestoreOptions::restore_settings).
    ///
    /// `None` when the backup has none, because an older version made it, or has some that this version cannot read.
    #[must_use]
    pub fn settings(&self) -> Option<&VaultSettings> {
        self.settings.as_ref()
    }
}
