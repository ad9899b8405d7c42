//! Opening vaults: the header, the records that belong to it, and what a rollback guard remembers of them.

use std::path::Path;
use std::sync::Arc;

use super::header::{HeaderKeeper, Rings, header_facts};
use super::rollback::require_at_least;
use super::scratch_copy::ScratchCopy;
use super::{OpenReport, Vault, VaultOptions};
use crate::error::{Error, Result};
use crate::format::header::{StoredHeader, choose};
use crate::seal::hash32;
use crate::seal::header::{OpenedHeader, open_first};
use crate::seal::hierarchy::Hierarchy;
use crate::seal::slot::Unlock;
use crate::secret::wipe_stack;
use crate::store::{
    self, Compacted, HeaderFacts, OpenMode, StateFacts, Store, StoreConfig, VaultDir, header_file,
};

/// What an existing vault is opened for.
pub(super) enum Opening<'r> {
    Normal,
    /// In this copy of its files.
    ReadOnly(ScratchCopy),
    /// After its records' files were made smaller; for the report of that.
    Compacting(&'r mut Compacted),
}

/// What an opening just before had to mend.
#[derive(Default)]
pub(super) struct Mended {
    pub(super) store: store::OpenReport,
    pub(super) header_healed: bool,
}

impl VaultOptions {
    /// Opens an existing vault.
    ///
    /// What a crash left unfinished is finished or undone first; a damaged header copy is rewritten from
    /// the good one. [`Vault::open_report`] tells of it.
    ///
    /// # Errors
    ///
    /// [`VaultNotFound`](crate::ErrorKind::VaultNotFound), [`VaultInUse`](crate::ErrorKind::VaultInUse),
    /// [`WrongKey`](crate::ErrorKind::WrongKey), [`KdfCostRefused`](crate::ErrorKind::KdfCostRefused),
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`Tampered`](crate::ErrorKind::Tampered),
    /// [`RolledBack`](crate::ErrorKind::RolledBack), [`HeaderReplayed`](crate::ErrorKind::HeaderReplayed),
    /// [`AnchorMissing`](crate::ErrorKind::AnchorMissing), [`NewerFormat`](crate::ErrorKind::NewerFormat),
    /// [`UnsafePermissions`](crate::ErrorKind::UnsafePermissions), [`StorageFull`](crate::ErrorKind::StorageFull),
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Io`](crate::ErrorKind::Io) and
    /// [`MemoryProtection`](crate::ErrorKind::MemoryProtection) under
    /// [`MemoryProtection::RequireFull`](crate::MemoryProtection::RequireFull).
    pub fn open(self, path: impl AsRef<Path>, unlock: Unlock<'_>) -> Result<Vault> {
        let open = || {
            self.check()?;
            self.open_dir(VaultDir::open(path.as_ref())?, unlock, Opening::Normal)
        };
        let opened = open().map_err(|error: Error| error.with_operation("open"));
        wipe_stack();
        opened
    }

    /// Opens the vault at `path`, or creates one when there is nothing at `path`.
    ///
    /// # Errors
    ///
    /// As [`VaultOptions::open`] and [`VaultOptions::create`].
    pub fn open_or_create(self, path: impl AsRef<Path>, unlock: Unlock<'_>) -> Result<Vault> {
        let path = path.as_ref();
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.create(path, unlock),
            _ => self.open(path, unlock),
        }
    }

    /// Opens what lies in a directory that is locked.
    pub(super) fn open_dir(
        mut self,
        dir: VaultDir,
        unlock: Unlock<'_>,
        opening: Opening<'_>,
    ) -> Result<Vault> {
        let [copy_a, copy_b] = header_file::read(&dir)?;
        let candidates = choose(&copy_a, &copy_b, hash32)?;
        let OpenedHeader {
            stored,
            root,
            hierarchy,
            kek_ring,
            sdk_ring,
            slot,
        } = open_first(candidates, unlock, self.limits)?;
        // What is built next is moved as a whole, and would take along what lies in its gaps.
        wipe_stack();
        let rings = Rings {
            kek: Arc::new(kek_ring),
            sdk: Arc::new(sdk_ring),
            domain_id: stored.header.domain_id,
        };
        let hierarchy = Arc::new(hierarchy);
        let read_only = matches!(opening, Opening::ReadOnly(_));
        let (dir, earlier) = match opening {
            Opening::Normal => (dir, Mended::default()),
            Opening::ReadOnly(copy) => {
                self.scratch = Some(copy);
                (dir, Mended::default())
            }
            Opening::Compacting(compacted) => {
                let term = rings.kek.current_term;
                let (dir, done, mended) = self.compact_store(dir, &stored, &hierarchy, term)?;
                *compacted = done;
                (dir, mended)
            }
        };
        let vault = self.open_store_after(earlier, dir, stored, hierarchy, rings)?;
        if !read_only {
            // So that a lock for want of use does not come between.
            let operation = vault.inner.gate.enter(None)?;
            vault.inner.raise_cost(unlock, slot, &root)?;
            drop(operation);
        }
        Ok(vault)
    }

    pub(super) fn store_config(
        &self,
        hierarchy: &Arc<Hierarchy>,
        header: HeaderFacts,
    ) -> StoreConfig {
        StoreConfig {
            hierarchy: Arc::clone(hierarchy),
            entropy: Arc::clone(&self.entropy),
            clock: Arc::clone(&self.clock),
            header,
            generation_before: 0,
            cache_capacity: self.storage_cache,
        }
    }

    pub(super) fn open_store(
        self,
        dir: VaultDir,
        stored: StoredHeader,
        hierarchy: Arc<Hierarchy>,
        rings: Rings,
    ) -> Result<Vault> {
        self.open_store_after(Mended::default(), dir, stored, hierarchy, rings)
    }

    /// As [`VaultOptions::open_store`]; the report tells also what an opening just before had to do.
    fn open_store_after(
        self,
        earlier: Mended,
        dir: VaultDir,
        stored: StoredHeader,
        hierarchy: Arc<Hierarchy>,
        rings: Rings,
    ) -> Result<Vault> {
        let facts = header_facts(&stored, rings.kek.current_term);
        let config = self.store_config(&hierarchy, facts.clone());
        let mode = OpenMode {
            rebuild_anchor: self.rebuild_anchor,
            ..OpenMode::default()
        };
        let (store, report) = Store::open_with(dir, config, mode)?;
        self.require_newest(&hierarchy, &store.state())?;
        // Only now is it certain that this header is the newest.
        let healed = store.heal_header(&stored.encode(hash32))?;
        let report = OpenReport::new(
            earlier.store.and_then(report),
            healed | earlier.header_healed,
        );
        let header = HeaderKeeper::new(Some(stored), facts, rings);
        self.start(store, hierarchy, header, report)
    }

    /// Asks pin and guard whether this is the newest state that they know of.
    ///
    /// Errors: `WrongRoot`, `RolledBack`, `GuardUnavailable`.
    pub(super) fn require_newest(&self, hierarchy: &Hierarchy, state: &StateFacts) -> Result<()> {
        if let Some(pin) = &self.least {
            require_at_least(pin, hierarchy, state)?;
        }
        match &self.guard {
            Some(guard) if !self.guard_knows_another_root => guard.require_newest(hierarchy, state),
            _ => Ok(()),
        }
    }
}
