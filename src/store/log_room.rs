//! Room for sled's log, written ahead.
//!
//! A sync of a file that has grown waits for the file system's own journal too, which takes as long again as the data.
//! So the file is made longer before the log needs it, and by zeros that are written: with space that is only
//! reserved, the journal would have to note each first use of it. sled sees a segment that was never begun, which it
//! uses when it has no other, and when it opens the log it takes away more than one of these.
//!
//! The zeros are appended: whatever sled writes meanwhile, the system puts them behind it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::files::{Access, Files, VaultFile};
use super::sled_log::{DB_FILE, SEGMENT_SIZE};
use crate::error::Result;

const LEAST: u64 = 64 * 1024;
const MOST: u64 = SEGMENT_SIZE as u64;
/// An eighth of the file at a time, so that a small vault stays small.
const SHARE: u64 = 8;
/// Whatever sled writes has other bytes than zeros within so many.
const SAMPLE: usize = 1024;

/// What lies behind the end of the log.
#[derive(Debug)]
pub(super) struct LogRoom {
    /// `None` after a failure: the room is a convenience, and whatever is wrong with the file the log meets too.
    file: Option<Box<dyn VaultFile>>,
    gone: AtomicBool,
}

impl LogRoom {
    /// Errors: those of opening the file.
    pub(super) fn open(files: &dyn Files) -> Result<Self> {
        Ok(Self {
            file: files.open(DB_FILE, Access::Append)?,
            gone: AtomicBool::new(false),
        })
    }

    /// Whether [`LogRoom::extend`] has something to do: half of what it would add is no longer there.
    pub(super) fn is_short(&self) -> bool {
        self.open_file()
            .is_some_and(|file| is_short(file).unwrap_or(true))
    }

    /// Makes the file longer if its room is short. That is durable with the next sync of the file, and without it no
    /// more is lost than the room.
    pub(super) fn extend(&self) {
        let Some(file) = self.open_file() else {
            return;
        };
        let extended = is_short(file).and_then(|short| match short {
            true => file.append(&vec![0; step(file.facts()?.length)]),
            false => Ok(()),
        });
        if extended.is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    fn open_file(&self) -> Option<&dyn VaultFile> {
        self.file
            .as_deref()
            .filter(|_| !self.gone.load(Ordering::Relaxed))
    }
}

/// How much is added to a file of this length.
fn step(length: u64) -> usize {
    let step = (length / SHARE).clamp(LEAST, MOST);
    // Whole pages, so that none is written twice for it.
    usize::try_from(step / 4_096 * 4_096).unwrap_or(SEGMENT_SIZE)
}

fn is_short(file: &dyn VaultFile) -> Result<bool> {
    let length = file.facts()?.length;
    let half = step(length) as u64 / 2;
    let mut sample = [0; SAMPLE];
    // A file that is shorter than this has no room.
    let Some(place) = length.checked_sub(half) else {
        return Ok(true);
    };
    file.read_at(&mut sample, place)?;
    Ok(sample.iter().any(|byte| *byte != 0))
}
