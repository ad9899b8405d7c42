//! The overlay under thousands of orders in which a reader and the committer can meet: who saw the same number before
//! and after saw all of a group, or nothing of it, and who saw it once does not see the time before it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use shuttle::sync::Mutex;

use super::programme::{Figures, cases};
use super::{key_object, record};
use crate::format::record::{IndexKey, SealedRecord};

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../overlay.rs"]
mod overlay;

/// Where the overlay looks for them.
use crate::store::engine;
mod sync {
    pub(super) use shuttle::sync::RwLock;
    pub(super) use shuttle::sync::atomic::{AtomicU64, Ordering};
}

type Engine = Mutex<BTreeMap<IndexKey, SealedRecord>>;

/// As a view reads: the engine first, then the overlay.
fn read(engine: &Engine, overlay: &overlay::Overlay, index: &IndexKey) -> Option<SealedRecord> {
    let stored = engine.lock().unwrap().get(index).cloned();
    overlay.get(index).unwrap_or(stored)
}

/// Both records of one state, or nothing when there was no quiet moment.
fn read_both(engine: &Engine, overlay: &overlay::Overlay, keys: &[IndexKey; 2]) -> Option<usize> {
    let before = overlay.number();
    let found = keys.map(|key| read(engine, overlay, &key));
    if overlay.number() != before {
        return None;
    }
    let lengths = found.map(|record| record.map_or(0, |record| record.as_bytes().len()));
    assert_eq!(lengths[0], lengths[1], "half a group");
    Some(lengths[0])
}

fn meet(keys: [IndexKey; 2], states: &[[SealedRecord; 2]]) {
    let engine = Arc::new(Engine::default());
    let overlay = Arc::new(overlay::Overlay::default());
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (engine, overlay) = (Arc::clone(&engine), Arc::clone(&overlay));
            shuttle::thread::spawn(move || {
                let mut last = 0;
                for _ in 0..3 {
                    if let Some(seen) = read_both(&engine, &overlay, &keys) {
                        assert!(seen >= last, "an older state after a newer one");
                        last = seen;
                    }
                }
            })
        })
        .collect();
    for state in states {
        let covered = keys.map(|key| (*key.as_bytes(), engine.lock().unwrap().get(&key).cloned()));
        overlay.cover(covered.into());
        for (key, record) in keys.iter().zip(state) {
            engine.lock().unwrap().insert(*key, record.clone());
        }
        overlay.publish();
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_reader_sees_whole_groups_in_every_order() {
    let figures = Figures::begin("orders of readers and the committer at the overlay");
    let keys = [key_object(1), key_object(2)];
    // Longer from one state to the next.
    let states: Vec<_> = (1..=2)
        .map(|state| keys.map(|key| record(&key, 100 * state)))
        .collect();
    let count = cases(5_000, 500_000);
    let own = states.clone();
    shuttle::check_random(move || meet(keys, &own), count);
    shuttle::check_pct(move || meet(keys, &states), count, 3);
    figures.count(2 * count);
    figures.finish();
}
