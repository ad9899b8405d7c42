//! The queue of those who want something changed, and the groups that the committer takes from it.

use std::collections::VecDeque;
use std::sync::{PoisonError, mpsc};
use std::time::Instant;

use super::sync::{Condvar, Mutex, MutexGuard};
use super::{Change, CommitOptions};
use crate::error::{Error, ErrorKind, Result};

/// Requests join a group up to so many sealed bytes; a larger one is a group alone.
const GROUP_BYTES: usize = 64 * 1024;

/// Changes of one caller, applied together or not at all.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) changes: Vec<Change>,
    pub(super) options: CommitOptions,
    pub(super) answer: mpsc::SyncSender<Result<()>>,
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

/// What waits for the committer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closing: bool,
    gone: bool,
}

/// What the committer does next.
pub(super) enum Work {
    Group(Vec<Request>),
    /// The time that it gave has come.
    AnchorDue,
    /// The queue was closed, and nothing is left in it.
    Done,
}

impl Queue {
    /// Requests that come together go into groups in their order. `false` when the committer no longer runs.
    #[must_use]
    pub(super) fn push(&self, requests: Vec<Request>) -> bool {
        let mut waiting = self.lock();
        if waiting.closing || waiting.gone {
            return false;
        }
        waiting.requests.extend(requests);
        drop(waiting);
        self.changed.notify_one();
        true
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

    /// Waits for requests, or until `due`.
    pub(super) fn next(&self, due: Option<Instant>) -> Work {
        let mut waiting = self.lock();
        loop {
            if !waiting.requests.is_empty() {
                return Work::Group(take_group(&mut waiting.requests));
            }
            if waiting.closing {
                return Work::Done;
            }
            waiting = match due {
                None => self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let rest = due.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        return Work::AnchorDue;
                    }
                    self.changed
                        .wait_timeout(waiting, rest)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
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
