//! What is read of sled's log without sled: the headers of its segments, and where its newest snapshot ends.

use super::files::{Files, VaultFile};
use crate::error::Result;

/// sled's file.
pub(super) const DB_FILE: &str = "db";

/// Frozen per database; a quarter of it is the longest page that stays in the log.
pub(super) const SEGMENT_SIZE: usize = 512 * 1024;

/// sled stores positions under this mask, least significant byte first.
const MASK: u64 = 0x7FFF_FFFF_FFFF_FFFF;

/// The beginning of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Where the segment lies in the file.
    pub(super) offset: u64,
    /// Where it lies in the log.
    pub(super) position: u64,
    /// Up to where the log was written when the segment was begun.
    pub(super) stable: u64,
}

impl SegmentHeader {
    /// checksum(4) ‖ position(8) ‖ stable position(8).
    pub(super) const LENGTH: usize = 20;

    /// `None` when the checksum is wrong: there is no segment, or not yet.
    pub(super) fn parse(bytes: &[u8], offset: u64) -> Option<Self> {
        let (checksum, rest) = bytes.split_first_chunk::<4>()?;
        let body = rest.first_chunk::<16>()?;
        if u32::from_le_bytes(*checksum) ^ u32::MAX != crc32fast::hash(body) {
            return None;
        }
        let (position, stable) = body.split_first_chunk::<8>()?;
        Some(Self {
            offset,
            position: unmask(position)?,
            // The first segment of a log is begun when nothing is written, which is position -1.
            stable: unmask(stable).unwrap_or(0),
        })
    }
}

fn unmask(bytes: &[u8]) -> Option<u64> {
    let masked = u64::from_le_bytes(*bytes.first_chunk()?);
    let position = masked ^ MASK;
    (position <= MASK).then_some(position)
}

/// The headers of all segments, in the order of the file.
///
/// Errors: `Io`.
pub(super) fn segment_headers(data: &dyn VaultFile) -> Result<Vec<SegmentHeader>> {
    let length = data.facts()?.length;
    let mut headers = Vec::new();
    let mut offset = 0;
    while offset < length {
        let mut bytes = [0; SegmentHeader::LENGTH];
        let read = data.read_at(&mut bytes, offset)?;
        headers.extend(SegmentHeader::parse(&bytes[..read], offset));
        offset += SEGMENT_SIZE as u64;
    }
    Ok(headers)
}

/// Up to where the newest snapshot covers the log; 0 when there is none.
///
/// Errors: `Io`.
pub(super) fn newest_snapshot(files: &dyn Files) -> Result<u64> {
    let mut newest = 0;
    for name in files.list(None)?.unwrap_or_default() {
        let covered = name
            .strip_prefix("snap.")
            .and_then(|position| u64::from_str_radix(position, 16).ok());
        newest = newest.max(covered.unwrap_or(0));
    }
    Ok(newest)
}
