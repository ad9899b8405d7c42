//! Keys and versions between the model and the store: sealing, opening, and the changes of a commit.

use zeroize::Zeroizing;

use super::Inner;
use super::header::Sealing;
use super::intents::Destruction;
use crate::backend::KeyReference;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{IndexKey, SealedRecord};
use crate::format::{gcm_counter::GcmCounter, key_object, key_version};
use crate::model::key::{KeyObject, VersionBody, VersionRecord};
use crate::model::name::KeyName;
use crate::model::version::KeyVersion;
use crate::secret::Key32;
use crate::store::{Change, View};

/// A key object with the key that seals its versions.
#[derive(Debug)]
pub(super) struct StoredKey {
    pub(super) n: [u8; 16],
    pub(super) data_key: Key32,
    pub(super) object: KeyObject,
}

/// A version as backends are told of it.
pub(super) fn reference(body: &VersionBody) -> KeyReference<'_> {
    KeyReference::new(body.tag, body.spec, &body.blob)
        .with_public(body.public.as_ref())
        .with_rejection_secret(body.rejection_secret.as_ref())
}

/// All that goes with a key.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) object_id: [u8; 16],
    pub(super) changes: Vec<Change>,
    pub(super) destruction: Destruction,
}

impl Inner {
    /// The key of this name, whatever its state.
    pub(super) fn load_key(&self, view: &View<'_>, name: &KeyName) -> Result<Option<StoredKey>> {
        let n = self.hierarchy.name_prf(name);
        match view.record(&IndexKey::key_object(n))? {
            None => Ok(None),
            Some(record) => {
                let stored = self.open_key(n, &record)?;
                if stored.object.name != *name {
                    return Err(wrong_place());
                }
                Ok(Some(stored))
            }
        }
    }

    /// Opens the key object at the place `n`.
    pub(super) fn open_key(&self, n: [u8; 16], record: &SealedRecord) -> Result<StoredKey> {
        let plaintext = self.open_under_kek(&IndexKey::key_object(n), record)?;
        let (data_key, object) = key_object::decode(&plaintext)?;
        Ok(StoredKey {
            n,
            data_key,
            object,
        })
    }

    /// Errors: `Tampered` also when the record was read before its key was replaced: a read of the store then
    /// begins again, because a group landed meanwhile.
    pub(super) fn open_under_kek(
        &self,
        index: &IndexKey,
        record: &SealedRecord,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let ring = self.header.rings().kek;
        let key = ring.key(record.term()).ok_or_else(|| {
            Error::new(
                ErrorKind::Tampered,
                "a key is sealed under a key term that the header does not hold",
            )
        })?;
        self.hierarchy.open_record(key, index, record)
    }

    pub(super) fn seal_under_kek(
        &self,
        sealing: &Sealing<'_>,
        index: &IndexKey,
        plaintext: &[u8],
    ) -> Result<SealedRecord> {
        self.hierarchy.seal_record(
            &sealing.kek.current_key,
            index,
            sealing.kek.current_term,
            plaintext,
            &*self.entropy,
        )
    }

    pub(super) fn load_version(
        &self,
        view: &View<'_>,
        key: &StoredKey,
        version: KeyVersion,
    ) -> Result<Option<VersionRecord>> {
        let v = self.hierarchy.version_prf(&key.object.name, version);
        let index = IndexKey::key_version(key.n, v);
        let Some(record) = view.record(&index)? else {
            return Ok(None);
        };
        let loaded = self.open_version_record(key, &index, &record)?;
        if loaded.version == version {
            Ok(Some(loaded))
        } else {
            Err(wrong_place())
        }
    }

    /// The newest version; a key always has one.
    pub(super) fn load_newest(&self, view: &View<'_>, key: &StoredKey) -> Result<VersionRecord> {
        if let Some(only) = self.load_only(view, key)? {
            return Ok(only);
        }
        self.load_version(view, key, key.object.newest)?
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Tampered,
                    "the newest version of the key is missing",
                )
                .with_key(&key.object.name)
            })
    }

    /// The newest version if there is no other. Finding it among the records of its key takes less than working out
    /// its place.
    fn load_only(&self, view: &View<'_>, key: &StoredKey) -> Result<Option<VersionRecord>> {
        if key.object.version_count != 1 {
            return Ok(None);
        }
        match view.versions(key.n)?.as_slice() {
            [(index, record)] => {
                let only = self.open_version_record(key, index, record)?;
                Ok((only.version == key.object.newest).then_some(only))
            }
            _ => Ok(None),
        }
    }

    /// All versions, oldest first.
    pub(super) fn load_versions(
        &self,
        view: &View<'_>,
        key: &StoredKey,
    ) -> Result<Vec<VersionRecord>> {
        let mut versions = view
            .versions(key.n)?
            .iter()
            .map(|(index, record)| self.open_version_record(key, index, record))
            .collect::<Result<Vec<_>>>()?;
        versions.sort_by_key(|record| record.ordinal);
        if versions.len() != key.object.version_count as usize {
            return Err(Error::new(
                ErrorKind::Tampered,
                "the key does not have as many versions as it should",
            )
            .with_key(&key.object.name));
        }
        Ok(versions)
    }

    fn open_version_record(
        &self,
        key: &StoredKey,
        index: &IndexKey,
        record: &SealedRecord,
    ) -> Result<VersionRecord> {
        let plaintext = self.hierarchy.open_record(&key.data_key, index, record)?;
        key_version::decode(&plaintext)
    }

    /// `sealing` stays until the change is durable.
    pub(super) fn put_key(&self, sealing: &Sealing<'_>, key: &StoredKey) -> Result<Change> {
        let index = IndexKey::key_object(key.n);
        let plaintext = key_object::encode(&key.data_key, &key.object)?;
        let record = self.seal_under_kek(sealing, &index, &plaintext)?;
        Ok(Change::Put(index, record))
    }

    pub(super) fn put_version(&self, key: &StoredKey, version: &VersionRecord) -> Result<Change> {
        let v = self
            .hierarchy
            .version_prf(&key.object.name, version.version);
        let index = IndexKey::key_version(key.n, v);
        let plaintext = key_version::encode(version)?;
        let record =
            self.hierarchy
                .seal_record(&key.data_key, &index, 0, &plaintext, &*self.entropy)?;
        Ok(Change::Put(index, record))
    }

    pub(super) fn load_gcm_count(
        &self,
        view: &View<'_>,
        key: &StoredKey,
        version: KeyVersion,
    ) -> Result<u64> {
        let v = self.hierarchy.version_prf(&key.object.name, version);
        let index = IndexKey::gcm_counter(key.n, v);
        match view.record(&index)? {
            None => Ok(0),
            Some(record) => {
                let plaintext = self.hierarchy.open_record(&key.data_key, &index, &record)?;
                Ok(GcmCounter::decode(&plaintext)?.count)
            }
        }
    }

    pub(super) fn put_gcm_count(
        &self,
        key: &StoredKey,
        version: KeyVersion,
        count: u64,
    ) -> Result<Change> {
        let v = self.hierarchy.version_prf(&key.object.name, version);
        let index = IndexKey::gcm_counter(key.n, v);
        let plaintext = GcmCounter { count }.encode();
        let record =
            self.hierarchy
                .seal_record(&key.data_key, &index, 0, &plaintext, &*self.entropy)?;
        Ok(Change::Put(index, record))
    }

    /// The removal of a key with all that belongs to it.
    pub(super) fn remove_key(&self, view: &View<'_>, key: &StoredKey) -> Result<Removal> {
        let mut changes = vec![Change::Remove(IndexKey::key_object(key.n))];
        let mut destruction = Destruction::default();
        let versions = view.versions(key.n)?;
        let counters = view.gcm_counters(key.n)?;
        changes.extend(
            versions
                .iter()
                .chain(&counters)
                .map(|(index, _)| Change::Remove(*index)),
        );
        for (index, record) in &versions {
            let version = self.open_version_record(key, index, record)?;
            self.note_destruction(version.body, &mut destruction);
        }
        Ok(Removal {
            object_id: key.object.object_id,
            changes,
            destruction,
        })
    }
}

fn wrong_place() -> Error {
    Error::new(
        ErrorKind::Tampered,
        "a record is not the one that belongs at its place",
    )
}
