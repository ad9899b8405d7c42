//! C: the settings of a vault, one record each.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::layout;
use crate::error::Result;
use crate::model::attributes::SoftDelete;
use crate::model::settings::{AlgorithmRules, DeletionSettings};
use crate::model::time::Timestamp;

/// Numbers of the settings records.
pub(crate) const DELETION_SETTINGS: u64 = 1;
pub(crate) const ALGORITHM_RULES: u64 = 2;
/// Only there once an epoch was made or the floor was raised.
pub(crate) const DOMAIN_EPOCHS: u64 = 5;
/// The tombstone records follow each other from here.
pub(crate) const FIRST_TOMBSTONES: u64 = 256;

/// How many tombstone records there are at most, and how many tombstones each holds.
pub(crate) const TOMBSTONE_RECORDS: u64 = 40;
pub(crate) const TOMBSTONES_PER_RECORD: usize = 250;

/// For how many days a tombstone counts.
pub(crate) const TOMBSTONE_DAYS: u32 = 90;

const LAYOUT_1: u16 = 1;

#[derive(Serialize, Deserialize)]
struct Deletion1 {
    recoverable_days: u8,
    purge_protection: bool,
}

pub(crate) fn encode_deletion(settings: DeletionSettings) -> Result<Zeroizing<Vec<u8>>> {
    let parts = Deletion1 {
        recoverable_days: settings.soft_delete.recoverable_days(),
        purge_protection: settings.purge_protection,
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

pub(crate) fn decode_deletion(bytes: &[u8]) -> Result<DeletionSettings> {
    let parts: Deletion1 = decode_1(bytes)?;
    let soft_delete = match parts.recoverable_days {
        0 => SoftDelete::OFF,
        days => SoftDelete::days(days)
            .map_err(|_| layout::corrupt("the retention of the vault is impossible"))?,
    };
    Ok(DeletionSettings {
        soft_delete,
        purge_protection: parts.purge_protection,
    })
}

pub(crate) fn encode_algorithms(rules: &AlgorithmRules) -> Result<Zeroizing<Vec<u8>>> {
    let refused: Vec<&str> = rules.refused().collect();
    layout::encode_record(LAYOUT_1, &[], &refused)
}

pub(crate) fn decode_algorithms(bytes: &[u8]) -> Result<AlgorithmRules> {
    let refused: Vec<&str> = decode_1(bytes)?;
    let mut rules = AlgorithmRules::none_refused();
    for name in refused {
        rules = rules
            .refuse(name)
            .map_err(|_| layout::newer("the vault refuses an algorithm that this build lacks"))?;
    }
    Ok(rules)
}

/// What is known of the epochs of the security domain besides their keys.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct DomainEpochs {
    /// Earlier epochs were given up, whatever keys may still lie about.
    pub(crate) floor: u32,
    /// When epochs were made in this vault, ascending.
    pub(crate) made: Vec<(u32, Timestamp)>,
}

#[derive(Serialize, Deserialize)]
struct DomainEpochs1 {
    floor: u32,
    made: Vec<(u32, u64)>,
}

pub(crate) fn encode_domain_epochs(epochs: &DomainEpochs) -> Result<Zeroizing<Vec<u8>>> {
    let parts = DomainEpochs1 {
        floor: epochs.floor,
        made: epochs
            .made
            .iter()
            .map(|(epoch, time)| (*epoch, time.unix_seconds()))
            .collect(),
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

pub(crate) fn decode_domain_epochs(bytes: &[u8]) -> Result<DomainEpochs> {
    let parts: DomainEpochs1 = decode_1(bytes)?;
    Ok(DomainEpochs {
        floor: parts.floor,
        made: parts
            .made
            .into_iter()
            .map(|(epoch, time)| (epoch, Timestamp::from_unix_seconds(time)))
            .collect(),
    })
}

/// One record of tombstones: PRFs of the ids of purged keys, with the time of the purge.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tombstones {
    /// Rises with each new record, so that the newest is known.
    pub(crate) sequence: u64,
    pub(crate) entries: Vec<([u8; 16], Timestamp)>,
}

#[derive(Serialize, Deserialize)]
struct Tombstones1 {
    sequence: u64,
    entries: Vec<([u8; 16], u64)>,
}

pub(crate) fn encode_tombstones(tombstones: &Tombstones) -> Result<Zeroizing<Vec<u8>>> {
    let parts = Tombstones1 {
        sequence: tombstones.sequence,
        entries: tombstones
            .entries
            .iter()
            .map(|(id, time)| (*id, time.unix_seconds()))
            .collect(),
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

pub(crate) fn decode_tombstones(bytes: &[u8]) -> Result<Tombstones> {
    let parts: Tombstones1 = decode_1(bytes)?;
    Ok(Tombstones {
        sequence: parts.sequence,
        entries: parts
            .entries
            .into_iter()
            .map(|(id, time)| (id, Timestamp::from_unix_seconds(time)))
            .collect(),
    })
}

fn decode_1<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
    let (number, rest) = layout::split_number(bytes)?;
    if number != LAYOUT_1 {
        return Err(layout::newer("a setting has a layout of a newer version"));
    }
    layout::decode(rest)
}
