//! The plaintext of STATE, the one record that ties all others together.

use super::fields::{Reader, Writer};
use crate::error::{Error, ErrorKind, Result};

/// Bytes of the plaintext.
pub(crate) const STATE_LENGTH: usize = 256;

const STATE_LAYOUT: u16 = 1;
const STATE_SCHEMA: u16 = 1;

/// What the vault holds after a group of changes.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    /// The current KEK term when the group was written.
    pub(crate) kek_term: u32,
    /// Counts groups.
    pub(crate) generation: u64,
    /// M, V and G records.
    pub(crate) record_count: u64,
    /// B records.
    pub(crate) bucket_count: u32,
    /// C and I records.
    pub(crate) meta_count: u32,
    /// Digest of the B records.
    pub(crate) bucket_digest: [u8; 32],
    /// Digest of the C and I records.
    pub(crate) meta_digest: [u8; 32],
    /// Milliseconds since 1970.
    pub(crate) max_time_seen: u64,
    /// M records.
    pub(crate) key_count: u64,
    pub(crate) header_seq: u64,
    /// The first half of the header's MAC.
    pub(crate) header_mac: [u8; 32],
    /// KEK terms up to this one must be gone before a purge is reported as shredded.
    pub(crate) shred_term: u32,
    pub(crate) audit_first: u64,
    pub(crate) audit_next: u64,
    pub(crate) audit_head: [u8; 32],
    /// The audit chain's value where retention cut it.
    pub(crate) audit_cut_head: [u8; 32],
}

impl State {
    pub(crate) fn encode(&self) -> [u8; STATE_LENGTH] {
        let mut bytes = [0; STATE_LENGTH];
        Writer::new(&mut bytes)
            .u16(STATE_LAYOUT)
            .u16(STATE_SCHEMA)
            .u32(self.kek_term)
            .u64(self.generation)
            .u64(self.record_count)
            .u32(self.bucket_count)
            .u32(self.meta_count)
            .bytes(&self.bucket_digest)
            .bytes(&self.meta_digest)
            .u64(self.max_time_seen)
            .u64(self.key_count)
            .u64(self.header_seq)
            .bytes(&self.header_mac)
            .u32(self.shred_term)
            .zeros(4)
            .u64(self.audit_first)
            .u64(self.audit_next)
            .bytes(&self.audit_head)
            .bytes(&self.audit_cut_head);
        bytes
    }

    /// Errors: `NewerFormat` for an unknown layout or schema, `Corrupt` for a wrong length or set reserved bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "the STATE record is damaged");
        if bytes.len() != STATE_LENGTH {
            return Err(corrupt());
        }
        let mut fields = Reader::new(bytes);
        if fields.u16() != Some(STATE_LAYOUT) || fields.u16() != Some(STATE_SCHEMA) {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                "the STATE record has a layout or schema that this build does not know; \
                 open the vault with the version that wrote it",
            ));
        }
        Self::read(&mut fields).ok_or_else(corrupt)
    }

    fn read(fields: &mut Reader<'_>) -> Option<Self> {
        let state = Self {
            kek_term: fields.u32()?,
            generation: fields.u64()?,
            record_count: fields.u64()?,
            bucket_count: fields.u32()?,
            meta_count: fields.u32()?,
            bucket_digest: fields.array()?,
            meta_digest: fields.array()?,
            max_time_seen: fields.u64()?,
            key_count: fields.u64()?,
            header_seq: fields.u64()?,
            header_mac: fields.array()?,
            shred_term: {
                let term = fields.u32()?;
                fields.zeros(4)?;
                term
            },
            audit_first: fields.u64()?,
            audit_next: fields.u64()?,
            audit_head: fields.array()?,
            audit_cut_head: fields.array()?,
        };
        fields.zeros(16)?;
        fields.end()?;
        Some(state)
    }
}

/// Only the counters: digests stay unknown to whoever reads logs.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("generation", &self.generation)
            .field("record_count", &self.record_count)
            .field("header_seq", &self.header_seq)
            .finish_non_exhaustive()
    }
}
