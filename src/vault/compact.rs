//! Making a vault's files smaller.

use std::path::Path;
use std::sync::Arc;

use super::header::header_facts;
use super::open::{Mended, Opening};
use super::{Operation, Subject, Vault, VaultOptions};
use crate::error::{Error, Result};
use crate::format::header::StoredHeader;
use crate::seal::hash32;
use crate::seal::hierarchy::Hierarchy;
use crate::seal::slot::Unlock;
use crate::secret::wipe_stack;
use crate::store::{CommitOptions, Compacted, OpenMode, Store, VaultDir};

/// What [`VaultOptions::compact`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactionReport {
    records: u64,
    bytes_before: u64,
    bytes_after: u64,
}

impl CompactionReport {
    /// How many records of all kinds the vault has, and were copied.
    #[must_use]
    pub fn records(self) -> u64 {
        self.records
    }

    /// The length of the records' files before, in bytes.
    #[must_use]
    pub fn bytes_before(self) -> u64 {
        self.bytes_before
    }

    /// The length of the records' files after it, in bytes. In a small vault the least sizes of the storage engine
    /// outweigh what was won.
    #[must_use]
    pub fn bytes_after(self) -> u64 {
        self.bytes_after
    }
}

impl VaultOptions {
    /// Opens the vault at `path` and makes its files smaller: the storage engine gives no space back by itself, however
    /// much is deleted, so all records are written anew into new files, in their order.
    ///
    /// Nothing is sealed anew, and everything stays what it was: keys, settings, audit log, unlock slots, fingerprint
    /// and pins. The generation is one higher afterwards, so that a copy of the directory from before is an older copy.
    /// The vault must not be open, and is locked throughout. The disk needs room for what the vault holds beside what
    /// is there. It takes about as long as writing all records once.
    ///
    /// The new files are built in a subdirectory of the vault's, compared with the old ones record by record, synced,
    /// and only then moved into their places. Whenever a crash interrupts that, the next opening removes what is
    /// unfinished, or brings the moving to its end; [`OpenReport`](crate::OpenReport) tells of it.
    ///
    /// The old files are removed. What was in their blocks may still be read from the disk until it is written over:
    /// that purged keys cannot be opened is the work of [`Vault::purge_deleted_key`] and [`Vault::rotate_kek`], and
    /// compaction adds nothing to it.
    ///
    /// # Errors
    ///
    /// Those of [`VaultOptions::open`]. A damaged vault is left as it is, and the kind of the damage is the error:
    /// [`Tampered`](crate::ErrorKind::Tampered) or [`Corrupt`](crate::ErrorKind::Corrupt).
    /// [`StorageFull`](crate::ErrorKind::StorageFull) when the room does not suffice: then nothing was changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::{CreateKeyOptions, Curve, KeyName, MasterKey, Unlock, VaultOptions};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("vault");
    /// let master = MasterKey::generate()?;
    /// let vault = VaultOptions::new().create(&path, Unlock::raw_key(&master))?;
    /// let made = vault.create_key(&KeyName::from_static("k"), CreateKeyOptions::ec(Curve::P256))?;
    /// vault.close()?;
    ///
    /// let (vault, report) = VaultOptions::new().compact(&path, Unlock::raw_key(&master))?;
    /// println!("{} bytes in place of {}", report.bytes_after(), report.bytes_before());
    /// assert_eq!(vault.get_key(made.id())?, made);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(
        self,
        path: impl AsRef<Path>,
        unlock: Unlock<'_>,
    ) -> Result<(Vault, CompactionReport)> {
        let compact = || {
            self.check()?;
            let mut done = Compacted::default();
            let dir = VaultDir::open(path.as_ref())?;
            let vault = self.open_dir(dir, unlock, Opening::Compacting(&mut done))?;
            vault.record_compaction()?;
            let report = CompactionReport {
                records: done.records,
                bytes_before: done.bytes_before,
                bytes_after: done.bytes_after,
            };
            Ok((vault, report))
        };
        let compacted = compact().map_err(|error: Error| error.with_operation("compact"));
        wipe_stack();
        compacted
    }

    /// Compacts the store in a directory that is locked, after its header was found.
    pub(super) fn compact_store(
        &self,
        dir: VaultDir,
        stored: &StoredHeader,
        hierarchy: &Arc<Hierarchy>,
        kek_term: u32,
    ) -> Result<(VaultDir, Compacted, Mended)> {
        let config = self.store_config(hierarchy, header_facts(stored, kek_term));
        let mode = OpenMode {
            rebuild_anchor: self.rebuild_anchor,
            ..OpenMode::default()
        };
        let mut header_healed = false;
        let (dir, compacted) = Store::compact(dir, &config, mode, |store| {
            self.require_newest(hierarchy, &store.state())?;
            header_healed = store.heal_header(&stored.encode(hash32))?;
            Ok(())
        })?;
        let mended = Mended {
            store: compacted.opened,
            header_healed,
        };
        Ok((dir, compacted, mended))
    }
}

impl Vault {
    /// An entry in the audit log, and a generation that no earlier copy of the directory has.
    fn record_compaction(&self) -> Result<()> {
        self.act(Operation::Compact, Subject::Vault, |act| {
            let options = CommitOptions {
                new_generation: true,
                ..CommitOptions::default()
            };
            act.commit(Vec::new(), options)?;
            act.inner().note_time();
            act.inner().store.sync_anchor()
        })
    }
}
