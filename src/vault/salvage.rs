//! Saving what is intact in a damaged vault into a new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::domain::NewDomain;
use super::founding::require_nothing_at;
use super::open::Opening;
use super::records::StoredKey;
use super::scratch_copy::ScratchCopy;
use super::{Inner, Vault, VaultOptions};
use crate::error::{Error, Result};
use crate::format::header::choose;
use crate::format::record::{Class, IndexKey, SealedRecord};
use crate::format::ring::KekRing;
use crate::format::settings::{self, ALGORITHM_RULES, DELETION_SETTINGS};
use crate::format::{gcm_counter::GcmCounter, key_object, key_version};
use crate::model::key::{KeyObject, VersionRecord};
use crate::model::name::KeyName;
use crate::model::settings::AlgorithmRules;
use crate::seal::hash32;
use crate::seal::header::{OpenedHeader, open_first};
use crate::seal::hierarchy::Hierarchy;
use crate::seal::slot::Unlock;
use crate::secret::Key32;
use crate::store::{VaultDir, header_file, visit_records};

/// A count that no version may exceed: it stands for one that was lost.
const LOST_GCM_COUNT: u64 = u32::MAX as u64;

/// What [`VaultOptions::salvage`] saved, and what it did not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SalvageReport {
    saved: Vec<KeyName>,
    incomplete: Vec<(KeyName, u32)>,
    lost_keys: u64,
    lost_records: u64,
    lost_settings: bool,
    ended_early: bool,
}

impl SalvageReport {
    /// The keys that were saved, complete or not, deleted ones included.
    #[must_use]
    pub fn saved(&self) -> &[KeyName] {
        &self.saved
    }

    /// The saved keys that lost versions, and how many. If the newest was among them, the last one that is left is the
    /// newest now.
    #[must_use]
    pub fn incomplete(&self) -> &[(KeyName, u32)] {
        &self.incomplete
    }

    /// How many keys are lost of which something was found. Nobody can tell their names.
    #[must_use]
    pub fn lost_keys(&self) -> u64 {
        self.lost_keys
    }

    /// How many records were found that do not open.
    #[must_use]
    pub fn lost_records(&self) -> u64 {
        self.lost_records
    }

    /// Whether retention, purge protection or refused algorithms were lost: the new vault has those of the options.
    #[must_use]
    pub fn lost_settings(&self) -> bool {
        self.lost_settings
    }

    /// Whether the files could not be read to their end: more may be lost than was found.
    #[must_use]
    pub fn ended_early(&self) -> bool {
        self.ended_early
    }
}

impl VaultOptions {
    /// Saves what is intact in the damaged vault at `path` into a new vault at `new_path`, and gives that.
    ///
    /// A key with its versions needs no other record to be opened, so intact keys of a damaged vault come through. One
    /// good copy of the header is needed. The new vault has a root key of its own, the security domain of the old one,
    /// and one way to unlock it: `unlock`. The old directory is not changed, and a copy of it beside the new one is
    /// removed at the end.
    ///
    /// The new vault gets its name when all is in it. An interruption leaves directories `<new_path>.new-<random>` and
    /// `<new_path>.salvage-<random>`, which can be removed; then call this again.
    ///
    /// **What is saved may be old.** Every key was written by the vault, but nobody can tell that it is the newest
    /// state of it, or that it had not been purged. Tombstones, unfinished calls to backends, the epochs' dates,
    /// access policies, the audit log and the identity key are not taken over. Keys in tokens keep their records, which are not
    /// compared with the tokens before the new vault is opened at the end.
    ///
    /// # Errors
    ///
    /// As [`VaultOptions::open`] for the header and as [`VaultOptions::create`] for the new vault;
    /// [`Corrupt`](crate::ErrorKind::Corrupt) when the storage engine does not open the files at all: then nothing is saved.
    pub fn salvage(
        self,
        path: impl AsRef<Path>,
        unlock: Unlock<'_>,
        new_path: impl AsRef<Path>,
    ) -> Result<(Vault, SalvageReport)> {
        self.salvage_at(path.as_ref(), unlock, new_path.as_ref())
            .map_err(|error: Error| error.with_operation("salvage"))
    }

    fn salvage_at(
        mut self,
        path: &Path,
        unlock: Unlock<'_>,
        new_path: &Path,
    ) -> Result<(Vault, SalvageReport)> {
        self.check()?;
        require_nothing_at(new_path)?;
        let building = Unpublished {
            path: self.temporary_beside(new_path)?,
        };
        let mut beside = new_path.as_os_str().to_owned();
        beside.push(".salvage");
        let copy = ScratchCopy::of(path, Path::new(&beside), self.random_source())?;
        let dir = VaultDir::open(copy.path())?;
        let [copy_a, copy_b] = header_file::read(&dir)?;
        let candidates = choose(&copy_a, &copy_b, hash32)?;
        let opened = open_first(candidates, unlock, self.limits())?;
        let OpenedHeader {
            stored,
            hierarchy,
            kek_ring,
            sdk_ring,
            ..
        } = opened;
        let domain = NewDomain {
            id: stored.header.domain_id,
            ring: Arc::new(sdk_ring),
        };
        let hierarchy = Arc::new(hierarchy);
        let mut wreck = Wreck {
            hierarchy: Arc::clone(&hierarchy),
            kek_ring,
            report: SalvageReport {
                lost_settings: true,
                ..SalvageReport::default()
            },
            rules: None,
            current: None,
        };
        let cache = self.storage_cache_bytes();
        let mut maker = Some((self.for_building(), domain));
        let mut vault: Option<Vault> = None;
        let mut settings = None;
        let complete = visit_records(&dir, &hierarchy, cache, |index, record| {
            if index.class() == Class::Settings {
                wreck.take_setting(&index, record, &mut settings);
                return Ok(());
            }
            if !index.class().is_bucket_member() {
                return Ok(());
            }
            if let Some((options, domain)) = maker.take() {
                vault = Some(options.salvaged_into(&building.path, unlock, domain, settings)?);
            }
            let Some(vault) = &vault else { return Ok(()) };
            wreck.take_record(index, record, &vault.inner)
        })?;
        if let Some((options, domain)) = maker.take() {
            vault = Some(options.salvaged_into(&building.path, unlock, domain, settings)?);
        }
        let vault = vault.ok_or_else(|| Error::internal("a salvage made no vault"))?;
        wreck.finish_key(&vault.inner)?;
        let mut report = wreck.report;
        match wreck.rules.take() {
            Some(rules) => vault.set_algorithm_rules(rules)?,
            None => report.lost_settings = true,
        }
        report.ended_early = !complete;
        if let Some(guard) = &self.guard {
            guard.require_unknown(vault.inner.hierarchy.vault_id())?;
        }
        vault.close()?;
        VaultDir::open(&building.path)?.publish(new_path)?;
        // That was about the damaged vault.
        self.limits.expected_root = None;
        let vault = self.open_dir(VaultDir::open(new_path)?, unlock, Opening::Normal)?;
        Ok((vault, report))
    }

    /// The options for a vault that nobody uses yet: without backends, which are not asked, guard and audit log.
    fn for_building(&mut self) -> Self {
        Self {
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            deletion: self.deletion,
            suite: self.suite,
            passphrase_cost: self.passphrase_cost,
            limits: self.limits,
            allow_sole_device_slot: self.allow_sole_device_slot,
            least: self.least.take(),
            storage_cache: self.storage_cache,
            memory: self.memory,
            ..Self::new()
        }
    }

    fn salvaged_into(
        mut self,
        path: &Path,
        unlock: Unlock<'_>,
        domain: NewDomain,
        deletion: Option<crate::model::settings::DeletionSettings>,
    ) -> Result<Vault> {
        if let Some(deletion) = deletion {
            self.set_deletion(deletion);
        }
        self.create_at(path, unlock, &domain)
    }
}

/// A vault that is being made; what is left of it when it was not published is removed with this.
struct Unpublished {
    path: PathBuf,
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        // Mostly there is nothing: it got its name.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The damaged vault, one key at a time.
struct Wreck {
    hierarchy: Arc<Hierarchy>,
    kek_ring: KekRing,
    report: SalvageReport,
    rules: Option<AlgorithmRules>,
    current: Option<Remains>,
}

/// What was found of one key.
struct Remains {
    n: [u8; 16],
    counters: Vec<(IndexKey, SealedRecord)>,
    key: Option<(Key32, KeyObject)>,
    versions: Vec<VersionRecord>,
    spoiled_counters: bool,
}

impl Wreck {
    fn take_setting(
        &mut self,
        index: &IndexKey,
        record: Result<SealedRecord>,
        deletion: &mut Option<crate::model::settings::DeletionSettings>,
    ) {
        let opened = record.and_then(|record| {
            let key = self.hierarchy.meta_key()?;
            self.hierarchy.open_record(&key, index, &record)
        });
        let Ok(plaintext) = opened else {
            self.report.lost_records += 1;
            return;
        };
        if *index == IndexKey::settings(DELETION_SETTINGS) {
            *deletion = settings::decode_deletion(&plaintext).ok();
            self.report.lost_settings = deletion.is_none();
        } else if *index == IndexKey::settings(ALGORITHM_RULES) {
            self.rules = settings::decode_algorithms(&plaintext).ok();
        }
    }

    /// Records come in the order G, M, V of each key.
    fn take_record(
        &mut self,
        index: IndexKey,
        record: Result<SealedRecord>,
        target: &Inner,
    ) -> Result<()> {
        if self
            .current
            .as_ref()
            .is_none_or(|remains| remains.n != index.n())
        {
            self.finish_key(target)?;
            self.current = Some(Remains {
                n: index.n(),
                counters: Vec::new(),
                key: None,
                versions: Vec::new(),
                spoiled_counters: false,
            });
        }
        let Some(remains) = &mut self.current else {
            return Ok(());
        };
        let taken = match (index.class(), record) {
            (Class::GcmCounter, Ok(record)) => {
                remains.counters.push((index, record));
                true
            }
            (Class::GcmCounter, Err(_)) => {
                remains.spoiled_counters = true;
                false
            }
            (Class::KeyObject, Ok(record)) => {
                remains.key = self
                    .kek_ring
                    .key(record.term())
                    .and_then(|key| self.hierarchy.open_record(key, &index, &record).ok())
                    .and_then(|plaintext| key_object::decode(&plaintext).ok())
                    .filter(|(_, object)| {
                        IndexKey::key_object(self.hierarchy.name_prf(&object.name)) == index
                    });
                remains.key.is_some()
            }
            (Class::KeyVersion, Ok(record)) => {
                let version = remains.key.as_ref().and_then(|(key, object)| {
                    let plaintext = self.hierarchy.open_record(key, &index, &record).ok()?;
                    let version = key_version::decode(&plaintext).ok()?;
                    let v = self.hierarchy.version_prf(&object.name, version.version);
                    (IndexKey::key_version(index.n(), v) == index).then_some(version)
                });
                let taken = version.is_some();
                remains.versions.extend(version);
                taken
            }
            _ => false,
        };
        if !taken {
            self.report.lost_records += 1;
        }
        Ok(())
    }

    /// Writes the key that was being collected into the new vault.
    fn finish_key(&mut self, target: &Inner) -> Result<()> {
        let Some(mut remains) = self.current.take() else {
            return Ok(());
        };
        remains.versions.sort_by_key(|version| version.ordinal);
        let newest = remains.versions.last().map(|version| version.version);
        let (Some((old_key, mut object)), Some(newest)) = (remains.key.take(), newest) else {
            self.report.lost_keys += 1;
            return Ok(());
        };
        let count = u32::try_from(remains.versions.len())
            .map_err(|_| Error::internal("a key has too many versions"))?;
        if count < object.version_count {
            let lost = object.version_count - count;
            self.report.incomplete.push((object.name.clone(), lost));
        }
        object.version_count = count;
        object.newest = newest;
        let name = object.name.clone();
        let versions: Vec<(VersionRecord, u64)> = remains
            .versions
            .into_iter()
            .map(|version| {
                let v = self.hierarchy.version_prf(&name, version.version);
                let place = IndexKey::gcm_counter(remains.n, v);
                let found = remains
                    .counters
                    .iter()
                    .find(|(index, _)| *index == place)
                    .map(|(index, record)| {
                        self.hierarchy
                            .open_record(&old_key, index, record)
                            .and_then(|plaintext| GcmCounter::decode(&plaintext))
                            .map_or(LOST_GCM_COUNT, |counter| counter.count)
                    });
                let count = match found {
                    Some(count) => count,
                    // Rather no encryption more than one too many.
                    None if remains.spoiled_counters => LOST_GCM_COUNT,
                    None => 0,
                };
                (version, count)
            })
            .collect();
        let key = StoredKey {
            n: target.hierarchy.name_prf(&name),
            data_key: Key32::random(&*target.entropy)?,
            object,
        };
        let mut changes = target.put_restored(&key, &versions)?;
        let sealing = target.header.sealing();
        changes.push(target.put_key(&sealing, &key)?);
        target.store.commit(changes)?;
        drop(sealing);
        self.report.saved.push(name);
        Ok(())
    }
}
