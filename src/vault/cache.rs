//! Opened key versions, kept so that an operation costs no more than the primitive.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};

use foldhash::fast::RandomState;

use super::gcm_counter::GcmCounter;
use super::sync::{AtomicU64, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard, thread_local};
use crate::backend::KeyHandle;
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::CryptoOperation;
use crate::model::identifier::{KeyIdentifier, KeySelector};
use crate::model::key::{KeyTag, VersionAttributes};
use crate::model::name::KeyName;
use crate::model::spec::KeySpec;
use crate::model::version::KeyVersion;
use crate::policy::Authorized;

/// A power of two.
const SHARDS: usize = 32;

/// From a number of 64 bits to that of a shard.
const SHIFT: u32 = 64 - SHARDS.ilog2();

/// How many versions a thread finds again without a lock. A power of two.
const RECENT: usize = 8;

const RECENT_SHIFT: u32 = 64 - RECENT.ilog2();

/// After this time a cached version is read again, in milliseconds. The clock for it may lag by a second.
const MAX_AGE_MS: u64 = 3_600_000;

/// A version that is open for use.
#[derive(Debug)]
pub(super) struct OpenVersion {
    pub(super) id: KeyIdentifier,
    pub(super) tag: KeyTag,
    pub(super) spec: KeySpec,
    pub(super) attributes: VersionAttributes,
    /// Known from the first encryption with GCM on.
    pub(super) gcm_counter: OnceLock<Arc<GcmCounter>>,
    handle: Arc<dyn KeyHandle>,
    opened_ms: u64,
}

impl OpenVersion {
    pub(super) fn new(
        id: KeyIdentifier,
        tag: KeyTag,
        spec: KeySpec,
        attributes: VersionAttributes,
        handle: Arc<dyn KeyHandle>,
        opened_ms: u64,
    ) -> Self {
        Self {
            id,
            tag,
            spec,
            attributes,
            gcm_counter: OnceLock::new(),
            handle,
            opened_ms,
        }
    }

    fn is_young(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.opened_ms) < MAX_AGE_MS
    }

    /// The handle, for the one operation that was authorized: there is no other way to it.
    #[inline]
    pub(super) fn redeem(
        &self,
        authorized: Authorized,
    ) -> Result<(CryptoOperation, &dyn KeyHandle)> {
        let operation = authorized.operation_on(self.tag).ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "an operation was authorized for another key version",
            )
        })?;
        Ok((operation, &*self.handle))
    }
}

#[derive(Debug, Default)]
struct Shelf {
    /// Rises with every change of a key of this shard, while its lock is held for writing.
    epoch: AtomicU64,
    shard: RwLock<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    /// Bounded, so names that were made to collide cost little.
    keys: HashMap<KeyName, CachedKey, RandomState>,
    versions: usize,
    /// Keys with a commit under way; nothing of them is kept.
    changing: HashSet<KeyName>,
}

#[derive(Debug, Default)]
struct CachedKey {
    newest: Option<KeyVersion>,
    versions: Vec<Arc<OpenVersion>>,
}

/// A bounded map from names to open versions.
#[derive(Debug)]
pub(super) struct KeyCache {
    /// No other cache of the process has it, then or later.
    number: u64,
    shelves: Vec<Shelf>,
    capacity_per_shard: usize,
}

/// A version that a thread found, good for as long as the epoch of its shard stays the same. It keeps nothing alive:
/// what has left the cache is wiped, and not found here either.
#[derive(Default)]
struct Recent {
    /// 0 is no cache's.
    cache: u64,
    epoch: u64,
    name: Option<KeyName>,
    version: Option<KeyVersion>,
    open: Weak<OpenVersion>,
    /// What was looked for last: who uses many keys in turn is spared to note each.
    wanted: u64,
}

thread_local! {
    static RECENTLY_FOUND: RefCell<[Recent; RECENT]> = RefCell::default();
}

/// The state of a shard before a record was read; what was read is kept only if it is unchanged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch(u64);

impl KeyCache {
    /// At most `capacity` versions, rounded up to a multiple of the number of shards.
    pub(super) fn new(capacity: usize) -> Self {
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self {
            number: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            shelves: (0..SHARDS).map(|_| Shelf::default()).collect(),
            capacity_per_shard: capacity.div_ceil(SHARDS),
        }
    }

    fn shelf(&self, sum: u64) -> &Shelf {
        &self.shelves[(sum >> SHIFT) as usize]
    }

    fn shelf_of(&self, name: &KeyName) -> &Shelf {
        self.shelf(sum_of(name))
    }

    pub(super) fn get(&self, selector: KeySelector<'_>, now_ms: u64) -> Option<Arc<OpenVersion>> {
        let sum = sum_of(selector.name());
        self.find_again(selector, sum, now_ms)
            .or_else(|| self.find(selector, sum, now_ms))
    }

    /// What this thread has found before.
    fn find_again(
        &self,
        selector: KeySelector<'_>,
        sum: u64,
        now_ms: u64,
    ) -> Option<Arc<OpenVersion>> {
        with_recent(sum, |recent| {
            // The epoch is looked at last: whoever has seen a change, in the store or from another thread, sees the epoch
            // that began before it.
            let same = recent.cache == self.number
                && recent.version == selector.version()
                && recent.name.as_ref() == Some(selector.name())
                && recent.epoch == self.shelf(sum).epoch.load(Ordering::Acquire);
            if !same {
                return None;
            }
            recent.open.upgrade().filter(|open| open.is_young(now_ms))
        })
    }

    fn find(&self, selector: KeySelector<'_>, sum: u64, now_ms: u64) -> Option<Arc<OpenVersion>> {
        let shelf = self.shelf(sum);
        let shard = read(&shelf.shard);
        let key = shard.keys.get(selector.name())?;
        let wanted = match selector.version() {
            Some(version) => version,
            None => key.newest?,
        };
        let open = key
            .versions
            .iter()
            .find(|open| open.id.version() == wanted)
            .filter(|open| open.is_young(now_ms))?;
        // It does not change while the lock is held.
        let epoch = shelf.epoch.load(Ordering::Relaxed);
        with_recent(sum, |recent| {
            let wanted = sum ^ self.number;
            if recent.wanted == wanted {
                *recent = Recent {
                    cache: self.number,
                    epoch,
                    name: Some(selector.name().clone()),
                    version: selector.version(),
                    open: Arc::downgrade(open),
                    wanted,
                };
            } else {
                recent.wanted = wanted;
            }
            Some(())
        });
        Some(Arc::clone(open))
    }

    pub(super) fn epoch(&self, name: &KeyName) -> Epoch {
        let shelf = self.shelf_of(name);
        let _locked = read(&shelf.shard);
        Epoch(shelf.epoch.load(Ordering::Relaxed))
    }

    /// Keeps a version that was read after `epoch` was taken, unless its key changed since.
    pub(super) fn insert(&self, epoch: Epoch, open: &Arc<OpenVersion>, is_newest: bool) {
        if self.capacity_per_shard == 0 {
            return;
        }
        let shelf = self.shelf_of(open.id.name());
        let mut shard = write(&shelf.shard);
        if shelf.epoch.load(Ordering::Relaxed) != epoch.0 || shard.changing.contains(open.id.name())
        {
            return;
        }
        while shard.versions >= self.capacity_per_shard {
            // The map's order is random: so is what makes room.
            let Some(victim) = shard.keys.keys().next().cloned() else {
                break;
            };
            shard.forget(&victim);
        }
        let key = shard.keys.entry(open.id.name().clone()).or_default();
        let version = open.id.version();
        let before = key.versions.len();
        key.versions.retain(|other| other.id.version() != version);
        key.versions.push(Arc::clone(open));
        let after = key.versions.len();
        if is_newest {
            key.newest = Some(version);
        }
        shard.versions = shard.versions + after - before;
    }

    /// Keeps a key out of the cache while it changes, from before the commit until after it. A commit is
    /// visible to readers of the store a moment before it returns; whoever saw it there must not meet the old
    /// state here. The caller holds the lock of the key.
    pub(super) fn change(&self, name: &KeyName) -> KeyChange<'_> {
        let shelf = self.shelf_of(name);
        let mut locked = write(&shelf.shard);
        shelf.begin_epoch();
        locked.forget(name);
        locked.changing.insert(name.clone());
        drop(locked);
        KeyChange {
            shelf,
            name: name.clone(),
        }
    }

    pub(super) fn clear(&self) {
        for shelf in &self.shelves {
            let mut shard = write(&shelf.shard);
            shelf.begin_epoch();
            shard.keys.clear();
            shard.versions = 0;
        }
    }
}

/// A change of a key that is under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct KeyChange<'a> {
    shelf: &'a Shelf,
    name: KeyName,
}

impl Drop for KeyChange<'_> {
    fn drop(&mut self) {
        let mut shard = write(&self.shelf.shard);
        self.shelf.begin_epoch();
        shard.changing.remove(&self.name);
    }
}

impl Shelf {
    /// The caller has the lock for writing.
    fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

impl Shard {
    fn forget(&mut self, name: &KeyName) {
        if let Some(key) = self.keys.remove(name) {
            self.versions -= key.versions.len();
        }
    }
}

/// Spreads names well enough; the map inside hashes them properly.
fn sum_of(name: &KeyName) -> u64 {
    name.words().fold(0, |sum: u64, word| {
        (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// Where this thread notes what it found under a name of this sum. A thread that ends notes nothing.
fn with_recent<T>(sum: u64, work: impl FnOnce(&mut Recent) -> Option<T>) -> Option<T> {
    // Of the bits that have not chosen the shard.
    let place = (sum.rotate_left(SHARDS.ilog2()) >> RECENT_SHIFT) as usize;
    RECENTLY_FOUND
        .try_with(|recent| work(&mut recent.try_borrow_mut().ok()?[place]))
        .ok()
        .flatten()
}

/// Nothing is left half done in a shard when a thread panics, so poison is no reason to stop.
fn read(lock: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    lock.read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write(lock: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    lock.write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
