//! Putting restored keys and versions into the vault.

use std::collections::BTreeMap;

use super::intents::Creation;
use super::records::StoredKey;
use super::restore_counts::counts_of;
use super::restore_options::RestoreResult;
use super::{Act, Inner, Operation, Subject};
use crate::backend::KeyRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup_payload::BackupPayload;
use crate::model::attributes::SoftDelete;
use crate::model::key::{BackendId, Deletion, KeyObject, KeyTag, VersionBody, VersionRecord};
use crate::model::name::KeyName;
use crate::model::rotation_policy::StoredRotationPolicy;
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::policy::{self, Lifecycle};
use crate::seal::backup::BackupOrigin;
use crate::secret::Key32;
use crate::store::{Change, View};

/// What all versions of a restored key share.
struct RestoredKey {
    name: KeyName,
    object_id: [u8; 16],
    created: Timestamp,
    updated: Timestamp,
    deletion: Option<Deletion>,
    rotation_policy: Option<StoredRotationPolicy>,
}

impl Inner {
    /// The key that the versions are to be merged into, and those that it lacks; `None` when there is none and all
    /// are to be restored.
    fn merge_target(
        &self,
        view: &View<'_>,
        name: &KeyName,
        object_id: &[u8; 16],
        versions: &[(VersionRecord, u64)],
    ) -> Result<Option<(StoredKey, Vec<KeyVersion>)>> {
        let now = self.now();
        let Some(key) = self.load_key(view, name)?.filter(|key| {
            policy::lifecycle(&key.object, now) == Lifecycle::Active
                && key.object.object_id == *object_id
        }) else {
            return Ok(None);
        };
        let comparison = self.compare(view, &key, versions)?;
        if comparison.diverged {
            return Err(Error::new(
                ErrorKind::KeyExists,
                "the key got different versions here and where the backup was made, which cannot be put in one \
                 order; restore the backup under another name",
            ));
        }
        Ok(Some((key, comparison.missing)))
    }

    /// Puts the key into the vault, all versions or none, or adds those that it lacks.
    pub(super) fn restore_payload(
        &self,
        act: &Act<'_>,
        payload: BackupPayload,
        origin: BackupOrigin,
        merge: bool,
    ) -> Result<RestoreResult> {
        let BackupPayload {
            name,
            object_id,
            created,
            updated,
            deletion,
            rotation_policy,
            mut versions,
        } = payload;
        let counts = counts_of(&versions);
        // What was deleted there is not merged into what is in use here.
        let merge = merge && deletion.is_none();
        // What is cheap to refuse is refused before keys are validated; it is asked again under the lock.
        let merging = self.store.read(|view| {
            if merge
                && let Some((_, missing)) = self.merge_target(view, &name, &object_id, &versions)?
            {
                return Ok(Some(missing));
            }
            self.require_free_name(view, &name).map(|_| None)
        })?;
        if let Some(missing) = &merging {
            versions.retain(|(version, _)| missing.contains(&version.version));
        }
        let mut tags: BTreeMap<BackendId, Vec<KeyTag>> = BTreeMap::new();
        let versions = versions
            .into_iter()
            .map(|(version, count)| {
                // The version gets a new name towards its backend: the old one may still be in use beside it.
                let tag = KeyTag::random(&*self.entropy)?;
                let backend = version.body.backend.clone();
                tags.entry(backend).or_default().push(tag);
                Ok((version, count, tag))
            })
            .collect::<Result<Vec<_>>>()?;
        let creations = tags
            .into_iter()
            .map(|(id, tags)| self.begin_creation(self.backend(&id)?.as_ref(), tags))
            .collect::<Result<Vec<_>>>()?;
        let key = RestoredKey {
            name,
            object_id,
            created,
            updated,
            deletion,
            rotation_policy,
        };
        let restored = versions
            .into_iter()
            .map(|(version, count, tag)| Ok((self.readmit(version, tag)?, count)))
            .collect::<Result<Vec<_>>>()
            .and_then(|versions| {
                if merging.is_some() {
                    self.merge_versions(act, key, versions, &counts, &creations, origin)
                } else {
                    self.restore_versions(act, key, versions, &creations, origin)
                }
            });
        for creation in &creations {
            self.finish_creation(creation, restored.is_ok());
        }
        restored
    }

    fn restore_versions(
        &self,
        act: &Act<'_>,
        key: RestoredKey,
        versions: Vec<(VersionRecord, u64)>,
        creations: &[Creation<'_>],
        origin: BackupOrigin,
    ) -> Result<RestoreResult> {
        let RestoredKey {
            name,
            object_id,
            created,
            updated,
            deletion,
            rotation_policy,
        } = key;
        // Its date stays, but no name is blocked for longer than a deletion here could block it.
        let latest = self.now().plus_days(SoftDelete::MAX_DAYS.into());
        let deletion = deletion.map(|deletion| Deletion {
            scheduled_purge: deletion.scheduled_purge.min(latest),
            ..deletion
        });
        let version_count = versions.len();
        let newest = versions
            .last()
            .map(|(version, _)| version.version)
            .ok_or_else(|| Error::new(ErrorKind::InvalidBackup, "the backup holds no version"))?;
        let key = StoredKey {
            n: self.hierarchy.name_prf(&name),
            data_key: Key32::random(&*self.entropy)?,
            object: KeyObject {
                name: name.clone(),
                object_id,
                created,
                updated,
                newest,
                version_count: u32::try_from(version_count)
                    .map_err(|_| Error::internal("a backup has too many versions"))?,
                deletion,
                rotation_policy,
                announced: None,
            },
        };
        let mut additions = self.put_restored(&key, &versions)?;
        let sealing = self.header.sealing();
        additions.push(self.put_key(&sealing, &key)?);
        additions.extend(creations.iter().flat_map(Creation::end));
        act.note_version(newest);
        let previously_purged = self.commit_restore(act, &name, &object_id, additions)?;
        drop(sealing);
        let newest = versions
            .into_iter()
            .next_back()
            .map(|(version, _)| version)
            .ok_or_else(|| Error::internal("a restored key has no version"))?;
        Ok(RestoreResult {
            bundle: self.bundle(&key.object, newest),
            version_count,
            restored_versions: version_count,
            previously_purged,
            origin,
        })
    }

    /// Adds the versions that the key of this id still lacks. The counts of those that it has rise to the backup's.
    fn merge_versions(
        &self,
        act: &Act<'_>,
        restored: RestoredKey,
        mut versions: Vec<(VersionRecord, u64)>,
        counts: &[(KeyVersion, u64)],
        creations: &[Creation<'_>],
        origin: BackupOrigin,
    ) -> Result<RestoreResult> {
        let RestoredKey {
            name,
            object_id,
            updated,
            rotation_policy: _,
            created: _,
            deletion: _,
        } = restored;
        let _guard = self.locks.lock(&name);
        let (mut key, missing, newest, behind) = self.store.read(|view| {
            let (key, missing) = self
                .merge_target(view, &name, &object_id, &versions)?
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::KeyNotFound,
                        "the key was deleted while versions were about to be added to it",
                    )
                })?;
            let newest = self.load_newest(view, &key)?;
            let behind = self.counts_behind(view, &key, counts)?;
            Ok((key, missing, newest, behind))
        })?;
        if missing.len() != versions.len() {
            // Another restore was faster with some of them; backends hold those of ours in vain.
            if creations
                .iter()
                .any(|creation| creation.end().next().is_some())
            {
                return Err(Error::new(
                    ErrorKind::KeyExists,
                    "the same versions were restored at the same time by another call; call again",
                ));
            }
            versions.retain(|(version, _)| missing.contains(&version.version));
        }
        let restored_versions = versions.len();
        let mut changes = self.put_restored(&key, &versions)?;
        for (version, count) in &behind {
            changes.push(self.put_gcm_count(&key, *version, *count)?);
        }
        changes.extend(creations.iter().flat_map(Creation::end));
        let latest = versions
            .into_iter()
            .map(|(version, _)| version)
            .chain([newest])
            .max_by_key(|version| version.ordinal)
            .ok_or_else(|| Error::internal("a key without a newest version"))?;
        let object = &mut key.object;
        object.newest = latest.version;
        object.updated = object.updated.max(updated);
        object.version_count = u32::try_from(restored_versions)
            .ok()
            .and_then(|added| object.version_count.checked_add(added))
            .ok_or_else(|| Error::internal("a key has too many versions"))?;
        let _change = (!behind.is_empty()).then(|| self.forget_gcm_counter(&name));
        if restored_versions > 0 {
            let sealing = self.header.sealing();
            changes.push(self.put_key(&sealing, &key)?);
            act.note_version(latest.version);
            self.commit(act, &name, changes)?;
        } else if !behind.is_empty() {
            self.commit(act, &name, changes)?;
        }
        Ok(RestoreResult {
            version_count: key.object.version_count as usize,
            bundle: self.bundle(&key.object, latest),
            restored_versions,
            previously_purged: self.was_purged(&object_id),
            origin,
        })
    }

    pub(super) fn put_restored(
        &self,
        key: &StoredKey,
        versions: &[(VersionRecord, u64)],
    ) -> Result<Vec<Change>> {
        let mut additions = Vec::with_capacity(2 * versions.len() + 1);
        for (version, count) in versions {
            additions.push(self.put_version(key, version)?);
            if *count > 0 {
                additions.push(self.put_gcm_count(key, version.version, *count)?);
            }
        }
        Ok(additions)
    }

    /// Whether the key was purged before.
    fn commit_restore(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        object_id: &[u8; 16],
        additions: Vec<Change>,
    ) -> Result<bool> {
        let _guard = self.locks.lock(name);
        if let Some(gone) = self.store.read(|view| self.require_free_name(view, name))? {
            let purge = act.beside(Operation::PurgeDeletedKey, Subject::from(name));
            self.commit_purge(&purge, name, gone, self.now())?;
        }
        let previously_purged = self.was_purged(object_id);
        self.commit(act, name, additions)?;
        Ok(previously_purged)
    }

    /// Lets the backend check what came back, as strictly as an imported key, and keep it under `tag`.
    fn readmit(&self, version: VersionRecord, tag: KeyTag) -> Result<VersionRecord> {
        let VersionBody {
            tag: _,
            spec,
            hsm,
            backend,
            origin,
            backup_allowed,
            public,
            blob,
            rejection_secret,
        } = version.body;
        if policy::settle_operations(spec, Some(version.attributes.operations)).is_err() {
            return Err(Error::new(
                ErrorKind::InvalidBackup,
                "a version in the backup has operations that its key cannot do",
            ));
        }
        let label = self.label();
        let operations = policy::backend_operations(version.attributes.operations);
        let request = KeyRequest::new(tag, spec, operations, &label)
            .with_backup_allowed(backup_allowed)
            .with_exportable(version.attributes.release_policy.is_some());
        let (blob, restored_public) = self
            .backend(&backend)?
            .restore(&request, &blob)
            .map_err(|error| match Error::from(error) {
                error if error.kind() == ErrorKind::BadParameter => Error::new(
                    ErrorKind::InvalidBackup,
                    format!("a version in the backup is not a legal key: {error}"),
                ),
                error => error,
            })?
            .into_parts();
        if restored_public != public {
            return Err(Error::new(
                ErrorKind::InvalidBackup,
                "the public and the private part of a version in the backup do not belong together",
            ));
        }
        Ok(VersionRecord {
            body: VersionBody {
                tag,
                spec,
                hsm,
                backend,
                origin,
                backup_allowed,
                public,
                blob,
                rejection_secret,
            },
            ..version
        })
    }
}
