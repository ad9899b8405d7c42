//! Reading what can still be read of a damaged vault's records.

use std::sync::Arc;

use super::engine::{Scan, Storage, write_through};
use super::open::{ahead_of, read_state};
use super::points::Points;
use super::poison::Poison;
use super::sled_engine::{SledEngine, SledOptions};
use super::switch;
use super::vault_dir::VaultDir;
use crate::error::Result;
use crate::format::record::{IndexKey, NAMESPACE_KEYS, NAMESPACE_NAMELESS, SealedRecord};
use crate::seal::hierarchy::Hierarchy;

/// Shows every record of keys and settings in the order of their places, whether it belongs there or not: nothing is
/// verified here. `dir` is a copy that may be written to. Gives whether the end was reached.
///
/// Errors: `Corrupt` when the engine does not open the files at all, and those of `visit`.
pub(crate) fn visit_records(
    dir: &VaultDir,
    hierarchy: &Hierarchy,
    cache_capacity: u64,
    mut visit: impl FnMut(IndexKey, Result<SealedRecord>) -> Result<()>,
) -> Result<bool> {
    // A damaged anchor must not stop this.
    switch::settle(dir.files().as_ref(), hierarchy, true, &Points::default())?;
    let engine = SledEngine::open(
        SledOptions {
            path: dir.path().to_owned(),
            files: Arc::clone(dir.files()),
            cache_capacity,
            create: false,
            forget_cached: false,
            spare: false,
            points: Points::default(),
        },
        Arc::new(Poison::default()),
    )?;
    // What a crash left in the journal, where it can be told that it belongs to these records.
    let newest = read_state(&engine, hierarchy)
        .and_then(|(state, hash)| ahead_of(&engine, hierarchy, (state.generation, hash)));
    if let Ok(writes) = newest {
        write_through(&engine, writes)?;
    }
    let mut complete = true;
    let mut outcome = Ok(());
    // Settings first: a new vault is made with them.
    for namespace in [NAMESPACE_NAMELESS, NAMESPACE_KEYS] {
        let mut scan = Scan::prefix(&[namespace], 64);
        let mut next = Some(scan.from);
        while let Some(from) = next.take() {
            scan.from = from;
            let Ok(page) = engine.scan(&scan) else {
                complete = false;
                break;
            };
            outcome = page
                .records
                .into_iter()
                .try_for_each(|(index, record)| visit(index, record));
            if outcome.is_err() {
                break;
            }
            next = page.next;
        }
    }
    let _ = engine.close();
    outcome.map(|()| complete)
}
