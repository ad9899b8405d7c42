//! Room for one object of a session, which is not destroyed while somebody works with it.

use std::fmt;
use std::ops::Deref;

use super::raw::ObjectHandle;
use super::sync::{AtomicU64, Ordering};

/// Set while there is an object.
const PRESENT: u64 = 1;
/// One more who works with the object, or looks whether there is one.
const USER: u64 = 1 << 1;
/// One object more that was put there; the highest bits, so that counting on and on disturbs no others.
const FILLING: u64 = 1 << 32;
const USERS: u64 = FILLING - USER;

/// Room for one object. A module may answer anything about an object that is being destroyed, and may give its number to
/// another key's: so nobody may work with it then. Who works with it takes no lock; who fills and empties the room has
/// one, the same for all rooms of an owner.
#[derive(Default)]
pub(super) struct KeptObject {
    state: AtomicU64,
    handle: AtomicU64,
    epoch: AtomicU64,
    /// When the object was used last, in the owner's time.
    used: AtomicU64,
}

/// While it lives, the object is not destroyed.
#[derive(Debug)]
pub(super) struct Pin<O: Deref<Target = KeptObject>> {
    object: O,
    handle: ObjectHandle,
}

impl<O: Deref<Target = KeptObject>> Pin<O> {
    /// Of the object that is there, if it is of `epoch` or later: nobody but a connection, to whatever token, begins an
    /// epoch while there is a lease of an earlier one.
    pub(super) fn of(object: O, epoch: u64, now: u64) -> Option<Self> {
        // First in, then look: whoever takes the object away does it in one step with the look at those who are in.
        let before = object.state.fetch_add(USER, Ordering::Acquire);
        let pin = Self {
            handle: ObjectHandle(object.handle.load(Ordering::Acquire)),
            object,
        };
        if before & PRESENT == 0 || pin.object.epoch.load(Ordering::Acquire) < epoch {
            return None;
        }
        // Withdrawn and replaced since: what was read may be of two objects.
        let after = pin.object.state.load(Ordering::Relaxed);
        if (after ^ before) & !USERS != 0 {
            return None;
        }
        pin.object.used.store(now, Ordering::Relaxed);
        Some(pin)
    }

    pub(super) fn handle(&self) -> ObjectHandle {
        self.handle
    }
}

impl<O: Deref<Target = KeptObject>> Drop for Pin<O> {
    fn drop(&mut self) {
        self.object.state.fetch_sub(USER, Ordering::Release);
    }
}

impl KeptObject {
    /// Puts an object into the room, where there is none. The caller has the lock.
    pub(super) fn fill(&self, handle: ObjectHandle, epoch: u64, now: u64) {
        debug_assert!(
            self.state.load(Ordering::Relaxed) & PRESENT == 0,
            "a second object"
        );
        // Who reads one of these sees what emptied the room, too.
        self.handle.store(handle.0, Ordering::Release);
        self.epoch.store(epoch, Ordering::Release);
        self.used.store(now, Ordering::Relaxed);
        self.state.fetch_add(FILLING + PRESENT, Ordering::Release);
    }

    /// Takes the object out, unless somebody works with it. The caller has the lock, and may destroy it.
    pub(super) fn take_idle(&self) -> Option<ObjectHandle> {
        let state = self.state.load(Ordering::Relaxed);
        if state & (PRESENT | USERS) != PRESENT {
            return None;
        }
        self.state
            .compare_exchange(
                state,
                state & !PRESENT,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .ok()?;
        Some(self.handle())
    }

    /// Nobody else gets the object; who works with it goes on. The caller has the lock.
    pub(super) fn withdraw(&self) {
        self.state.fetch_and(!PRESENT, Ordering::Relaxed);
    }

    /// Whether nobody works with an object that is or was in the room. Where there is one, that may change at once.
    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) & USERS == 0
    }

    /// The object that is there. The caller has the lock.
    pub(super) fn handle(&self) -> ObjectHandle {
        ObjectHandle(self.handle.load(Ordering::Relaxed))
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for KeptObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load(Ordering::Relaxed);
        f.debug_struct("KeptObject")
            .field("present", &(state & PRESENT != 0))
            .field("users", &(state & USERS).wrapping_div(USER))
            .finish_non_exhaustive()
    }
}
