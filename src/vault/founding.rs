//! Building a vault beside its place, to be published as a whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::domain::NewDomain;
use super::header::{Rings, header_facts};
use super::settings::{algorithms_change, deletion_change};
use super::{Vault, VaultOptions, slots};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::StoredHeader;
use crate::format::ring::KekRing;
use crate::model::settings::AlgorithmRules;
use crate::seal::header::seal_header;
use crate::seal::hierarchy::Hierarchy;
use crate::seal::slot::{NewSlot, SlotId, Unlock, seal_slot};
use crate::seal::{Suite, hash32};
use crate::secret::{Key32, wipe_stack};
use crate::store::{Change, Store, StoreConfig, VaultDir, header_file};

/// The keys of a vault that is being created.
pub(super) struct FreshKeys {
    root: Key32,
    pub(super) hierarchy: Arc<Hierarchy>,
    pub(super) kek: Arc<KekRing>,
    /// How far the vault had got that this one continues.
    pub(super) generation_before: u64,
}

impl FreshKeys {
    pub(super) fn new(entropy: &dyn Entropy, suite: Suite) -> Result<Self> {
        let mut vault_id = [0; 16];
        entropy.fill(&mut vault_id)?;
        Self::for_vault(vault_id, entropy, suite)
    }

    pub(super) fn for_vault(
        vault_id: [u8; 16],
        entropy: &dyn Entropy,
        suite: Suite,
    ) -> Result<Self> {
        let root = Key32::random(entropy)?;
        Ok(Self {
            hierarchy: Arc::new(Hierarchy::derive(&root, vault_id, suite)),
            root,
            kek: Arc::new(KekRing {
                current_term: 1,
                current_key: Arc::new(Key32::random(entropy)?),
                previous: None,
            }),
            generation_before: 0,
        })
    }
}

impl VaultOptions {
    pub(super) fn create_at(
        self,
        path: &Path,
        unlock: Unlock<'_>,
        domain: &NewDomain,
    ) -> Result<Vault> {
        self.check()?;
        require_nothing_at(path)?;
        let fresh = FreshKeys::new(&*self.entropy, self.suite)?;
        if let Some(guard) = &self.guard {
            guard.require_unknown(fresh.hierarchy.vault_id())?;
        }
        let initial = self.initial_records(&fresh.hierarchy)?;
        let stored = self.found(path, unlock, &fresh, domain, initial, |dir, _| Ok(dir))?;
        let rings = Rings {
            kek: fresh.kek,
            sdk: Arc::clone(&domain.ring),
            domain_id: domain.id,
        };
        self.open_store(VaultDir::open(path)?, stored, fresh.hierarchy, rings)
    }

    /// Builds a vault with these records in a directory of its own, lets `fill` add to it, and publishes it at
    /// `path`, durably. What `fill` opens it has to close, and to give the directory back.
    pub(super) fn found(
        &self,
        path: &Path,
        unlock: Unlock<'_>,
        fresh: &FreshKeys,
        domain: &NewDomain,
        initial: Vec<Change>,
        fill: impl FnOnce(VaultDir, StoreConfig) -> Result<VaultDir>,
    ) -> Result<StoredHeader> {
        let suite = fresh.hierarchy.suite();
        let new = NewSlot::from(unlock);
        slots::require_lasting([new.can_be_lost()], self.allow_sole_device_slot)?;
        let slot = seal_slot(
            new,
            SlotId::random(&*self.entropy)?,
            self.passphrase_cost,
            fresh.hierarchy.vault_id(),
            suite,
            &fresh.root,
            &*self.entropy,
        )?;
        let stored = seal_header(
            &fresh.hierarchy,
            domain.id,
            1,
            vec![slot],
            &fresh.kek,
            &domain.ring,
            &*self.entropy,
        )?;
        wipe_stack();
        let temporary = self.temporary_beside(path)?;
        let build = || {
            let dir = VaultDir::create(&temporary)?;
            header_file::write(&dir, &stored.encode(hash32))?;
            let facts = header_facts(&stored, fresh.kek.current_term);
            let config = StoreConfig {
                generation_before: fresh.generation_before,
                ..self.store_config(&fresh.hierarchy, facts)
            };
            Store::create(&dir, config.clone(), initial)?;
            fill(dir, config)?.publish(path)
        };
        if let Err(error) = build() {
            // It has never been a vault.
            let _ = std::fs::remove_dir_all(&temporary);
            return Err(error);
        }
        Ok(stored)
    }

    /// `<path>.new-<random>`.
    pub(super) fn temporary_beside(&self, path: &Path) -> Result<PathBuf> {
        let mut random = [0; 8];
        self.entropy.fill(&mut random)?;
        let mut name = path
            .file_name()
            .ok_or_else(|| Error::bad_parameter("the path of the vault names no directory"))?
            .to_owned();
        name.push(format!(".new-{:016x}", u64::from_be_bytes(random)));
        Ok(path.with_file_name(name))
    }

    pub(super) fn initial_records(&self, hierarchy: &Hierarchy) -> Result<Vec<Change>> {
        Ok(vec![
            deletion_change(hierarchy, self.deletion, &*self.entropy)?,
            algorithms_change(hierarchy, &AlgorithmRules::default(), &*self.entropy)?,
        ])
    }
}

/// Errors: `VaultExists`.
pub(super) fn require_nothing_at(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::VaultExists,
        format!(
            "there is something at {} already; open it, or choose another path",
            path.display()
        ),
    ))
}
