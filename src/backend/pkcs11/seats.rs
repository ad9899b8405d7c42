//! Sessions at rest, each where the thread that used it last takes it without asking the pool.

use std::sync::{Arc, TryLockError};

use super::attachment::Attachment;
use super::module::ModuleSession;
use super::sync::{AtomicU64, Mutex, MutexGuard, Ordering, thread_number};

/// Threads with numbers further apart than this share seats. A session that finds its seat taken rests in the pool.
const SEATS: usize = 16;

/// A session, and the attachment that it belongs to.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) session: ModuleSession,
    pub(super) attachment: Arc<Attachment>,
}

/// On cache lines of its own; two, because processors fetch them in pairs. Nobody waits for its lock.
#[repr(align(128))]
#[derive(Default)]
struct Seat(Mutex<Option<Seated>>);

#[derive(Default)]
pub(super) struct Seats {
    seats: [Seat; SEATS],
    /// The number of the attachment whose sessions are taken from seats and left there without a question. While it is
    /// 0, everybody asks the pool.
    free_for: AtomicU64,
}

/// A session in use: in its seat, which is locked meanwhile, or by itself.
#[derive(Debug)]
pub(super) enum Loan<'a> {
    Seat(Occupied<'a>),
    Loose(Seated),
}

/// A locked seat with a session.
#[derive(Debug)]
pub(super) struct Occupied<'a> {
    seat: &'a Mutex<Option<Seated>>,
    guard: MutexGuard<'a, Option<Seated>>,
}

impl Loan<'_> {
    pub(super) fn seated(&self) -> &Seated {
        match self {
            Self::Seat(seat) => seat.seated(),
            Self::Loose(seated) => seated,
        }
    }
}

impl<'a> Occupied<'a> {
    fn of(seat: &'a Seat) -> Option<Self> {
        let guard = try_lock(&seat.0)?;
        guard.is_some().then_some(Self {
            seat: &seat.0,
            guard,
        })
    }

    fn seated(&self) -> &Seated {
        self.guard.as_ref().expect("looked at when it was locked")
    }

    pub(super) fn take(mut self) -> Seated {
        self.guard.take().expect("looked at when it was locked")
    }
}

impl Seats {
    /// From now on sessions of this attachment need no question. The caller has the lock of the pool, as for
    /// [`Seats::close`].
    pub(super) fn free_for(&self, attachment: &Attachment) {
        self.free_for.store(attachment.number, Ordering::SeqCst);
    }

    /// From now on everybody asks the pool. Whoever takes or leaves a session meanwhile finds that out, as long as the
    /// caller closes first and then looks into the seats: they do it the other way round.
    pub(super) fn close(&self) {
        self.free_for.store(0, Ordering::SeqCst);
    }

    pub(super) fn is_free_for(&self, attachment: &Attachment) -> bool {
        self.free_for.load(Ordering::SeqCst) == attachment.number
    }

    /// The session in the seat of this thread. It may be used only if the seats are free for its attachment still.
    pub(super) fn own(&self) -> Option<Occupied<'_>> {
        if self.free_for.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Occupied::of(self.own_seat())
    }

    /// Leaves a session in its seat, or gives it back when the pool wants to be asked.
    pub(super) fn leave(&self, occupied: Occupied<'_>) -> Option<Seated> {
        let number = occupied.seated().attachment.number;
        if self.free_for.load(Ordering::SeqCst) != number {
            return Some(occupied.take());
        }
        let Occupied { seat, guard } = occupied;
        drop(guard);
        if self.free_for.load(Ordering::SeqCst) == number {
            return None;
        }
        // Whoever has closed the seats may have met the session before it was left.
        try_lock(seat)?.take()
    }

    /// Puts a session into the seat of this thread, or gives it back when that is taken.
    pub(super) fn put(&self, seated: Seated) -> Option<Seated> {
        match try_lock(&self.own_seat().0) {
            Some(mut place) if place.is_none() => {
                *place = Some(seated);
                None
            }
            _ => Some(seated),
        }
    }

    /// A session of this attachment that is at rest, whosever seat it is in.
    pub(super) fn take_one(&self, attachment: &Attachment) -> Option<Seated> {
        self.at_rest()
            .find(|occupied| occupied.seated().attachment.number == attachment.number)
            .map(Occupied::take)
    }

    /// All that are at rest, of whatever attachment.
    pub(super) fn take_all(&self) -> Vec<Seated> {
        self.at_rest().map(Occupied::take).collect()
    }

    pub(super) fn any_at_rest(&self) -> bool {
        self.at_rest().next().is_some()
    }

    pub(super) fn count_at_rest(&self) -> usize {
        self.at_rest().count()
    }

    fn at_rest(&self) -> impl Iterator<Item = Occupied<'_>> {
        self.seats.iter().filter_map(Occupied::of)
    }

    fn own_seat(&self) -> &Seat {
        &self.seats[thread_number() % SEATS]
    }
}

/// The lock, if it is free. A thread that panicked with a session has not touched what is in here.
fn try_lock(seat: &Mutex<Option<Seated>>) -> Option<MutexGuard<'_, Option<Seated>>> {
    match seat.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
