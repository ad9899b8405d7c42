//! sled's database: opened, and made to move its pages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::engine_process;
use super::sled_failure::{engine_error, panicked};
use super::sled_log::SEGMENT_SIZE;
use crate::error::{Error, ErrorKind, Result};

const TREE: &[u8] = b"r";
/// What is written in the spare tree.
pub(super) const SPARE_KEY: &[u8] = b"";
/// sled keeps its lock for moments after it was dropped.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// The database with its tree of records.
pub(super) struct Open {
    // Declared before the database, so that it goes first.
    tree: sled::Tree,
    database: sled::Db,
}

impl Open {
    pub(super) fn tree(&self) -> &sled::Tree {
        &self.tree
    }

    /// A tree that every database has, and in which nothing lies that counts.
    pub(super) fn spare_tree(&self) -> &sled::Tree {
        &self.database
    }
}

/// Opens the database, and waits a while for its lock.
///
/// Errors: `VaultInUse`, `Corrupt`, `StorageFull`, `ReadOnly`, `Io`.
pub(super) fn open_sled(path: &Path, cache_capacity: u64) -> Result<Open> {
    engine_process::use_here();
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = sled::Config::new()
                .path(path)
                .cache_capacity(cache_capacity)
                .segment_size(SEGMENT_SIZE)
                .flush_every_ms(None)
                .open()?;
            let tree = database.open_tree(TREE)?;
            Ok(Open { tree, database })
        }));
        match opened {
            Ok(Ok(open)) => return Ok(open),
            Ok(Err(error)) if is_locked(&error) => {
                if Instant::now() >= deadline {
                    return Err(Error::new(
                        ErrorKind::VaultInUse,
                        "another process holds the lock of the file `db`",
                    ));
                }
                thread::sleep(Duration::from_millis(10));
            }
            Ok(Err(error)) => return Err(engine_error(error)),
            Err(payload) => return Err(panicked(&*payload)),
        }
    }
}

/// sled tells this case from others only by its text.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// Lets sled move up to so many pages out of segments that are half empty, so that it can use these again. By itself it
/// moves one whenever it writes another anew, and falls behind where many records are new: the files grow to 2.4 times
/// the records, in place of 2.1. Nothing is flushed.
pub(super) fn move_pages(open: &Open, pages: usize) -> sled::Result<()> {
    for number in 0..pages * WRITES_PER_PAGE {
        open.spare_tree().insert(SPARE_KEY, &number.to_be_bytes())?;
    }
    Ok(())
}

/// sled writes a page anew with the change after ten others.
const WRITES_PER_PAGE: usize = 11;
