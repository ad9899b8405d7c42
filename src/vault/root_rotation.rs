//! A new root key: everything of a vault sealed anew in a new directory.

use std::path::Path;
use std::sync::Arc;

use super::domain::NewDomain;
use super::founding::{FreshKeys, require_nothing_at};
use super::header::Rings;
use super::records::StoredKey;
use super::{Inner, Vault, VaultOptions};
use crate::env::{Clock, Entropy};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gcm_counter::GcmCounter;
use crate::format::record::IndexKey;
use crate::format::settings::{FIRST_TOMBSTONES, IDENTITY_KEY, TOMBSTONE_RECORDS};
use crate::format::{key_object, key_version};
use crate::model::key::VersionRecord;
use crate::seal::slot::Unlock;
use crate::secret::Key32;
use crate::store::{Change, OpenMode, Store, VaultDir};

/// So many key objects are read at a time.
const STEP: usize = 64;
/// A key with more records than this is written in several commits.
const COMMIT_RECORDS: usize = 256;

/// The clock of the copy: never behind the latest time that the vault has seen.
#[derive(Debug)]
struct NotBefore {
    clock: Arc<dyn Clock>,
    floor_ms: u64,
}

impl Clock for NotBefore {
    fn unix_milliseconds(&self) -> u64 {
        self.clock.unix_milliseconds().max(self.floor_ms)
    }
}

/// What is counted on both sides.
#[derive(Debug, Default, PartialEq, Eq)]
struct Copied {
    keys: u64,
    versions: u64,
}

impl VaultOptions {
    /// Gives a vault a new root key: a copy of it, with everything sealed anew, is made at `new_path`, verified and
    /// opened. `new` unlocks it, and nothing else does until slots are added.
    ///
    /// This is what to do when somebody may have the root key: when a master key or passphrase has leaked *and* a
    /// header was copied. The copied files stay readable for him, so rotate the keys in the vault as well. The vault
    /// at `path` must not be open, and stays as it is: destroy it with [`Vault::destroy`] when this has returned.
    ///
    /// Kept are the vault's id, its security domain, keys with all versions, deleted ones and counts included,
    /// settings, access policies, and what waits for backends; objects in tokens stay where they are. New are the
    /// fingerprint, and so every pin, the vault's identity key and the audit log: export that before. Forgotten is
    /// which keys were purged before.
    ///
    /// An interruption leaves the old vault untouched and a directory `<new_path>.new-<random>`, which can be
    /// removed; then call this again. It takes about as long as writing all keys once. A rollback guard is asked
    /// about the old vault, and told of the new one at the end.
    ///
    /// # Errors
    ///
    /// Those of [`VaultOptions::open`] for the old vault; [`Tampered`](ErrorKind::Tampered) and
    /// [`Corrupt`](ErrorKind::Corrupt) when a record of it does not open: then nothing is made;
    /// [`VaultExists`](ErrorKind::VaultExists) when there is something at `new_path`; and those of
    /// [`VaultOptions::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::{CreateKeyOptions, Curve, KeyName, MasterKey, Unlock, Vault, VaultOptions};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let (old, new) = (directory.path().join("vault"), directory.path().join("vault-2"));
    /// let leaked = MasterKey::generate()?;
    /// let vault = VaultOptions::new().create(&old, Unlock::raw_key(&leaked))?;
    /// let made = vault.create_key(&KeyName::from_static("k"), CreateKeyOptions::ec(Curve::P256))?;
    /// vault.close()?;
    ///
    /// let fresh = MasterKey::generate()?;
    /// let vault = VaultOptions::new().rotate_root(&old, Unlock::raw_key(&leaked), &new, Unlock::raw_key(&fresh))?;
    /// Vault::destroy(&old, Unlock::raw_key(&leaked))?;
    /// assert_eq!(vault.get_key(made.id())?, made);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate_root(
        self,
        path: impl AsRef<Path>,
        current: Unlock<'_>,
        new_path: impl AsRef<Path>,
        new: Unlock<'_>,
    ) -> Result<Vault> {
        self.rotate_root_at(path.as_ref(), current, new_path.as_ref(), new)
            .map_err(|error| error.with_operation("rotate_root"))
    }

    fn rotate_root_at(
        mut self,
        path: &Path,
        current: Unlock<'_>,
        new_path: &Path,
        new: Unlock<'_>,
    ) -> Result<Vault> {
        self.check()?;
        require_nothing_at(new_path)?;
        // Without backends nothing is settled in them, and nothing of the old vault is changed.
        let old = Self {
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            limits: self.limits,
            least: self.least.take(),
            rebuild_anchor: self.rebuild_anchor,
            storage_cache: self.storage_cache,
            ..Self::new()
        };
        let old = old.open(path, current)?;
        if let Some(guard) = &self.guard {
            guard.require_newest(&old.inner.hierarchy, &old.inner.store.state())?;
        }
        self.rebuild_anchor = false;
        self.limits.expected_root = None;
        let mut fresh = FreshKeys::for_vault(
            *old.inner.hierarchy.vault_id(),
            &*self.entropy,
            old.inner.hierarchy.suite(),
        )?;
        // Whoever remembers how far the vault had got never sees it go back.
        fresh.generation_before = old.inner.store.state().generation;
        let rings = old.inner.header.rings();
        let domain = NewDomain {
            id: rings.domain_id,
            ring: Arc::clone(&rings.sdk),
        };
        let copy = Copy {
            old: &old.inner,
            new: &fresh,
            entropy: &*self.entropy,
        };
        let initial = copy.settings_and_intents()?;
        let clock = NotBefore {
            clock: Arc::clone(&self.clock),
            floor_ms: old.inner.store.state().max_time_seen_ms,
        };
        let mut copied = Copied::default();
        let stored = self.found(
            new_path,
            new,
            &fresh,
            &domain,
            initial,
            |dir, mut config| {
                let built_at = dir.path().to_owned();
                config.clock = Arc::new(clock);
                let (store, _) = Store::open_with(dir, config, OpenMode::default())?;
                copied = copy.keys(&store)?;
                let sound = store.check()?;
                if let Some(finding) = sound.findings.iter().find(|finding| !finding.harmless) {
                    return Err(Error::internal(format!(
                        "the copy is not sound: {}: {}",
                        finding.place, finding.message
                    )));
                }
                store.close()?;
                VaultDir::open(&built_at)
            },
        )?;
        old.close()?;
        let rings = Rings {
            kek: fresh.kek,
            sdk: domain.ring,
            domain_id: domain.id,
        };
        // What the guard knows is the old root, which was asked about above.
        self.guard_knows_another_root = true;
        let vault = self.open_store(VaultDir::open(new_path)?, stored, fresh.hierarchy, rings)?;
        vault.require_complete(&copied)?;
        Ok(vault)
    }
}

/// From one root to another.
struct Copy<'a> {
    old: &'a Inner,
    new: &'a FreshKeys,
    entropy: &'a dyn Entropy,
}

impl Copy<'_> {
    /// The settings but those that belong to the old root: its identity, and names of purged keys under its index
    /// key.
    fn settings_and_intents(&self) -> Result<Vec<Change>> {
        let old_root_only = FIRST_TOMBSTONES..FIRST_TOMBSTONES + TOMBSTONE_RECORDS;
        let records = self.old.store.read(|view| {
            let mut records = view.intents()?;
            for (number, record) in view.settings_between(0, u64::MAX)? {
                if number != IDENTITY_KEY && !old_root_only.contains(&number) {
                    records.push((IndexKey::settings(number), record));
                }
            }
            Ok(records)
        })?;
        let (old, new) = (&self.old.hierarchy, &self.new.hierarchy);
        records
            .iter()
            .map(|(index, record)| {
                let plaintext = old.open_record(&*old.meta_key()?, index, record)?;
                self.put(index, &*new.meta_key()?, 0, &plaintext)
            })
            .collect()
    }

    fn keys(&self, to: &Store) -> Result<Copied> {
        let mut copied = Copied::default();
        let mut after = None;
        loop {
            let objects = self.old.store.read(|view| view.key_objects(after, STEP))?;
            let Some((last, _)) = objects.last() else {
                return Ok(copied);
            };
            after = Some(*last);
            for (n, record) in &objects {
                copied.versions += self.key(to, self.old.open_key(*n, record)?)?;
                copied.keys += 1;
            }
        }
    }

    /// One key, its object last: a version that nothing names is never seen as a key.
    fn key(&self, to: &Store, key: StoredKey) -> Result<u64> {
        let name = key.object.name.clone();
        let versions = self
            .old
            .store
            .read(|view| {
                self.old
                    .load_versions(view, &key)?
                    .into_iter()
                    .map(|version| {
                        let count = self.old.load_gcm_count(view, &key, version.version)?;
                        Ok((version, count))
                    })
                    .collect::<Result<Vec<_>>>()
            })
            .map_err(|error| error.with_key(&name))?;
        let hierarchy = &self.new.hierarchy;
        let n = hierarchy.name_prf(&name);
        let data_key = Key32::random(self.entropy)?;
        let mut changes = Vec::new();
        for (version, count) in &versions {
            self.version(&mut changes, &key, n, &data_key, version, *count)?;
            if changes.len() >= COMMIT_RECORDS {
                to.commit(std::mem::take(&mut changes))?;
            }
        }
        let plaintext = key_object::encode(&data_key, &key.object)?;
        changes.push(self.put(
            &IndexKey::key_object(n),
            &self.new.kek.current_key,
            self.new.kek.current_term,
            &plaintext,
        )?);
        to.commit(changes)?;
        Ok(versions.len() as u64)
    }

    fn version(
        &self,
        changes: &mut Vec<Change>,
        key: &StoredKey,
        n: [u8; 16],
        data_key: &Key32,
        version: &VersionRecord,
        count: u64,
    ) -> Result<()> {
        let v = self
            .new
            .hierarchy
            .version_prf(&key.object.name, version.version);
        let plaintext = key_version::encode(version)?;
        changes.push(self.put(&IndexKey::key_version(n, v), data_key, 0, &plaintext)?);
        if count > 0 {
            let plaintext = GcmCounter { count }.encode();
            changes.push(self.put(&IndexKey::gcm_counter(n, v), data_key, 0, &plaintext)?);
        }
        Ok(())
    }

    fn put(&self, index: &IndexKey, key: &Key32, term: u32, plaintext: &[u8]) -> Result<Change> {
        let record = self
            .new
            .hierarchy
            .seal_record(key, index, term, plaintext, self.entropy)?;
        Ok(Change::Put(*index, record))
    }
}

impl Vault {
    /// Every key and version opens, and none is missing.
    fn require_complete(&self, copied: &Copied) -> Result<()> {
        let report = self.check()?;
        let found = Copied {
            keys: report.keys(),
            versions: report.versions(),
        };
        let damaged = report.findings().iter().any(|finding| {
            finding.kind() != ErrorKind::BackendUnavailable && !finding.is_harmless()
        });
        if damaged || found != *copied {
            return Err(Error::internal(format!(
                "the vault with the new root is not complete: {found:?} in place of {copied:?}; the old vault is \
                 untouched, destroy the new one"
            )));
        }
        Ok(())
    }
}
