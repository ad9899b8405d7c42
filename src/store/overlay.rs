//! What readers see of the records that the group in flight changes: their state before it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::engine::Bound;
use super::sync::{AtomicU64, Ordering, RwLock};
use crate::format::record::{IndexKey, NAMESPACE_KEYS, SealedRecord};

/// Pre-images of the touched records; `None` for one that did not exist.
pub(super) type PreImages = BTreeMap<Bound, Option<SealedRecord>>;

/// So many buckets at most are told apart; a read is repeated in vain where two that share a number meet.
const TOLD_APART: u16 = 256;

#[derive(Debug)]
pub(super) struct Overlay {
    /// Counts published groups.
    number: AtomicU64,
    /// Counts those of them that changed a record of the bucket, or of one that shares its number.
    bucket_numbers: Vec<AtomicU64>,
    pre_images: RwLock<PreImages>,
}

impl Default for Overlay {
    fn default() -> Self {
        Self {
            number: AtomicU64::new(0),
            bucket_numbers: (0..TOLD_APART).map(|_| AtomicU64::new(0)).collect(),
            pre_images: RwLock::default(),
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

    /// Covers the records of a group before the engine changes them.
    pub(super) fn cover(&self, pre_images: PreImages) {
        *self
            .pre_images
            .write()
            .unwrap_or_else(PoisonError::into_inner) = pre_images;
    }

    /// Uncovers them once they are durable.
    pub(super) fn publish(&self) {
        let mut pre_images = self
            .pre_images
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The numbers first: whoever no longer finds a pre-image must also find a new number.
        self.number.fetch_add(1, Ordering::SeqCst);
        let mut last = None;
        for key in pre_images.keys().filter(|key| key[0] == NAMESPACE_KEYS) {
            let bucket = u16::from_be_bytes([key[1], key[2]]) >> 4;
            // They come in their order.
            if last != Some(bucket) {
                self.place(bucket).fetch_add(1, Ordering::SeqCst);
                last = Some(bucket);
            }
        }
        pre_images.clear();
    }

    /// The pre-image, if the record is covered. To be asked after the engine.
    pub(super) fn get(&self, index: &IndexKey) -> Option<Option<SealedRecord>> {
        let pre_images = self
            .pre_images
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        pre_images.get(index.as_bytes()).cloned()
    }

    /// The covered records from `from` up to, but without, `until`.
    pub(super) fn range(&self, from: Bound, until: Option<Bound>) -> PreImages {
        let pre_images = self
            .pre_images
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        pre_images
            .range(from..)
            .take_while(|(key, _)| until.is_none_or(|until| **key < until))
            .map(|(key, record)| (*key, record.clone()))
            .collect()
    }
}
