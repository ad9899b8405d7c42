//! Restoring single keys from their backups.

use std::collections::BTreeMap;

use super::grant::Need;
use super::header::Rings;
use super::intents::Creation;
use super::records::StoredKey;
use super::restore_options::{NameState, RestoreOptions, RestorePlan, RestoreResult};
use super::{Act, Inner, Operation, Subject, Vault};
use crate::backend::KeyRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::Modes;
use crate::format::backup_payload::{self, BackupPayload};
use crate::model::key::{BackendId, KeyObject, KeyTag, VersionBody, VersionRecord};
use crate::model::name::KeyName;
use crate::model::permission::Permission;
use crate::model::rotation_policy::StoredRotationPolicy;
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::policy::{self, Lifecycle};
use crate::seal::backup::{BackupOrigin, Domain, OpenedContainer, Opening, open_backup};
use crate::secret::Key32;
use crate::store::{Change, View};

impl Vault {
    /// Brings a key back from a backup, under its name, with its version ids, dates and tags: Azure's
    /// [Restore Key](https://learn.microsoft.com/rest/api/keyvault/keys/restore-key/restore-key).
    ///
    /// All versions or nothing: each is validated as strictly as an imported key. Retention and
    /// recovery level are those of this vault. **Blocking:** validation (RSA up to hundreds of milliseconds per
    /// version) and one write to disk.
    ///
    /// # Errors
    ///
    /// [`InvalidBackup`](ErrorKind::InvalidBackup), [`WrongDomain`](ErrorKind::WrongDomain),
    /// [`NewerFormat`](ErrorKind::NewerFormat); [`KeyExists`](ErrorKind::KeyExists) and
    /// [`KeyDeleted`](ErrorKind::KeyDeleted) when the name is taken;
    /// [`ClockJump`](ErrorKind::ClockJump) as for [`Vault::create_key`];
    /// [`BackendUnavailable`](ErrorKind::BackendUnavailable) when a version's backend is not attached; and the
    /// errors of storage.
    pub fn restore_key(&self, blob: impl AsRef<[u8]>) -> Result<RestoreResult> {
        self.act(Operation::RestoreKey, Subject::Vault, |act| {
            act.inner()
                .restore(act, blob.as_ref(), &RestoreOptions::new())
        })
    }

    /// As [`Vault::restore_key`], opened and placed as the options say.
    ///
    /// # Errors
    ///
    /// As [`Vault::restore_key`]; [`WrongKey`](ErrorKind::WrongKey) when the backup is not sealed to the given
    /// recipient or passphrase; [`KdfCostRefused`](ErrorKind::KdfCostRefused) when its passphrase costs more than is
    /// allowed; [`UnauthenticatedBackup`](ErrorKind::UnauthenticatedBackup) when no vault of this domain vouches for
    /// it and that was not accepted; [`Forbidden`](ErrorKind::Forbidden) for a restricted handle without the permission,
    /// which for such a backup is that of an import as well.
    pub fn restore_key_with(
        &self,
        blob: impl AsRef<[u8]>,
        options: &RestoreOptions<'_>,
    ) -> Result<RestoreResult> {
        self.act(Operation::RestoreKeyWith, Subject::Vault, |act| {
            act.inner().restore(act, blob.as_ref(), options)
        })
    }

    /// What [`Vault::restore_key_with`] would do. It changes nothing, and does not validate the keys.
    ///
    /// # Errors
    ///
    /// Those of opening the backup, as [`Vault::restore_key_with`], and of reading the vault; what stands in the way
    /// of a restore is in the plan.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let backup = vault.backup_key(&name)?;
    /// let plan = vault.restore_plan(&backup, &RestoreOptions::new())?;
    /// assert_eq!(plan.name_state(), NameState::SameKey);
    /// assert_eq!(plan.expected_error(), Some(ErrorKind::KeyExists));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn restore_plan(
        &self,
        blob: impl AsRef<[u8]>,
        options: &RestoreOptions<'_>,
    ) -> Result<RestorePlan> {
        self.act(Operation::RestorePlan, Subject::Vault, |act| {
            let (payload, origin) = act.inner().open_payload(blob.as_ref(), options)?;
            act.is_about(&payload.name)?;
            act.inner().plan(&payload, origin, options)
        })
    }
}

/// What all versions of a restored key share.
struct RestoredKey {
    name: KeyName,
    object_id: [u8; 16],
    created: Timestamp,
    updated: Timestamp,
    rotation_policy: Option<StoredRotationPolicy>,
}

/// How the versions of a backup and of the vault's key of the same id fit together.
struct Comparison {
    present: Vec<KeyVersion>,
    missing: Vec<KeyVersion>,
    diverged: bool,
}

impl Inner {
    fn restore(
        &self,
        act: &Act<'_>,
        blob: &[u8],
        options: &RestoreOptions<'_>,
    ) -> Result<RestoreResult> {
        let (payload, origin) = self.open_payload(blob, options)?;
        act.is_about(&payload.name)?;
        if origin == BackupOrigin::Unauthenticated {
            // It is a key that anybody may have chosen, as with an import.
            act.require(Need::One(Permission::Import), &payload.name)?;
        }
        self.restore_opened(act, payload, origin, options)
    }

    /// Restores what was opened, if its origin is good enough.
    pub(super) fn restore_opened(
        &self,
        act: &Act<'_>,
        payload: BackupPayload,
        origin: BackupOrigin,
        options: &RestoreOptions<'_>,
    ) -> Result<RestoreResult> {
        require_accepted(origin, options)?;
        self.restore_payload(act, payload, origin, options.merge)
    }

    /// Opens a container with these contents as the options say.
    pub(super) fn open_container(
        &self,
        rings: &Rings,
        blob: &[u8],
        contents: Modes,
        options: &RestoreOptions<'_>,
    ) -> Result<OpenedContainer> {
        let opening = Opening {
            domain: Some(Domain {
                id: rings.domain_id,
                ring: &rings.sdk,
            }),
            by: options.by,
            max_kdf_work_kib: options
                .max_kdf_work_kib
                .unwrap_or(self.limits.max_kdf_work_kib),
        };
        open_backup(opening, contents, blob)
    }

    fn open_payload(
        &self,
        blob: &[u8],
        options: &RestoreOptions<'_>,
    ) -> Result<(BackupPayload, BackupOrigin)> {
        let opened = self.open_container(&self.header.rings(), blob, Modes::KEY, options)?;
        let mut payload = backup_payload::decode(&opened.payload)?;
        if let Some(name) = &options.rename_to {
            payload.name = name.clone();
        }
        Ok((payload, opened.origin))
    }

    pub(super) fn plan(
        &self,
        payload: &BackupPayload,
        origin: BackupOrigin,
        options: &RestoreOptions<'_>,
    ) -> Result<RestorePlan> {
        let mut missing_backends: Vec<BackendId> = payload
            .versions
            .iter()
            .map(|(version, _)| &version.body.backend)
            .filter(|id| self.backend(id).is_err())
            .cloned()
            .collect();
        missing_backends.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        missing_backends.dedup();
        let now = self.now();
        let (name_state, comparison) = self.store.read(|view| {
            let all = || Comparison {
                present: Vec::new(),
                missing: payload
                    .versions
                    .iter()
                    .map(|(version, _)| version.version)
                    .collect(),
                diverged: false,
            };
            let Some(key) = self.load_key(view, &payload.name)? else {
                return Ok((NameState::Free, all()));
            };
            Ok(match policy::lifecycle(&key.object, now) {
                Lifecycle::Gone => (NameState::Free, all()),
                Lifecycle::Deleted => (NameState::Deleted, all()),
                Lifecycle::Active if key.object.object_id == payload.object_id => (
                    NameState::SameKey,
                    self.compare(view, &key, &payload.versions)?,
                ),
                Lifecycle::Active => (NameState::OtherKey, all()),
            })
        })?;
        let error = match name_state {
            _ if require_accepted(origin, options).is_err() => {
                Some(ErrorKind::UnauthenticatedBackup)
            }
            NameState::SameKey if options.merge && !comparison.diverged => None,
            NameState::SameKey | NameState::OtherKey => Some(ErrorKind::KeyExists),
            NameState::Deleted => Some(ErrorKind::KeyDeleted),
            NameState::Free => None,
        };
        let error =
            error.or((!missing_backends.is_empty()).then_some(ErrorKind::BackendUnavailable));
        Ok(RestorePlan {
            name: payload.name.clone(),
            name_state,
            origin,
            present: comparison.present,
            missing: comparison.missing,
            diverged: comparison.diverged,
            previously_purged: self.was_purged(&payload.object_id),
            missing_backends,
            error,
        })
    }

    /// Which versions of a backup the key has. Histories that went apart have different versions at one ordinal.
    fn compare(
        &self,
        view: &View<'_>,
        key: &StoredKey,
        versions: &[(VersionRecord, u64)],
    ) -> Result<Comparison> {
        let here: BTreeMap<KeyVersion, u32> = self
            .load_versions(view, key)?
            .into_iter()
            .map(|record| (record.version, record.ordinal))
            .collect();
        let mut comparison = Comparison {
            present: Vec::new(),
            missing: Vec::new(),
            diverged: false,
        };
        for (record, _) in versions {
            match here.get(&record.version) {
                Some(ordinal) => {
                    comparison.present.push(record.version);
                    comparison.diverged |= *ordinal != record.ordinal;
                }
                None => {
                    comparison.missing.push(record.version);
                    comparison.diverged |= here.values().any(|ordinal| *ordinal == record.ordinal);
                }
            }
        }
        Ok(comparison)
    }

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

    fn restore_payload(
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
            rotation_policy,
            mut versions,
        } = payload;
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
            rotation_policy,
        };
        let restored = versions
            .into_iter()
            .map(|(version, count, tag)| Ok((self.readmit(version, tag)?, count)))
            .collect::<Result<Vec<_>>>()
            .and_then(|versions| {
                if merging.is_some() {
                    self.merge_versions(act, key, versions, &creations, origin)
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
            rotation_policy,
        } = key;
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
                deletion: None,
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

    /// Adds the versions that the key of this id still lacks.
    fn merge_versions(
        &self,
        act: &Act<'_>,
        restored: RestoredKey,
        mut versions: Vec<(VersionRecord, u64)>,
        creations: &[Creation<'_>],
        origin: BackupOrigin,
    ) -> Result<RestoreResult> {
        let RestoredKey {
            name,
            object_id,
            updated,
            ..
        } = restored;
        let _guard = self.locks.lock(&name);
        let (mut key, missing, newest) = self.store.read(|view| {
            let (key, missing) = self
                .merge_target(view, &name, &object_id, &versions)?
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::KeyNotFound,
                        "the key was deleted while versions were about to be added to it",
                    )
                })?;
            let newest = self.load_newest(view, &key)?;
            Ok((key, missing, newest))
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
        if restored_versions > 0 {
            let sealing = self.header.sealing();
            changes.push(self.put_key(&sealing, &key)?);
            act.note_version(latest.version);
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

pub(super) fn require_accepted(origin: BackupOrigin, options: &RestoreOptions<'_>) -> Result<()> {
    if origin == BackupOrigin::Domain || options.accept_unauthenticated {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::UnauthenticatedBackup,
        "no vault of this security domain vouches for the backup: whoever knows the public key or the passphrase \
         can have made it; if its way to you is known, restore it with RestoreOptions::accept_unauthenticated",
    ))
}
