//! The counts of AES-GCM encryptions of versions that a backup brings and the vault has.
//!
//! A copy of the vault may have gone on counting where this one did not. The larger count wins: nobody may begin again
//! at the smaller one.

use super::gcm::MAX_GCM_ENCRYPTIONS;
use super::records::StoredKey;
use super::{Act, Inner};
use crate::error::Result;
use crate::format::backup_payload::BackupPayload;
use crate::model::key::VersionRecord;
use crate::model::version::KeyVersion;
use crate::store::View;

/// How often versions encrypted with AES-GCM, as a backup has it.
pub(super) type GcmCounts = Vec<(KeyVersion, u64)>;

pub(super) fn counts_of(versions: &[(VersionRecord, u64)]) -> GcmCounts {
    versions
        .iter()
        .map(|(record, count)| (record.version, *count))
        .collect()
}

impl Inner {
    /// Of the versions that the key has, those that encrypted more often where the backup was made than is counted
    /// here, with the count to which theirs must rise.
    pub(super) fn counts_behind(
        &self,
        view: &View<'_>,
        key: &StoredKey,
        counts: &[(KeyVersion, u64)],
    ) -> Result<GcmCounts> {
        let mut behind = GcmCounts::new();
        for (version, count) in counts {
            let count = (*count).min(MAX_GCM_ENCRYPTIONS);
            if count > self.load_gcm_count(view, key, *version)?
                && self.load_version(view, key, *version)?.is_some()
            {
                behind.push((*version, count));
            }
        }
        Ok(behind)
    }

    /// The key of the backup is here with all its versions: only its counts may be behind.
    ///
    /// Errors: those of the store.
    pub(super) fn raise_gcm_counts(&self, act: &Act<'_>, payload: &BackupPayload) -> Result<()> {
        let counts = counts_of(&payload.versions);
        if counts.iter().all(|(_, count)| *count == 0) {
            return Ok(());
        }
        let name = &payload.name;
        let _guard = self.locks.lock(name);
        let found = self.store.read(|view| {
            let Some(key) = self
                .load_key(view, name)?
                .filter(|key| key.object.object_id == payload.object_id)
            else {
                return Ok(None);
            };
            let comparison = self.compare(view, &key, &payload.versions)?;
            if comparison.diverged || !comparison.missing.is_empty() {
                return Ok(None);
            }
            let behind = self.counts_behind(view, &key, &counts)?;
            Ok(Some((key, behind)))
        })?;
        // A key that changed at this moment is not the one that was passed over.
        let Some((key, behind)) = found else {
            return Ok(());
        };
        if behind.is_empty() {
            return Ok(());
        }
        let changes = behind
            .iter()
            .map(|(version, count)| self.put_gcm_count(&key, *version, *count))
            .collect::<Result<Vec<_>>>()?;
        self.commit(act, name, changes)?;
        self.gcm.forget(name);
        Ok(())
    }
}
