//! Who is inside a module: many at once, or the one that ends and restarts it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::{ErrorClass, TokenError, TokenResult};

/// A lock for readers and a writer that gives up after a while: a call that hangs in the module must not hang
/// everybody else for ever.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    closed: bool,
    waiting: usize,
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
        let mut state = self.lock();
        if state.closed {
            state = self.wait(state, timeout, |state| !state.closed)?;
        }
        state.inside += 1;
        Ok(Permit { gate: self })
    }

    /// Waits until nobody is inside; who comes meanwhile waits too.
    pub(super) fn exclude(&self, timeout: Duration) -> TokenResult<Exclusive<'_>> {
        let mut state = self.lock();
        if state.closed {
            state = self.wait(state, timeout, |state| !state.closed)?;
        }
        state.closed = true;
        // From here on the gate opens again, whatever happens.
        let exclusive = Exclusive { gate: self };
        if state.inside > 0 {
            state = self.wait(state, timeout, |state| state.inside == 0)?;
        }
        drop(state);
        Ok(exclusive)
    }

    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        timeout: Duration,
        ready: impl Fn(&State) -> bool,
    ) -> TokenResult<MutexGuard<'a, State>> {
        let start = Instant::now();
        while !ready(&state) {
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                // The guard goes first: dropping `Exclusive` takes the lock again.
                drop(state);
                return Err(TokenError::with_detail(
                    ErrorClass::Throttled,
                    "wait",
                    "the PKCS#11 module is busy with other calls or is being restarted; try again later",
                ));
            };
            state.waiting += 1;
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.waiting -= 1;
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.inside -= 1;
        if state.waiting > 0 {
            self.gate.changed.notify_all();
        }
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.closed = false;
        if state.waiting > 0 {
            self.gate.changed.notify_all();
        }
    }
}
