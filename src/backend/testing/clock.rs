//! A clock for tests.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::env::Clock;
use crate::model::time::Timestamp;

/// A clock that stands until it is moved.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use strongroom::{Timestamp, VaultOptions, backend::testing::FakeClock};
///
/// let clock = Arc::new(FakeClock::at(Timestamp::from_unix_seconds(1_780_000_000)));
/// let vault = VaultOptions::new().clock(clock.clone()).create_in_memory()?;
/// clock.advance_days(90);
/// # drop(vault);
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Debug)]
pub struct FakeClock {
    unix_milliseconds: AtomicU64,
}

impl FakeClock {
    /// Stands at this moment.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        Self {
            unix_milliseconds: AtomicU64::new(moment.unix_seconds().saturating_mul(1_000)),
        }
    }

    /// Moves to another moment, backwards too.
    pub fn set(&self, moment: Timestamp) {
        let milliseconds = moment.unix_seconds().saturating_mul(1_000);
        self.unix_milliseconds.store(milliseconds, Ordering::SeqCst);
    }

    /// Moves forward.
    pub fn advance_seconds(&self, seconds: u64) {
        self.unix_milliseconds
            .fetch_add(seconds.saturating_mul(1_000), Ordering::SeqCst);
    }

    /// Moves forward by times 86,400 seconds.
    pub fn advance_days(&self, days: u64) {
        self.advance_seconds(days.saturating_mul(86_400));
    }
}

impl Clock for FakeClock {
    fn unix_milliseconds(&self) -> u64 {
        self.unix_milliseconds.load(Ordering::SeqCst)
    }
}
