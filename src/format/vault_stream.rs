//! The backup of a whole vault: the framing of its stream, and the plaintexts of its first and last part.

use super::backup::MAX_BLOB_LENGTH;
use super::fields::{Reader, Writer};
use crate::error::{Error, ErrorKind, Result};

/// The beginning of a stream.
pub(crate) const STREAM_MAGIC: [u8; 8] = *b"SRMVLT01";
/// The longest head: the longest header of a container with room to spare.
pub(crate) const MAX_HEAD_LENGTH: usize = 128 * 1024;
/// The longest frame, without the four bytes of its length.
pub(crate) const MAX_FRAME_LENGTH: usize = MAX_BLOB_LENGTH;

const LAYOUT_1: u16 = 1;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrameKind {
    Key,
    End,
}

impl FrameKind {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::End => 2,
        }
    }

    /// Errors: `NewerFormat`.
    pub(crate) fn from_byte(byte: u8) -> Result<Self> {
        match byte {
            1 => Ok(Self::Key),
            2 => Ok(Self::End),
            _ => Err(newer()),
        }
    }
}

/// What the head of a stream holds, after its seal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StreamHead {
    pub(crate) vault_id: [u8; 16],
    /// How many keys the vault had, deleted ones included: for whoever shows the progress.
    pub(crate) expected_keys: u64,
}

impl StreamHead {
    const LENGTH: usize = 28;

    pub(crate) fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        Writer::new(&mut bytes)
            .u16(LAYOUT_1)
            .zeros(2)
            .bytes(&self.vault_id)
            .u64(self.expected_keys);
        bytes
    }

    /// Errors: `NewerFormat`, `InvalidBackup`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = first_fields(bytes)?;
        let mut read = || {
            fields.zeros(2)?;
            let head = Self {
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
