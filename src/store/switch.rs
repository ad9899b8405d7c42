//! The step from the records' old files to compacted ones, and what a crash leaves of a compaction.
//!
//! Compacted records are built in a subdirectory of the vault's. When they are complete and durable it gets another
//! name, and from then on the files are moved to their places, by whoever opens the vault next if need be. So the
//! vault's directory, its lock and its header stay what they are, and every file system can do it that can rename.
//! In the subdirectory lies an anchor of the state that was compacted: an old leftover is never taken for newer
//! records.

use super::anchor::{missing, newest, read_slots};
use super::files::{Access, Files};
use super::points::Points;
use super::sled_engine::{BLOBS, CONF_FILE};
use super::sled_log::DB_FILE;
use super::spare_segments::SPARE_FILE;
use super::vault_dir::ANCHOR_FILE;
use crate::error::Result;
use crate::format::anchor::Anchor;
use crate::seal::hierarchy::Hierarchy;

/// Where compacted records are built.
pub(super) const BUILDING: &str = "vault.compacting";
/// The same directory when the records in it are complete.
pub(super) const READY: &str = "vault.compacted";

/// What was left of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// The compacted records were complete, and took their places.
    Completed,
    /// They were not, or were older than the vault's, and were removed.
    Discarded,
}

/// Brings a compaction to an end that a crash interrupted. `believe` says that a vault without an anchor is to be
/// taken for the newest one.
///
/// Errors: `AnchorMissing`, `ReadOnly`, `Io`.
pub(super) fn settle(
    files: &dyn Files,
    hierarchy: &Hierarchy,
    believe: bool,
    points: &Points,
) -> Result<Option<Leftover>> {
    let mut met = None;
    if let Some(ready) = files.subdirectory(READY)? {
        if is_emptied(ready.as_ref())? {
            discard(files, READY)?;
            met = Some(Leftover::Completed);
        } else if belongs(files, ready.as_ref(), hierarchy, believe)? {
            complete(files, points)?;
            met = Some(Leftover::Completed);
        } else {
            discard(files, READY)?;
            met = Some(Leftover::Discarded);
        }
    }
    if files.subdirectory(BUILDING)?.is_some() {
        discard(files, BUILDING)?;
        met.get_or_insert(Leftover::Discarded);
    }
    Ok(met)
}

/// Puts the compacted records, which are ready, into the place of the others. Each step may be the last one that was
/// taken: all of them can be taken again.
pub(super) fn complete(files: &dyn Files, points: &Points) -> Result<()> {
    let ready = || -> Result<Vec<String>> { Ok(files.list(Some(READY))?.unwrap_or_default()) };
    if ready()?.iter().any(|name| name == DB_FILE) {
        points.reach("compact: old snapshots")?;
        // sled must never see a snapshot of another log.
        for name in files.list(None)?.unwrap_or_default() {
            if is_snapshot(&name) || name == SPARE_FILE {
                files.remove(&name)?;
            }
        }
        files.sync_directory(None)?;
        points.reach("compact: db")?;
        files.rename(Some(READY), DB_FILE, DB_FILE)?;
        sync_both(files)?;
    }
    for name in ready()? {
        if is_snapshot(&name) || name == CONF_FILE {
            points.reach("compact: the rest")?;
            files.rename(Some(READY), &name, &name)?;
        }
    }
    points.reach("compact: moved")?;
    sync_both(files)?;
    points.reach("compact: clear")?;
    discard(files, READY)
}

/// Removes a subdirectory of a compaction with what a compaction puts there. Anything else in it stays.
pub(super) fn discard(files: &dyn Files, name: &str) -> Result<()> {
    let Some(within) = files.subdirectory(name)? else {
        return Ok(());
    };
    for own in within.list(None)?.unwrap_or_default() {
        if own == BLOBS {
            within.remove_directory(BLOBS)?;
        } else if is_of_the_engine(&own) || own == ANCHOR_FILE || own == SPARE_FILE {
            within.remove(&own)?;
        }
    }
    files.remove_directory(name)?;
    files.sync_directory(None)
}

/// Whether everything was moved to its place.
fn is_emptied(ready: &dyn Files) -> Result<bool> {
    let names = ready.list(None)?.unwrap_or_default();
    Ok(!names.iter().any(|name| is_of_the_engine(name)))
}

/// Whether the compacted records are the newest state of the vault.
fn belongs(
    files: &dyn Files,
    ready: &dyn Files,
    hierarchy: &Hierarchy,
    believe: bool,
) -> Result<bool> {
    let Some(compacted) = newest_anchor(ready, hierarchy)? else {
        return Ok(false);
    };
    match newest_anchor(files, hierarchy)? {
        Some(anchor) => Ok(anchor == compacted),
        None if believe => Ok(true),
        None => Err(missing()),
    }
}

fn newest_anchor(files: &dyn Files, hierarchy: &Hierarchy) -> Result<Option<Anchor>> {
    let Some(file) = files.open(ANCHOR_FILE, Access::Read)? else {
        return Ok(None);
    };
    let slots = read_slots(file.as_ref(), hierarchy)?;
    Ok(newest(&slots).map(|(_, anchor)| anchor.clone()))
}

fn sync_both(files: &dyn Files) -> Result<()> {
    files.sync_directory(Some(READY))?;
    files.sync_directory(None)
}

/// Files of sled but for the directory that stays empty.
pub(super) fn is_of_the_engine(name: &str) -> bool {
    name == DB_FILE || name == CONF_FILE || is_snapshot(name)
}

fn is_snapshot(name: &str) -> bool {
    name.starts_with("snap.")
}
