//! Deleting, recovering and purging keys.

use super::records::{Removal, StoredKey};
use super::versions::name_is_deleted;
use super::{Act, Inner, Operation, Shredding, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::{Deletion, VersionRecord};
use crate::model::name::KeyName;
use crate::model::results::{DeletedKey, DeletionDates, KeyBundle};
use crate::model::time::Timestamp;
use crate::policy::{self, Lifecycle};
use crate::store::{Change, CommitOptions, View};

impl Vault {
    /// Deletes a key with all its versions: Azure's
    /// [Delete Key](https://learn.microsoft.com/rest/api/keyvault/keys/delete-key/delete-key).
    ///
    /// The key can be recovered until its scheduled purge date; in a vault without soft delete it is
    /// gone at once. **Durability:** as every change.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound), also when it is deleted already; and the errors of storage.
    pub fn delete_key(&self, name: &KeyName) -> Result<DeletedKey> {
        self.act(Operation::DeleteKey, name, |act| {
            act.inner().delete(act, name)
        })
    }

    /// A deleted key: Azure's
    /// [Get Deleted Key](https://learn.microsoft.com/rest/api/keyvault/keys/get-deleted-key/get-deleted-key).
    ///
    /// # Errors
    ///
    /// [`DeletedKeyNotFound`](ErrorKind::DeletedKeyNotFound), and the errors of storage.
    pub fn get_deleted_key(&self, name: &KeyName) -> Result<DeletedKey> {
        self.act(Operation::GetDeletedKey, name, |act| {
            let inner = act.inner();
            let (key, newest) = inner.store.read(|view| {
                let key = inner.load_deleted(view, name)?;
                let newest = inner.load_newest(view, &key)?;
                Ok((key, newest))
            })?;
            Ok(inner.deleted_key(&key, newest))
        })
    }

    /// Brings a deleted key back, with all versions, properties and tags: Azure's
    /// [Recover Deleted Key](https://learn.microsoft.com/rest/api/keyvault/keys/recover-deleted-key/recover-deleted-key).
    /// The answer shows the newest version.
    ///
    /// # Errors
    ///
    /// [`DeletedKeyNotFound`](ErrorKind::DeletedKeyNotFound), and the errors of storage.
    pub fn recover_deleted_key(&self, name: &KeyName) -> Result<KeyBundle> {
        self.act(Operation::RecoverDeletedKey, name, |act| {
            act.inner().recover(act, name)
        })
    }

    /// Removes a deleted key for ever: Azure's
    /// [Purge Deleted Key](https://learn.microsoft.com/rest/api/keyvault/keys/purge-deleted-key/purge-deleted-key).
    ///
    /// The records are gone when this returns, and the name is free. What the storage engine's files still hold of
    /// them is shredded: the key encryption key is replaced, as [`Vault::rotate_kek`] does, and without the old one
    /// nobody opens them, whoever has the files and the master key. In a vault with more than 10,000 keys that is
    /// left to [`Vault::maintain`], and the answer is [`Shredding::Pending`]. Purges that run at the same time
    /// share one replacement.
    ///
    /// Out of reach are objects in a token, which are destroyed by the token; backups, which are independent copies;
    /// and copies of the header made before, by a file system or a disk that does not overwrite in place.
    ///
    /// # Errors
    ///
    /// [`DeletedKeyNotFound`](ErrorKind::DeletedKeyNotFound);
    /// [`PurgeRefused`](ErrorKind::PurgeRefused) under purge protection, and in a vault without soft delete,
    /// where deletion was final; and the errors of storage.
    pub fn purge_deleted_key(&self, name: &KeyName) -> Result<Shredding> {
        self.act(Operation::PurgeDeletedKey, name, |act| {
            act.inner().purge(act, name)?;
            act.inner().shred_if_small()
        })
    }
}

impl Inner {
    fn delete(&self, act: &Act<'_>, name: &KeyName) -> Result<DeletedKey> {
        let _guard = self.locks.lock(name);
        let now = self.now();
        let soft_delete = self.deletion_settings().soft_delete();
        let (mut key, newest, removal) = self.store.read(|view| {
            let key = self.load_active(view, name)?;
            let newest = self.load_newest(view, &key)?;
            let removal = soft_delete
                .is_off()
                .then(|| self.remove_key(view, &key))
                .transpose()?;
            Ok((key, newest, removal))
        })?;
        if let Some(removal) = removal {
            self.commit_purge(act, name, removal, now)?;
            return Ok(DeletedKey {
                bundle: self.bundle(&key.object, newest),
                deletion: DeletionDates {
                    deleted_on: now,
                    scheduled_purge: None,
                },
            });
        }
        key.object.deletion = Some(Deletion {
            deleted: now,
            scheduled_purge: now.plus_days(soft_delete.recoverable_days().into()),
        });
        let sealing = self.header.sealing();
        self.commit(act, name, vec![self.put_key(&sealing, &key)?])?;
        drop(sealing);
        Ok(self.deleted_key(&key, newest))
    }

    fn recover(&self, act: &Act<'_>, name: &KeyName) -> Result<KeyBundle> {
        let _guard = self.locks.lock(name);
        let (mut key, newest) = self.store.read(|view| {
            let key = self.load_deleted(view, name)?;
            let newest = self.load_newest(view, &key)?;
            Ok((key, newest))
        })?;
        key.object.deletion = None;
        let sealing = self.header.sealing();
        self.commit(act, name, vec![self.put_key(&sealing, &key)?])?;
        drop(sealing);
        Ok(self.bundle(&key.object, newest))
    }

    pub(super) fn purge(&self, act: &Act<'_>, name: &KeyName) -> Result<()> {
        let settings = self.deletion_settings();
        if settings.soft_delete().is_off() {
            return Err(Error::new(
                ErrorKind::PurgeRefused,
                "this vault has no soft delete: a deleted key is gone already",
            ));
        }
        let _guard = self.locks.lock(name);
        let removal = self.store.read(|view| {
            let key = self.load_deleted(view, name)?;
            self.remove_key(view, &key)
        })?;
        if settings.purge_protection() {
            return Err(Error::new(
                ErrorKind::PurgeRefused,
                "purge is not allowed because purge protection is enabled for this vault; the key \
                 goes at its scheduled purge date",
            ));
        }
        self.commit_purge(act, name, removal, self.now())
    }

    /// Removes the records and leaves a tombstone, in one group; then backends destroy what they hold.
    pub(super) fn commit_purge(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        removal: Removal,
        now: Timestamp,
    ) -> Result<()> {
        let Removal {
            object_id,
            mut changes,
            destruction,
        } = removal;
        changes.extend(self.begin_destruction(&destruction)?);
        self.commit_removal(act, name, changes, &object_id, now)?;
        self.finish_destruction(&destruction);
        Ok(())
    }

    fn commit_removal(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        mut removal: Vec<Change>,
        object_id: &[u8; 16],
        now: Timestamp,
    ) -> Result<()> {
        // The list stays locked until its record is durable, so that tombstones keep their order.
        let mut tombstones = self.lock_tombstones();
        let id = self.hierarchy.tombstone_prf(object_id);
        let (change, list) = tombstones.with(self, id, now)?;
        removal.push(change);
        let options = CommitOptions {
            raise_shred_term: true,
            ..CommitOptions::default()
        };
        let change = self.forget_gcm_counter(name);
        let committed = act.commit(removal, options);
        drop(change);
        self.note_time();
        committed?;
        *tombstones = list;
        Ok(())
    }

    /// Errors: `ClockJump` when the wall clock is further ahead of the last believed reading than is plausible.
    pub(super) fn require_plausible_clock(&self) -> Result<()> {
        let last = self.store.max_time_seen_ms();
        let now_ms = self.clock.unix_milliseconds();
        if policy::clock_is_plausible(last, now_ms) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ClockJump,
            format!(
                "the clock is {} days after the last time that this vault believed, and deleted keys would \
                 be destroyed on its word; check it, then call maintain with \
                 MaintenanceOptions::confirm_clock",
                now_ms.saturating_sub(last) / 86_400_000
            ),
        ))
    }

    fn load_deleted(&self, view: &View<'_>, name: &KeyName) -> Result<StoredKey> {
        self.load_key(view, name)?
            .filter(|key| policy::lifecycle(&key.object, self.now()) == Lifecycle::Deleted)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::DeletedKeyNotFound,
                    "no deleted key of this name can be recovered or purged",
                )
            })
    }

    pub(super) fn deleted_key(&self, key: &StoredKey, newest: VersionRecord) -> DeletedKey {
        DeletedKey {
            bundle: self.bundle(&key.object, newest),
            deletion: deletion_dates(key),
        }
    }

    /// Errors: `KeyExists`, `KeyDeleted` when a restored key cannot take the name.
    pub(super) fn require_free_name(
        &self,
        view: &View<'_>,
        name: &KeyName,
    ) -> Result<Option<Removal>> {
        let Some(key) = self.load_key(view, name)? else {
            return Ok(None);
        };
        match policy::lifecycle(&key.object, self.now()) {
            Lifecycle::Active => Err(Error::new(
                ErrorKind::KeyExists,
                "a key of this name exists; a backup is restored only under a free name",
            )),
            Lifecycle::Deleted => Err(name_is_deleted()),
            Lifecycle::Gone => self.gone_key(view, &key).map(Some),
        }
    }

    /// A key whose scheduled purge date has come and whose records stand in the way of a new one.
    ///
    /// Errors: `ClockJump`, because what is gone is removed on the word of the clock.
    pub(super) fn gone_key(&self, view: &View<'_>, key: &StoredKey) -> Result<Removal> {
        self.require_plausible_clock()?;
        self.remove_key(view, key)
    }
}

pub(super) fn deletion_dates(key: &StoredKey) -> DeletionDates {
    match key.object.deletion {
        Some(deletion) => DeletionDates {
            deleted_on: deletion.deleted,
            scheduled_purge: Some(deletion.scheduled_purge),
        },
        None => DeletionDates {
            deleted_on: key.object.updated,
            scheduled_purge: None,
        },
    }
}
