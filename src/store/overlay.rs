//! What readers see of the records that the group in flight changes: their state before it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::engine::Bound;
use super::sync::{AtomicU64, Ordering, RwLock};
use crate::format::record::{IndexKey, SealedRecord};

/// Pre-images of the touched records; `None` for one that did not exist.
pub(super) type PreImages = BTreeMap<Bound, Option<SealedRecord>>;

#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Counts published groups.
    number: AtomicU64,
    pre_images: RwLock<PreImages>,
}

impl Overlay {
    /// Reads that saw the same number before and after saw one state of the vault.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
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
        // The number first: whoever no longer finds a pre-image must also find a new number.
        self.number.fetch_add(1, Ordering::SeqCst);
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
