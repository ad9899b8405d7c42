//! The clock and the random generator: the only callers of the system's own; and which thread asks.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind, Result};

/// Where a vault reads the time.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00 UTC.
    fn unix_milliseconds(&self) -> u64;

    /// The same, if that is cheaper from a clock that lags a little: by less than a second. Every operation reads it, for
    /// the age of what is cached. Dates of keys, and whatever else is decided or written, go by
    /// [`Clock::unix_milliseconds`].
    ///
    /// Unless it is implemented, it is [`Clock::unix_milliseconds`].
    fn coarse_unix_milliseconds(&self) -> u64 {
        self.unix_milliseconds()
    }
}

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one caller of the wall clock"
    )]
    fn unix_milliseconds(&self) -> u64 {
        // A clock before 1970 reads as 1970.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }

    /// The time of the kernel's last tick: of some milliseconds ago.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn coarse_unix_milliseconds(&self) -> u64 {
        use rustix::time::{ClockId, clock_gettime};
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let milliseconds = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
        seconds.saturating_mul(1_000).saturating_add(milliseconds)
    }
}

/// Where a vault takes random bytes.
pub trait Entropy: Debug + Send + Sync {
    /// Fills `bytes` with random bytes fit for keys.
    ///
    /// # Errors
    ///
    /// [`RandomUnavailable`](crate::ErrorKind::RandomUnavailable): nothing was filled that may be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<()>;
}

/// The kernel's generator, asked anew each time: no pool in user space that a fork could duplicate.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one caller of the kernel's generator"
    )]
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes).map_err(|error| {
            Error::new(
                ErrorKind::RandomUnavailable,
                "the operating system gave no random bytes; try again once its generator is ready",
            )
            .with_source(error)
        })
    }
}

/// The number of the thread that asks: each has its own, from 0 on. Asking costs next to nothing.
#[inline]
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that ends has no number of its own any more.
    OWN.try_with(|own| *own).unwrap_or(0)
}
