//! Opened key versions, kept so that an operation costs no more than the primitive.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

use super::gcm_counter::GcmCounter;
use super::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
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

    /// The handle, for the one operation that was authorized: there is no other way to it.
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
struct Shard {
    /// Rises with every change of a key of this shard.
    epoch: u64,
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
    shards: Vec<RwLock<Shard>>,
    capacity_per_shard: usize,
}

/// The state of a shard before a record was read; what was read is kept only if it is unchanged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch(u64);

impl KeyCache {
    /// At most `capacity` versions, rounded up to a multiple of the number of shards.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            capacity_per_shard: capacity.div_ceil(SHARDS),
        }
    }

    /// Spreads names well enough; the map inside hashes them properly.
    fn shard(&self, name: &KeyName) -> &RwLock<Shard> {
        let sum = name.words().fold(0_u64, |sum, word| {
            (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        &self.shards[(sum >> SHIFT) as usize]
    }

    pub(super) fn get(&self, selector: KeySelector<'_>, now_ms: u64) -> Option<Arc<OpenVersion>> {
        let shard = read(self.shard(selector.name()));
        let key = shard.keys.get(selector.name())?;
        let wanted = match selector.version() {
            Some(version) => version,
            None => key.newest?,
        };
        key.versions
            .iter()
            .find(|open| open.id.version() == wanted)
            .filter(|open| now_ms.saturating_sub(open.opened_ms) < MAX_AGE_MS)
            .cloned()
    }

    pub(super) fn epoch(&self, name: &KeyName) -> Epoch {
        Epoch(read(self.shard(name)).epoch)
    }

    /// Keeps a version that was read after `epoch` was taken, unless its key changed since.
    pub(super) fn insert(&self, epoch: Epoch, open: &Arc<OpenVersion>, is_newest: bool) {
        if self.capacity_per_shard == 0 {
            return;
        }
        let mut shard = write(self.shard(open.id.name()));
        if shard.epoch != epoch.0 || shard.changing.contains(open.id.name()) {
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
        let shard = self.shard(name);
        let mut locked = write(shard);
        locked.epoch += 1;
        locked.forget(name);
        locked.changing.insert(name.clone());
        KeyChange {
            shard,
            name: name.clone(),
        }
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = write(shard);
            shard.epoch += 1;
            shard.keys.clear();
            shard.versions = 0;
        }
    }
}

/// A change of a key that is under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct KeyChange<'a> {
    shard: &'a RwLock<Shard>,
    name: KeyName,
}

impl Drop for KeyChange<'_> {
    fn drop(&mut self) {
        let mut shard = write(self.shard);
        shard.epoch += 1;
        shard.changing.remove(&self.name);
    }
}

impl Shard {
    fn forget(&mut self, name: &KeyName) {
        if let Some(key) = self.keys.remove(name) {
            self.versions -= key.versions.len();
        }
    }
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
