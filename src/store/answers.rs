//! How callers learn what became of their requests.
//!
//! Who is told that a group is durable tells the next one; the committer tells only twice as many as there are processors.
//! Told all at once, callers would come back all at once with their next requests, and wait together for a group while the
//! processors have nothing to do; and the committer would wake every one of them itself.

use super::sync::mpsc;
use crate::error::{Error, Result};

/// Where the answer to one request goes. Dropped without one, it ends the waiting.
#[derive(Debug)]
pub(super) struct Caller(mpsc::SyncSender<Answer>);

/// Where it is waited for.
#[derive(Debug)]
pub(super) struct Answered(mpsc::Receiver<Answer>);

/// For one request.
pub(super) fn expected() -> (Caller, Answered) {
    let (caller, answered) = mpsc::sync_channel(1);
    (Caller(caller), Answered(answered))
}

#[derive(Debug)]
struct Answer {
    outcome: Result<()>,
    /// Who is told next, the last one first.
    next: Vec<Caller>,
}

impl Answered {
    /// `None` when nobody is left to answer. Who waits for several requests does so in the order in which they came to
    /// the queue: who tells others always stands before them, so that nobody waits for himself.
    pub(super) fn wait(self) -> Option<Result<()>> {
        let mut answer = self.0.recv().ok()?;
        let outcome = std::mem::replace(&mut answer.outcome, Ok(()));
        // Tells the next one.
        drop(answer);
        Some(outcome)
    }
}

/// However an answer is used up, heard or not, the next one is told.
impl Drop for Answer {
    fn drop(&mut self) {
        pass_on(std::mem::take(&mut self.next));
    }
}

fn pass_on(mut callers: Vec<Caller>) {
    while let Some(caller) = callers.pop() {
        let answer = Answer {
            outcome: Ok(()),
            next: callers,
        };
        match caller.0.send(answer) {
            Ok(()) => return,
            // The caller has gone.
            Err(mpsc::SendError(mut unheard)) => callers = std::mem::take(&mut unheard.next),
        }
    }
}

/// Tells the callers of a group, in their order, what became of it. Of success at most `at_once` learn here.
pub(super) fn tell(mut callers: Vec<Caller>, outcome: &Result<()>, at_once: usize) {
    match outcome {
        Ok(()) => {
            let each = callers.len().div_ceil(at_once.max(1));
            while !callers.is_empty() {
                let later = callers.split_off(each.min(callers.len()));
                callers.reverse();
                pass_on(std::mem::replace(&mut callers, later));
            }
        }
        // Every caller gets the same kind and text; only the source cannot be shared.
        Err(error) => {
            for caller in callers {
                caller.refuse(Error::new(error.kind(), error.to_string()));
            }
        }
    }
}

impl Caller {
    /// The answer to this request alone.
    pub(super) fn refuse(self, error: Error) {
        // The caller may have gone.
        let _ = self.0.send(Answer {
            outcome: Err(error),
            next: Vec::new(),
        });
    }
}

#[cfg(test)]
impl Answered {
    /// What has come by now, or the waiting again.
    pub(super) fn heard(self) -> std::result::Result<Result<()>, Self> {
        match self.0.try_recv() {
            Ok(mut answer) => Ok(std::mem::replace(&mut answer.outcome, Ok(()))),
            Err(_) => Err(self),
        }
    }
}
