//! What callers have changed, and how they wait for it.

use std::sync::atomic::Ordering;

use super::answers::{self, Answered};
use super::queue::{self, Pushed};
use super::{Change, CommitOptions, Store, committer};
use crate::error::{Error, ErrorKind, Result};

impl Store {
    /// What a change that fails says: the failure behind the answer to an earlier one, if nobody was told of it yet, in
    /// place of `VaultFailed`.
    pub(crate) fn tell_failure(&self, error: Error) -> Error {
        self.shared.poison.tell(error)
    }

    /// Makes the changes, all or none. `Ok` means that they survive a power cut.
    ///
    /// Errors: `Tampered` when a bucket that they touch is not as it was written, `TooLarge`,
    /// `RandomUnavailable` (nothing changed); `StorageFull`, `ReadOnly`, `Io`, `Corrupt` (the handle is of
    /// no more use); `VaultFailed`.
    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.commit_with(changes, CommitOptions::default())
    }

    /// As [`Store::commit`], with changes of STATE.
    pub(crate) fn commit_with(&self, changes: Vec<Change>, options: CommitOptions) -> Result<()> {
        let mut outcomes = self.commit_each(vec![(changes, options)]);
        let none = || Err(Error::internal("a commit had no outcome"));
        outcomes.pop().unwrap_or_else(none)
    }

    /// As [`Store::commit_with`] for each. They come to the queue together, in this order, and share groups
    /// as far as these go.
    pub(crate) fn commit_each(&self, wanted: Vec<(Vec<Change>, CommitOptions)>) -> Vec<Result<()>> {
        let mut requests = Vec::with_capacity(wanted.len());
        let answers: Vec<_> = wanted
            .into_iter()
            .map(|(changes, options)| {
                self.shared.poison.check()?;
                self.ensure_writable()?;
                if changes.is_empty() && options.is_empty() {
                    return Ok(None);
                }
                let (caller, answered) = answers::expected();
                requests.push(queue::Request {
                    changes,
                    options,
                    caller,
                });
                Ok(Some(answered))
            })
            .collect();
        let is_open = requests.is_empty()
            || match self.shared.queue.push(requests) {
                Pushed::Refused => false,
                Pushed::Waiting => true,
                Pushed::Turn(group) => {
                    committer::take_turn(&self.shared, group);
                    true
                }
            };
        let outcome = |answered: Result<Option<Answered>>| match answered? {
            None => Ok(()),
            Some(_) if !is_open => Err(queue::closed()),
            Some(answered) => answered.wait().unwrap_or_else(|| {
                self.shared.poison.check()?;
                Err(Error::internal("the committing thread gave no answer"))
            }),
        };
        answers.into_iter().map(outcome).collect()
    }

    /// From now on nothing is written any more.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_writable(&self) -> bool {
        !self.frozen.load(Ordering::SeqCst)
    }

    /// Errors: `ReadOnly`.
    pub(crate) fn ensure_writable(&self) -> Result<()> {
        if self.is_writable() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ReadOnly,
            "the vault was opened to be read only",
        ))
    }
}
