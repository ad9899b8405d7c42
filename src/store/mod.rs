//! The records of a vault: durable, verified, and seen in one state.
//!
//! Everything here handles sealed records; nothing here can open one of a key.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::env::{Clock, Entropy};
use crate::error::{Error, ErrorKind, Result};
use crate::format::audit::Event;
use crate::format::record::BUCKET_COUNT;
use crate::model::audit::AuditEntry;
use crate::seal::hierarchy::Hierarchy;
use crate::secret::Process;

mod anchor;
mod answers;
mod audit;
mod buckets;
mod change;
mod check;
mod committer;
mod committing;
mod compact;
mod copy;
mod engine;
mod engine_process;
pub(crate) mod files;
pub(crate) mod header_file;
mod journal;
mod ledger;
mod memory_engine;
mod open;
mod overlay;
mod pace;
pub(crate) mod parts;
pub(crate) mod points;
mod poison;
mod queue;
mod recovery_reads;
mod redo;
mod salvage;
mod shared;
mod sled_engine;
mod sled_failure;
mod sled_groups;
mod sled_layout;
mod sled_log;
mod sled_open;
mod sled_scan;
#[cfg(feature = "testing")]
mod slow_disk;
mod spare_segments;
mod state_facts;
mod switch;
mod sync;
pub(crate) mod vault_dir;
mod view;

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::unwrap_in_result,
    reason = "a test fails by panicking"
)]
pub(crate) mod tests;

pub(crate) use audit::{AuditVerdict, CutPlan};
pub(crate) use change::{AuditCut, Change, CommitOptions};
pub(crate) use check::StoreReport;
pub(crate) use compact::Compacted;
pub(crate) use copy::copy_files;
pub(crate) use open::{OpenMode, OpenReport};
#[cfg(feature = "testing")]
pub(crate) use redo::reencoded_group;
pub(crate) use salvage::visit_records;
#[cfg(feature = "testing")]
pub use slow_disk::lengthen_syncs;
pub(crate) use state_facts::{AuditState, HeaderFacts, StateFacts};
pub(crate) use switch::Leftover;
pub(crate) use vault_dir::VaultDir;
pub(crate) use view::View;

use points::Points;
use shared::Shared;

/// What a store works with.
#[derive(Debug, Clone)]
pub(crate) struct StoreConfig {
    pub(crate) hierarchy: Arc<Hierarchy>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) header: HeaderFacts,
    /// When creating: the generation before the first one; 0 unless the vault continues another one.
    pub(crate) generation_before: u64,
    /// Bytes of sealed records that the engine aims to keep in memory.
    pub(crate) cache_capacity: u64,
}

/// Something that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The error that use would meet.
    pub(crate) kind: ErrorKind,
    /// Where: a file, a bucket or a record.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) message: String,
    /// Nothing is lost: it was repaired, or has no effect.
    pub(crate) harmless: bool,
}

/// The records of one vault. Shared between threads by reference.
pub(crate) struct Store {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
    frozen: AtomicBool,
    origin: Process,
}

impl Store {
    /// Builds a store in a new directory: generation 1 with the initial records, synced and closed.
    pub(crate) fn create(dir: &VaultDir, config: StoreConfig, initial: Vec<Change>) -> Result<()> {
        open::create(dir, config, initial, Points::default())
    }

    /// Opens the store of a directory.
    ///
    /// Errors: `Corrupt`, `Tampered`, `RolledBack`, `HeaderReplayed`, `AnchorMissing`, `NewerFormat`,
    /// `VaultInUse`, `StorageFull`, `ReadOnly`, `Io`.
    #[cfg(test)]
    pub(crate) fn open(dir: VaultDir, config: StoreConfig) -> Result<(Self, OpenReport)> {
        open::open(dir, config, OpenMode::default())
    }

    /// As [`Store::open`].
    pub(crate) fn open_with(
        dir: VaultDir,
        config: StoreConfig,
        mode: OpenMode,
    ) -> Result<(Self, OpenReport)> {
        open::open(dir, config, mode)
    }

    /// Writes the records of a directory anew, into the least files, and gives the directory back, locked throughout.
    /// `admit` sees the opened store first. After an error the directory holds the same records as before, or is made to
    /// by the next opening.
    ///
    /// Errors: those of [`Store::open`] and of `admit`; the kind of the first finding of a check that is not
    /// harmless; `StorageFull`, `ReadOnly`, `Io`.
    pub(crate) fn compact(
        dir: VaultDir,
        config: &StoreConfig,
        mode: OpenMode,
        admit: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<(VaultDir, Compacted)> {
        compact::run(dir, config, mode, admit)
    }

    /// A store that ends with its handle.
    pub(crate) fn in_memory(config: StoreConfig, initial: Vec<Change>) -> Result<Self> {
        open::in_memory(config, initial)
    }

    fn start(shared: Shared) -> Result<Self> {
        let shared = Arc::new(shared);
        let own = Arc::clone(&shared);
        let committer = thread::Builder::new()
            .name("strongroom-commit".to_owned())
            .spawn(move || committer::run(&own))
            .map_err(|error| {
                Error::new(ErrorKind::Io, "the system started no thread for the vault")
                    .with_source(error)
            })?;
        Ok(Self {
            shared,
            committer: Mutex::new(Some(committer)),
            closed: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            origin: Process::here(),
        })
    }

    /// Reads one state of the vault. `read` is called again when a group landed meanwhile; it must not
    /// commit.
    ///
    /// Errors: those of `read`, and `VaultFailed`.
    pub(crate) fn read<T>(&self, mut read: impl FnMut(&View<'_>) -> Result<T>) -> Result<T> {
        let shared = &self.shared;
        for _ in 0..READ_ATTEMPTS {
            shared.poison.check()?;
            let view = View::new(shared);
            let outcome = read(&view);
            if view.is_of_one_state() {
                return outcome;
            }
        }
        shared.waiting_readers.fetch_add(1, Ordering::SeqCst);
        let _quiet = shared.lock_ledger();
        shared.waiting_readers.fetch_sub(1, Ordering::SeqCst);
        shared.poison.check()?;
        read(&View::new(shared))
    }

    /// Lets an entry of the audit log wait for the next commit. Without room it is counted and lost.
    pub(crate) fn note_event(&self, event: Event) {
        self.shared.waiting_events.push(event);
    }

    /// How many entries of the audit log wait, and how many were lost since the vault was opened.
    pub(crate) fn event_counts(&self) -> (usize, u64) {
        self.shared.waiting_events.counts()
    }

    /// How many groups were made durable since the vault was opened.
    pub(crate) fn commit_count(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Entries of the audit log from the number `from` on; none at the end.
    ///
    /// Errors: `Tampered`, `Corrupt`, `VaultFailed`.
    pub(crate) fn audit_entries(&self, from: u64) -> Result<Vec<AuditEntry>> {
        self.read(|view| audit::entries(&self.shared.config, view, from))
    }

    /// Verifies the audit log; no change lands meanwhile. `at` asks for the chain's value before that entry.
    ///
    /// Errors: only those that end the verification.
    pub(crate) fn verify_audit(&self, at: Option<u64>) -> Result<AuditVerdict> {
        self.shared.poison.check()?;
        let ledger = self.shared.lock_ledger();
        audit::verify(&self.shared, &ledger, at)
    }

    /// Plans a cut of up to `limit` records at the beginning of the audit log.
    ///
    /// Errors: `Tampered`, `Corrupt`, `VaultFailed`.
    pub(crate) fn plan_audit_cut(
        &self,
        limit: usize,
        is_over: impl Fn(&AuditEntry) -> bool,
    ) -> Result<Option<CutPlan>> {
        let chain = self.state().audit;
        self.read(|view| audit::plan_cut(&self.shared.config, view, &chain, limit, &is_over))
    }

    /// Errors: `VaultFailed` when the handle is closed or of no more use.
    pub(crate) fn ensure_usable(&self) -> Result<()> {
        self.shared.poison.check()
    }

    /// Writes both copies of the header, durably; the group that tells STATE of it is to follow.
    ///
    /// Errors: `StorageFull`, `ReadOnly`, `Io`; the handle is of no more use then, because the file may hold a
    /// header that nobody answers for.
    pub(crate) fn write_header(&self, copy: &[u8]) -> Result<()> {
        self.shared.poison.check()?;
        self.ensure_writable()?;
        let written = match self.shared.lock_dir().as_ref() {
            Some(dir) => header_file::write(dir, copy),
            None => return self.shared.poison.check(),
        };
        written.inspect_err(|error| self.shared.poison.fail(error))
    }

    /// Rewrites a copy of the header that differs from the one that the records belong to.
    ///
    /// Errors: `ReadOnly`, `StorageFull`, `Io`.
    pub(crate) fn heal_header(&self, verified: &[u8]) -> Result<bool> {
        match self.shared.lock_dir().as_ref() {
            Some(dir) => header_file::heal(dir, verified),
            None => Ok(false),
        }
    }

    /// Syncs the anchor now rather than within a second.
    pub(crate) fn sync_anchor(&self) -> Result<()> {
        self.shared.poison.check()?;
        let mut ledger = self.shared.lock_ledger();
        let Some(anchor) = ledger.anchor.as_mut() else {
            return Ok(());
        };
        anchor
            .sync()
            .inspect_err(|error| self.shared.poison.fail(error))
    }

    /// Looks over everything that is stored; no change lands meanwhile.
    ///
    /// Errors: only those that end the check; what is wrong with the contents stands in the report.
    pub(crate) fn check(&self) -> Result<StoreReport> {
        self.shared.poison.check()?;
        let mut ledger = self.shared.lock_ledger();
        let dir = self.shared.lock_dir();
        check::run(&self.shared, &mut ledger, dir.as_ref())
    }

    /// The highest time that STATE has seen, in milliseconds. Does not wait for the group in flight.
    pub(crate) fn max_time_seen_ms(&self) -> u64 {
        self.shared.max_time_seen_ms.load(Ordering::SeqCst)
    }

    /// Waits for the group in flight.
    pub(crate) fn state(&self) -> StateFacts {
        // In a forked child nobody may be left to unlock it.
        let ledger = if self.origin.is_here() {
            self.shared.lock_ledger()
        } else {
            match self.shared.ledger.try_lock() {
                Ok(ledger) => ledger,
                Err(_) => return StateFacts::default(),
            }
        };
        let state = &ledger.state;
        StateFacts {
            generation: state.generation,
            state_hash: ledger.state_hash,
            key_count: state.key_count,
            record_count: state.record_count,
            max_time_seen_ms: state.max_time_seen,
            kek_term: state.kek_term,
            shred_term: state.shred_term,
            header_seq: state.header_seq,
            audit: AuditState::of(state),
        }
    }

    /// How many key objects are still sealed under an earlier KEK term. Verifies every bucket.
    pub(crate) fn previous_term_keys(&self) -> Result<u64> {
        self.shared.poison.check()?;
        let mut ledger = self.shared.lock_ledger();
        let mut count = 0;
        for number in 0..BUCKET_COUNT {
            self.shared.verify_bucket(&mut ledger, number)?;
            let term = ledger.header.kek_term;
            if let Some(bucket) = ledger.bucket(number) {
                count += u64::from(if bucket.term == term {
                    bucket.m_prev
                } else {
                    bucket.m_count
                });
            }
        }
        Ok(count)
    }

    /// Carries out what was asked for, syncs the anchor and lets go of the files. Later calls fail.
    ///
    /// Errors: `VaultFailed` when an earlier error had made the handle useless, `Io`, `StorageFull`.
    pub(crate) fn close(&self) -> Result<()> {
        self.end().0
    }

    /// As [`Store::close`], but the directory stays locked.
    fn end(&self) -> (Result<()>, Option<VaultDir>) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return (Ok(()), None);
        }
        let shared = &self.shared;
        shared.queue.close();
        let committer = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(committer) = committer {
            // A panic there has answered every waiting caller already.
            let _ = committer.join();
        }
        let mut ledger = shared.lock_ledger();
        let mut outcome = shared.poison.check();
        if let (Ok(()), Some(anchor)) = (&outcome, ledger.anchor.as_mut()) {
            outcome = anchor.sync();
        }
        ledger.anchor = None;
        drop(ledger);
        shared.poison.close();
        outcome = outcome.and(shared.engine.close());
        let dir = shared.lock_dir().take();
        if let (Ok(()), Some(dir)) = (&outcome, &dir) {
            outcome = dir.set_clean_mark(true);
        }
        (outcome, dir)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.origin.is_here() {
            // A forked child has neither the threads nor the lock, and its parent's files are not its own: nothing of
            // this may be run down here.
            std::mem::forget(Arc::clone(&self.shared));
            if let Ok(committer) = self.committer.get_mut() {
                std::mem::forget(committer.take());
            }
            return;
        }
        // Whoever wants to know calls `close`.
        let _ = self.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("engine", &self.shared.engine)
            .finish_non_exhaustive()
    }
}

/// So often a read is repeated before it shuts the committer out.
const READ_ATTEMPTS: usize = 6;
