//! Reads what sled's recovery is about to read.
//!
//! sled takes a read that fails for the torn end of its log, and overwrites what it could not read. So
//! everything is read here first: an error stops the open with the file as it was, and what could be read is
//! then in the system's cache.

use super::files::{Files, VaultFile};
use super::sled_log::{SEGMENT_SIZE, SegmentHeader, newest_snapshot, segment_headers};
use crate::error::Result;

/// Reads the header of every segment, and all of those segments that the newest snapshot does not cover. Gives the
/// headers.
///
/// Errors: `Io`.
pub(super) fn read_before_sled(
    files: &dyn Files,
    data: &dyn VaultFile,
) -> Result<Vec<SegmentHeader>> {
    let newest = newest_snapshot(files)?;
    let mut segment = vec![0; SEGMENT_SIZE];
    let headers = segment_headers(data)?;
    for header in &headers {
        if header.position.saturating_add(SEGMENT_SIZE as u64) >= newest {
            data.read_at(&mut segment, header.offset)?;
        }
    }
    Ok(headers)
}
