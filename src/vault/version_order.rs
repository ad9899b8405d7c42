//! In which order the versions of a key stand in listings, kept for the key that was listed last.
//!
//! The places of records say nothing of their order, so a first page has to open every version of the key. The pages
//! after it open their own versions only, or listing a key of very many versions would take the square of their number.

use std::sync::{Arc, Mutex, PoisonError};

use crate::format::record::SealedRecord;
use crate::model::version::KeyVersion;

#[derive(Debug, Default)]
pub(super) struct VersionOrder {
    last: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    /// Salt and commitment of the sealed key object, which is sealed anew whenever a version comes or goes.
    seal: Box<[u8]>,
    newest_first: Arc<[KeyVersion]>,
}

impl VersionOrder {
    /// The order, if it was kept for the key object as it is sealed now.
    pub(super) fn get(&self, object: &SealedRecord) -> Option<Arc<[KeyVersion]>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref()?;
        (*known.seal == *object.salt_and_commitment()).then(|| Arc::clone(&known.newest_first))
    }

    pub(super) fn keep(&self, object: &SealedRecord, newest_first: Arc<[KeyVersion]>) {
        let seal = object.salt_and_commitment().into();
        let known = Known { seal, newest_first };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    pub(super) fn clear(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
