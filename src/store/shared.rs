//! What the callers of a store and its committer share.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreConfig;
use super::audit::WaitingEvents;
use super::engine::Storage;
use super::ledger::{self, Ledger};
use super::overlay::Overlay;
use super::points::Points;
use super::poison::Poison;
use super::queue::Queue;
use super::vault_dir::VaultDir;
use crate::error::{ErrorKind, Result};
use crate::format::record::BUCKET_COUNT;

const BUCKET_UNKNOWN: u8 = 0;
pub(super) const BUCKET_GOOD: u8 = 1;
const BUCKET_BAD: u8 = 2;

/// What callers and the committer share.
pub(super) struct Shared {
    pub(super) engine: Box<dyn Storage>,
    /// The commit lock.
    pub(super) ledger: Mutex<Ledger>,
    pub(super) overlay: Overlay,
    pub(super) verdicts: Vec<AtomicU8>,
    pub(super) queue: Queue,
    pub(super) waiting_events: WaitingEvents,
    /// Groups that are durable.
    pub(super) commits: AtomicU64,
    pub(super) poison: Arc<Poison>,
    pub(super) config: StoreConfig,
    /// Holds the vault's lock; taken away by closing.
    pub(super) dir: Mutex<Option<VaultDir>>,
    pub(super) waiting_readers: AtomicUsize,
    pub(super) points: Points,
}

impl Shared {
    pub(super) fn new(
        engine: Box<dyn Storage>,
        ledger: Ledger,
        config: StoreConfig,
        dir: Option<VaultDir>,
        poison: Arc<Poison>,
        points: Points,
    ) -> Self {
        Self {
            engine,
            ledger: Mutex::new(ledger),
            overlay: Overlay::default(),
            verdicts: (0..BUCKET_COUNT)
                .map(|_| AtomicU8::new(BUCKET_UNKNOWN))
                .collect(),
            queue: Queue::default(),
            waiting_events: WaitingEvents::default(),
            commits: AtomicU64::new(0),
            poison,
            config,
            dir: Mutex::new(dir),
            waiting_readers: AtomicUsize::new(0),
            points,
        }
    }

    pub(super) fn lock_ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_dir(&self) -> MutexGuard<'_, Option<VaultDir>> {
        self.dir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies a bucket unless that was done before.
    pub(super) fn require_bucket(&self, number: u16) -> Result<()> {
        match self.verdict(number) {
            Some(verdict) => verdict,
            None => self.verify_bucket(&mut self.lock_ledger(), number),
        }
    }

    /// As [`Shared::require_bucket`], for whoever holds the commit lock.
    pub(super) fn verify_bucket(&self, ledger: &mut Ledger, number: u16) -> Result<()> {
        if let Some(verdict) = self.verdict(number) {
            return verdict;
        }
        // After a failed group the engine holds half of it.
        self.poison.check()?;
        let outcome = ledger.verify_bucket(&self.config, self.engine.as_ref(), number);
        self.note_verdict(number, &outcome);
        outcome
    }

    pub(super) fn verdict(&self, number: u16) -> Option<Result<()>> {
        match self
            .verdicts
            .get(usize::from(number))?
            .load(Ordering::SeqCst)
        {
            BUCKET_GOOD => Some(Ok(())),
            BUCKET_BAD => Some(Err(ledger::bad_bucket())),
            _ => None,
        }
    }

    pub(super) fn note_verdict(&self, number: u16, outcome: &Result<()>) {
        let verdict = match outcome {
            Ok(()) => BUCKET_GOOD,
            Err(error) if error.kind() == ErrorKind::Tampered => BUCKET_BAD,
            // Failures of the engine say nothing about the bucket.
            Err(_) => return,
        };
        if let Some(place) = self.verdicts.get(usize::from(number)) {
            place.store(verdict, Ordering::SeqCst);
        }
    }
}
