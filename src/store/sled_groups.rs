//! How a group gets into the journal and into sled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::engine::{Group, Redo, Write};
use super::files::{Files, VaultFile};
use super::journal::{Entry, Journal};
use super::pace::Pace;
use super::parts::{self, PART_KEY_LENGTH, part_key};
use super::points::Points;
use super::sled_failure::Failure;
use super::sled_open::{Open, move_pages};

/// For so many bytes put, sled is made to move one page.
const BYTES_PER_MOVE: usize = 16 * 1024;
/// What the removal of a value counts as: the neighbours are written anew for it, too.
const REMOVAL_BYTES: usize = 4 * 1024;

/// Whether pages are moved before a sync, so that the space of replaced ones comes back.
#[derive(Debug, Clone, Copy)]
enum Pages {
    Move,
    Leave,
}

impl Pages {
    /// What needs no redo record fills a new file, where nothing is replaced, or mends little.
    fn of(redo: &[Write]) -> Self {
        if redo.is_empty() {
            Self::Leave
        } else {
            Self::Move
        }
    }
}

/// Where parts of what a write replaces may lie.
#[derive(Clone, Copy)]
enum Earlier {
    /// Where its part 0 says.
    Whole,
    /// Anywhere: the write may have been begun before.
    Unknown,
}

/// Brings groups into the journal and into sled, and keeps sled from falling behind.
pub(super) struct GroupWriter {
    data: Arc<dyn VaultFile>,
    files: Arc<dyn Files>,
    points: Points,
    ahead: Mutex<Ahead>,
}

/// What is durable in the journal and not yet in sled.
struct Ahead {
    journal: Journal,
    /// What was in it when it was opened.
    found: Vec<Entry>,
    pace: Pace,
}

impl GroupWriter {
    /// Over sled's file `data`, with what was found in the journal.
    pub(super) fn new(
        data: Arc<dyn VaultFile>,
        files: Arc<dyn Files>,
        points: Points,
        journal: Journal,
        found: Vec<Entry>,
    ) -> Self {
        Self {
            data,
            files,
            points,
            ahead: Mutex::new(Ahead {
                journal,
                found,
                pace: Pace::default(),
            }),
        }
    }

    /// What was in the journal when it was opened; once.
    pub(super) fn take_found(&self) -> Vec<Entry> {
        std::mem::take(&mut self.ahead().found)
    }

    /// Makes a group durable, in the journal or by a redo record among the records.
    pub(super) fn commit(&self, open: &Open, group: &Group) -> Result<(), Failure> {
        match &group.redo {
            Redo::Journal(entry) => self.write_journal(open, entry, &group.writes),
            Redo::Records(redo) => self.write_redo(open, redo),
        }
    }

    /// Gives sled the records of a group that is durable.
    pub(super) fn apply(&self, open: &Open, group: &Group) -> Result<(), Failure> {
        match &group.redo {
            Redo::Journal(_) => self.apply_journaled(open, &group.writes),
            Redo::Records(redo) => self.apply_in_steps(open, redo, &group.writes),
        }
    }

    fn sync(&self, open: &Open, pace: &mut Pace, pages: Pages) -> Result<(), Failure> {
        if pace.unsynced == 0 {
            return Ok(());
        }
        if matches!(pages, Pages::Move) {
            move_pages(open, pace.unsynced.div_ceil(BYTES_PER_MOVE))?;
        }
        self.points.reach("flush").map_err(Failure::Engine)?;
        let grown = open.tree().flush()?;
        self.points.reach("sync").map_err(Failure::Engine)?;
        self.data.sync_data().map_err(Failure::Engine)?;
        pace.synced(grown);
        Ok(())
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable in sled what so far is so in the journal.
    fn catch_up(&self, open: &Open, ahead: &mut Ahead) -> Result<(), Failure> {
        self.sync(open, &mut ahead.pace, Pages::Move)?;
        ahead.journal.restart();
        Ok(())
    }

    fn write_journal(&self, open: &Open, entry: &Entry, writes: &[Write]) -> Result<(), Failure> {
        let ahead = &mut *self.ahead();
        if ahead.pace.is_full(cost_of(writes)) || !ahead.journal.has_room_for(entry) {
            self.catch_up(open, ahead)?;
        }
        self.points.reach("journal").map_err(Failure::Engine)?;
        ahead
            .journal
            .write(self.files.as_ref(), entry)
            .map_err(Failure::Engine)?;
        self.points.reach("sync journal").map_err(Failure::Engine)?;
        ahead.journal.sync().map_err(Failure::Engine)
    }

    /// What the journal has. The sync that the next group will need comes now, when fewer wait for it.
    fn apply_journaled(&self, open: &Open, writes: &[Write]) -> Result<(), Failure> {
        let ahead = &mut *self.ahead();
        self.put(open, writes, Earlier::Whole, &mut ahead.pace, Pages::Move)?;
        if ahead.pace.is_full(cost_of(writes)) {
            self.catch_up(open, ahead)?;
        }
        Ok(())
    }

    fn write_redo(&self, open: &Open, redo: &[Write]) -> Result<(), Failure> {
        let ahead = &mut *self.ahead();
        self.catch_up(open, ahead)?;
        let pages = Pages::of(redo);
        self.put(open, redo, Earlier::Unknown, &mut ahead.pace, pages)?;
        self.sync(open, &mut ahead.pace, pages)
    }

    /// In steps, each synced before the next. When the changes are there, their redo record goes.
    fn apply_in_steps(&self, open: &Open, redo: &[Write], writes: &[Write]) -> Result<(), Failure> {
        let ahead = &mut *self.ahead();
        let done: Vec<Write> = redo
            .iter()
            .rev()
            .map(|piece| Write::Remove(*piece.index()))
            .collect();
        let pages = Pages::of(redo);
        for writes in [writes, &done] {
            self.put(open, writes, Earlier::Unknown, &mut ahead.pace, pages)?;
            self.sync(open, &mut ahead.pace, pages)?;
        }
        Ok(())
    }

    /// Gives sled the writes, and syncs it whenever it has got enough.
    fn put(
        &self,
        open: &Open,
        writes: &[Write],
        earlier: Earlier,
        pace: &mut Pace,
        pages: Pages,
    ) -> Result<(), Failure> {
        for write in writes {
            if pace.is_full(cost(write)) {
                self.sync(open, pace, pages)?;
            }
            pace.unsynced += self.write(open, write, earlier)?;
        }
        Ok(())
    }

    /// What it costs, as by [`cost`].
    fn write(&self, open: &Open, write: &Write, earlier: Earlier) -> Result<usize, Failure> {
        let index = write.index();
        let (mut bytes, mut replaced) = (0, None);
        let keep = match write {
            Write::Put(_, record) => {
                for (part, value) in parts::cut(record) {
                    self.points.reach("part").map_err(Failure::Engine)?;
                    // Part 0 comes last.
                    replaced = open.tree().insert(part_key(index, part), value)?;
                    bytes += PART_KEY_LENGTH + value.len();
                }
                parts::count(record)
            }
            Write::Remove(_) => 0,
        };
        let mut remove = |key: &[u8]| -> Result<Option<sled::IVec>, Failure> {
            self.points.reach("surplus").map_err(Failure::Engine)?;
            bytes += REMOVAL_BYTES;
            Ok(open.tree().remove(key)?)
        };
        // Part 0 first: without it the others are no record.
        match earlier {
            Earlier::Whole => {
                if keep == 0 {
                    replaced = remove(&part_key(index, 0))?;
                }
                let declared = replaced.map_or(0, |first| parts::declared(&first));
                for part in keep.max(1)..declared {
                    remove(&part_key(index, part))?;
                }
            }
            Earlier::Unknown => {
                let (first, last) = (part_key(index, keep), part_key(index, u8::MAX));
                for item in open.tree().range(first..=last) {
                    let (key, _) = item?;
                    remove(&key)?;
                }
            }
        }
        Ok(bytes)
    }
}

fn cost_of(writes: &[Write]) -> usize {
    writes.iter().map(cost).sum()
}

/// Of what sled gets to write, in bytes; of a removal at least.
fn cost(write: &Write) -> usize {
    match write {
        Write::Put(_, record) => {
            record.as_bytes().len() + usize::from(parts::count(record)) * PART_KEY_LENGTH
        }
        Write::Remove(_) => REMOVAL_BYTES,
    }
}
