//! A copy of the segments that sled's recovery may erase too early.
//!
//! sled's recovery writes a snapshot, and then erases segments in which no page lives any more, without making
//! the snapshot's name durable between the two. When the power goes there, the old snapshot is found beside the
//! erased segment; and when that segment came right before the last one, where sled expects an unbroken log,
//! sled takes everything for torn and drops it. So before sled opens the log, the segments of that stretch are
//! copied to a file of their own, and the next opening puts them back if there is still no newer snapshot.
//!
//! `vault.spare`, big-endian: magic(8) ‖ position of the newest snapshot(8) ‖ count(4) ‖ zero(4) ‖ count times
//! (offset(8) ‖ segment(524,288)) ‖ SHA-512 of all before, first 32 bytes.

use super::files::{Access, Files, VaultFile};
use super::sled_log::{SEGMENT_SIZE, SegmentHeader, newest_snapshot, segment_headers};
use crate::error::Result;
use crate::seal::hash32;

/// Only there while a vault is being opened, or after that was cut short.
pub(super) const SPARE_FILE: &str = "vault.spare";

const MAGIC: &[u8; 8] = b"SRMSPR01";
const HEAD_LENGTH: usize = 24;
const ENTRY_LENGTH: usize = 8 + SEGMENT_SIZE;
const CHECKSUM_LENGTH: usize = 32;
/// The stretch is one segment long, or two when one commit filled the second: more is no log of ours.
const MAX_SEGMENTS: usize = 4;

/// Copies the segments that an unfinished recovery could lack, durably.
///
/// Errors: `StorageFull`, `ReadOnly`, `Io`.
pub(super) fn save(
    files: &dyn Files,
    data: &dyn VaultFile,
    headers: &[SegmentHeader],
) -> Result<()> {
    files.remove(SPARE_FILE)?;
    let endangered = endangered(headers);
    if endangered.is_empty() {
        return Ok(());
    }
    let mut bytes =
        Vec::with_capacity(HEAD_LENGTH + endangered.len() * ENTRY_LENGTH + CHECKSUM_LENGTH);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&newest_snapshot(files)?.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(endangered.len()).unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for header in &endangered {
        bytes.extend_from_slice(&header.offset.to_be_bytes());
        let start = bytes.len();
        bytes.resize(start + SEGMENT_SIZE, 0);
        data.read_at(&mut bytes[start..], header.offset)?;
    }
    let checksum = hash32(&bytes);
    bytes.extend_from_slice(&checksum);
    if let Some(file) = files.open(SPARE_FILE, Access::Create)? {
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
    }
    files.sync_directory(None)
}

/// Puts back what a recovery erased whose snapshot was lost, durably.
///
/// Errors: `StorageFull`, `ReadOnly`, `Io`.
pub(super) fn restore(files: &dyn Files, data: &dyn VaultFile) -> Result<()> {
    let Some(file) = files.open(SPARE_FILE, Access::Read)? else {
        return Ok(());
    };
    let longest = HEAD_LENGTH + MAX_SEGMENTS * ENTRY_LENGTH + CHECKSUM_LENGTH;
    let length = usize::try_from(file.facts()?.length).unwrap_or(usize::MAX);
    if length > longest {
        return Ok(());
    }
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, 0)?;
    let Some((snapshot, entries)) = parse(&bytes) else {
        // It was being written: the log was still whole then.
        return Ok(());
    };
    if snapshot != newest_snapshot(files)? {
        // The recovery ended well, and the log may have gone on.
        return Ok(());
    }
    let present = segment_headers(data)?;
    for (offset, segment) in entries {
        let saved = SegmentHeader::parse(&segment[..SegmentHeader::LENGTH], offset);
        let now = present.iter().find(|header| header.offset == offset);
        // A segment with another valid header is in use again.
        if saved.is_some() && now.is_none_or(|now| Some(now.position) == saved.map(|s| s.position))
        {
            data.write_at(segment, offset)?;
        }
    }
    data.sync_data()
}

/// After sled has opened the log and its snapshot is durable.
pub(super) fn forget(files: &dyn Files) -> Result<()> {
    if files.remove(SPARE_FILE)? {
        files.sync_directory(None)?;
    }
    Ok(())
}

/// The segments before the last one from which on sled demands an unbroken log.
fn endangered(headers: &[SegmentHeader]) -> Vec<SegmentHeader> {
    let size = SEGMENT_SIZE as u64;
    let stable = headers.iter().map(|header| header.stable).max();
    let lowest = stable.unwrap_or(0) / size * size;
    let last = headers.iter().map(|header| header.position).max();
    let mut found: Vec<_> = headers
        .iter()
        .filter(|header| header.position >= lowest && Some(header.position) != last)
        .copied()
        .collect();
    found.sort_by_key(|header| std::cmp::Reverse(header.position));
    found.truncate(MAX_SEGMENTS);
    found
}

/// Segments with their offsets.
type Entries<'b> = Vec<(u64, &'b [u8])>;

fn parse(bytes: &[u8]) -> Option<(u64, Entries<'_>)> {
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_LENGTH>()?;
    if hash32(body) != *checksum {
        return None;
    }
    let (magic, rest) = body.split_first_chunk::<8>()?;
    let (snapshot, rest) = rest.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (_, entries) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    if magic != MAGIC || count > MAX_SEGMENTS || entries.len() != count * ENTRY_LENGTH {
        return None;
    }
    let entries = entries
        .chunks_exact(ENTRY_LENGTH)
        .filter_map(|entry| {
            let (offset, segment) = entry.split_first_chunk::<8>()?;
            let offset = u64::from_be_bytes(*offset);
            offset
                .is_multiple_of(SEGMENT_SIZE as u64)
                .then_some((offset, segment))
        })
        .collect();
    Some((u64::from_be_bytes(*snapshot), entries))
}
