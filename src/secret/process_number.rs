//! A number that tells processes apart, also after a fork.

use std::sync::atomic::{AtomicU64, Ordering};

/// Rises in the child after a fork: no ancestor has had the number.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The number of the process that asks. `sentinel` is memory that the kernel wipes in a forked child; without such, the
/// process id serves. It takes no lock.
pub(super) fn process_number(sentinel: Option<&AtomicU64>) -> u64 {
    let Some(sentinel) = sentinel else {
        return u64::from(std::process::id());
    };
    let number = sentinel.load(Ordering::Acquire);
    if number != 0 {
        return number;
    }
    let new = LAST.fetch_add(1, Ordering::AcqRel) + 1;
    match sentinel.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(number) => number,
    }
}
