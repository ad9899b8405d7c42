//! What a backup holds: a key and all its versions, with the counts of their GCM encryptions.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key_version::{ReleasePolicy1, Version1};
use super::layout::{self, Bounded};
use super::rotation_policy::RotationPolicy1;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::{Deletion, VersionRecord};
use crate::model::name::KeyName;
use crate::model::rotation_policy::StoredRotationPolicy;
use crate::model::time::Timestamp;

const LAYOUT_1: u16 = 1;
/// With a rotation policy or a release policy: a key that has neither keeps layout 1.
const LAYOUT_2: u16 = 2;

/// The longest payload: what fits a blob.
pub(crate) const MAX_BACKUP_PAYLOAD: usize = 47 * 1024 * 1024;

/// The most versions in a backup: the newest and 500 past ones.
pub(crate) const MAX_BACKUP_VERSIONS: usize = 501;

#[derive(Serialize, Deserialize)]
struct Backup1<'a> {
    #[serde(borrow)]
    name: &'a str,
    object_id: [u8; 16],
    created: u64,
    updated: u64,
    /// In the order of their ordinals; the last one is the newest.
    versions: Bounded<BackupVersion1<'a>, MAX_BACKUP_VERSIONS>,
}

#[derive(Serialize, Deserialize)]
struct BackupVersion1<'a> {
    #[serde(borrow)]
    version: Version1<'a>,
    gcm_count: u64,
}

#[derive(Serialize, Deserialize)]
struct Backup2<'a> {
    #[serde(borrow)]
    first: Backup1<'a>,
    rotation_policy: Option<RotationPolicy1>,
    /// Of each version.
    #[serde(borrow)]
    release_policies: Bounded<Option<ReleasePolicy1<'a>>, MAX_BACKUP_VERSIONS>,
}

/// A key on its way into or out of a backup.
#[derive(Debug)]
pub(crate) struct BackupPayload {
    pub(crate) name: KeyName,
    pub(crate) object_id: [u8; 16],
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// Not part of the payload: a whole vault's stream has it beside.
    pub(crate) deletion: Option<Deletion>,
    pub(crate) rotation_policy: Option<StoredRotationPolicy>,
    /// With the number of GCM encryptions; in the order of their ordinals.
    pub(crate) versions: Vec<(VersionRecord, u64)>,
}

pub(crate) fn encode(payload: &BackupPayload) -> Result<Zeroizing<Vec<u8>>> {
    let BackupPayload {
        name,
        object_id,
        created,
        updated,
        deletion: _,
        rotation_policy,
        versions,
    } = payload;
    let first = Backup1 {
        name: name.as_str(),
        object_id: *object_id,
        created: created.unix_seconds(),
        updated: updated.unix_seconds(),
        versions: Bounded(
            versions
                .iter()
                .map(|(record, gcm_count)| BackupVersion1 {
                    version: record.into(),
                    gcm_count: *gcm_count,
                })
                .collect(),
        ),
    };
    let policy_of = |record: &VersionRecord| record.attributes.release_policy.is_some();
    if rotation_policy.is_none() && !versions.iter().any(|(record, _)| policy_of(record)) {
        return layout::encode(LAYOUT_1, &[], &first, MAX_BACKUP_PAYLOAD);
    }
    let backup = Backup2 {
        first,
        rotation_policy: rotation_policy.as_ref().map(RotationPolicy1::from),
        release_policies: Bounded(
            versions
                .iter()
                .map(|(record, _)| record.attributes.release_policy.as_ref().map(Into::into))
                .collect(),
        ),
    };
    layout::encode(LAYOUT_2, &[], &backup, MAX_BACKUP_PAYLOAD)
}

/// Errors: `NewerFormat`, `InvalidBackup`.
pub(crate) fn decode(bytes: &[u8]) -> Result<BackupPayload> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidBackup,
            "the backup opens but does not decode",
        )
    };
    let (number, rest) = layout::split_number(bytes).map_err(|_| invalid())?;
    let (backup, rotation_policy, release_policies): (Backup1<'_>, _, _) = match number {
        LAYOUT_1 => (layout::decode(rest).map_err(|_| invalid())?, None, None),
        LAYOUT_2 => {
            let Backup2 {
                first,
                rotation_policy,
                release_policies,
            } = layout::decode(rest).map_err(|_| invalid())?;
            if release_policies.0.len() != first.versions.0.len() {
                return Err(invalid());
            }
            (first, rotation_policy, Some(release_policies))
        }
        _ => return Err(layout::newer("the backup was made by a newer version")),
    };
    if backup.versions.0.is_empty() {
        return Err(invalid());
    }
    let mut versions = backup
        .versions
        .0
        .into_iter()
        .map(|entry| Ok((entry.version.into_record()?, entry.gcm_count)))
        .collect::<Result<Vec<_>>>()
        .map_err(|_| invalid())?;
    for ((record, _), policy) in versions
        .iter_mut()
        .zip(release_policies.into_iter().flat_map(|policies| policies.0))
    {
        record.attributes.release_policy = policy
            .map(ReleasePolicy1::into_policy)
            .transpose()
            .map_err(|_| invalid())?;
    }
    let ascending = versions
        .windows(2)
        .all(|pair| pair[0].0.ordinal < pair[1].0.ordinal);
    let mut ids: Vec<_> = versions.iter().map(|(record, _)| record.version).collect();
    ids.sort_unstable();
    ids.dedup();
    if !ascending || ids.len() != versions.len() {
        return Err(invalid());
    }
    Ok(BackupPayload {
        name: backup.name.parse().map_err(|_| invalid())?,
        object_id: backup.object_id,
        created: Timestamp::from_unix_seconds(backup.created),
        updated: Timestamp::from_unix_seconds(backup.updated),
        deletion: None,
        rotation_policy: rotation_policy
            .map(RotationPolicy1::into_stored)
            .transpose()
            .map_err(|_| invalid())?,
        versions,
    })
}
