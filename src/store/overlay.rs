//! What readers see of the records that the group in flight changes: nothing until it is durable, and its own records from
//! then on, which the engine may get later.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::engine::Bound;
use super::sync::{AtomicU64, Ordering, RwLock};
use crate::format::record::{IndexKey, NAMESPACE_KEYS, SealedRecord};

/// The touched records as the group leaves them; `None` for one that is removed.
pub(super) type Images = BTreeMap<Bound, Option<SealedRecord>>;

/// So many buckets at most are told apart; a read is repeated in vain where two that share a number meet.
const TOLD_APART: u16 = 256;

#[derive(Debug)]
pub(super) struct Overlay {
    /// Counts published groups.
    number: AtomicU64,
    /// Counts those of them that changed a record of the bucket, or of one that shares its number.
    bucket_numbers: Vec<AtomicU64>,
    images: RwLock<Images>,
}

impl Default for Overlay {
    fn default() -> Self {
        Self {
            number: AtomicU64::new(0),
            bucket_numbers: (0..TOLD_APART).map(|_| AtomicU64::new(0)).collect(),
            images: RwLock::default(),
        }
    }
}

impl Overlay {
    /// Reads that saw the same number before and after saw one state of the vault.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// Reads of the bucket's records alone that saw the same number before and after saw one state of them.
    pub(super) fn bucket_number(&self, bucket: u16) -> u64 {
        self.place(bucket).load(Ordering::SeqCst)
    }

    fn place(&self, bucket: u16) -> &AtomicU64 {
        &self.bucket_numbers[usize::from(bucket % TOLD_APART)]
    }

    /// Shows a durable group to readers, before the engine changes any of its records.
    pub(super) fn publish(&self, images: Images) {
        let mut shown = self.images.write().unwrap_or_else(PoisonError::into_inner);
        // The numbers first: whoever finds an image, or what the engine gets afterwards, must also find a new number.
        self.number.fetch_add(1, Ordering::SeqCst);
        let mut last = None;
        for key in images.keys().filter(|key| key[0] == NAMESPACE_KEYS) {
            let bucket = u16::from_be_bytes([key[1], key[2]]) >> 4;
            // They come in their order.
            if last != Some(bucket) {
                self.place(bucket).fetch_add(1, Ordering::SeqCst);
                last = Some(bucket);
            }
        }
        *shown = images;
    }

    /// Once the engine has all of them.
    pub(super) fn clear(&self) {
        let mut shown = self.images.write().unwrap_or_else(PoisonError::into_inner);
        let images = std::mem::take(&mut *shown);
        // Readers need not wait until the memory is given back.
        drop(shown);
        drop(images);
    }

    /// The record as the group in flight leaves it, if that is durable and touches it. To be asked before the engine:
    /// what is no longer here is there.
    pub(super) fn get(&self, index: &IndexKey) -> Option<Option<SealedRecord>> {
        let images = self.images.read().unwrap_or_else(PoisonError::into_inner);
        images.get(index.as_bytes()).cloned()
    }

    /// Those of the records from `from` up to, but without, `until`.
    pub(super) fn range(&self, from: Bound, until: Option<Bound>) -> Images {
        let images = self.images.read().unwrap_or_else(PoisonError::into_inner);
        images
            .range(from..)
            .take_while(|(key, _)| until.is_none_or(|until| **key < until))
            .map(|(key, record)| (*key, record.clone()))
            .collect()
    }
}
