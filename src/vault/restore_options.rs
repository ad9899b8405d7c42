//! How backups are restored, and what is told of it.

use crate::error::ErrorKind;
use crate::model::key::BackendId;
use crate::model::name::KeyName;
use crate::model::results::KeyBundle;
use crate::model::version::KeyVersion;
use crate::seal::backup::{BackupKey, BackupOrigin};
use crate::seal::hpke::RecipientKey;
use crate::secret::Passphrase;

/// How a backup is opened, and what is done with it.
///
/// # Examples
///
/// ```
/// use strongroom::{KeyName, Passphrase, RestoreOptions};
///
/// let passphrase = Passphrase::new("correct horse battery staple")?;
/// let options = RestoreOptions::new()
///     .passphrase(&passphrase)
///     .accept_unauthenticated(true)
///     .rename_to(KeyName::from_static("signer-of-2024"));
/// # let _ = options;
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions<'a> {
    pub(super) by: Option<BackupKey<'a>>,
    pub(super) max_kdf_work_kib: Option<u64>,
    pub(super) accept_unauthenticated: bool,
    pub(super) rename_to: Option<KeyName>,
    pub(super) merge: bool,
    pub(super) settings: bool,
}

impl<'a> RestoreOptions<'a> {
    /// Opened by the vault's security domain, under the key's own name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opened by the private key of one of the recipients.
    #[must_use]
    pub const fn recipient_key(mut self, key: &'a RecipientKey) -> Self {
        self.by = Some(BackupKey::recipient(key));
        self
    }

    /// Opened by the passphrase.
    #[must_use]
    pub const fn passphrase(mut self, passphrase: &'a Passphrase) -> Self {
        self.by = Some(BackupKey::passphrase(passphrase));
        self
    }

    /// The most KiB times passes that the hash of the passphrase may cost; by default the limit of this handle,
    /// [`VaultOptions::max_kdf_work_kib`](crate::VaultOptions::max_kdf_work_kib).
    #[must_use]
    pub const fn max_kdf_work_kib(mut self, kib: u64) -> Self {
        self.max_kdf_work_kib = Some(kib);
        self
    }

    /// Whether a backup may be restored that no vault of this security domain vouches for.
    ///
    /// Anyone who knows a public key or the passphrase can seal a key that he knows, or that he chose to be weak in
    /// a way that no check finds. Say yes only for a blob whose way to you is known.
    #[must_use]
    pub const fn accept_unauthenticated(mut self, accept: bool) -> Self {
        self.accept_unauthenticated = accept;
        self
    }

    /// Restores under another name. The versions keep their ids.
    #[must_use]
    pub fn rename_to(mut self, name: KeyName) -> Self {
        self.rename_to = Some(name);
        self
    }

    /// When the very key of the backup is in the vault: adds the versions that it lacks. What is there stays as it is,
    /// except that the counts of its AES-GCM encryptions rise to those of the backup where these are larger.
    #[must_use]
    pub const fn merge_missing_versions(mut self) -> Self {
        self.merge = true;
        self
    }

    /// With a whole vault: puts its settings in force here, once all keys are read. That is retention and purge
    /// protection, refused algorithms, the options of the audit log, and the access policies of the principals that it
    /// names; those of others stay.
    ///
    /// Purge protection is never taken away, and retention gets no shorter where it is in force.
    /// [`Vault::restore_all_plan`](crate::Vault::restore_all_plan) shows the settings before.
    ///
    /// Access policies give rights: what [`accept_unauthenticated`](Self::accept_unauthenticated) says of keys is true
    /// of them too.
    #[must_use]
    pub const fn restore_settings(mut self) -> Self {
        self.settings = true;
        self
    }
}

/// What [`Vault::restore_key`](crate::Vault::restore_key) restored.
#[derive(Clone, PartialEq, Debug)]
pub struct RestoreResult {
    pub(super) bundle: KeyBundle,
    pub(super) version_count: usize,
    pub(super) restored_versions: usize,
    pub(super) previously_purged: bool,
    pub(super) origin: BackupOrigin,
}

impl RestoreResult {
    /// The newest version of the restored key.
    #[must_use]
    pub fn key(&self) -> &KeyBundle {
        &self.bundle
    }

    /// How many versions the key has.
    #[must_use]
    pub fn version_count(&self) -> usize {
        self.version_count
    }

    /// How many of them came from the backup: all, unless versions were merged into a key.
    #[must_use]
    pub fn restored_versions(&self) -> usize {
        self.restored_versions
    }

    /// Whether this very key was purged from this vault in the last 90 days. A purge does not reach
    /// backups.
    #[must_use]
    pub fn previously_purged(&self) -> bool {
        self.previously_purged
    }

    /// Whose word it is that the key is the one that was backed up.
    #[must_use]
    pub fn origin(&self) -> BackupOrigin {
        self.origin
    }
}

/// What stands at the name under which a backup would be restored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NameState {
    /// Nothing.
    Free,
    /// The key of the backup itself.
    SameKey,
    /// Another key.
    OtherKey,
    /// A deleted key that can be recovered.
    Deleted,
}

/// What [`Vault::restore_key_with`](crate::Vault::restore_key_with) would do, and what stands in its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestorePlan {
    pub(super) name: KeyName,
    pub(super) name_state: NameState,
    pub(super) origin: BackupOrigin,
    pub(super) present: Vec<KeyVersion>,
    pub(super) missing: Vec<KeyVersion>,
    pub(super) diverged: bool,
    pub(super) previously_purged: bool,
    pub(super) missing_backends: Vec<BackendId>,
    pub(super) error: Option<ErrorKind>,
}

impl RestorePlan {
    /// The name under which the key would be restored.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What stands at that name now.
    #[must_use]
    pub fn name_state(&self) -> NameState {
        self.name_state
    }

    /// Whose word it is that the key is the one that was backed up.
    #[must_use]
    pub fn origin(&self) -> BackupOrigin {
        self.origin
    }

    /// The versions of the backup that the vault's key has, oldest first.
    #[must_use]
    pub fn present_versions(&self) -> &[KeyVersion] {
        &self.present
    }

    /// The versions of the backup that would come back, oldest first.
    #[must_use]
    pub fn missing_versions(&self) -> &[KeyVersion] {
        &self.missing
    }

    /// Whether the key went on differently here and where the backup was made: then they cannot be merged.
    #[must_use]
    pub fn diverged(&self) -> bool {
        self.diverged
    }

    /// Whether this very key was purged from this vault in the last 90 days.
    #[must_use]
    pub fn previously_purged(&self) -> bool {
        self.previously_purged
    }

    /// The backends that versions of the backup need and that are not attached.
    #[must_use]
    pub fn missing_backends(&self) -> &[BackendId] {
        &self.missing_backends
    }

    /// The error that a restore with the same options would give, as far as it can be told without validating the
    /// keys; `None` when nothing stands in its way.
    #[must_use]
    pub fn expected_error(&self) -> Option<ErrorKind> {
        self.error
    }
}
