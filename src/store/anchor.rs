//! The anchor file: which generation is known to be durable, kept outside the engine.
//!
//! Between two syncs all writes go to the slot that does not hold the last synced generation, so one
//! slot is always whole on the disk. The anchor is written after the engine's sync: it can lag, never lead.

use std::time::{Duration, Instant};

use super::files::{Access, Files, VaultFile};
use super::vault_dir::ANCHOR_FILE;
use crate::error::{Error, ErrorKind, Result};
use crate::format::anchor::{ANCHOR_FILE_LENGTH, ANCHOR_SLOT_LENGTH, Anchor};
use crate::seal::anchor::{open_anchor, seal_anchor};
use crate::seal::hierarchy::Hierarchy;

/// An anchor that was written is synced at the latest after this.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The open anchor file.
#[derive(Debug)]
pub(super) struct AnchorFile {
    file: Box<dyn VaultFile>,
    /// The slot that holds the last synced generation.
    synced_slot: usize,
    unsynced_since: Option<Instant>,
    /// The newest generation in the file.
    generation: u64,
}

/// A slot as it was read: `None` when it is not one of this vault.
pub(super) type Slots = [Option<Anchor>; 2];

impl AnchorFile {
    /// Makes the file, with nothing in it.
    pub(super) fn create(files: &dyn Files) -> Result<Self> {
        let file = files
            .open(ANCHOR_FILE, Access::Create)?
            .ok_or_else(missing)?;
        file.write_at(&[0; ANCHOR_FILE_LENGTH], 0)?;
        file.sync_data()?;
        files.sync_directory(None)?;
        Ok(Self {
            file,
            synced_slot: 1,
            unsynced_since: None,
            generation: 0,
        })
    }

    /// Opens the file and applies the rules for the state that was found.
    ///
    /// Errors: `AnchorMissing`, `RolledBack`.
    pub(super) fn open(
        files: &dyn Files,
        hierarchy: &Hierarchy,
        generation: u64,
        state_hash: &[u8; 32],
    ) -> Result<Self> {
        let file = files
            .open(ANCHOR_FILE, Access::ReadWrite)?
            .ok_or_else(missing)?;
        let slots = read_slots(file.as_ref(), hierarchy)?;
        let (newest, anchor) = newest(&slots).ok_or_else(missing)?;
        let same = anchor.generation != generation || anchor.state_hash == *state_hash;
        if anchor.generation > generation || !same {
            return Err(Error::new(
                ErrorKind::RolledBack,
                format!(
                    "the vault's records are at generation {generation}, but its anchor has seen \
                     {}{}; an older copy was put back, or the end of the records was lost",
                    anchor.generation,
                    if same { "" } else { " with other contents" },
                ),
            ));
        }
        // An earlier process may have left the newest slot unsynced; its place is not written again before.
        file.sync_data()?;
        Ok(Self {
            file,
            synced_slot: newest,
            unsynced_since: None,
            generation: anchor.generation,
        })
    }

    /// Notes a generation that the engine has made durable.
    pub(super) fn write(
        &mut self,
        hierarchy: &Hierarchy,
        generation: u64,
        state_hash: &[u8; 32],
    ) -> Result<()> {
        let anchor = Anchor {
            generation,
            state_hash: *state_hash,
            vault_id: *hierarchy.vault_id(),
        };
        let bytes = seal_anchor(hierarchy, &anchor);
        let slot = 1 - self.synced_slot;
        self.file.write_at(&bytes, offset(slot))?;
        self.generation = generation;
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Syncs what was written; the slots change roles.
    pub(super) fn sync(&mut self) -> Result<()> {
        if self.unsynced_since.is_some() {
            self.file.sync_data()?;
            self.unsynced_since = None;
            self.synced_slot = 1 - self.synced_slot;
        }
        Ok(())
    }

    /// When a sync is due; `None` when nothing is unsynced.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + SYNC_INTERVAL)
    }

    /// Whether the engine has made a newer generation durable.
    pub(super) fn lags(&self, generation: u64) -> bool {
        self.generation < generation
    }
}

/// The slots of a vault that is being looked at.
pub(super) fn read_slots(file: &dyn VaultFile, hierarchy: &Hierarchy) -> Result<Slots> {
    let mut slots = [None, None];
    for (number, slot) in slots.iter_mut().enumerate() {
        let mut bytes = vec![0; ANCHOR_SLOT_LENGTH];
        if file.read_at(&mut bytes, offset(number))? == ANCHOR_SLOT_LENGTH {
            *slot = open_anchor(hierarchy, &bytes).ok();
        }
    }
    Ok(slots)
}

pub(super) fn newest(slots: &Slots) -> Option<(usize, &Anchor)> {
    slots
        .iter()
        .enumerate()
        .filter_map(|(number, slot)| slot.as_ref().map(|anchor| (number, anchor)))
        .max_by_key(|(_, anchor)| anchor.generation)
}

fn offset(slot: usize) -> u64 {
    (slot * ANCHOR_SLOT_LENGTH) as u64
}

pub(super) fn missing() -> Error {
    Error::new(
        ErrorKind::AnchorMissing,
        "the file `vault.anchor` is missing or holds nothing valid, so nobody can tell whether the \
         records are the newest; restore it, or open with VaultOptions::rebuild_anchor if you know that they are",
    )
}
