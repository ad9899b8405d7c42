//! Who is in a vault: operations enter and leave, and nobody enters a vault that is locked, closed or another
//! process's.
//!
//! Entering takes no lock. Each thread counts in one of several places, so that threads seldom share one. Who leaves is
//! counted by operation, so that how often each was called costs nothing more.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::acts::Operation;
use crate::env::thread_number;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::{Process, wipe_stack};

const PLACES: usize = 16;

/// The operations, and whatever else enters.
const KINDS: usize = Operation::ALL.len() + 1;

/// How often somebody who waits for operations looks again.
const LOOK: Duration = Duration::from_millis(1);

const OPEN: u8 = 0;
const LOCKED: u8 = 1;
const CLOSED: u8 = 2;

/// On cache lines of its own; two, because processors fetch them in pairs.
#[repr(align(128))]
struct Place {
    entered: AtomicU64,
    left: [AtomicU64; KINDS],
}

pub(super) struct Gate {
    origin: Process,
    state: AtomicU8,
    places: Box<[Place]>,
    wipes_stack: bool,
}

/// An operation in flight.
#[derive(Debug)]
#[must_use = "an operation is in flight for as long as this lives"]
pub(super) struct Entered<'a> {
    gate: &'a Gate,
    left: &'a AtomicU64,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.gate.wipes_stack {
            wipe_stack();
        }
        self.left.fetch_add(1, Ordering::Release);
    }
}

impl Gate {
    /// With full protection of memory, an operation wipes what it left on the stack.
    pub(super) fn new(wipes_stack: bool) -> Self {
        Self {
            origin: Process::here(),
            state: AtomicU8::new(OPEN),
            places: (0..PLACES).map(|_| Place::new()).collect(),
            wipes_stack,
        }
    }

    /// For an operation, or something else: `None`.
    ///
    /// Errors: `ForkedProcess`, before anything else is touched; `VaultLocked`; `VaultFailed` after a close.
    #[inline]
    pub(super) fn enter(&self, operation: Option<Operation>) -> Result<Entered<'_>> {
        if !self.origin.is_here() {
            return Err(forked());
        }
        let place = &self.places[thread_number() % PLACES];
        let left = &place.left[operation.map_or(KINDS - 1, Operation::index)];
        // First in, then look: whoever closes does it the other way round, so one of the two sees the other.
        place.entered.fetch_add(1, Ordering::SeqCst);
        let state = self.state.load(Ordering::SeqCst);
        if state == OPEN {
            return Ok(Entered { gate: self, left });
        }
        left.fetch_add(1, Ordering::Release);
        Err(refusal(state))
    }

    /// Whether this is the process that opened the vault.
    pub(super) fn is_here(&self) -> bool {
        self.origin.is_here()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::SeqCst) == OPEN
    }

    /// From now on operations are refused with `VaultLocked`. A closed vault stays closed.
    ///
    /// Errors: `VaultFailed` when it is closed.
    pub(super) fn lock(&self) -> Result<()> {
        match self
            .state
            .compare_exchange(OPEN, LOCKED, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) | Err(LOCKED) => Ok(()),
            Err(state) => Err(refusal(state)),
        }
    }

    /// From now on operations are refused with `VaultFailed`. A locked vault stays locked.
    pub(super) fn close(&self) {
        let _ = self
            .state
            .compare_exchange(OPEN, CLOSED, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Waits until every operation has left; `false` when they took longer than `patience`.
    pub(super) fn wait_until_empty(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if self.is_empty() {
                return true;
            }
            if begun.elapsed() >= patience {
                return false;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// How often an operation has ended or was turned away.
    pub(super) fn calls(&self, operation: Operation) -> u64 {
        sum(self
            .places
            .iter()
            .map(|place| &place.left[operation.index()]))
    }

    /// Those who have left are counted first: if they are as many as had entered afterwards, nobody was in between.
    fn is_empty(&self) -> bool {
        self.entries_at_rest().is_some()
    }

    /// The number of operations that have begun, if none is in flight.
    pub(super) fn entries_at_rest(&self) -> Option<u64> {
        let left = sum(self.places.iter().flat_map(|place| &place.left));
        let entered = sum(self.places.iter().map(|place| &place.entered));
        (left == entered).then_some(entered)
    }
}

impl Place {
    fn new() -> Self {
        Self {
            entered: AtomicU64::new(0),
            left: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("state", &self.state)
            .field("entries_at_rest", &self.entries_at_rest())
            .finish_non_exhaustive()
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a AtomicU64>) -> u64 {
    counts
        .map(|count| count.load(Ordering::SeqCst))
        .fold(0, u64::wrapping_add)
}

#[cold]
pub(super) fn forked() -> Error {
    Error::new(
        ErrorKind::ForkedProcess,
        "the process was forked after the vault was opened; open it again in the new process, \
         once the old one has closed it",
    )
}

#[cold]
fn refusal(state: u8) -> Error {
    if state == LOCKED {
        locked()
    } else {
        Error::new(
            ErrorKind::VaultFailed,
            "this vault was closed; open it again",
        )
    }
}

pub(super) fn locked() -> Error {
    Error::new(
        ErrorKind::VaultLocked,
        "this vault was locked, and its keys are gone from memory; open it again",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn an_operation_holds_a_lock_up_and_a_locked_gate_lets_nobody_in() {
        let gate = Gate::new(false);
        let operation = gate.enter(None).unwrap();
        gate.lock().unwrap();
        assert_eq!(gate.enter(None).unwrap_err().kind(), ErrorKind::VaultLocked);
        assert!(!gate.wait_until_empty(Duration::from_millis(20)));
        drop(operation);
        assert!(gate.wait_until_empty(Duration::ZERO));
        gate.close();
        assert_eq!(gate.enter(None).unwrap_err().kind(), ErrorKind::VaultLocked);
    }

    #[test]
    fn a_closed_gate_cannot_be_locked() {
        let gate = Gate::new(false);
        gate.close();
        assert_eq!(gate.lock().unwrap_err().kind(), ErrorKind::VaultFailed);
        assert_eq!(gate.enter(None).unwrap_err().kind(), ErrorKind::VaultFailed);
    }

    #[test]
    fn nobody_is_inside_once_the_gate_is_empty() {
        for _ in 0..200 {
            let gate = Gate::new(false);
            let inside = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        while let Ok(_operation) = gate.enter(None) {
                            inside.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    });
                }
                std::thread::yield_now();
                gate.lock().unwrap();
                assert!(gate.wait_until_empty(Duration::from_secs(10)));
                assert_eq!(inside.load(Ordering::SeqCst), 0);
            });
        }
    }
}
