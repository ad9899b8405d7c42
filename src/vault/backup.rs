//! Backup and restore of single keys.

use std::collections::BTreeMap;
use std::fmt;

use super::intents::Creation;
use super::records::{StoredKey, reference};
use super::{Act, Inner, Operation, Subject, Vault};
use crate::backend::KeyRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup_payload::{self, BackupPayload, MAX_BACKUP_VERSIONS};
use crate::model::key::{BackendId, KeyObject, KeyTag, VersionBody, VersionRecord};
use crate::model::name::KeyName;
use crate::model::results::KeyBundle;
use crate::model::time::Timestamp;
use crate::seal::backup::{inspect, open_backup, seal_backup};
use crate::secret::Key32;
use crate::store::Change;

/// A key with all its versions, sealed: bytes to be kept anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyBackup {
    bytes: Vec<u8>,
}

impl KeyBackup {
    /// The blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blob, by value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads what stands in the clear in a blob, without any key.
    ///
    /// Nothing of it is authenticated: it says what the blob claims to be.
    ///
    /// # Errors
    ///
    /// [`InvalidBackup`](ErrorKind::InvalidBackup) and [`NewerFormat`](ErrorKind::NewerFormat).
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let backup = vault.backup_key(&name)?;
    /// let summary = KeyBackup::inspect(backup.as_bytes())?;
    /// assert_eq!(summary.length(), backup.as_bytes().len());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn inspect(blob: &[u8]) -> Result<BackupSummary> {
        let facts = inspect(blob).map_err(|error| error.with_operation("inspect_backup"))?;
        Ok(BackupSummary {
            created_on: Timestamp::from_unix_milliseconds(facts.created_unix_milliseconds),
            blob_id: facts.blob_id,
            domain_id: facts.domain_id,
            length: blob.len(),
        })
    }
}

impl AsRef<[u8]> for KeyBackup {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for KeyBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBackup({} bytes)", self.bytes.len())
    }
}

/// What a blob says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupSummary {
    created_on: Timestamp,
    blob_id: [u8; 16],
    domain_id: Option<[u8; 16]>,
    length: usize,
}

impl BackupSummary {
    /// When the backup was made.
    #[must_use]
    pub fn created_on(&self) -> Timestamp {
        self.created_on
    }

    /// The random id of the blob.
    #[must_use]
    pub fn blob_id(&self) -> &[u8; 16] {
        &self.blob_id
    }

    /// The security domain in which the blob opens, if it is sealed to one.
    #[must_use]
    pub fn domain_id(&self) -> Option<&[u8; 16]> {
        self.domain_id.as_ref()
    }

    /// Length of the blob in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

/// What [`Vault::restore_key`] restored.
#[derive(Clone, PartialEq, Debug)]
pub struct RestoreResult {
    bundle: KeyBundle,
    version_count: usize,
    previously_purged: bool,
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

    /// Whether this very key was purged from this vault in the last 90 days. A purge does not reach
    /// backups.
    #[must_use]
    pub fn previously_purged(&self) -> bool {
        self.previously_purged
    }
}

impl Vault {
    /// Seals a key with all its versions to the vault's security domain: Azure's
    /// [Backup Key](https://learn.microsoft.com/rest/api/keyvault/keys/backup-key/backup-key).
    ///
    /// The blob opens in every vault of the same domain, for ever: deleting or purging the key does
    /// not reach it. It holds no access policies and no retention.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound); [`TooLarge`](ErrorKind::TooLarge) for a key with more than 500
    /// past versions; [`NotExportable`](ErrorKind::NotExportable) for a version that may not leave its backend;
    /// and the errors of storage.
    pub fn backup_key(&self, name: &KeyName) -> Result<KeyBackup> {
        self.act(Operation::BackupKey, name, |act| act.inner().backup(name))
    }

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
            act.inner().restore(act, blob.as_ref())
        })
    }
}

/// What all versions of a restored key share.
struct RestoredKey {
    name: KeyName,
    object_id: [u8; 16],
    created: Timestamp,
    updated: Timestamp,
}

impl Inner {
    fn backup(&self, name: &KeyName) -> Result<KeyBackup> {
        let mut payload = self.store.read(|view| {
            let key = self.load_active(view, name)?;
            if key.object.version_count as usize > MAX_BACKUP_VERSIONS {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    "a key with more than 500 past versions cannot be backed up",
                ));
            }
            let mut versions = Vec::with_capacity(key.object.version_count as usize);
            for version in self.load_versions(view, &key)? {
                if version.body.hsm && !version.body.backup_allowed {
                    return Err(Error::new(
                        ErrorKind::NotExportable,
                        "a version of this key was made without backup_allowed and cannot leave its backend",
                    ));
                }
                let count = self.load_gcm_count(view, &key, version.version)?;
                versions.push((version, count));
            }
            let KeyObject {
                name,
                object_id,
                created,
                updated,
                ..
            } = key.object;
            Ok(BackupPayload {
                name,
                object_id,
                created,
                updated,
                versions,
            })
        })?;
        for (version, _) in &mut payload.versions {
            let body = &version.body;
            let exported = self.backend(&body.backend)?.export(&reference(body))?;
            version.body.blob = exported;
        }
        let plaintext = backup_payload::encode(&payload)?;
        let rings = self.header.rings();
        let bytes = seal_backup(
            &rings.sdk,
            rings.domain_id,
            self.now_ms(),
            &plaintext,
            self.hierarchy.suite(),
            &*self.entropy,
        )?;
        Ok(KeyBackup { bytes })
    }

    fn restore(&self, act: &Act<'_>, blob: &[u8]) -> Result<RestoreResult> {
        let rings = self.header.rings();
        let plaintext = open_backup(&rings.sdk, rings.domain_id, blob)?;
        let payload = backup_payload::decode(&plaintext)?;
        act.is_about(&payload.name)?;
        self.restore_payload(act, payload)
    }

    fn restore_payload(&self, act: &Act<'_>, payload: BackupPayload) -> Result<RestoreResult> {
        let BackupPayload {
            name,
            object_id,
            created,
            updated,
            versions,
        } = payload;
        // What is cheap to refuse is refused before keys are validated; it is asked again under the lock.
        self.store
            .read(|view| self.require_free_name(view, &name).map(drop))?;
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
        };
        let restored = self.restore_versions(act, key, versions, &creations);
        for creation in &creations {
            self.finish_creation(creation, restored.is_ok());
        }
        restored
    }

    fn restore_versions(
        &self,
        act: &Act<'_>,
        key: RestoredKey,
        versions: Vec<(VersionRecord, u64, KeyTag)>,
        creations: &[Creation<'_>],
    ) -> Result<RestoreResult> {
        let RestoredKey {
            name,
            object_id,
            created,
            updated,
        } = key;
        let version_count = versions.len();
        let versions = versions
            .into_iter()
            .map(|(version, count, tag)| Ok((self.readmit(version, tag)?, count)))
            .collect::<Result<Vec<_>>>()?;
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
            },
        };
        let mut additions = Vec::with_capacity(2 * version_count + 1);
        for (version, count) in &versions {
            additions.push(self.put_version(&key, version)?);
            if *count > 0 {
                additions.push(self.put_gcm_count(&key, version.version, *count)?);
            }
        }
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
            previously_purged,
        })
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
        let label = self.label();
        let request = KeyRequest::new(tag, spec, version.attributes.operations, &label)
            .with_backup_allowed(backup_allowed);
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
