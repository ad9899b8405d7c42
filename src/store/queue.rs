//! The queue of those who want something changed, and the groups that are taken from it.
//!
//! One at a time has the turn to write: the committer, or a caller who finds nobody before him and nobody
//! beside him for a while. He carries out his own request, since waking another thread and being woken by it takes as long as
//! half of the disk's work. Where callers come together, the committer makes larger groups of them.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Instant;

use super::answers::Caller;
use super::sync::{Condvar, Mutex, MutexGuard};
use super::{Change, CommitOptions};
use crate::error::{Error, ErrorKind};

/// Requests join a group up to so many sealed bytes; a larger one is a group alone.
const GROUP_BYTES: usize = 64 * 1024;
/// After so many groups of one caller each, the next is taken to be alone too.
const LONELY: u32 = 3;

/// Changes of one caller, applied together or not at all.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) changes: Vec<Change>,
    pub(super) options: CommitOptions,
    pub(super) caller: Caller,
}

impl Request {
    fn sealed_bytes(&self) -> usize {
        let length = |change: &Change| match change {
            Change::Put(_, record) | Change::Reseal { record, .. } => record.as_bytes().len(),
            Change::Remove(_) => 0,
        };
        let changes: usize = self.changes.iter().map(length).sum();
        let events = self.options.events.iter();
        changes + events.map(|event| event.as_bytes().len()).sum::<usize>()
    }
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Only the committer waits for it.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Request>,
    /// Somebody has the turn.
    taken: bool,
    /// How many callers came since the last group was taken.
    callers: usize,
    /// How many groups in a row were of one caller each.
    lonely: u32,
    /// The committer is to look at the anchor.
    anchor: bool,
    /// The committer is to apply what a caller has committed.
    unapplied: bool,
    /// The committer looks at the anchor in a while anyway.
    timed: bool,
    closing: bool,
    gone: bool,
}

/// What the committer does next. A group and the anchor give it the turn, which ends with [`Queue::pass_on`].
pub(super) enum Work {
    Group(Vec<Request>),
    /// A caller has left something in the ledger. The commit lock is enough for it.
    Apply,
    /// The time that it gave has come, or it has to learn that there is one.
    Anchor,
    /// The queue was closed, and nothing is left in it.
    Done,
}

/// What a turn has left to the committer, if he does not know.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Left {
    /// The anchor will have to be synced.
    pub(super) unsynced: bool,
    /// A group is to be applied.
    pub(super) unapplied: bool,
}

/// What became of requests.
#[must_use]
pub(super) enum Pushed {
    /// They are carried out by somebody else.
    Waiting,
    /// The caller has the turn for these, which ends with [`Queue::pass_on`]; any others of his wait.
    Turn(Vec<Request>),
    /// The committer no longer runs.
    Refused,
}

impl Queue {
    /// Requests that come together go into groups in their order.
    pub(super) fn push(&self, requests: Vec<Request>) -> Pushed {
        let mut waiting = self.lock();
        if waiting.closing || waiting.gone {
            return Pushed::Refused;
        }
        let first = waiting.is_free() && waiting.requests.is_empty() && waiting.lonely >= LONELY;
        waiting.requests.extend(requests);
        waiting.callers += 1;
        if first {
            return Pushed::Turn(waiting.take_group());
        }
        let free = waiting.is_free();
        drop(waiting);
        if free {
            self.changed.notify_one();
        }
        Pushed::Waiting
    }

    /// Ends the turn.
    pub(super) fn pass_on(&self, left: Left) {
        let mut waiting = self.lock();
        waiting.taken = false;
        waiting.anchor |= left.unsynced && !waiting.timed;
        waiting.unapplied = left.unapplied;
        let wanted =
            waiting.anchor || waiting.unapplied || waiting.closing || !waiting.requests.is_empty();
        drop(waiting);
        if wanted {
            self.changed.notify_one();
        }
    }

    /// No request is taken any more; those that wait are still carried out.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// The committer goes. Those who still wait see the sender of their answer go.
    pub(super) fn leave(&self) {
        let mut waiting = self.lock();
        waiting.gone = true;
        waiting.requests.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for requests, or until `due`. For the committer.
    pub(super) fn next(&self, due: Option<Instant>) -> Work {
        let mut waiting = self.lock();
        waiting.timed = due.is_some();
        loop {
            let rest = due.map(|due| due.saturating_duration_since(Instant::now()));
            waiting.anchor |= rest.is_some_and(|rest| rest.is_zero());
            if !waiting.taken {
                if !waiting.requests.is_empty() {
                    return Work::Group(waiting.take_group());
                }
                if waiting.unapplied {
                    waiting.unapplied = false;
                    return Work::Apply;
                }
                if waiting.closing {
                    return Work::Done;
                }
                if waiting.anchor {
                    waiting.anchor = false;
                    waiting.taken = true;
                    return Work::Anchor;
                }
            }
            waiting = match rest.filter(|rest| !rest.is_zero()) {
                Some(rest) => {
                    self.changed
                        .wait_timeout(waiting, rest)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                // Whoever has the turn wakes us.
                None => self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Waiting {
    /// Whether nobody has the turn, or is about to take it.
    fn is_free(&self) -> bool {
        !self.taken && !self.anchor
    }

    /// With the turn for it.
    fn take_group(&mut self) -> Vec<Request> {
        self.taken = true;
        self.lonely = match self.callers {
            0 | 1 => self.lonely.saturating_add(1),
            _ => 0,
        };
        self.callers = 0;
        take_group(&mut self.requests)
    }
}

/// What those get whose requests came too late.
pub(super) fn closed() -> Error {
    Error::new(
        ErrorKind::VaultFailed,
        "this vault was closed; open it again",
    )
}

fn take_group(requests: &mut VecDeque<Request>) -> Vec<Request> {
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(request) = requests.front() {
        bytes += request.sealed_bytes();
        if bytes > GROUP_BYTES && !group.is_empty() {
            break;
        }
        group.extend(requests.pop_front());
    }
    group
}
