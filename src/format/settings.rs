//! C: the settings of a vault, one record each.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::layout::{self, Bounded};
use crate::error::Result;
use crate::model::attributes::SoftDelete;
use crate::model::audit::{AuditOptions, AuditReads};
use crate::model::key::KeyBlob;
use crate::model::material::PublicParts;
use crate::model::name_pattern::NamePattern;
use crate::model::permission::Permissions;
use crate::model::principal::Principal;
use crate::model::settings::{AlgorithmRules, DeletionSettings};
use crate::model::spec::Curve;
use crate::model::time::Timestamp;
use crate::secret::SecretBytes;

/// Numbers of the settings records.
pub(crate) const DELETION_SETTINGS: u64 = 1;
pub(crate) const ALGORITHM_RULES: u64 = 2;
/// Only there once an epoch was made or the floor was raised.
pub(crate) const DOMAIN_EPOCHS: u64 = 5;
pub(crate) const AUDIT_OPTIONS: u64 = 16;
pub(crate) const IDENTITY_KEY: u64 = 17;
/// The tombstone records follow each other from here.
pub(crate) const FIRST_TOMBSTONES: u64 = 256;

/// The records of access policies, one for each principal, begin here.
pub(crate) const ACCESS_POLICIES: u64 = 1_024;
/// How many principals there are at most, as Azure's.
pub(crate) const MAX_ACCESS_POLICIES: u64 = 1_024;

/// How many tombstone records there are at most, and how many tombstones each holds.
pub(crate) const TOMBSTONE_RECORDS: u64 = 40;
pub(crate) const TOMBSTONES_PER_RECORD: usize = 250;

/// For how many days a tombstone counts.
pub(crate) const TOMBSTONE_DAYS: u32 = 90;

/// More than a ring has epochs, and more algorithms than there are.
const MAX_RECORDED_EPOCHS: usize = 4_096;
const MAX_REFUSED: usize = 128;

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
    let refused: Bounded<&str, MAX_REFUSED> = decode_1(bytes)?;
    let mut rules = AlgorithmRules::none_refused();
    for name in refused.0 {
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
    made: Bounded<(u32, u64), MAX_RECORDED_EPOCHS>,
}

pub(crate) fn encode_domain_epochs(epochs: &DomainEpochs) -> Result<Zeroizing<Vec<u8>>> {
    let parts = DomainEpochs1 {
        floor: epochs.floor,
        made: Bounded(
            epochs
                .made
                .iter()
                .map(|(epoch, time)| (*epoch, time.unix_seconds()))
                .collect(),
        ),
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

pub(crate) fn decode_domain_epochs(bytes: &[u8]) -> Result<DomainEpochs> {
    let parts: DomainEpochs1 = decode_1(bytes)?;
    Ok(DomainEpochs {
        floor: parts.floor,
        made: parts
            .made
            .0
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
    entries: Bounded<([u8; 16], u64), TOMBSTONES_PER_RECORD>,
}

pub(crate) fn encode_tombstones(tombstones: &Tombstones) -> Result<Zeroizing<Vec<u8>>> {
    let parts = Tombstones1 {
        sequence: tombstones.sequence,
        entries: Bounded(
            tombstones
                .entries
                .iter()
                .map(|(id, time)| (*id, time.unix_seconds()))
                .collect(),
        ),
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

pub(crate) fn decode_tombstones(bytes: &[u8]) -> Result<Tombstones> {
    let parts: Tombstones1 = decode_1(bytes)?;
    Ok(Tombstones {
        sequence: parts.sequence,
        entries: parts
            .entries
            .0
            .into_iter()
            .map(|(id, time)| (id, Timestamp::from_unix_seconds(time)))
            .collect(),
    })
}

#[derive(Serialize, Deserialize)]
struct AccessPolicy1<'a> {
    principal: &'a str,
    permissions: u32,
    names: Option<Bounded<String, { Permissions::MAX_PATTERNS }>>,
}

pub(crate) fn encode_access_policy(
    principal: &Principal,
    permissions: &Permissions,
) -> Result<Zeroizing<Vec<u8>>> {
    let parts = AccessPolicy1 {
        principal: principal.as_str(),
        permissions: permissions.to_bits(),
        names: permissions
            .names()
            .map(|names| Bounded(names.iter().map(NamePattern::to_string).collect())),
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

/// Errors: `NewerFormat` for a permission that this build does not know, `Corrupt`.
pub(crate) fn decode_access_policy(bytes: &[u8]) -> Result<(Principal, Permissions)> {
    let AccessPolicy1 {
        principal,
        permissions,
        names,
    } = decode_1(bytes)?;
    let corrupt = |_| layout::corrupt("an access policy of the vault is impossible");
    let principal = principal.parse().map_err(corrupt)?;
    let permissions = Permissions::from_bits(permissions).ok_or_else(|| {
        layout::newer("an access policy gives a permission that this build does not know")
    })?;
    let permissions = match names {
        None => permissions,
        Some(Bounded(names)) => {
            let patterns = names
                .iter()
                .map(|name| name.parse::<NamePattern>())
                .collect::<Result<Vec<_>>>()
                .map_err(corrupt)?;
            permissions.for_names(patterns).map_err(corrupt)?
        }
    };
    Ok((principal, permissions))
}

#[derive(Serialize, Deserialize)]
struct AuditOptions1 {
    on: bool,
    /// 0 records no reads, 1 all, n one of n.
    one_read_of: u32,
    retained_entries: u32,
    retained_days: Option<u32>,
}

pub(crate) fn encode_audit_options(options: &AuditOptions) -> Result<Zeroizing<Vec<u8>>> {
    let parts = AuditOptions1 {
        on: options.on,
        one_read_of: one_read_of(options.reads),
        retained_entries: options.retained_entries,
        retained_days: options.retained_days,
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

pub(crate) fn one_read_of(reads: AuditReads) -> u32 {
    match reads {
        AuditReads::Off => 0,
        AuditReads::Sampled(n) => n.get(),
        AuditReads::All => 1,
    }
}

pub(crate) fn decode_audit_options(bytes: &[u8]) -> Result<AuditOptions> {
    let parts: AuditOptions1 = decode_1(bytes)?;
    let corrupt = |_| layout::corrupt("the options of the audit log are impossible");
    let options = if parts.on {
        AuditOptions::on()
    } else {
        AuditOptions::off()
    };
    let options = options
        .reads(match NonZeroU32::new(parts.one_read_of) {
            None => AuditReads::Off,
            Some(NonZeroU32::MIN) => AuditReads::All,
            Some(n) => AuditReads::Sampled(n),
        })
        .retain_entries(parts.retained_entries)
        .map_err(corrupt)?;
    match parts.retained_days {
        None => Ok(options),
        Some(days) => options.retain_days(days).map_err(corrupt),
    }
}

#[derive(Serialize, Deserialize)]
struct Identity1<'a> {
    #[serde(with = "serde_bytes", borrow)]
    x: &'a [u8],
    #[serde(with = "serde_bytes", borrow)]
    y: &'a [u8],
    #[serde(with = "serde_bytes", borrow)]
    blob: &'a [u8],
}

/// The vault's own P-256 key: its public point, and the blob of the software backend.
pub(crate) fn encode_identity(public: &PublicParts, blob: &KeyBlob) -> Result<Zeroizing<Vec<u8>>> {
    let PublicParts::Ec {
        curve: Curve::P256,
        x,
        y,
    } = public
    else {
        return Err(crate::error::Error::internal(
            "the identity of a vault is a P-256 key",
        ));
    };
    let parts = Identity1 {
        x,
        y,
        blob: blob.expose(),
    };
    layout::encode_record(LAYOUT_1, &[], &parts)
}

pub(crate) fn decode_identity(bytes: &[u8]) -> Result<(PublicParts, KeyBlob)> {
    let Identity1 { x, y, blob } = decode_1(bytes)?;
    let public = PublicParts::Ec {
        curve: Curve::P256,
        x: x.to_vec(),
        y: y.to_vec(),
    };
    Ok((public, KeyBlob::new(SecretBytes::copied_from(blob))))
}

fn decode_1<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
    let (number, rest) = layout::split_number(bytes)?;
    if number != LAYOUT_1 {
        return Err(layout::newer("a setting has a layout of a newer version"));
    }
    layout::decode(rest)
}
