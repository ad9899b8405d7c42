//! The count of GCM encryptions of each version: reserved on disk before it is used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Inner;
use super::cache::OpenVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::model::identifier::KeyIdentifier;

/// With random IVs of 96 bits, the probability that two of them are equal stays below 2^-32 up to
/// 2^32 encryptions; this is nine tenths of it.
pub(crate) const MAX_GCM_ENCRYPTIONS: u64 = 3_865_470_566;

/// The first reservation after opening a vault; it doubles up to the largest.
const FIRST_RESERVATION: u64 = 256;
const LARGEST_RESERVATION: u64 = 65_536;

/// How many counters are kept in memory. A forgotten one loses only what it had reserved.
const MAX_COUNTERS: usize = 65_536;

#[derive(Debug)]
struct Counter {
    used: u64,
    reserved: u64,
    next_reservation: u64,
}

/// The counters of this handle.
#[derive(Debug, Default)]
pub(super) struct GcmCounters {
    counters: Mutex<HashMap<KeyIdentifier, Arc<Mutex<Counter>>>>,
}

impl GcmCounters {
    fn counter(&self, id: &KeyIdentifier) -> Arc<Mutex<Counter>> {
        let mut counters = lock(&self.counters);
        if let Some(counter) = counters.get(id) {
            return Arc::clone(counter);
        }
        if counters.len() >= MAX_COUNTERS
            && let Some(victim) = counters.keys().next().cloned()
        {
            counters.remove(&victim);
        }
        let counter = Arc::new(Mutex::new(Counter {
            used: 0,
            reserved: 0,
            next_reservation: FIRST_RESERVATION,
        }));
        counters.insert(id.clone(), Arc::clone(&counter));
        counter
    }

    /// Forgets the counters of keys whose count changed otherwise.
    pub(super) fn forget(&self, name: &crate::model::name::KeyName) {
        lock(&self.counters).retain(|id, _| id.name() != name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Counts one encryption with this version.
    ///
    /// Errors: `KeyExhausted` at the limit.
    pub(super) fn count_gcm_encryption(&self, version: &OpenVersion) -> Result<()> {
        let counter = self.gcm.counter(&version.id);
        let mut counter = lock(&counter);
        if counter.used == counter.reserved {
            let count = counter.next_reservation;
            let (start, end) = self.reserve_gcm(&version.id, count)?;
            counter.used = start;
            counter.reserved = end;
            counter.next_reservation = (count * 2).min(LARGEST_RESERVATION);
        }
        counter.used += 1;
        Ok(())
    }

    /// Moves the stored count up and gives what lies between.
    fn reserve_gcm(&self, id: &KeyIdentifier, count: u64) -> Result<(u64, u64)> {
        let _guard = self.locks.lock(id.name());
        let (key, start) = self.store.read(|view| {
            let key = self.load_active(view, id.name())?;
            let start = self.load_gcm_count(view, &key, id.version())?;
            Ok((key, start))
        })?;
        let end = start.saturating_add(count).min(MAX_GCM_ENCRYPTIONS);
        if start >= end {
            return Err(Error::new(
                ErrorKind::KeyExhausted,
                "this version has done as many AES-GCM encryptions as are safe under one key; rotate it",
            )
            .with_key(id.name()));
        }
        self.store
            .commit(vec![self.put_gcm_count(&key, id.version(), end)?])?;
        Ok((start, end))
    }

    /// Writes the exact counts back, at a clean close.
    pub(super) fn settle_gcm_counts(&self) -> Result<()> {
        let counters: Vec<_> = lock(&self.gcm.counters).drain().collect();
        for (id, counter) in counters {
            let counter = lock(&counter);
            if counter.used == counter.reserved {
                continue;
            }
            let _guard = self.locks.lock(id.name());
            let change = self.store.read(|view| {
                let Some(key) = self.load_key(view, id.name())? else {
                    return Ok(None);
                };
                // Another reservation above ours means that ours cannot be given back.
                if self.load_gcm_count(view, &key, id.version())? != counter.reserved {
                    return Ok(None);
                }
                self.put_gcm_count(&key, id.version(), counter.used)
                    .map(Some)
            })?;
            if let Some(change) = change {
                self.store.commit(vec![change])?;
            }
        }
        Ok(())
    }
}
