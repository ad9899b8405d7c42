//! Records in sled 0.34, kept whole and durable by what sled itself does not do.
//!
//! sled's `flush` writes the log without syncing it, values that make a page large leave the log for
//! files that nothing syncs, and damage shows as panics or as silent loss. So: small values, plain
//! inserts in order, a sync of our own descriptor, and a shield round every call. What sled loses in
//! silence is found by the digests above this floor.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use super::Finding;
use super::engine::{Group, Page, Scan, Storage};
use super::files::{Access, Files, VaultFile};
use super::journal::{Entry, Journal};
use super::parts::{self, Joiner, part_key};
use super::points::Points;
use super::poison::Poison;
use super::recovery_reads::read_before_sled;
use super::sled_failure::{Failure, panicked};
use super::sled_groups::GroupWriter;
use super::sled_log::DB_FILE;
use super::sled_open::{Open, open_sled};
use super::{sled_scan, spare_segments};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{IndexKey, SealedRecord};

pub(super) const BLOBS: &str = "blobs";
/// How sled was set up.
pub(super) const CONF_FILE: &str = "conf";
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

/// The engine over one sled tree.
pub(crate) struct SledEngine {
    open: RwLock<Option<Open>>,
    data: Arc<dyn VaultFile>,
    files: Arc<dyn Files>,
    poison: Arc<Poison>,
    writer: GroupWriter,
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
        let data: Arc<dyn VaultFile> = match existing {
            Some(data) => data,
            None => files
                .open(DB_FILE, Access::ReadWrite)?
                .ok_or_else(|| Error::new(ErrorKind::Io, "sled made no file `db`"))?,
        }
        .into();
        let (journal, found) = Journal::open(files.as_ref(), options.forget_cached)?;
        let engine = Self {
            open: RwLock::new(Some(open)),
            writer: GroupWriter::new(
                Arc::clone(&data),
                Arc::clone(files),
                options.points,
                journal,
                found,
            ),
            data,
            files: Arc::clone(files),
            poison,
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
        self.run(|open| self.writer.commit(open, group))
    }

    fn apply(&self, group: &Group) -> Result<()> {
        self.run(|open| self.writer.apply(open, group))?;
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
        self.writer.take_found()
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
