//! What was purged, so that a restore can say that a key was purged before.

use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};

use super::Inner;
use crate::error::Result;
use crate::format::record::IndexKey;
use crate::format::settings::{
    self, FIRST_TOMBSTONES, TOMBSTONE_DAYS, TOMBSTONE_RECORDS, TOMBSTONES_PER_RECORD, Tombstones,
};
use crate::model::time::Timestamp;
use crate::store::{Change, View};

/// The tombstone records, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct TombstoneList {
    records: VecDeque<Tombstones>,
}

impl TombstoneList {
    pub(super) fn load(inner_open: impl Fn(u64) -> Result<Option<Tombstones>>) -> Result<Self> {
        let mut records = Vec::new();
        for number in 0..TOMBSTONE_RECORDS {
            records.extend(inner_open(FIRST_TOMBSTONES + number)?);
        }
        records.sort_by_key(|record| record.sequence);
        Ok(Self {
            records: records.into(),
        })
    }

    /// The list with one more tombstone, and the change that stores it. The oldest record makes room.
    pub(super) fn with(
        &self,
        inner: &Inner,
        id: [u8; 16],
        now: Timestamp,
    ) -> Result<(Change, Self)> {
        let mut list = self.clone();
        let full = list
            .records
            .back()
            .is_none_or(|record| record.entries.len() >= TOMBSTONES_PER_RECORD);
        if full {
            let sequence = list.records.back().map_or(0, |record| record.sequence + 1);
            list.records.push_back(Tombstones {
                sequence,
                entries: Vec::new(),
            });
            while list.records.len() as u64 > TOMBSTONE_RECORDS {
                list.records.pop_front();
            }
        }
        let Some(record) = list.records.back_mut() else {
            return Err(crate::error::Error::internal(
                "there is no tombstone record",
            ));
        };
        record.entries.push((id, now));
        let index = IndexKey::settings(FIRST_TOMBSTONES + record.sequence % TOMBSTONE_RECORDS);
        let plaintext = settings::encode_tombstones(record)?;
        let sealed = inner.hierarchy.seal_record(
            &*inner.hierarchy.meta_key()?,
            &index,
            0,
            &plaintext,
            &*inner.entropy,
        )?;
        Ok((Change::Put(index, sealed), list))
    }

    fn contains(&self, id: &[u8; 16], now: Timestamp) -> bool {
        self.records.iter().any(|record| {
            record
                .entries
                .iter()
                .any(|(entry, purged)| entry == id && now < purged.plus_days(TOMBSTONE_DAYS))
        })
    }
}

impl Inner {
    pub(super) fn lock_tombstones(&self) -> MutexGuard<'_, TombstoneList> {
        self.tombstones
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a key with this id was purged from this vault in the last 90 days.
    pub(super) fn was_purged(&self, object_id: &[u8; 16]) -> bool {
        let id = self.hierarchy.tombstone_prf(object_id);
        self.lock_tombstones().contains(&id, self.now())
    }
}

/// Reads and opens one settings record.
pub(super) fn open_setting(
    hierarchy: &crate::seal::hierarchy::Hierarchy,
    view: &View<'_>,
    number: u64,
) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let index = IndexKey::settings(number);
    view.settings(number)?
        .map(|record| hierarchy.open_record(&*hierarchy.meta_key()?, &index, &record))
        .transpose()
}
