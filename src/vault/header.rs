//! The header of an open vault: its slots and key rings, and how they are replaced while the vault is in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use super::{Act, Inner};
use crate::error::{Error, Result};
use crate::format::header::StoredHeader;
use crate::format::ring::{KekRing, SdkRing};
use crate::format::slot::Slot;
use crate::seal::hash32;
use crate::seal::header::seal_header;
use crate::store::{CommitOptions, HeaderFacts};

/// The header as it stands on the disk, with the keys that were sealed in it.
pub(super) struct HeaderKeeper {
    current: Mutex<Current>,
    rings: RwLock<Rings>,
    /// Shared by whoever seals a key object until it is durable; taken alone while the key changes.
    sealing: RwLock<()>,
}

/// Whoever holds it is the only one to replace the header.
pub(super) type HeaderGuard<'a> = MutexGuard<'a, Current>;

pub(super) struct Current {
    facts: HeaderFacts,
    /// `None` in memory, where there is nothing to unlock.
    stored: Option<StoredHeader>,
}

/// The keys in the header.
#[derive(Clone)]
pub(super) struct Rings {
    pub(super) kek: Arc<KekRing>,
    pub(super) sdk: Arc<SdkRing>,
    pub(super) domain_id: [u8; 16],
}

/// What the next header holds; what is `None` stays.
#[derive(Default)]
pub(super) struct NewHeader {
    pub(super) slots: Option<Vec<Slot>>,
    pub(super) kek: Option<KekRing>,
    pub(super) sdk: Option<SdkRing>,
}

/// The KEK as it stays until this is dropped: a key object is durable before its KEK is replaced.
pub(super) struct Sealing<'a> {
    pub(super) kek: Arc<KekRing>,
    _shared: RwLockReadGuard<'a, ()>,
}

impl HeaderKeeper {
    pub(super) fn new(stored: Option<StoredHeader>, facts: HeaderFacts, rings: Rings) -> Self {
        Self {
            current: Mutex::new(Current { facts, stored }),
            rings: RwLock::new(rings),
            sealing: RwLock::new(()),
        }
    }

    pub(super) fn lock(&self) -> HeaderGuard<'_> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rings(&self) -> Rings {
        self.rings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Wipes the keys, or leaves that to the last call that uses them. What takes their place seals and opens
    /// nothing: there is no such term and no such epoch.
    pub(super) fn let_go(&self) {
        let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
        rings.kek = Arc::new(KekRing::blank());
        rings.sdk = Arc::new(SdkRing {
            current_epoch: 0,
            epochs: Vec::new(),
        });
    }

    /// Before a key object is sealed; to be kept until its commit has returned, and never taken twice by one
    /// thread.
    pub(super) fn sealing(&self) -> Sealing<'_> {
        let shared = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        Sealing {
            kek: self.rings().kek,
            _shared: shared,
        }
    }
}

impl Current {
    pub(super) fn slots(&self) -> &[Slot] {
        self.stored
            .as_ref()
            .map_or(&[], |stored| &stored.header.slots)
    }

    pub(super) fn stored(&self) -> Option<&StoredHeader> {
        self.stored.as_ref()
    }
}

impl Inner {
    /// Replaces the header durably: both copies, then STATE, which alone makes it the vault's header. The act that it is
    /// part of is recorded with STATE.
    ///
    /// Errors: those of storage, after which the handle is of no more use, because a header on the disk may be
    /// newer than what is in memory; `RandomUnavailable`, before anything was written.
    pub(super) fn replace_header(
        &self,
        current: &mut HeaderGuard<'_>,
        new: NewHeader,
        act: Option<&Act<'_>>,
    ) -> Result<()> {
        let old = self.header.rings();
        let rings = Rings {
            kek: new.kek.map_or(old.kek, Arc::new),
            sdk: new.sdk.map_or(old.sdk, Arc::new),
            domain_id: old.domain_id,
        };
        let seq = current
            .facts
            .seq
            .checked_add(1)
            .ok_or_else(|| Error::internal("the header counter is exhausted"))?;
        let stored = current
            .stored
            .as_ref()
            .map(|stored| {
                seal_header(
                    &self.hierarchy,
                    rings.domain_id,
                    seq,
                    new.slots.unwrap_or_else(|| stored.header.slots.clone()),
                    &rings.kek,
                    &rings.sdk,
                    &*self.entropy,
                )
            })
            .transpose()?;
        let facts = match &stored {
            Some(stored) => header_facts(stored, rings.kek.current_term),
            None => HeaderFacts {
                seq,
                mac: [0; 32],
                kek_term: rings.kek.current_term,
            },
        };
        if let Some(stored) = &stored {
            self.store.write_header(&stored.encode(hash32))?;
        }
        // Key objects sealed under the old ring are durable from here on, and new ones wait for the new ring.
        let alone = self
            .header
            .sealing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let options = CommitOptions {
            header: Some(facts.clone()),
            ..CommitOptions::default()
        };
        match act {
            Some(act) => act.commit(Vec::new(), options)?,
            None => self.store.commit_with(Vec::new(), options)?,
        }
        *self
            .header
            .rings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = rings;
        drop(alone);
        self.note_time();
        current.facts = facts;
        current.stored = stored;
        Ok(())
    }
}

/// What STATE holds of a header.
pub(super) fn header_facts(stored: &StoredHeader, kek_term: u32) -> HeaderFacts {
    let mut mac = [0; 32];
    mac.copy_from_slice(&stored.mac[..32]);
    HeaderFacts {
        seq: stored.header.seq,
        mac,
        kek_term,
    }
}
