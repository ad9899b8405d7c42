//! Who is inside a module: many at once, or the one that ends and restarts it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::error::{ErrorClass, TokenError, TokenResult};
use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering};

/// Set while somebody ends or restarts the module, or waits to do so. The other bits count those inside.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// A lock for readers and a writer that gives up after a while: a call that hangs in the module must not hang
/// everybody else for ever.
///
/// Whoever finds it open takes no lock.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: AtomicUsize,
    /// Held to look at the state before waiting, and to tell those who wait.
    waiting: Mutex<()>,
    changed: Condvar,
}

/// While it lives the module is neither ended nor restarted.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    gate: &'a Gate,
}

/// While it lives nobody else is inside the module.
#[derive(Debug)]
pub(super) struct Exclusive<'a> {
    gate: &'a Gate,
}

impl Gate {
    pub(super) fn enter(&self, timeout: Duration) -> TokenResult<Permit<'_>> {
        let mut start = None;
        loop {
            // First in, then look: whoever closes does it the other way round, so one of the two sees the other.
            let before = self.state.fetch_add(1, Ordering::SeqCst);
            let permit = Permit { gate: self };
            if before & CLOSED == 0 {
                return Ok(permit);
            }
            drop(permit);
            let start = *start.get_or_insert_with(Instant::now);
            let guard = self.wait(self.lock(), start, timeout, |state| state & CLOSED == 0)?;
            drop(guard);
        }
    }

    /// Waits until nobody is inside; who comes meanwhile waits too.
    pub(super) fn exclude(&self, timeout: Duration) -> TokenResult<Exclusive<'_>> {
        let start = Instant::now();
        let mut guard = self.lock();
        while self.state.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED != 0 {
            guard = self.wait(guard, start, timeout, |state| state & CLOSED == 0)?;
        }
        // From here on the gate opens again, whatever happens.
        let exclusive = Exclusive { gate: self };
        drop(self.wait(guard, start, timeout, |state| state == CLOSED)?);
        Ok(exclusive)
    }

    fn wait<'a>(
        &'a self,
        mut guard: MutexGuard<'a, ()>,
        start: Instant,
        timeout: Duration,
        ready: impl Fn(usize) -> bool,
    ) -> TokenResult<MutexGuard<'a, ()>> {
        while !ready(self.state.load(Ordering::SeqCst)) {
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                // The guard goes first: dropping `Exclusive` takes the lock again.
                drop(guard);
                return Err(TokenError::with_detail(
                    ErrorClass::Throttled,
                    "wait",
                    "the PKCS#11 module is busy with other calls or is being restarted; try again later",
                ));
            };
            guard = self
                .changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(guard)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // The last to leave a gate that is closing.
        if self.gate.state.fetch_sub(1, Ordering::SeqCst) == CLOSED + 1 {
            let _guard = self.gate.lock();
            self.gate.changed.notify_all();
        }
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        let _guard = self.gate.lock();
        self.gate.state.fetch_and(!CLOSED, Ordering::SeqCst);
        self.gate.changed.notify_all();
    }
}
