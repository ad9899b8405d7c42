//! What a backup holds: a key and all its versions, with the counts of their GCM encryptions.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key_version::Version1;
use super::layout::{self, Bounded};
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::{Deletion, VersionRecord};
use crate::model::name::KeyName;
use crate::model::time::Timestamp;

const LAYOUT_1: u16 = 1;

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

/// A key on its way into or out of a backup.
#[derive(Debug)]
pub(crate) struct BackupPayload {
    pub(crate) name: KeyName,
    pub(crate) object_id: [u8; 16],
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// Not part of the payload: a whole vault's stream has it beside.
    pub(crate) deletion: Option<Deletion>,
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
        versions,
    } = payload;
    let backup = Backup1 {
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
    layout::encode(LAYOUT_1, &[], &backup, MAX_BACKUP_PAYLOAD)
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
    if number != LAYOUT_1 {
        return Err(layout::newer("the backup was made by a newer version"));
    }
    let backup: Backup1<'_> = layout::decode(rest).map_err(|_| invalid())?;
    if backup.versions.0.is_empty() {
        return Err(invalid());
    }
    let versions = backup
        .versions
        .0
        .into_iter()
        .map(|entry| Ok((entry.version.into_record()?, entry.gcm_count)))
        .collect::<Result<Vec<_>>>()
        .map_err(|_| invalid())?;
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
        versions,
    })
}
