//! The backup of a whole vault: the framing of its stream, and the plaintexts of its first and last part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use zeroize::Zeroizing;

use super::backup::MAX_BLOB_LENGTH;
use super::backup_payload::MAX_BACKUP_PAYLOAD;
use super::fields::{Reader, Writer};
use super::layout::{self, Bounded};
use super::settings;
use crate::error::{Error, ErrorKind, Result};
use crate::model::attributes::SoftDelete;
use crate::model::key::Deletion;
use crate::model::settings::VaultSettings;
use crate::model::time::Timestamp;

/// The beginning of a stream.
pub(crate) const STREAM_MAGIC: [u8; 8] = *b"SRMVLT01";
/// The longest head: the longest header of a container with room to spare.
pub(crate) const MAX_HEAD_LENGTH: usize = 128 * 1024;
/// The longest frame, without the four bytes of its length.
pub(crate) const MAX_FRAME_LENGTH: usize = MAX_BLOB_LENGTH;

const LAYOUT_1: u16 = 1;
const LAYOUT_2: u16 = 2;

/// As many as there are places for them in a vault.
const MAX_POLICIES: usize = 1_024;
const _: () = assert!(MAX_POLICIES as u64 == settings::MAX_ACCESS_POLICIES);

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrameKind {
    /// A key in use.
    Key,
    End,
    /// A deleted key that can be recovered.
    DeletedKey,
    /// The settings of the vault: the first frame, since the second edition.
    Settings,
}

impl FrameKind {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::End => 2,
            Self::DeletedKey => 3,
            Self::Settings => 4,
        }
    }

    /// Errors: `NewerFormat`.
    pub(crate) fn from_byte(byte: u8) -> Result<Self> {
        match byte {
            1 => Ok(Self::Key),
            2 => Ok(Self::End),
            3 => Ok(Self::DeletedKey),
            4 => Ok(Self::Settings),
            _ => Err(newer()),
        }
    }
}

/// Which frames a stream has: the number of its head's layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edition {
    /// Keys in use.
    One,
    /// The settings first, then keys in use and deleted ones.
    Two,
}

impl Edition {
    const fn number(self) -> u16 {
        match self {
            Self::One => LAYOUT_1,
            Self::Two => LAYOUT_2,
        }
    }

    /// Whether a frame of this kind may be the one of this number.
    ///
    /// Errors: `NewerFormat` for what this edition does not know, `InvalidBackup`.
    pub(crate) fn require(self, kind: FrameKind, number: u64) -> Result<()> {
        match (self, kind) {
            (Self::One, FrameKind::DeletedKey | FrameKind::Settings) => Err(newer()),
            (Self::Two, kind) if (kind == FrameKind::Settings) != (number == 0) => Err(invalid()),
            _ => Ok(()),
        }
    }
}

/// What the head of a stream holds, after its seal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StreamHead {
    pub(crate) edition: Edition,
    pub(crate) vault_id: [u8; 16],
    /// How many keys the vault had, deleted ones included: for whoever shows the progress.
    pub(crate) expected_keys: u64,
}

impl StreamHead {
    const LENGTH: usize = 28;

    pub(crate) fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        Writer::new(&mut bytes)
            .u16(self.edition.number())
            .zeros(2)
            .bytes(&self.vault_id)
            .u64(self.expected_keys);
        bytes
    }

    /// Errors: `NewerFormat`, `InvalidBackup`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Reader::new(bytes);
        let edition = match fields.u16() {
            Some(LAYOUT_1) => Edition::One,
            Some(LAYOUT_2) => Edition::Two,
            Some(_) => return Err(newer()),
            None => return Err(invalid()),
        };
        let mut read = || {
            fields.zeros(2)?;
            let head = Self {
                edition,
                vault_id: fields.array()?,
                expected_keys: fields.u64()?,
            };
            fields.end()?;
            Some(head)
        };
        read().ok_or_else(invalid)
    }
}

/// What the last frame of a stream holds, after its seal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StreamEnd {
    /// The frames before this one.
    pub(crate) keys: u64,
    /// Keys in use that could not be backed up.
    pub(crate) left_out: u64,
    /// The hash of the head and of all frames before this one, chained.
    pub(crate) chain: [u8; 32],
}

impl StreamEnd {
    const LENGTH: usize = 52;

    pub(crate) fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        Writer::new(&mut bytes)
            .u16(LAYOUT_1)
            .zeros(2)
            .u64(self.keys)
            .u64(self.left_out)
            .bytes(&self.chain);
        bytes
    }

    /// Errors: `NewerFormat`, `InvalidBackup`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = first_fields(bytes)?;
        let mut read = || {
            fields.zeros(2)?;
            let end = Self {
                keys: fields.u64()?,
                left_out: fields.u64()?,
                chain: fields.array()?,
            };
            fields.end()?;
            Some(end)
        };
        read().ok_or_else(invalid)
    }
}

/// What stands before the payload of a key in the frame of a deleted key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeletionPrefix {
    pub(crate) deletion: Deletion,
}

impl DeletionPrefix {
    pub(crate) const LENGTH: usize = 24;

    pub(crate) fn encode(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        Writer::new(&mut bytes)
            .u16(LAYOUT_1)
            .zeros(6)
            .u64(self.deletion.deleted.unix_seconds())
            .u64(self.deletion.scheduled_purge.unix_seconds());
        bytes
    }

    /// The prefix, and the payload after it.
    ///
    /// Errors: `NewerFormat`; `InvalidBackup`, also for dates that no deletion has.
    pub(crate) fn split(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (prefix, payload) = bytes
            .split_first_chunk::<{ Self::LENGTH }>()
            .ok_or_else(invalid)?;
        let mut fields = first_fields(prefix)?;
        let mut read = || {
            fields.zeros(6)?;
            let [deleted, scheduled_purge] = [fields.u64()?, fields.u64()?];
            fields.end()?;
            let longest = u64::from(SoftDelete::MAX_DAYS) * 86_400;
            let possible = scheduled_purge
                .checked_sub(deleted)
                .is_some_and(|seconds| seconds <= longest);
            possible.then(|| Deletion {
                deleted: Timestamp::from_unix_seconds(deleted),
                scheduled_purge: Timestamp::from_unix_seconds(scheduled_purge),
            })
        };
        let deletion = read().ok_or_else(invalid)?;
        Ok((Self { deletion }, payload))
    }
}

#[derive(Serialize, Deserialize)]
struct Settings1<'a> {
    #[serde(borrow)]
    deletion: &'a Bytes,
    #[serde(borrow)]
    algorithms: &'a Bytes,
    #[serde(borrow)]
    audit: &'a Bytes,
    #[serde(borrow)]
    access_policies: Bounded<&'a Bytes, MAX_POLICIES>,
}

/// The settings of a vault in the words of their records, each with a layout number of its own.
pub(crate) fn encode_settings(settings: &VaultSettings) -> Result<Zeroizing<Vec<u8>>> {
    let VaultSettings {
        deletion,
        algorithms,
        audit,
        access_policies,
    } = settings;
    let deletion = settings::encode_deletion(*deletion)?;
    let algorithms = settings::encode_algorithms(algorithms)?;
    let audit = settings::encode_audit_options(audit)?;
    let policies = access_policies
        .iter()
        .map(|(principal, permissions)| settings::encode_access_policy(principal, permissions))
        .collect::<Result<Vec<_>>>()?;
    let parts = Settings1 {
        deletion: Bytes::new(&deletion),
        algorithms: Bytes::new(&algorithms),
        audit: Bytes::new(&audit),
        access_policies: Bounded(policies.iter().map(|policy| Bytes::new(policy)).collect()),
    };
    layout::encode(LAYOUT_1, &[], &parts, MAX_BACKUP_PAYLOAD)
}

/// Errors: `NewerFormat`, `InvalidBackup`.
pub(crate) fn decode_settings(bytes: &[u8]) -> Result<VaultSettings> {
    // What is corrupt in a vault's file is a bad backup here.
    let told = |error: Error| match error.kind() {
        ErrorKind::NewerFormat => newer(),
        _ => invalid(),
    };
    let (number, rest) = layout::split_number(bytes).map_err(told)?;
    if number != LAYOUT_1 {
        return Err(newer());
    }
    let parts: Settings1<'_> = layout::decode(rest).map_err(told)?;
    let mut access_policies = BTreeMap::new();
    for policy in parts.access_policies.0 {
        let (principal, permissions) = settings::decode_access_policy(policy).map_err(told)?;
        if access_policies.insert(principal, permissions).is_some() {
            return Err(invalid());
        }
    }
    let deletion = settings::decode_deletion(parts.deletion).map_err(told)?;
    if deletion.purge_protection && deletion.soft_delete.is_off() {
        return Err(invalid());
    }
    Ok(VaultSettings {
        deletion,
        algorithms: settings::decode_algorithms(parts.algorithms).map_err(told)?,
        audit: settings::decode_audit_options(parts.audit).map_err(told)?,
        access_policies,
    })
}

/// The fields after the layout number.
fn first_fields(bytes: &[u8]) -> Result<Reader<'_>> {
    let mut fields = Reader::new(bytes);
    match fields.u16() {
        Some(LAYOUT_1) => Ok(fields),
        Some(_) => Err(newer()),
        None => Err(invalid()),
    }
}

fn newer() -> Error {
    Error::new(
        ErrorKind::NewerFormat,
        "the backup of the vault was written by a newer version of this library; restore it with that version",
    )
}

fn invalid() -> Error {
    Error::new(
        ErrorKind::InvalidBackup,
        "the backup of the vault opens but does not decode",
    )
}
