//! A disk that takes longer than the one that is there, for measurements. Feature `testing`; no part of the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

static NANOSECONDS: AtomicU64 = AtomicU64::new(0);

/// From now on each `fdatasync` of a vault's file takes at least so much longer, in the whole process.
pub fn lengthen_syncs(by: Duration) {
    let nanoseconds = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    NANOSECONDS.store(nanoseconds, Ordering::Relaxed);
}

/// What one sync takes longer.
pub(super) fn wait() {
    match NANOSECONDS.load(Ordering::Relaxed) {
        0 => {}
        nanoseconds => thread::sleep(Duration::from_nanos(nanoseconds)),
    }
}
