//! What a restore would do, and what stands in its way.

use std::collections::BTreeMap;

use super::Inner;
use super::records::StoredKey;
use super::restore::require_accepted;
use super::restore_options::{NameState, RestoreOptions, RestorePlan};
use crate::error::{ErrorKind, Result};
use crate::format::backup_payload::BackupPayload;
use crate::model::key::{BackendId, VersionRecord};
use crate::model::version::KeyVersion;
use crate::policy::{self, Lifecycle};
use crate::seal::backup::BackupOrigin;
use crate::store::View;

/// How the versions of a backup and of the vault's key of the same id fit together.
pub(super) struct Comparison {
    pub(super) present: Vec<KeyVersion>,
    pub(super) missing: Vec<KeyVersion>,
    pub(super) diverged: bool,
}

impl Inner {
    pub(super) fn plan(
        &self,
        payload: &BackupPayload,
        origin: BackupOrigin,
        options: &RestoreOptions<'_>,
    ) -> Result<RestorePlan> {
        let mut missing_backends: Vec<BackendId> = payload
            .versions
            .iter()
            .map(|(version, _)| &version.body.backend)
            .filter(|id| self.backend(id).is_err())
            .cloned()
            .collect();
        missing_backends.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        missing_backends.dedup();
        let now = self.now();
        let (name_state, comparison) = self.store.read(|view| {
            let all = || Comparison {
                present: Vec::new(),
                missing: payload
                    .versions
                    .iter()
                    .map(|(version, _)| version.version)
                    .collect(),
                diverged: false,
            };
            let Some(key) = self.load_key(view, &payload.name)? else {
                return Ok((NameState::Free, all()));
            };
            Ok(match policy::lifecycle(&key.object, now) {
                Lifecycle::Gone => (NameState::Free, all()),
                Lifecycle::Deleted
                    if payload.deletion.is_some() && key.object.object_id == payload.object_id =>
                {
                    (
                        NameState::Deleted,
                        self.compare(view, &key, &payload.versions)?,
                    )
                }
                Lifecycle::Deleted => (NameState::Deleted, all()),
                Lifecycle::Active if key.object.object_id == payload.object_id => (
                    NameState::SameKey,
                    self.compare(view, &key, &payload.versions)?,
                ),
                Lifecycle::Active => (NameState::OtherKey, all()),
            })
        })?;
        let error = match name_state {
            _ if require_accepted(origin, options).is_err() => {
                Some(ErrorKind::UnauthenticatedBackup)
            }
            NameState::SameKey
                if options.merge && !comparison.diverged && payload.deletion.is_none() =>
            {
                None
            }
            NameState::SameKey | NameState::OtherKey => Some(ErrorKind::KeyExists),
            NameState::Deleted => Some(ErrorKind::KeyDeleted),
            NameState::Free => None,
        };
        let error =
            error.or((!missing_backends.is_empty()).then_some(ErrorKind::BackendUnavailable));
        Ok(RestorePlan {
            name: payload.name.clone(),
            name_state,
            origin,
            present: comparison.present,
            missing: comparison.missing,
            diverged: comparison.diverged,
            previously_purged: self.was_purged(&payload.object_id),
            missing_backends,
            error,
        })
    }

    /// Which versions of a backup the key has. Histories that went apart have different versions at one ordinal.
    pub(super) fn compare(
        &self,
        view: &View<'_>,
        key: &StoredKey,
        versions: &[(VersionRecord, u64)],
    ) -> Result<Comparison> {
        let here: BTreeMap<KeyVersion, u32> = self
            .load_versions(view, key)?
            .into_iter()
            .map(|record| (record.version, record.ordinal))
            .collect();
        let mut comparison = Comparison {
            present: Vec::new(),
            missing: Vec::new(),
            diverged: false,
        };
        for (record, _) in versions {
            match here.get(&record.version) {
                Some(ordinal) => {
                    comparison.present.push(record.version);
                    comparison.diverged |= *ordinal != record.ordinal;
                }
                None => {
                    comparison.missing.push(record.version);
                    comparison.diverged |= here.values().any(|ordinal| *ordinal == record.ordinal);
                }
            }
        }
        Ok(comparison)
    }
}
