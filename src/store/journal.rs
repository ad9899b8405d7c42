//! The journal: small groups, durable in one write and one sync, before sled has them on the disk.
//!
//! A file of fixed length whose every byte was written once, so that a sync of it waits for nothing but the data. What
//! is in it counts until sled is synced; then it is written again from the beginning. An entry begins a new page of
//! the disk, so that writing it touches no other.
//!
//! `vault.journal`, big-endian, 262,144 bytes. An entry, at a multiple of 4,096: magic(8) ‖ generation(8) ‖ count of
//! pieces(2) ‖ zero(2) ‖ length of the body(4) ‖ SHA-512 of the 24 bytes before and the body, first 32 bytes ‖ body: for
//! each piece of the group's redo record, length(4) ‖ sealed record.

use super::files::{Access, Files, VaultFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::fields::{Reader, Writer};
use crate::format::record::SealedRecord;
use crate::seal::hash32;

pub(super) const JOURNAL_FILE: &str = "vault.journal";

const MAGIC: &[u8; 8] = b"SRMJRN01";
/// What every version's begins with.
const FAMILY: &[u8; 6] = b"SRMJRN";
/// Length of the file.
pub(super) const LENGTH: usize = 256 * 1024;
const PAGE: usize = 4 * 1024;
const HASHED: usize = 24;
const HEAD: usize = HASHED + 32;

/// The redo record of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The generation that the group makes.
    pub(crate) generation: u64,
    pub(crate) pieces: Vec<SealedRecord>,
}

impl Entry {
    /// What it takes in the file.
    fn length(&self) -> usize {
        let pieces = self.pieces.iter();
        let body: usize = pieces.map(|piece| 4 + piece.as_bytes().len()).sum();
        (HEAD + body).next_multiple_of(PAGE)
    }

    /// Whether it fits into a journal that is empty.
    pub(super) fn fits(&self) -> bool {
        self.length() <= LENGTH
    }

    /// With zeros up to the end of its last page.
    fn encode(&self) -> Result<Vec<u8>> {
        let too_large = || Error::internal("an entry of the journal is too large");
        let mut bytes = vec![0; self.length()];
        let (head, body) = bytes.split_at_mut(HEAD);
        let mut end = 0;
        for piece in &self.pieces {
            let piece = piece.as_bytes();
            let length = u32::try_from(piece.len()).map_err(|_| too_large())?;
            body[end..end + 4].copy_from_slice(&length.to_be_bytes());
            body[end + 4..end + 4 + piece.len()].copy_from_slice(piece);
            end += 4 + piece.len();
        }
        Writer::new(&mut head[..HASHED])
            .bytes(MAGIC)
            .u64(self.generation)
            .u16(u16::try_from(self.pieces.len()).map_err(|_| too_large())?)
            .zeros(2)
            .u32(u32::try_from(end).map_err(|_| too_large())?);
        let hash = hash32(&[&head[..HASHED], &body[..end]].concat());
        head[HASHED..].copy_from_slice(&hash);
        Ok(bytes)
    }

    /// What stands at the beginning of `bytes`; nothing when that is no whole entry.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let mut reader = Reader::new(head);
        let magic: [u8; 8] = reader.array()?;
        let generation = reader.u64()?;
        let count = reader.u16()?;
        reader.zeros(2)?;
        let length = usize::try_from(reader.u32()?).ok()?;
        let hash: [u8; 32] = reader.array()?;
        let body = rest.get(..length)?;
        if magic != *MAGIC || hash != hash32(&[&head[..HASHED], body].concat()) {
            return None;
        }
        let mut reader = Reader::new(body);
        let mut pieces = Vec::new();
        for _ in 0..count {
            let length = usize::try_from(reader.u32()?).ok()?;
            pieces.push(SealedRecord::parse(reader.slice(length)?.to_vec()).ok()?);
        }
        reader.end()?;
        Some(Self { generation, pieces })
    }
}

/// The journal of an open vault.
#[derive(Debug)]
pub(super) struct Journal {
    /// There from the first entry on.
    file: Option<Box<dyn VaultFile>>,
    /// Where the next entry goes.
    end: usize,
}

impl Journal {
    /// The journal, and what is in it: entries of generations that follow one another. Most are older than what sled
    /// has.
    ///
    /// Errors: `NewerFormat`, `StorageFull`, `ReadOnly`, `Io`.
    pub(super) fn open(files: &dyn Files, forget_cached: bool) -> Result<(Self, Vec<Entry>)> {
        let file = files.open(JOURNAL_FILE, Access::ReadWrite)?;
        let mut entries = Vec::new();
        if let Some(file) = &file {
            file.sync_data()?;
            if forget_cached {
                file.forget_cached()?;
            }
            let mut bytes = vec![0; LENGTH];
            let read = file.read_at(&mut bytes, 0)?;
            entries = read_entries(&bytes[..read])?;
            if read < LENGTH {
                // Its making was cut short.
                file.write_at(&bytes[read..], read as u64)?;
                file.sync_data()?;
            }
        }
        Ok((Self { file, end: 0 }, entries))
    }

    /// Whether an entry has room behind the others.
    pub(super) fn has_room_for(&self, entry: &Entry) -> bool {
        self.end + entry.length() <= LENGTH
    }

    /// How many of the file's bytes hold entries that count.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.end
    }

    /// Writes an entry behind the others, without syncing it.
    ///
    /// Errors: `StorageFull`, `ReadOnly`, `Io`, `Internal` when it has no room.
    pub(super) fn write(&mut self, files: &dyn Files, entry: &Entry) -> Result<()> {
        if !self.has_room_for(entry) {
            return Err(Error::internal("an entry has no room in the journal"));
        }
        let bytes = entry.encode()?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(make(files)?),
        };
        file.write_at(&bytes, self.end as u64)?;
        self.end += bytes.len();
        Ok(())
    }

    /// Errors: `Io`.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data())
    }

    /// sled has everything: what is in the journal no longer counts.
    pub(super) fn restart(&mut self) {
        self.end = 0;
    }
}

/// Durably, with every byte written.
fn make(files: &dyn Files) -> Result<Box<dyn VaultFile>> {
    let file = files
        .open(JOURNAL_FILE, Access::Create)?
        .ok_or_else(|| Error::new(ErrorKind::Io, "a file that was made is not there"))?;
    file.write_at(&vec![0; LENGTH], 0)?;
    file.sync_data()?;
    files.sync_directory(None)?;
    Ok(file)
}

fn read_entries(bytes: &[u8]) -> Result<Vec<Entry>> {
    if bytes.starts_with(FAMILY) && !bytes.starts_with(MAGIC) {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            "the file `vault.journal` has a format that this build does not know; \
             open the vault with the version that wrote it",
        ));
    }
    let mut rest = bytes;
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(entry) = Entry::read(rest) {
        let follows = entries
            .last()
            .is_none_or(|last| last.generation.checked_add(1) == Some(entry.generation));
        if !follows {
            break;
        }
        rest = rest.get(entry.length()..).unwrap_or(&[]);
        entries.push(entry);
    }
    Ok(entries)
}
