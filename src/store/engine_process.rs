//! The process that the engine lives in.
//!
//! sled has threads that all databases of a process share, and a forked child does not have them: whatever sled did
//! there would wait for ever.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Process;

/// The process that first opened a database.
static USED_IN: OnceLock<Process> = OnceLock::new();

/// A database is about to be opened.
pub(super) fn use_here() {
    USED_IN.get_or_init(Process::here);
}

/// Errors: `ForkedProcess`.
pub(super) fn check() -> Result<()> {
    match USED_IN.get() {
        Some(process) if !process.is_here() => Err(Error::new(
            ErrorKind::ForkedProcess,
            "the process was forked after it had opened a vault, and cannot open any; open vaults after the fork only, \
             or execute a program first",
        )),
        _ => Ok(()),
    }
}
