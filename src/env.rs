//! The clock and the random generator: the only callers of the system's own.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind, Result};

/// Where a vault reads the time.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00 UTC.
    fn unix_milliseconds(&self) -> u64;
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
