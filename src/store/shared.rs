//! What the callers of a store and its committer share.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreConfig;
use super::audit::WaitingEvents;
use super::buckets::{self, bad_bucket};
use super::engine::Storage;
use super::ledger::{KnownBucket, Ledger};
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
/// How many callers are told at once. One works, and another is ready when that one waits.
const TOLD_PER_PROCESSOR: usize = 2;

/// What callers and the committer share.
pub(super) struct Shared {
    pub(super) engine: Box<dyn Storage>,
    /// The commit lock.
    pub(super) ledger: Mutex<Ledger>,
    pub(super) overlay: Overlay,
    pub(super) verdicts: Vec<AtomicU8>,
    /// The shares of the buckets in STATE's digest of them, as they were when the store was opened.
    at_opening: Vec<Option<[u8; 32]>>,
    pub(super) queue: Queue,
    pub(super) waiting_events: WaitingEvents,
    /// Groups that are durable.
    pub(super) commits: AtomicU64,
    pub(super) poison: Arc<Poison>,
    pub(super) config: StoreConfig,
    /// Holds the vault's lock; taken away by closing.
    pub(super) dir: Mutex<Option<VaultDir>>,
    pub(super) waiting_readers: AtomicUsize,
    /// As in STATE, for those who do not want to wait for the group in flight.
    pub(super) max_time_seen_ms: AtomicU64,
    /// At most so many callers learn of a group from who wrote it. The processors are those of the opening.
    pub(super) told_at_once: usize,
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
        let share = |known: &Option<KnownBucket>| known.as_ref().map(|known| known.share);
        let at_opening = ledger.buckets.iter().map(share).collect();
        let max_time_seen_ms = AtomicU64::new(ledger.state.max_time_seen);
        Self {
            engine,
            ledger: Mutex::new(ledger),
            overlay: Overlay::default(),
            verdicts: (0..BUCKET_COUNT)
                .map(|_| AtomicU8::new(BUCKET_UNKNOWN))
                .collect(),
            at_opening,
            queue: Queue::default(),
            waiting_events: WaitingEvents::default(),
            commits: AtomicU64::new(0),
            poison,
            config,
            dir: Mutex::new(dir),
            waiting_readers: AtomicUsize::new(0),
            max_time_seen_ms,
            told_at_once: TOLD_PER_PROCESSOR * processors(),
            points,
        }
    }

    /// The commit lock. Whoever gets it finds every durable group in the engine, unless the store has failed.
    pub(super) fn lock_ledger(&self) -> MutexGuard<'_, Ledger> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.apply_rest(&mut ledger);
        ledger
    }

    /// Gives the engine what readers see already. After a failure the overlay stays, so that no reader sees half of it
    /// before it sees the failure.
    pub(super) fn apply_rest(&self, ledger: &mut Ledger) {
        let Some(group) = &ledger.unapplied else {
            return;
        };
        let mut untold = self.poison.untold();
        match self.engine.apply(group) {
            Ok(()) => {
                self.overlay.clear();
                ledger.unapplied = None;
            }
            // Tried again, it fails because of the failure.
            Err(error) if error.kind() == ErrorKind::VaultFailed => {}
            Err(error) => {
                self.poison.fail(&error);
                *untold = Some(error);
            }
        }
    }

    pub(super) fn lock_dir(&self) -> MutexGuard<'_, Option<VaultDir>> {
        self.dir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies a bucket unless that was done before, without waiting for the group in flight.
    ///
    /// That group changes no bucket without a verdict: the committer verifies a bucket before it changes it for the
    /// first time. So what such a bucket holds is what was found at opening; and if it got a verdict meanwhile, that
    /// one counts, because what was read here may already be changed.
    pub(super) fn require_bucket(&self, number: u16) -> Result<()> {
        if let Some(verdict) = self.verdict(number) {
            return verdict;
        }
        // After a failed group the engine holds half of it.
        self.poison.check()?;
        self.points.reach("verify bucket")?;
        let share = self
            .at_opening
            .get(usize::from(number))
            .and_then(Option::as_ref);
        let outcome = buckets::verify(&self.config, self.engine.as_ref(), number, share);
        self.settle(number, outcome.map(|_| ()))
    }

    /// As [`Shared::require_bucket`], for whoever holds the commit lock; afterwards the ledger has the contents.
    pub(super) fn verify_bucket(&self, ledger: &mut Ledger, number: u16) -> Result<()> {
        let engine = self.engine.as_ref();
        if let Some(verdict) = self.verdict(number) {
            return verdict.and_then(|()| ledger.load_bucket(&self.config, engine, number));
        }
        self.poison.check()?;
        let outcome = ledger.verify_bucket(&self.config, engine, number);
        self.settle(number, outcome)?;
        ledger.load_bucket(&self.config, engine, number)
    }

    fn verdict(&self, number: u16) -> Option<Result<()>> {
        let place = self.verdicts.get(usize::from(number))?;
        read_verdict(place.load(Ordering::SeqCst))
    }

    /// The verdict over a bucket that had none; the first one stands.
    fn settle(&self, number: u16, outcome: Result<()>) -> Result<()> {
        let (Some(verdict), Some(place)) =
            (verdict_of(&outcome), self.verdicts.get(usize::from(number)))
        else {
            // What was read may be changed meanwhile: no failure of the engine, then.
            return self.verdict(number).unwrap_or(outcome);
        };
        let settled =
            place.compare_exchange(BUCKET_UNKNOWN, verdict, Ordering::SeqCst, Ordering::SeqCst);
        match settled {
            Ok(_) => outcome,
            Err(earlier) => read_verdict(earlier).unwrap_or(outcome),
        }
    }

    /// What a look at the whole bucket found, whatever was said of it before.
    pub(super) fn note_verdict(&self, number: u16, outcome: &Result<()>) {
        if let (Some(verdict), Some(place)) =
            (verdict_of(outcome), self.verdicts.get(usize::from(number)))
        {
            place.store(verdict, Ordering::SeqCst);
        }
    }
}

fn read_verdict(verdict: u8) -> Option<Result<()>> {
    match verdict {
        BUCKET_GOOD => Some(Ok(())),
        BUCKET_BAD => Some(Err(bad_bucket())),
        _ => None,
    }
}

/// Failures of the engine say nothing about the bucket.
fn verdict_of(outcome: &Result<()>) -> Option<u8> {
    match outcome {
        Ok(()) => Some(BUCKET_GOOD),
        Err(error) if error.kind() == ErrorKind::Tampered => Some(BUCKET_BAD),
        Err(_) => None,
    }
}

/// Those that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
