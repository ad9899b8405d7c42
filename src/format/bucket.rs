//! The plaintext of a bucket record.

use super::fields::{Reader, Writer};
use super::record::BUCKET_COUNT;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of the plaintext.
pub(crate) const BUCKET_LENGTH: usize = 64;

const BUCKET_LAYOUT: u16 = 1;

/// Count and digest of the records whose `n` begins with the bucket's 12 bits.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Bucket {
    pub(crate) bucket: u16,
    /// M, V and G records.
    pub(crate) members: u32,
    pub(crate) digest: [u8; 32],
    /// M records.
    pub(crate) m_count: u32,
    /// The KEK term that was current when this was written.
    pub(crate) term: u32,
    /// M records sealed under an earlier term than `term`.
    pub(crate) m_prev: u32,
}

impl Bucket {
    pub(crate) fn encode(&self) -> [u8; BUCKET_LENGTH] {
        let mut bytes = [0; BUCKET_LENGTH];
        Writer::new(&mut bytes)
            .u16(BUCKET_LAYOUT)
            .u16(self.bucket)
            .u32(self.members)
            .bytes(&self.digest)
            .u32(self.m_count)
            .u32(self.term)
            .u32(self.m_prev);
        bytes
    }

    /// Errors: `NewerFormat` for an unknown layout, `Corrupt` for anything that `encode` does not make
    /// or counts that contradict each other.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "a bucket record is damaged");
        if bytes.len() != BUCKET_LENGTH {
            return Err(corrupt());
        }
        let mut fields = Reader::new(bytes);
        if fields.u16() != Some(BUCKET_LAYOUT) {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                "a bucket record has a layout that this build does not know; \
                 open the vault with the version that wrote it",
            ));
        }
        Self::read(&mut fields)
            .filter(|bucket| {
                bucket.bucket < BUCKET_COUNT
                    && bucket.m_count <= bucket.members
                    && bucket.m_prev <= bucket.m_count
            })
            .ok_or_else(corrupt)
    }

    fn read(fields: &mut Reader<'_>) -> Option<Self> {
        let bucket = Self {
            bucket: fields.u16()?,
            members: fields.u32()?,
            digest: fields.array()?,
            m_count: fields.u32()?,
            term: fields.u32()?,
            m_prev: fields.u32()?,
        };
        fields.zeros(12)?;
        fields.end()?;
        Some(bucket)
    }
}

/// Only the counters: digests stay unknown to whoever reads logs.
impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("bucket", &self.bucket)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}
