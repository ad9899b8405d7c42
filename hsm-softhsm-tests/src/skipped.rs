use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Says that something could not be tested here, and counts it.
///
/// The reason is a measured one ("the token has no secp256k1"), never the name of a vendor. The line shows even
/// when the test passes: `SKIPPED name::of::test: reason`.
pub fn skip(reason: &str) {
    SKIPPED.fetch_add(1, Ordering::Relaxed);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    // Not `eprintln`, which the test harness keeps to itself.
    drop(writeln!(std::io::stderr(), "SKIPPED {test}: {reason}"));
}

/// How often [`skip`] was called in this process.
pub fn skipped() -> usize {
    SKIPPED.load(Ordering::Relaxed)
}
