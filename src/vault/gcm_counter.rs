//! The encryptions with GCM that one version may still do before its count on disk has to be moved up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// The first reservation after opening a vault; it doubles up to the largest.
pub(super) const FIRST_RESERVATION: u64 = 256;
pub(super) const LARGEST_RESERVATION: u64 = 65_536;

/// The encryptions of one version that are counted on disk and not done yet.
#[derive(Debug, Default)]
pub(super) struct GcmCounter {
    left: AtomicU64,
    reservation: Mutex<Reservation>,
}

#[derive(Debug)]
struct Reservation {
    /// The count on disk that this handle moved up to.
    end: u64,
    next: u64,
}

impl Default for Reservation {
    fn default() -> Self {
        Self {
            end: 0,
            next: FIRST_RESERVATION,
        }
    }
}

impl GcmCounter {
    /// Takes one of those that are left. When there are none, `reserve` moves the count on disk up by so many, or
    /// fewer, and gives its values before and after.
    ///
    /// Errors: those of `reserve`.
    #[inline]
    pub(super) fn take(&self, reserve: impl FnOnce(u64) -> Result<(u64, u64)>) -> Result<()> {
        if self.take_one() {
            return Ok(());
        }
        let mut reservation = self
            .reservation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Somebody may have reserved meanwhile.
        if self.take_one() {
            return Ok(());
        }
        let count = reservation.next;
        let (start, end) = reserve(count)?;
        reservation.end = end;
        reservation.next = (count * 2).min(LARGEST_RESERVATION);
        // One is taken already.
        let left = end.saturating_sub(start).saturating_sub(1);
        self.left.store(left, Ordering::Relaxed);
        Ok(())
    }

    fn take_one(&self) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }

    /// Gives up what is left: the count on disk, and what it ought to be. `None` when nothing is left. Whoever still
    /// holds this counter has to reserve anew.
    pub(super) fn settle(&self) -> Option<(u64, u64)> {
        let reservation = self
            .reservation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.left.swap(0, Ordering::Relaxed) {
            0 => None,
            left => Some((reservation.end, reservation.end - left)),
        }
    }

    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn skip(&self, count: u64) {
        self.left.fetch_sub(count, Ordering::Relaxed);
    }
}
