//! The cache of opened versions under thousands of orders in which operations and a change can meet: who saw a state of
//! a key, in the store or in the cache, never meets an older one in the cache.

use std::sync::{Arc, OnceLock};

use shuttle::sync::Mutex;

use super::gcm_counter;
use crate::PublicKey;
use crate::backend::KeyHandle;
use crate::model::attributes::Validity;
use crate::model::identifier::KeyIdentifier;
use crate::model::key::{KeyTag, VersionAttributes};
use crate::model::name::KeyName;
use crate::model::operation::KeyOperations;
use crate::model::spec::{Curve, KeySpec};
use crate::model::tags::Tags;
use crate::model::time::Timestamp;
use crate::store::tests::programme::{Figures, cases};

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "cache.rs"]
mod cache;
mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(super) use shuttle::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub(super) use shuttle::thread_local;
}

use cache::{KeyCache, OpenVersion};

const SPEC: KeySpec = KeySpec::Ec(Curve::P256);

#[derive(Debug)]
struct NoHandle;

impl KeyHandle for NoHandle {
    fn spec(&self) -> KeySpec {
        SPEC
    }
    fn public_key(&self) -> Option<&PublicKey> {
        None
    }
}

fn name() -> KeyName {
    KeyName::from_static("k")
}

/// The one version of the key, as it was in this state.
fn opened(state: u64) -> Arc<OpenVersion> {
    static ID: OnceLock<KeyIdentifier> = OnceLock::new();
    let id = ID.get_or_init(|| {
        KeyIdentifier::new(
            "https://v.local".parse().unwrap(),
            name(),
            "a".repeat(32).parse().unwrap(),
        )
    });
    Arc::new(OpenVersion::new(
        id.clone(),
        KeyTag::from_bytes([1; 16]),
        SPEC,
        VersionAttributes {
            enabled: true,
            validity: Validity::default(),
            operations: KeyOperations::NONE,
            tags: Tags::new(),
            release_policy: None,
            created: Timestamp::from_unix_seconds(0),
            updated: Timestamp::from_unix_seconds(state),
        },
        Arc::new(NoHandle),
        0,
    ))
}

/// As an operation finds its key: in the cache, or in the store and then into the cache.
fn find(cache: &KeyCache, store: &Mutex<u64>) -> Arc<OpenVersion> {
    let key = name();
    if let Some(open) = cache.get((&key).into(), 0) {
        return open;
    }
    let epoch = cache.epoch(&key);
    let open = opened(*store.lock().unwrap());
    cache.insert(epoch, &open, true);
    open
}

fn state_of(open: &OpenVersion) -> u64 {
    open.attributes.updated.unix_seconds()
}

fn meet() {
    let cache = Arc::new(KeyCache::new(64));
    let store = Arc::new(Mutex::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, store) = (Arc::clone(&cache), Arc::clone(&store));
            shuttle::thread::spawn(move || {
                let mut last = 0;
                // Operations last, and their version with them.
                let mut at_work = Vec::new();
                // The third time it may find what it found before.
                for _ in 0..5 {
                    // A listing reads the store alone.
                    last = last.max(*store.lock().unwrap());
                    let open = find(&cache, &store);
                    let found = state_of(&open);
                    assert!(found >= last, "{found} after {last}");
                    last = found;
                    at_work.push(open);
                }
            })
        })
        .collect();
    for state in 1..=2 {
        let change = cache.change(&name());
        *store.lock().unwrap() = state;
        drop(change);
        assert_eq!(state_of(&find(&cache, &store)), state, "after the change");
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn the_cache_never_shows_an_older_state_in_any_order() {
    let figures = Figures::begin("orders of changes and uses at the key cache");
    let count = cases(5_000, 500_000);
    shuttle::check_random(meet, count);
    shuttle::check_pct(meet, count, 3);
    figures.count(2 * count);
    figures.finish();
}
