//! Records in sled 0.34, kept whole and durable by what sled itself does not do.
//!
//! sled's `flush` writes the log without syncing it, values that make a page large leave the log for
//! files that nothing syncs, and damage shows as panics or as silent loss. So: small values, plain
//! inserts in order, a sync of our own descriptor, and a shield round every call. What sled loses in
//! silence is found by the digests above this floor.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use super::Finding;
use super::engine::{Group, Page, Redo, Scan, Storage, Write};
use super::files::{Access, Files, VaultFile};
use super::journal::{Entry, Journal};
use super::pace::Pace;
use super::parts::{self, Joiner, PART_KEY_LENGTH, part_key};
use super::points::Points;
use super::poison::Poison;
use super::recovery_reads::read_before_sled;
use super::sled_failure::{Failure, panicked};
use super::sled_log::DB_FILE;
use super::sled_open::{Open, move_pages, open_sled};
use super::{sled_scan, spare_segments};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{IndexKey, SealedRecord};

pub(super) const BLOBS: &str = "blobs";
/// How sled was set up.
pub(super) const CONF_FILE: &str = "conf";
/// For so many bytes put, sled is made to move one page.
const BYTES_PER_MOVE: usize = 16 * 1024;
/// What the removal of a value counts as: the neighbours are written anew for it, too.
const REMOVAL_BYTES: usize = 4 * 1024;
const DROP_PATIENCE: Duration = Duration::from_secs(10);

/// How to open the engine.
#[derive(Debug, Clone)]
pub(crate) struct SledOptions {
    pub(crate) path: PathBuf,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) cache_capacity: u64,
    /// Only then may there be no database yet.
    pub(crate) create: bool,
    pub(crate) forget_cached: bool,
    /// Keeps a copy of what sled's recovery may destroy until the caller forgets it.
    pub(crate) spare: bool,
    pub(crate) points: Points,
}

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

/// The engine over one sled tree.
pub(crate) struct SledEngine {
    open: RwLock<Option<Open>>,
    data: Box<dyn VaultFile>,
    files: Arc<dyn Files>,
    poison: Arc<Poison>,
    points: Points,
    ahead: Mutex<Ahead>,
}

/// Where parts of what a write replaces may lie.
#[derive(Clone, Copy)]
enum Earlier {
    /// Where its part 0 says.
    Whole,
    /// Anywhere: the write may have been begun before.
    Unknown,
}

/// What is durable in the journal and not yet in sled.
struct Ahead {
    journal: Journal,
    /// What was in it when it was opened.
    found: Vec<Entry>,
    pace: Pace,
}

impl SledEngine {
    /// Opens the database and syncs what an earlier process may have left unsynced.
    ///
    /// Errors: `Corrupt`, `VaultInUse`, `StorageFull`, `ReadOnly`, `Io`.
    pub(crate) fn open(options: SledOptions, poison: Arc<Poison>) -> Result<Self> {
        let files = &options.files;
        // A process that died while it opened leaves a torn snapshot, which sled would take for the newest.
        for name in files.list(None)?.unwrap_or_default() {
            if name.starts_with("snap.") && name.ends_with(".generating") {
                files.remove(&name)?;
            }
        }
        let existing = files.open(DB_FILE, Access::ReadWrite)?;
        if existing.is_none() && !options.create {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the file `db` is missing from the vault's directory; restore the directory",
            ));
        }
        if let Some(data) = &existing {
            data.sync_data()?;
            files.sync_directory(None)?;
            if options.forget_cached {
                data.forget_cached()?;
            }
            spare_segments::restore(files.as_ref(), data.as_ref())?;
            let headers = read_before_sled(files.as_ref(), data.as_ref())?;
            if options.spare {
                spare_segments::save(files.as_ref(), data.as_ref(), &headers)?;
            }
        }
        let open = open_sled(&options.path, options.cache_capacity)?;
        let data = match existing {
            Some(data) => data,
            None => files
                .open(DB_FILE, Access::ReadWrite)?
                .ok_or_else(|| Error::new(ErrorKind::Io, "sled made no file `db`"))?,
        };
        let (journal, found) = Journal::open(files.as_ref(), options.forget_cached)?;
        let engine = Self {
            open: RwLock::new(Some(open)),
            data,
            files: Arc::clone(files),
            poison,
            points: options.points,
            ahead: Mutex::new(Ahead {
                journal,
                found,
                pace: Pace::default(),
            }),
        };
        engine.check_same_file(&options.path)?;
        engine.restrict_modes()?;
        // sled's own recovery writes too.
        engine.data.sync_data()?;
        if options.create {
            files.sync_directory(Some(BLOBS))?;
        }
        // sled has written a snapshot and renamed it, and may now reuse segments that an older one still points
        // to: the new name has to be durable before that.
        files.sync_directory(None)?;
        if !options.spare {
            spare_segments::forget(files.as_ref())?;
        }
        Ok(engine)
    }

    /// sled opens by path and we by descriptor: a sync of another file would be worth nothing.
    fn check_same_file(&self, path: &std::path::Path) -> Result<()> {
        let by_path = rustix::fs::stat(path.join(DB_FILE))
            .map_err(|errno| super::files::failure("examine", DB_FILE, errno))?;
        let by_path = super::files::facts_of(&by_path);
        let own = self.data.facts()?;
        if (by_path.device, by_path.inode) != (own.device, own.inode) {
            return Err(Error::new(
                ErrorKind::UnsafePermissions,
                "the vault's directory was exchanged while it was opened",
            ));
        }
        Ok(())
    }

    /// sled makes its files readable for everyone; the directory's mode carries the promise, this supports it.
    fn restrict_modes(&self) -> Result<()> {
        for name in self.files.list(None)?.unwrap_or_default() {
            let mode = match name.as_str() {
                BLOBS => 0o700,
                DB_FILE | CONF_FILE => 0o600,
                name if name.starts_with("snap.") => 0o600,
                _ => continue,
            };
            match self.files.set_mode(&name, mode) {
                // sled removes old snapshots in the background.
                Err(error) if name.starts_with("snap.") && error.kind() == ErrorKind::Io => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Runs `call` behind the shield: no panic of sled comes through, and after a failure nothing runs again.
    pub(super) fn run<T>(&self, call: impl FnOnce(&Open) -> Result<T, Failure>) -> Result<T> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        self.poison.check()?;
        let Some(open) = open.as_ref() else {
            return Err(Error::new(ErrorKind::VaultFailed, "this vault was closed"));
        };
        match catch_unwind(AssertUnwindSafe(|| call(open))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failure::Record(error))) => Err(error),
            Ok(Err(Failure::Engine(error))) => {
                self.poison.fail(&error);
                Err(error)
            }
            Err(payload) => {
                let error = panicked(&*payload);
                self.poison.fail(&error);
                Err(error)
            }
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

impl Storage for SledEngine {
    fn get(&self, index: &IndexKey) -> Result<Option<SealedRecord>> {
        self.run(|open| {
            let Some(first) = open.tree().get(part_key(index, 0))? else {
                return Ok(None);
            };
            let mut joiner = Joiner::start(&first)?;
            while let Some(part) = joiner.wants() {
                let bytes = open.tree().get(part_key(index, part))?;
                joiner.push(&bytes.ok_or_else(parts::damaged)?)?;
            }
            Ok(Some(joiner.finish()?))
        })
    }

    fn scan(&self, scan: &Scan) -> Result<Page> {
        self.run(|open| sled_scan::page(open.tree(), scan))
    }

    fn commit(&self, group: &Group) -> Result<()> {
        self.run(|open| match &group.redo {
            Redo::Journal(entry) => self.write_journal(open, entry, &group.writes),
            Redo::Records(redo) => self.write_redo(open, redo),
        })
    }

    fn apply(&self, group: &Group) -> Result<()> {
        self.run(|open| match &group.redo {
            Redo::Journal(_) => self.apply_journaled(open, &group.writes),
            Redo::Records(redo) => self.apply_in_steps(open, redo, &group.writes),
        })?;
        if cfg!(debug_assertions)
            && self
                .files
                .list(Some(BLOBS))?
                .is_some_and(|names| !names.is_empty())
        {
            return Err(Error::internal(
                "a commit left the log for a file in `blobs`",
            ));
        }
        Ok(())
    }

    fn journaled(&self) -> Vec<Entry> {
        std::mem::take(&mut self.ahead().found)
    }

    fn check(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let blobs = self.files.list(Some(BLOBS))?.unwrap_or_default();
        for name in blobs.into_iter().take(100) {
            findings.push(Finding {
                kind: ErrorKind::Corrupt,
                place: format!("blobs/{name}"),
                message: "a value lies outside the log, where nothing syncs it".to_owned(),
                harmless: false,
            });
        }
        self.run(|open| sled_scan::find_strays(open.tree(), &mut findings))?;
        Ok(findings)
    }

    fn close(&self) -> Result<()> {
        let taken = self
            .open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(open) = taken else {
            return Ok(());
        };
        let (done, finished) = mpsc::channel();
        let dropper = thread::Builder::new().name("strongroom-close".to_owned());
        let spawned = dropper.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(move || drop(open)));
            // The receiver may have lost patience.
            let _ = done.send(outcome.map_err(|payload| panicked(&*payload)));
        });
        if spawned.is_err() {
            return Ok(());
        }
        match finished.recv_timeout(DROP_PATIENCE) {
            Ok(dropped) => dropped.and_then(|()| self.data.sync_data()),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(panicked(&())),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::new(
                ErrorKind::VaultFailed,
                "the storage engine did not stop; restart the process before the vault is opened again",
            )),
        }
    }
}

impl fmt::Debug for SledEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SledEngine")
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
