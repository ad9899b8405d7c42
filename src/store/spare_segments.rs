//! A copy of what sled's recovery may destroy.
//!
//! sled's recovery writes a snapshot, and then erases segments in which no page lives any more, without making
//! the snapshot's name durable between the two. When the power goes there, the old snapshot is found beside the
//! erased segment; and when that segment came right before the last one, where sled expects an unbroken log,
//! sled takes everything for torn and drops it. And a read that fails looks to sled like the end of the log: what
//! comes behind is erased, and the snapshot of before is removed.
//!
//! So before sled opens the log, everything that it is going to read is copied to a file of its own: the newest
//! snapshot, and the segments that it does not cover. Once the vault has found its newest state the copy is removed.
//! Until then it is put back, by the same opening when sled shows something else, and otherwise by the next one.
//! Of a long log, only the stretch is copied in which sled expects no gap: then a power cut does no harm, and a read
//! that fails although the same bytes could be read a moment before is found out, but not mended.
//!
//! The copy belongs to an anchor: it is not put back into a vault that has gone on.
//!
//! `vault.spare`, big-endian: magic(8) ‖ position of the newest snapshot(8) ‖ its length(8) ‖ number of segments(4) ‖
//! whether everything is there(1) ‖ zero(3) ‖ SHA-512 of `vault.anchor`, first 32 bytes ‖ CRC-32 of all before(4) ‖
//! snapshot ‖ CRC-32 of it(4) ‖ for each segment: offset(8) ‖ segment(524,288) ‖ CRC-32 of the two(4).

use super::files::{Access, Files, VaultFile};
use super::sled_log::{DB_FILE, SEGMENT_SIZE, SegmentHeader, newest_snapshot, segment_headers};
use super::vault_dir::ANCHOR_FILE;
use crate::error::{Error, ErrorKind, Result};
use crate::format::anchor::ANCHOR_FILE_LENGTH;
use crate::seal::hash32;

/// Only there while a vault is being opened, or after that was cut short.
pub(super) const SPARE_FILE: &str = "vault.spare";

const MAGIC: &[u8; 8] = b"SRMSPR02";
const CHECKSUM_LENGTH: usize = 4;
const HEAD_LENGTH: usize = 64 + CHECKSUM_LENGTH;
const ENTRY_LENGTH: usize = 8 + SEGMENT_SIZE + CHECKSUM_LENGTH;
/// 16 MiB: more of them would be felt when a vault is opened.
const MAX_SEGMENTS: usize = 32;
/// Of a vault with some hundred thousand keys.
const MAX_SNAPSHOT: u64 = 16 << 20;
/// The stretch is one segment long, or two when one commit filled the second: more is no log of ours.
const MAX_STRETCH: usize = 4;

/// What stands at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    snapshot: u64,
    snapshot_length: usize,
    segments: usize,
    complete: bool,
    anchor: [u8; 32],
}

/// Copies what recovery could destroy, durably.
///
/// Errors: `StorageFull`, `ReadOnly`, `Io`.
pub(super) fn save(
    files: &dyn Files,
    data: &dyn VaultFile,
    headers: &[SegmentHeader],
) -> Result<()> {
    files.remove(SPARE_FILE)?;
    let snapshot = newest_snapshot(files)?;
    let uncovered = uncovered(headers, snapshot);
    let stored = match snapshot {
        0 => None,
        _ => files.open(&snapshot_name(snapshot), Access::Read)?,
    };
    let length = match &stored {
        Some(file) => file.facts()?.length,
        None => 0,
    };
    if uncovered.len() <= MAX_SEGMENTS && length <= MAX_SNAPSHOT {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        if let Some(file) = &stored {
            file.read_at(&mut bytes, 0)?;
        }
        match write(files, data, (snapshot, &bytes), &uncovered, true) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                files.remove(SPARE_FILE)?;
            }
            written => return written,
        }
    }
    let stretch = unbroken(headers);
    if stretch.is_empty() {
        return Ok(());
    }
    write(files, data, (snapshot, &[]), &stretch, false)
}

fn write(
    files: &dyn Files,
    data: &dyn VaultFile,
    (position, snapshot): (u64, &[u8]),
    segments: &[SegmentHeader],
    complete: bool,
) -> Result<()> {
    let file = files
        .open(SPARE_FILE, Access::Create)?
        .ok_or_else(|| Error::new(ErrorKind::Io, "a file that was made is not there"))?;
    let head = Head {
        snapshot: position,
        snapshot_length: snapshot.len(),
        segments: segments.len(),
        complete,
        anchor: anchor_now(files)?,
    };
    let mut start = head.encode();
    start.extend_from_slice(snapshot);
    start.extend_from_slice(&checksum(snapshot));
    file.write_at(&start, 0)?;
    let mut offset = start.len() as u64;
    let mut entry = vec![0; ENTRY_LENGTH];
    for header in segments {
        let (body, sum) = entry.split_at_mut(8 + SEGMENT_SIZE);
        body.fill(0);
        body[..8].copy_from_slice(&header.offset.to_be_bytes());
        // The last segment may end with the file.
        data.read_at(&mut body[8..], header.offset)?;
        sum.copy_from_slice(&checksum(body));
        file.write_at(&entry, offset)?;
        offset += ENTRY_LENGTH as u64;
    }
    file.sync_data()?;
    files.sync_directory(None)
}

/// Puts back what a recovery destroyed, durably; whether there was a copy for it.
///
/// Errors: `StorageFull`, `ReadOnly`, `Io`.
pub(super) fn restore(files: &dyn Files, data: &dyn VaultFile) -> Result<bool> {
    let Some(file) = files.open(SPARE_FILE, Access::Read)? else {
        return Ok(false);
    };
    let Some(copy) = Copy::read(file.as_ref())? else {
        // It was being written: the log was still whole then.
        return Ok(false);
    };
    let head = &copy.head;
    if head.anchor != anchor_now(files)? {
        return Ok(false);
    }
    if !head.complete && head.snapshot != newest_snapshot(files)? {
        // The recovery ended well.
        return Ok(false);
    }
    let present = segment_headers(data)?;
    if head.complete {
        // Segments that were begun since: a log has no two with one position.
        let begun = present.iter().filter(|header| {
            is_uncovered(header, head.snapshot) && !copy.offsets.contains(&header.offset)
        });
        for header in begun {
            data.write_at(&[0; SegmentHeader::LENGTH], header.offset)?;
        }
    }
    for number in 0..copy.offsets.len() {
        let (offset, entry) = copy.entry(file.as_ref(), number)?;
        let segment = &entry[8..8 + SEGMENT_SIZE];
        let saved = SegmentHeader::parse(&segment[..SegmentHeader::LENGTH], offset);
        let now = present.iter().find(|header| header.offset == offset);
        // Of a part of the log, a segment with another valid header is in use again.
        let wanted = head.complete
            || (saved.is_some()
                && now.is_none_or(|now| Some(now.position) == saved.map(|s| s.position)));
        if wanted {
            data.write_at(segment, offset)?;
        }
    }
    data.sync_data()?;
    if head.complete {
        restore_snapshot(files, head.snapshot, &copy.snapshot)?;
    }
    Ok(true)
}

/// Leaves this snapshot as the only one; at position 0 there was none.
fn restore_snapshot(files: &dyn Files, position: u64, bytes: &[u8]) -> Result<()> {
    let name = snapshot_name(position);
    if position > 0 && !holds(files, &name, bytes)? {
        files.remove(&name)?;
        if let Some(file) = files.open(&name, Access::Create)? {
            file.write_at(bytes, 0)?;
            file.sync_data()?;
        }
    }
    files.sync_directory(None)?;
    for other in files.list(None)?.unwrap_or_default() {
        if other.starts_with("snap.") && (position == 0 || other != name) {
            files.remove(&other)?;
        }
    }
    files.sync_directory(None)
}

fn holds(files: &dyn Files, name: &str, bytes: &[u8]) -> Result<bool> {
    let Some(file) = files.open(name, Access::Read)? else {
        return Ok(false);
    };
    if file.facts()?.length != bytes.len() as u64 {
        return Ok(false);
    }
    let mut stored = vec![0; bytes.len()];
    let read = file.read_at(&mut stored, 0)?;
    Ok(read == bytes.len() && stored == bytes)
}

/// Undoes what an opening did that failed, once its engine is closed; whether it could.
///
/// Errors: `StorageFull`, `ReadOnly`, `Io`. What cannot be put back now, the next opening puts back.
pub(super) fn undo(files: &dyn Files) -> Result<bool> {
    let Some(data) = files.open(DB_FILE, Access::ReadWrite)? else {
        return Ok(false);
    };
    let undone = restore(files, data.as_ref())?;
    forget(files)?;
    Ok(undone)
}

/// After the vault has found its newest state, and before it goes on.
pub(super) fn forget(files: &dyn Files) -> Result<()> {
    if files.remove(SPARE_FILE)? {
        files.sync_directory(None)?;
    }
    Ok(())
}

/// The segments that sled's recovery reads.
fn uncovered(headers: &[SegmentHeader], snapshot: u64) -> Vec<SegmentHeader> {
    let headers = headers.iter().copied();
    headers
        .filter(|header| is_uncovered(header, snapshot))
        .collect()
}

fn is_uncovered(header: &SegmentHeader, snapshot: u64) -> bool {
    header.position.saturating_add(SEGMENT_SIZE as u64) > snapshot
}

/// The segments before the last one from which on sled demands an unbroken log.
fn unbroken(headers: &[SegmentHeader]) -> Vec<SegmentHeader> {
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
    found.truncate(MAX_STRETCH);
    found
}

fn snapshot_name(position: u64) -> String {
    format!("snap.{position:016X}")
}

/// Of the anchor as it is; of nothing when it is missing.
fn anchor_now(files: &dyn Files) -> Result<[u8; 32]> {
    let mut bytes = Vec::new();
    if let Some(file) = files.open(ANCHOR_FILE, Access::Read)? {
        bytes.resize(ANCHOR_FILE_LENGTH, 0);
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
    }
    Ok(hash32(&bytes))
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    crc32fast::hash(bytes).to_be_bytes()
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LENGTH + self.snapshot_length + CHECKSUM_LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.snapshot.to_be_bytes());
        bytes.extend_from_slice(&(self.snapshot_length as u64).to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(self.segments).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&[u8::from(self.complete), 0, 0, 0]);
        bytes.extend_from_slice(&self.anchor);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    fn parse(bytes: &[u8; HEAD_LENGTH]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_LENGTH>()?;
        let (magic, rest) = body.split_first_chunk::<8>()?;
        let (snapshot, rest) = rest.split_first_chunk()?;
        let (snapshot_length, rest) = rest.split_first_chunk()?;
        let (segments, rest) = rest.split_first_chunk()?;
        let (flags, anchor) = rest.split_first_chunk::<4>()?;
        let head = Self {
            snapshot: u64::from_be_bytes(*snapshot),
            snapshot_length: usize::try_from(u64::from_be_bytes(*snapshot_length)).ok()?,
            segments: usize::try_from(u32::from_be_bytes(*segments)).ok()?,
            complete: flags[0] == 1,
            anchor: *anchor.first_chunk()?,
        };
        let legal = magic == MAGIC
            && checksum(body) == *sum
            && head.snapshot_length as u64 <= MAX_SNAPSHOT
            && head.segments <= MAX_SEGMENTS;
        legal.then_some(head)
    }
}

/// A copy that is whole.
struct Copy {
    head: Head,
    snapshot: Vec<u8>,
    /// Of the segments, in their order.
    offsets: Vec<u64>,
}

impl Copy {
    fn read(file: &dyn VaultFile) -> Result<Option<Self>> {
        let mut bytes = [0; HEAD_LENGTH];
        let read = file.read_at(&mut bytes, 0)?;
        let Some(head) = Head::parse(&bytes).filter(|_| read == HEAD_LENGTH) else {
            return Ok(None);
        };
        let mut snapshot = vec![0; head.snapshot_length + CHECKSUM_LENGTH];
        let read = file.read_at(&mut snapshot, HEAD_LENGTH as u64)?;
        let sum = snapshot.split_off(head.snapshot_length);
        if read != head.snapshot_length + CHECKSUM_LENGTH || checksum(&snapshot)[..] != sum {
            return Ok(None);
        }
        let mut copy = Self {
            head,
            snapshot,
            offsets: Vec::new(),
        };
        for number in 0..head.segments {
            let (offset, entry) = copy.entry(file, number)?;
            let (body, sum) = entry.split_at(8 + SEGMENT_SIZE);
            if checksum(body)[..] != *sum || !offset.is_multiple_of(SEGMENT_SIZE as u64) {
                return Ok(None);
            }
            copy.offsets.push(offset);
        }
        Ok(Some(copy))
    }

    /// A segment's offset, and the entry; zeros behind the end of the file.
    fn entry(&self, file: &dyn VaultFile, number: usize) -> Result<(u64, Vec<u8>)> {
        let start = HEAD_LENGTH + self.snapshot.len() + CHECKSUM_LENGTH;
        let mut entry = vec![0; ENTRY_LENGTH];
        file.read_at(&mut entry, (start + number * ENTRY_LENGTH) as u64)?;
        let mut offset = [0; 8];
        offset.copy_from_slice(&entry[..8]);
        Ok((u64::from_be_bytes(offset), entry))
    }
}
