//! Changing the vault: one group at a time, by the committing thread or by the caller whose turn it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::ledger::{Changed, Ledger, Pair};
use super::queue::{Left, Request, Work};
use super::{Change, CommitOptions, Shared, answers, audit};
use crate::error::{Error, Result};
use crate::format::record::{Class, IndexKey, NAMESPACE_KEYS, NAMESPACE_NAMELESS, SealedRecord};
use crate::secret::wipe_stack;

/// A reader that found no quiet moment gets one before the next group, but not for longer than this.
const READER_PATIENCE: Duration = Duration::from_millis(100);

/// Runs until the queue is closed.
pub(super) fn run(shared: &Shared) {
    let mut due = None;
    loop {
        match shared.queue.next(due) {
            Work::Done => {
                write_last_events(shared);
                break;
            }
            Work::Anchor => {}
            Work::Apply => {
                shielded(shared, || drop(shared.lock_ledger()));
                wipe_stack();
                continue;
            }
            Work::Group(group) => shielded(shared, || {
                shared.apply_rest(&mut commit_group(shared, group));
            }),
        }
        due = sync_anchor_when_due(shared);
        // This stack lives as long as the vault.
        wipe_stack();
        shared.queue.pass_on(Left::default());
    }
    shared.queue.leave();
}

/// Carries out a group on the thread of the caller who has the turn for it. Its outcome lies where its answer is waited
/// for. The committer applies it meanwhile, unless whoever takes the commit lock next is faster.
pub(super) fn take_turn(shared: &Shared, group: Vec<Request>) {
    let mut left = Left::default();
    shielded(shared, || {
        let ledger = commit_group(shared, group);
        let anchor = ledger.anchor.as_ref();
        left = Left {
            unsynced: anchor.is_some_and(|anchor| anchor.due().is_some()),
            unapplied: ledger.unapplied.is_some(),
        };
    });
    wipe_stack();
    shared.queue.pass_on(left);
}

/// After a panic nothing is written any more.
fn shielded(shared: &Shared, step: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(step)).is_err() {
        shared
            .poison
            .fail(&Error::internal("a thread panicked while it wrote"));
    }
}

/// What waits for the audit log when the vault is closed.
fn write_last_events(shared: &Shared) {
    if shared.poison.check().is_err() || shared.waiting_events.are_none() {
        return;
    }
    let flush = CommitOptions {
        flush_events: true,
        ..CommitOptions::default()
    };
    shielded(shared, || {
        // Closing reports what it ends with.
        if let Err(error) = write_group(shared, &mut shared.lock_ledger(), Changed::new(), flush) {
            shared.poison.fail(&error);
        }
    });
}

fn sync_anchor_when_due(shared: &Shared) -> Option<Instant> {
    if shared.poison.check().is_err() {
        return None;
    }
    let mut ledger = shared.lock_ledger();
    let anchor = ledger.anchor.as_mut()?;
    let due = anchor.due().is_some_and(|due| due <= Instant::now());
    if due && let Err(error) = anchor.sync() {
        shared.poison.fail(&error);
        return None;
    }
    anchor.due()
}

/// Carries out a group, answers, and leaves it to be applied.
fn commit_group(shared: &Shared, group: Vec<Request>) -> MutexGuard<'_, Ledger> {
    give_way_to_readers(shared);
    let mut ledger = shared.lock_ledger();
    let mut changed = Changed::new();
    let mut options = CommitOptions::default();
    let mut callers = Vec::with_capacity(group.len());
    for request in group {
        let Request {
            changes,
            options: wanted,
            caller,
        } = request;
        match admit(shared, &mut ledger, &mut changed, changes) {
            Ok(()) => {
                options.merge(wanted);
                callers.push(caller);
            }
            Err(error) => caller.refuse(error),
        }
    }
    let outcome = commit(shared, &mut ledger, changed, options);
    answers::tell(callers, &outcome, shared.told_at_once);
    ledger
}

/// Readers that came in vain too often wait for the commit lock, which is not fair by itself.
fn give_way_to_readers(shared: &Shared) {
    let deadline = Instant::now() + READER_PATIENCE;
    while shared.waiting_readers.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Takes a request's changes into the group, or refuses them alone.
pub(super) fn admit(
    shared: &Shared,
    ledger: &mut Ledger,
    changed: &mut Changed,
    changes: Vec<Change>,
) -> Result<()> {
    shared.poison.check()?;
    let mut own = Changed::new();
    for change in changes {
        let index = *change.index();
        check_place(shared, &index, change.record())?;
        if index.class().is_bucket_member() {
            shared.verify_bucket(ledger, index.bucket_number())?;
        }
        let key = *index.as_bytes();
        let mut pair = match own.remove(&key).or_else(|| changed.get(&key).cloned()) {
            Some(pair) => pair,
            None => {
                let old = shared.engine.get(&index)?;
                let new = old.clone();
                Pair { index, old, new }
            }
        };
        match change {
            Change::Put(_, record) => pair.new = Some(record),
            Change::Remove(_) => pair.new = None,
            Change::Reseal {
                old_salt, record, ..
            } => {
                let unchanged = pair
                    .new
                    .as_ref()
                    .is_some_and(|present| present.salt_and_commitment()[..24] == old_salt);
                if unchanged {
                    pair.new = Some(record);
                }
            }
        }
        own.insert(key, pair);
    }
    changed.extend(own);
    Ok(())
}

/// Only records of the vault's floor, in their own places and in the vault's suite.
fn check_place(shared: &Shared, index: &IndexKey, record: Option<&SealedRecord>) -> Result<()> {
    let namespace = match index.class() {
        class if class.is_bucket_member() => NAMESPACE_KEYS,
        Class::Settings | Class::Intent | Class::Audit => NAMESPACE_NAMELESS,
        _ => {
            return Err(Error::internal(
                "a caller may not write records of this class",
            ));
        }
    };
    let suite = shared.config.hierarchy.suite().byte();
    let fits = record
        .is_none_or(|record| record.class() == Some(index.class()) && record.suite() == suite);
    if index.namespace() != namespace || !fits {
        return Err(Error::internal(
            "a record does not belong where it was to be written",
        ));
    }
    Ok(())
}

/// Commits a group, and applies it.
pub(super) fn write_group(
    shared: &Shared,
    ledger: &mut Ledger,
    changed: Changed,
    options: CommitOptions,
) -> Result<()> {
    commit(shared, ledger, changed, options)?;
    shared.apply_rest(ledger);
    shared
        .poison
        .check()
        .map_err(|error| shared.poison.tell(error))
}

/// The commit protocol up to where the group is durable and readers see it, in the overlay; then the engine has to get
/// it.
fn commit(
    shared: &Shared,
    ledger: &mut Ledger,
    mut changed: Changed,
    mut options: CommitOptions,
) -> Result<()> {
    changed.retain(|_, pair| pair.old != pair.new);
    let first = ledger.state_hash == [0; 32];
    let only_flush = options.flush_events && shared.waiting_events.are_none();
    options.flush_events &= !only_flush;
    if changed.is_empty() && options.is_empty() && !first {
        return Ok(());
    }
    // Until here nothing was written: an error is the callers' alone.
    let (chain, waiting) = audit::extend(shared, ledger, &mut changed, &mut options)?;
    let mut prepared = ledger
        .prepare(&shared.config, changed, &options, chain)
        .inspect_err(|_| audit::undo(shared, waiting))?;
    write_prepared(shared, ledger, &mut prepared).inspect_err(|error| shared.poison.fail(error))?;
    shared.overlay.publish(std::mem::take(&mut prepared.images));
    shared.commits.fetch_add(1, Ordering::Relaxed);
    ledger.unapplied = Some(prepared.group);
    Ok(())
}

fn write_prepared(
    shared: &Shared,
    ledger: &mut Ledger,
    prepared: &mut super::ledger::Prepared,
) -> Result<()> {
    shared.engine.commit(&prepared.group)?;
    shared.points.reach("anchor")?;
    ledger.adopt(prepared);
    let seen = ledger.state.max_time_seen;
    shared.max_time_seen_ms.store(seen, Ordering::SeqCst);
    let (generation, state_hash) = (ledger.state.generation, ledger.state_hash);
    if let Some(anchor) = &mut ledger.anchor {
        anchor.write(&shared.config.hierarchy, generation, &state_hash)?;
    }
    shared.points.reach("publish")
}
