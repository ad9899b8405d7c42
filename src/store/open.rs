//! Bringing a store up: a new one, a stored one, one in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::anchor::AnchorFile;
use super::buckets::toggle;
use super::engine::{Bound, Scan, Storage, Write, write_through};
use super::ledger::{Changed, KnownBucket, Ledger};
use super::memory_engine::MemoryEngine;
use super::points::Points;
use super::poison::Poison;
use super::sled_engine::{SledEngine, SledOptions};
use super::spare_segments;
use super::switch::{self, Leftover};
use super::vault_dir::VaultDir;
use super::{Change, CommitOptions, Shared, Store, StoreConfig, committer, redo};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{
    BUCKET_COUNT, Class, IndexKey, NAMESPACE_BUCKETS, NAMESPACE_NAMELESS, SealedRecord,
};
use crate::format::state::State;
use crate::seal::hash32;
use crate::seal::hierarchy::Hierarchy;

/// How a store is opened.
#[derive(Debug, Default)]
pub(crate) struct OpenMode {
    /// Makes a new anchor when there is none: gives up the knowledge whether the records are the newest.
    pub(crate) rebuild_anchor: bool,
    pub(crate) points: Points,
}

/// What opening had to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OpenReport {
    /// The handle before was not closed: a crash, a kill, or a failure.
    pub(crate) unclean: bool,
    /// A group that had been written in full was applied in full.
    pub(crate) redone: bool,
    /// The anchor was older than the records, as after a crash, and was written.
    pub(crate) anchor_advanced: bool,
    /// The anchor was made anew, as asked.
    pub(crate) anchor_rebuilt: bool,
    /// The header was newer than STATE by one, as after a crash between the two, and was accepted.
    pub(crate) header_accepted: bool,
    /// What is left of a compaction that came to no end.
    pub(crate) compaction: Option<Leftover>,
}

impl OpenReport {
    /// Of two openings, one after the other.
    pub(crate) fn and_then(self, later: Self) -> Self {
        Self {
            unclean: self.unclean | later.unclean,
            redone: self.redone | later.redone,
            anchor_advanced: self.anchor_advanced | later.anchor_advanced,
            anchor_rebuilt: self.anchor_rebuilt | later.anchor_rebuilt,
            header_accepted: self.header_accepted | later.header_accepted,
            compaction: self.compaction.or(later.compaction),
        }
    }
}

pub(super) fn create(
    dir: &VaultDir,
    config: StoreConfig,
    initial: Vec<Change>,
    points: Points,
) -> Result<()> {
    let poison = Arc::new(Poison::default());
    let engine = SledEngine::open(
        SledOptions {
            path: dir.path().to_owned(),
            files: Arc::clone(dir.files()),
            cache_capacity: config.cache_capacity,
            create: true,
            forget_cached: false,
            spare: false,
            points: points.clone(),
        },
        Arc::clone(&poison),
    )?;
    let anchor = AnchorFile::create(dir.files().as_ref())?;
    let ledger = Ledger::empty(&config, Some(anchor));
    let shared = Shared::new(Box::new(engine), ledger, config, None, poison, points);
    let outcome = first_group(&shared, initial);
    let closed = shared.engine.close();
    outcome.and(closed)?;
    // sled syncs neither its configuration nor its snapshots.
    for name in dir.files().list(None)?.unwrap_or_default() {
        if name != "blobs"
            && let Some(file) = dir.files().open(&name, super::files::Access::Read)?
        {
            file.sync_data()?;
        }
    }
    dir.set_clean_mark(true)?;
    dir.files().sync_directory(None)
}

pub(super) fn in_memory(config: StoreConfig, initial: Vec<Change>) -> Result<Store> {
    let ledger = Ledger::empty(&config, None);
    let shared = Shared::new(
        Box::new(MemoryEngine::default()),
        ledger,
        config,
        None,
        Arc::new(Poison::default()),
        Points::default(),
    );
    first_group(&shared, initial)?;
    Store::start(shared)
}

fn first_group(shared: &Shared, initial: Vec<Change>) -> Result<()> {
    for verdict in &shared.verdicts {
        // Nothing is stored yet that could be wrong.
        verdict.store(super::shared::BUCKET_GOOD, Ordering::SeqCst);
    }
    let mut ledger = shared.lock_ledger();
    let mut changed = Changed::new();
    committer::admit(shared, &mut ledger, &mut changed, initial)?;
    committer::write_group(shared, &mut ledger, changed, CommitOptions::default())?;
    ledger.anchor.as_mut().map_or(Ok(()), AnchorFile::sync)
}

pub(super) fn open(
    dir: VaultDir,
    config: StoreConfig,
    mode: OpenMode,
) -> Result<(Store, OpenReport)> {
    let mut report = OpenReport {
        unclean: !dir.closed_cleanly(),
        ..OpenReport::default()
    };
    dir.set_clean_mark(false)?;
    report.compaction = switch::settle(
        dir.files().as_ref(),
        &config.hierarchy,
        mode.rebuild_anchor,
        &mode.points,
    )?;
    let Opened {
        engine,
        poison,
        ledger,
    } = open_engine(&dir, &config, &mode, &mut report)?;
    let shared = Shared::new(
        Box::new(engine),
        ledger,
        config,
        Some(dir),
        poison,
        mode.points,
    );
    if let Err(error) = settle(&shared, &mut report) {
        let _ = shared.engine.close();
        return Err(error);
    }
    Ok((Store::start(shared)?, report))
}

struct Opened {
    engine: SledEngine,
    poison: Arc<Poison>,
    ledger: Ledger,
}

/// The engine, with the newest state that it holds.
fn open_engine(
    dir: &VaultDir,
    config: &StoreConfig,
    mode: &OpenMode,
    report: &mut OpenReport,
) -> Result<Opened> {
    let files = dir.files();
    let options = SledOptions {
        path: dir.path().to_owned(),
        files: Arc::clone(files),
        cache_capacity: config.cache_capacity,
        create: false,
        forget_cached: report.unclean,
        spare: true,
        points: mode.points.clone(),
    };
    let before = *report;
    let mut attempts = 0..2;
    loop {
        *report = before;
        let poison = Arc::new(Poison::default());
        let error = match SledEngine::open(options.clone(), Arc::clone(&poison)) {
            Ok(engine) => match load(&engine, dir, config, mode, report) {
                Ok(ledger) => {
                    if let Err(error) = spare_segments::forget(files.as_ref()) {
                        // The first error counts.
                        let _ = engine.close();
                        return Err(error);
                    }
                    return Ok(Opened {
                        engine,
                        poison,
                        ledger,
                    });
                }
                Err(error) => {
                    // The first error counts; but an engine that does not stop may still write.
                    match engine.close() {
                        Err(running) if running.kind() == ErrorKind::VaultFailed => {
                            return Err(error);
                        }
                        _ => error,
                    }
                }
            },
            Err(error) => error,
        };
        if error.kind() == ErrorKind::VaultInUse {
            // sled has done nothing here, and somebody else may go on.
            let _ = spare_segments::forget(files.as_ref());
            return Err(error);
        }
        // sled takes what it cannot read for the end of its log. What cannot be put back now, the next opening does.
        let undone = spare_segments::undo(files.as_ref()).unwrap_or(false);
        let damage = matches!(
            error.kind(),
            ErrorKind::Corrupt | ErrorKind::Tampered | ErrorKind::RolledBack
        );
        attempts.next();
        if !(undone && damage) || attempts.is_empty() {
            return Err(error);
        }
    }
}

/// What opening writes: the header that STATE does not know yet, and the anchor.
fn settle(shared: &Shared, report: &mut OpenReport) -> Result<()> {
    let mut ledger = shared.lock_ledger();
    let ledger = &mut *ledger;
    let generation = ledger.state.generation;
    if let Some(anchor) = &mut ledger.anchor
        && anchor.lags(generation)
    {
        report.anchor_advanced = !report.anchor_rebuilt;
        anchor.write(&shared.config.hierarchy, generation, &ledger.state_hash)?;
        anchor.sync()?;
    }
    let header = shared.config.header.clone();
    if report.header_accepted {
        let options = CommitOptions {
            header: Some(header),
            ..CommitOptions::default()
        };
        committer::write_group(shared, ledger, Changed::new(), options)?;
    }
    ledger.anchor.as_mut().map_or(Ok(()), AnchorFile::sync)
}

fn load(
    engine: &dyn Storage,
    dir: &VaultDir,
    config: &StoreConfig,
    mode: &OpenMode,
    report: &mut OpenReport,
) -> Result<Ledger> {
    let (mut state, mut state_hash) = read_state(engine, &config.hierarchy)?;
    let (pieces, redo) = redo::load(engine, &config.hierarchy)?;
    if let Some(redo) = redo {
        let next = state.generation.checked_add(1) == Some(redo.generation);
        if next && redo.base == state_hash {
            write_through(engine, redo.writes)?;
            report.redone = true;
            (state, state_hash) = read_state(engine, &config.hierarchy)?;
        }
    }
    if report.unclean || pieces > 0 {
        // Of a group that was cut short. Pieces are written upwards and removed downwards, so one more may be there in part.
        let left = (0..=pieces).rev();
        let removals = left.map(|piece| Write::Remove(IndexKey::redo(piece)));
        write_through(engine, removals.collect())?;
    }
    let writes = ahead_of(engine, &config.hierarchy, (state.generation, state_hash))?;
    if !writes.is_empty() {
        write_through(engine, writes)?;
        report.redone = true;
        (state, state_hash) = read_state(engine, &config.hierarchy)?;
    }

    report.header_accepted = match_header(&state, config)?;
    let buckets = load_buckets(engine, config, &state)?;
    check_meta(engine, config, &state)?;

    let files = dir.files().as_ref();
    let hierarchy = &config.hierarchy;
    let anchor = match AnchorFile::open(files, hierarchy, state.generation, &state_hash) {
        Ok(anchor) => anchor,
        Err(error) if error.kind() == ErrorKind::AnchorMissing && mode.rebuild_anchor => {
            report.anchor_rebuilt = true;
            AnchorFile::create(files)?
        }
        Err(error) => return Err(error),
    };
    Ok(Ledger {
        // Until a group says otherwise, STATE's header is the one that was opened.
        header: config.header.clone(),
        state,
        state_hash,
        buckets,
        anchor: Some(anchor),
        unapplied: None,
    })
}

/// What the journal holds of the groups after this generation with this hash of STATE. What the records are in, in the
/// middle of them, does not matter when all are applied in their order.
pub(super) fn ahead_of(
    engine: &dyn Storage,
    hierarchy: &Hierarchy,
    (mut generation, mut state_hash): (u64, [u8; 32]),
) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    for entry in engine.journaled() {
        if generation.checked_add(1) != Some(entry.generation) {
            continue;
        }
        let redo = redo::open(hierarchy, entry.pieces)?;
        let next =
            redo.filter(|redo| redo.generation == entry.generation && redo.base == state_hash);
        let Some((redo, hash)) = next.and_then(|redo| redo.state_hash().map(|hash| (redo, hash)))
        else {
            break;
        };
        (generation, state_hash) = (redo.generation, hash);
        writes.extend(redo.writes);
    }
    Ok(writes)
}

pub(super) fn read_state(engine: &dyn Storage, hierarchy: &Hierarchy) -> Result<(State, [u8; 32])> {
    let index = IndexKey::state();
    let record = engine.get(&index)?.ok_or_else(|| {
        Error::new(
            ErrorKind::Tampered,
            "the vault's STATE record is missing: its records were exchanged or lost; restore the vault",
        )
    })?;
    let plaintext = hierarchy.open_record(&*hierarchy.meta_key()?, &index, &record)?;
    Ok((State::decode(&plaintext)?, hash32(record.as_bytes())))
}

/// Whether the header is the successor of the one that STATE knows.
fn match_header(state: &State, config: &StoreConfig) -> Result<bool> {
    let header = &config.header;
    // Terms only rise, so a ring with an earlier one is an old ring.
    let current = state.kek_term <= header.kek_term;
    if current && state.header_seq == header.seq && state.header_mac == header.mac {
        return Ok(false);
    }
    if current && state.header_seq.checked_add(1) == Some(header.seq) {
        return Ok(true);
    }
    if current && header.seq > state.header_seq {
        return Err(Error::new(
            ErrorKind::RolledBack,
            format!(
                "the vault's records belong to header number {}, but the header is number {}: the records are \
                 older; restore those that belong to the header",
                state.header_seq, header.seq
            ),
        ));
    }
    Err(Error::new(
        ErrorKind::HeaderReplayed,
        format!(
            "the header is number {}, but the vault's records belong to number {}; \
             restore the header that belongs to them",
            header.seq, state.header_seq
        ),
    ))
}

pub(super) fn load_buckets(
    engine: &dyn Storage,
    config: &StoreConfig,
    state: &State,
) -> Result<Vec<Option<KnownBucket>>> {
    let mut buckets: Vec<Option<KnownBucket>> = vec![None; usize::from(BUCKET_COUNT)];
    let mut digest = [0; 32];
    let mut count = 0_u32;
    for_each(engine, &[NAMESPACE_BUCKETS], |index, record| {
        let number = u16::from_be_bytes([index.as_bytes()[1], index.as_bytes()[2]]);
        if number >= BUCKET_COUNT || index != IndexKey::bucket(number) {
            return Err(exchanged("bucket"));
        }
        let share = config.hierarchy.member_digest(&index, &record);
        toggle(&mut digest, &share);
        count += 1;
        buckets[usize::from(number)] = Some(KnownBucket {
            share,
            bucket: None,
        });
        Ok(())
    })?;
    if count != state.bucket_count || digest != state.bucket_digest {
        return Err(exchanged("bucket"));
    }
    Ok(buckets)
}

pub(super) fn check_meta(engine: &dyn Storage, config: &StoreConfig, state: &State) -> Result<()> {
    let mut digest = [0; 32];
    let mut count = 0_u32;
    for class in [Class::Settings, Class::Intent] {
        for_each(
            engine,
            &[NAMESPACE_NAMELESS, class.byte()],
            |index, record| {
                toggle(
                    &mut digest,
                    &config.hierarchy.member_digest(&index, &record),
                );
                count += 1;
                Ok(())
            },
        )?;
    }
    if count != state.meta_count || digest != state.meta_digest {
        return Err(exchanged("settings and intent"));
    }
    Ok(())
}

fn for_each(
    engine: &dyn Storage,
    prefix: &[u8],
    mut visit: impl FnMut(IndexKey, SealedRecord) -> Result<()>,
) -> Result<()> {
    let mut scan = Scan::prefix(prefix, 512);
    let mut next: Option<Bound> = Some(scan.from);
    while let Some(from) = next {
        scan.from = from;
        let page = engine.scan(&scan)?;
        for (index, record) in page.records {
            visit(index, record?)?;
        }
        next = page.next;
    }
    Ok(())
}

fn exchanged(which: &str) -> Error {
    Error::new(
        ErrorKind::Tampered,
        format!(
            "the vault's {which} records are not those that it wrote last: altered, moved, missing or \
             old; restore the vault from a copy"
        ),
    )
}
