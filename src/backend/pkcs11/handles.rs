//! The handles that objects of a token have at present.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;

use cryptoki_sys::{CKO_PRIVATE_KEY, CKO_SECRET_KEY};

use super::mechanism::Ulong;
use super::module::lock;
use super::raw::ObjectHandle;
use crate::model::key::KeyTag;

/// How many handles are kept by default.
const DEFAULT_CAPACITY: usize = 4_096;
const SHARDS: usize = 16;

/// The class of a key object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ObjectClass {
    Private,
    Secret,
}

impl ObjectClass {
    pub(super) fn number(self) -> Ulong {
        match self {
            Self::Private => CKO_PRIVATE_KEY,
            Self::Secret => CKO_SECRET_KEY,
        }
    }
}

/// The handles of objects, each good in one epoch.
pub(super) struct HandleCache {
    shards: [Mutex<Shard>; SHARDS],
    capacity: usize,
}

/// For maps by tag: tags are random, and nobody outside chooses them.
pub(super) type TagHashing = BuildHasherDefault<TagHasher>;

/// Takes the bytes as they are.
#[derive(Default)]
pub(super) struct TagHasher(u64);

impl Hasher for TagHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(7) ^ u64::from_le_bytes(word);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = self.0.rotate_left(7) ^ u64::from(byte);
    }

    // The length of an array and the number of a variant.
    fn write_usize(&mut self, number: usize) {
        self.0 = self.0.rotate_left(7) ^ number as u64;
    }

    fn write_isize(&mut self, number: isize) {
        self.0 = self.0.rotate_left(7) ^ number.cast_unsigned() as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Default)]
struct Shard {
    entries: HashMap<(KeyTag, ObjectClass), Entry, TagHashing>,
    clock: u64,
}

struct Entry {
    epoch: u64,
    handle: ObjectHandle,
    used: u64,
}

impl HandleCache {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            capacity: capacity.div_ceil(SHARDS).max(1),
        }
    }

    pub(super) fn get(&self, epoch: u64, tag: KeyTag, class: ObjectClass) -> Option<ObjectHandle> {
        let mut shard = lock(self.shard(tag));
        shard.clock += 1;
        let clock = shard.clock;
        let entry = shard.entries.get_mut(&(tag, class))?;
        if entry.epoch != epoch {
            return None;
        }
        entry.used = clock;
        Some(entry.handle)
    }

    /// Remembers the handle of an object that was found or made in `epoch`.
    pub(super) fn insert(&self, epoch: u64, tag: KeyTag, class: ObjectClass, handle: ObjectHandle) {
        let mut shard = lock(self.shard(tag));
        shard.clock += 1;
        let used = shard.clock;
        let key = (tag, class);
        if shard.entries.len() >= self.capacity && !shard.entries.contains_key(&key) {
            shard.evict(epoch);
        }
        shard.entries.insert(
            key,
            Entry {
                epoch,
                handle,
                used,
            },
        );
    }

    /// Forgets the handle of an object that was destroyed or is not known any more.
    pub(super) fn remove(&self, tag: KeyTag, class: ObjectClass) {
        lock(self.shard(tag)).entries.remove(&(tag, class));
    }

    fn shard(&self, tag: KeyTag) -> &Mutex<Shard> {
        // Tags are random.
        &self.shards[usize::from(tag.as_bytes()[0]) % SHARDS]
    }
}

impl Shard {
    /// Removes all entries of other epochs, or else the one that was not used for the longest time. A look at
    /// every entry costs less than the search of the token that comes before it.
    fn evict(&mut self, epoch: u64) {
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.epoch == epoch);
        if self.entries.len() < before {
            return;
        }
        let oldest = self
            .entries
            .iter()
            .min_by_key(|(_, entry)| entry.used)
            .map(|(key, _)| *key);
        if let Some(key) = oldest {
            self.entries.remove(&key);
        }
    }
}

impl Default for HandleCache {
    fn default() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }
}

impl fmt::Debug for HandleCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held: usize = self
            .shards
            .iter()
            .map(|shard| lock(shard).entries.len())
            .sum();
        write!(f, "HandleCache({held} handles)")
    }
}
