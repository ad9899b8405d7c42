//! Compaction: sled never gives space back, so its records are written anew, in their order, into new files.
//!
//! Records are copied as bytes; nothing is opened or sealed. The redo record stays behind: its group is applied.

use std::sync::Arc;

use super::anchor::AnchorFile;
use super::engine::{Bound, Page, Scan, Storage, Write, lowest, write_through};
use super::files::{Access, Files};
use super::open::{check_meta, load_buckets, read_state};
use super::parts;
use super::points::Points;
use super::poison::Poison;
use super::sled_engine::{SledEngine, SledOptions};
use super::switch::{self, BUILDING, READY};
use super::vault_dir::VaultDir;
use super::{OpenMode, OpenReport, Shared, Store, StoreConfig, open};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Class, IndexKey, SealedRecord};

/// So many records are read at a time.
const STEP: usize = 512;

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Compacted {
    pub(crate) records: u64,
    /// Length of the records' files before.
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    /// What opening the old files had to do.
    pub(crate) opened: OpenReport,
}

pub(super) fn run(
    dir: VaultDir,
    config: &StoreConfig,
    mode: OpenMode,
    admit: impl FnOnce(&Store) -> Result<()>,
) -> Result<(VaultDir, Compacted)> {
    let points = mode.points.clone();
    let files = Arc::clone(dir.files());
    let building = dir.path().join(BUILDING);
    let (store, opened) = open::open(dir, config.clone(), mode)?;
    admit(&store)?;
    require_sound(&store)?;
    store.sync_anchor()?;
    let bytes_before = length(files.as_ref())?;
    let named = build(&store, files.as_ref(), building, &points).and_then(|records| {
        let (closed, dir) = store.end();
        closed?;
        let dir = dir.ok_or_else(|| Error::internal("a store in a directory has lost it"))?;
        // Until the files are in their places.
        dir.set_clean_mark(false)?;
        points.reach("compact: ready")?;
        files.rename(None, BUILDING, READY)?;
        Ok((dir, records))
    });
    let (dir, records) = named.inspect_err(|_| {
        // The first error counts; the next opening removes what is left.
        let _ = switch::discard(files.as_ref(), BUILDING);
    })?;
    points.reach("compact: named")?;
    files.sync_directory(None)?;
    switch::complete(files.as_ref(), &points)?;
    let compacted = Compacted {
        records,
        bytes_before,
        bytes_after: length(files.as_ref())?,
        opened,
    };
    Ok((dir, compacted))
}

/// What is damaged is not copied: more of it may be found in the old files.
fn require_sound(store: &Store) -> Result<()> {
    let report = store.check()?;
    match report.findings.iter().find(|finding| !finding.harmless) {
        None => Ok(()),
        Some(finding) => Err(Error::new(
            finding.kind,
            format!(
                "the vault is damaged and is left as it is: {}: {}; restore a copy, or salvage what is intact",
                finding.place, finding.message
            ),
        )),
    }
}

/// Copies all records, and compares what was copied with where it came from. Gives how many there are.
fn build(
    store: &Store,
    files: &dyn Files,
    path: std::path::PathBuf,
    points: &Points,
) -> Result<u64> {
    let shared = &store.shared;
    // No change lands meanwhile.
    let ledger = shared.lock_ledger();
    points.reach("compact: begin")?;
    files.make_directory(BUILDING)?;
    let within = files
        .subdirectory(BUILDING)?
        .ok_or_else(|| Error::new(ErrorKind::Io, "a directory that was made is not there"))?;
    let mut options = SledOptions {
        path,
        files: Arc::clone(&within),
        cache_capacity: shared.config.cache_capacity,
        create: true,
        forget_cached: false,
        // What fails is built again.
        spare: false,
        points: points.clone(),
    };
    let engine = SledEngine::open(options.clone(), Arc::new(Poison::default()))?;
    let copied = copy(shared.engine.as_ref(), &engine, points);
    let closed = engine.close();
    copied.and(closed)?;

    points.reach("compact: compare")?;
    options.create = false;
    options.forget_cached = true;
    let engine = SledEngine::open(options, Arc::new(Poison::default()))?;
    let compared = verify(shared, &engine);
    let closed = engine.close();
    let records = compared.and_then(|records| closed.map(|()| records))?;

    points.reach("compact: sync")?;
    for name in within.list(None)?.unwrap_or_default() {
        if switch::is_of_the_engine(&name)
            && let Some(file) = within.open(&name, Access::Read)?
        {
            file.sync_data()?;
        }
    }
    let mut anchor = AnchorFile::create(within.as_ref())?;
    let hierarchy = &shared.config.hierarchy;
    anchor.write(hierarchy, ledger.state.generation, &ledger.state_hash)?;
    anchor.sync()?;
    within.sync_directory(None)?;
    Ok(records)
}

fn copy(from: &dyn Storage, to: &SledEngine, points: &Points) -> Result<()> {
    let mut records = Records::of(from);
    let mut items = 0;
    loop {
        points.reach("compact: lay out")?;
        let places = records
            .by_ref()
            .take(STEP)
            .map(|item| item.map(|(index, record)| (index, parts::count(&record))))
            .collect::<Result<Vec<_>>>()?;
        if places.is_empty() {
            break;
        }
        items += places
            .iter()
            .map(|(_, parts)| u64::from(*parts))
            .sum::<u64>();
        to.lay_out(&places)?;
    }
    points.reach("compact: gather")?;
    to.gather(items)?;
    let mut records = Records::of(from);
    loop {
        points.reach("compact: copy")?;
        let writes = records
            .by_ref()
            .take(STEP)
            .map(|item| item.map(|(index, record)| Write::Put(index, record)))
            .collect::<Result<Vec<_>>>()?;
        if writes.is_empty() {
            return Ok(());
        }
        write_through(to, writes)?;
    }
}

/// What an opening verifies, and every byte.
fn verify(shared: &Shared, copy: &dyn Storage) -> Result<u64> {
    let differs = || {
        Error::new(
            ErrorKind::Corrupt,
            "the compacted records are not those of the vault: the disk or the storage engine lost some of them on the \
             way; nothing was changed, check the disk and try again",
        )
    };
    // Whatever is wrong with the copy says nothing about the vault.
    let of_the_copy = |error: Error| match error.kind() {
        ErrorKind::Io | ErrorKind::StorageFull => error,
        _ => differs().with_source(error),
    };
    let read = || -> Result<()> {
        let (state, _) = read_state(copy, &shared.config.hierarchy)?;
        load_buckets(copy, &shared.config, &state)?;
        check_meta(copy, &shared.config, &state)
    };
    if !copy.check().map_err(of_the_copy)?.is_empty() {
        return Err(differs());
    }
    read().map_err(of_the_copy)?;
    let mut count = 0;
    let mut copied = Records::of(copy);
    for original in Records::of(shared.engine.as_ref()) {
        let original = original?;
        if copied.next().transpose().map_err(of_the_copy)? != Some(original) {
            return Err(differs());
        }
        count += 1;
    }
    match copied.next() {
        None => Ok(count),
        Some(_) => Err(differs()),
    }
}

/// Bytes in the records' files.
fn length(files: &dyn Files) -> Result<u64> {
    let mut bytes = 0;
    for name in files.list(None)?.unwrap_or_default() {
        if switch::is_of_the_engine(&name)
            && let Some(file) = files.open(&name, Access::Read)?
        {
            bytes += file.facts()?.length;
        }
    }
    Ok(bytes)
}

/// All records but the redo record, in their order.
struct Records<'a> {
    engine: &'a dyn Storage,
    page: std::vec::IntoIter<(IndexKey, Result<SealedRecord>)>,
    next: Option<Bound>,
}

impl<'a> Records<'a> {
    fn of(engine: &'a dyn Storage) -> Self {
        Self {
            engine,
            page: Vec::new().into_iter(),
            next: Some(lowest(&[])),
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(IndexKey, SealedRecord)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((index, record)) = self.page.next() {
                if index.class() == Class::Redo {
                    continue;
                }
                return Some(record.map(|record| (index, record)));
            }
            let scan = Scan {
                from: self.next.take()?,
                until: None,
                class: None,
                limit: STEP,
            };
            match self.engine.scan(&scan) {
                Ok(Page { records, next }) => {
                    self.page = records.into_iter();
                    self.next = next;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
