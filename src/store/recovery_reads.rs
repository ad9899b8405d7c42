//! Reads what sled's recovery is about to read.
//!
//! sled takes a read that fails for the torn end of its log, and overwrites what it could not read. So
//! everything is read here first: an error stops the open with the file as it was, and what could be read is
//! then in the system's cache.

use super::files::{Files, VaultFile};
use crate::error::Result;

/// The beginning of a segment: checksum, then the position in the log and the newest stable one.
const HEADER_LENGTH: usize = 20;
/// sled stores positions under this mask, least significant byte first.
const MASK: u64 = 0x7FFF_FFFF_FFFF_FFFF;

/// Reads the header of every segment, and all of those segments that the newest snapshot does not cover.
///
/// Errors: `Io`.
pub(super) fn read_before_sled(
    files: &dyn Files,
    data: &dyn VaultFile,
    segment_size: usize,
) -> Result<()> {
    let mut newest = 0;
    for name in files.list(None)?.unwrap_or_default() {
        let covered = name
            .strip_prefix("snap.")
            .and_then(|position| u64::from_str_radix(position, 16).ok());
        newest = newest.max(covered.unwrap_or(0));
    }
    let length = data.facts()?.length;
    let mut segment = vec![0; segment_size];
    let mut offset = 0;
    while offset < length {
        let header = &mut segment[..HEADER_LENGTH];
        data.read_at(header, offset)?;
        if position(header).saturating_add(segment_size as u64) >= newest {
            data.read_at(&mut segment, offset)?;
        }
        offset += segment_size as u64;
    }
    Ok(())
}

fn position(header: &[u8]) -> u64 {
    let masked = header[4..12]
        .iter()
        .rev()
        .fold(0, |position, byte| (position << 8) | u64::from(*byte));
    masked ^ MASK
}
