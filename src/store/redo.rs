//! The redo record: a whole group, written before it is applied, so that a half-applied one becomes whole.

use super::engine::{Page, Scan, Storage, Write};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::fields::{Reader, Writer};
use crate::format::record::{
    Class, IndexKey, MAX_RECORD_BODY, MAX_RECORD_PLAINTEXT, NAMESPACE_NAMELESS,
    RECORD_HEADER_LENGTH, SealedRecord,
};
use crate::seal::hash32;
use crate::seal::hierarchy::Hierarchy;

const LAYOUT: u16 = 1;
/// layout, index, count, zero, generation, base, hash of the stream.
const PIECE_HEADER_LENGTH: usize = 80;
const SLICE_LENGTH: usize = MAX_RECORD_PLAINTEXT - PIECE_HEADER_LENGTH;
/// op, index key, length.
const ENTRY_HEADER_LENGTH: usize = 1 + IndexKey::LENGTH + 4;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
/// A request of 48 MiB with the bucket records that it touches stays far below.
const MAX_PIECES: u16 = 2_048;

/// A group that was written in full and perhaps not applied in full.
#[derive(Debug)]
pub(super) struct Redo {
    pub(super) generation: u64,
    /// Hash of the STATE record that the group changes.
    pub(super) base: [u8; 32],
    pub(super) writes: Vec<Write>,
}

/// Seals the redo record of `writes`.
///
/// Errors: `TooLarge`, `RandomUnavailable`.
pub(super) fn seal(
    hierarchy: &Hierarchy,
    entropy: &dyn Entropy,
    generation: u64,
    base: &[u8; 32],
    writes: &[Write],
) -> Result<Vec<SealedRecord>> {
    let stream = encode(writes)?;
    let hash = hash32(&stream);
    let count = u16::try_from(stream.len().div_ceil(SLICE_LENGTH))
        .ok()
        .filter(|count| *count <= MAX_PIECES)
        .ok_or_else(too_large)?;
    (0..count)
        .zip(stream.chunks(SLICE_LENGTH))
        .map(|(number, slice)| {
            let mut plaintext = vec![0; PIECE_HEADER_LENGTH + slice.len()];
            Writer::new(&mut plaintext)
                .u16(LAYOUT)
                .u16(number)
                .u16(count)
                .zeros(2)
                .u64(generation)
                .bytes(base)
                .bytes(&hash)
                .bytes(slice);
            let index = IndexKey::redo(u64::from(number));
            hierarchy.seal_record(&*hierarchy.meta_key()?, &index, 0, &plaintext, entropy)
        })
        .collect()
}

/// How many pieces are among the records, counted to the last one, and the group in them if it is whole.
///
/// Pieces that do not open or do not fit together are no error: they are what a crash leaves.
pub(super) fn load(engine: &dyn Storage, hierarchy: &Hierarchy) -> Result<(u64, Option<Redo>)> {
    let mut pieces: Vec<(IndexKey, Result<SealedRecord>)> = Vec::new();
    let mut scan = Scan::prefix(&[NAMESPACE_NAMELESS, Class::Redo.byte()], 64);
    loop {
        let Page { records, next } = engine.scan(&scan)?;
        pieces.extend(records);
        if pieces.len() > usize::from(MAX_PIECES) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the redo record has more pieces than any group",
            ));
        }
        match next {
            Some(from) => scan.from = from,
            None => break,
        }
    }
    let stored = pieces
        .last()
        .map_or(0, |(index, _)| piece_number(index) + 1)
        .min(u64::from(MAX_PIECES));
    Ok((stored, join(hierarchy, pieces)?))
}

/// The group in the pieces of a redo record, if they are whole.
///
/// Errors: `NewerFormat`, `Corrupt`.
pub(super) fn open(hierarchy: &Hierarchy, pieces: Vec<SealedRecord>) -> Result<Option<Redo>> {
    let indices = (0..).map(IndexKey::redo);
    join(hierarchy, indices.zip(pieces.into_iter().map(Ok)))
}

impl Redo {
    /// Hash of the STATE record that the group writes.
    pub(super) fn state_hash(&self) -> Option<[u8; 32]> {
        let state = IndexKey::state();
        self.writes.iter().rev().find_map(|write| match write {
            Write::Put(index, record) if *index == state => Some(hash32(record.as_bytes())),
            _ => None,
        })
    }
}

fn piece_number(index: &IndexKey) -> u64 {
    let n = index.n();
    n[8..]
        .iter()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn join(
    hierarchy: &Hierarchy,
    pieces: impl IntoIterator<Item = (IndexKey, Result<SealedRecord>)>,
) -> Result<Option<Redo>> {
    let mut stream = Vec::new();
    let mut fields: Option<PieceFields> = None;
    let mut expected = 0;
    for (position, (index, record)) in (0_u16..).zip(pieces) {
        if fields.as_ref().is_some_and(|first| position >= first.count) {
            break;
        }
        if index != IndexKey::redo(u64::from(position)) {
            return Ok(None);
        }
        let Ok(record) = record else {
            return Ok(None);
        };
        let Ok(plaintext) = hierarchy.open_record(&*hierarchy.meta_key()?, &index, &record) else {
            return Ok(None);
        };
        let Some((piece, slice)) = PieceFields::read(&plaintext, position)? else {
            return Ok(None);
        };
        if *fields.get_or_insert_with(|| piece.clone()) != piece {
            return Ok(None);
        }
        stream.extend_from_slice(slice);
        expected = position + 1;
    }
    match fields {
        Some(fields) if fields.count == expected && hash32(&stream) == fields.hash => {
            Ok(Some(Redo {
                generation: fields.generation,
                base: fields.base,
                writes: decode(&stream)?,
            }))
        }
        _ => Ok(None),
    }
}

/// What all pieces of a group have in common.
#[derive(Clone, PartialEq, Eq)]
struct PieceFields {
    count: u16,
    generation: u64,
    base: [u8; 32],
    hash: [u8; 32],
}

impl PieceFields {
    fn read(plaintext: &[u8], position: u16) -> Result<Option<(Self, &[u8])>> {
        let mut reader = Reader::new(plaintext);
        let layout = reader.u16();
        if layout.is_some_and(|layout| layout != LAYOUT) {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                "the redo record has a layout that this build does not know; \
                 open the vault with the version that wrote it",
            ));
        }
        let read = || {
            let number = reader.u16()?;
            let count = reader.u16()?;
            reader.zeros(2)?;
            let fields = Self {
                count,
                generation: reader.u64()?,
                base: reader.array()?,
                hash: reader.array()?,
            };
            (number == position).then_some(fields)
        };
        let mut read = read;
        Ok(read().map(|fields| (fields, &plaintext[PIECE_HEADER_LENGTH..])))
    }
}

/// What a group of changes encodes to after it was decoded.
///
/// Errors: `Corrupt`, `NewerFormat`.
#[cfg(feature = "testing")]
pub(crate) fn reencoded_group(stream: &[u8]) -> Result<Vec<u8>> {
    encode(&decode(stream)?)
}

fn encode(writes: &[Write]) -> Result<Vec<u8>> {
    let length = writes
        .iter()
        .map(|write| match write {
            Write::Put(_, record) => ENTRY_HEADER_LENGTH + record.as_bytes().len(),
            Write::Remove(_) => ENTRY_HEADER_LENGTH,
        })
        .sum();
    let mut stream = Vec::with_capacity(length);
    for write in writes {
        let (op, bytes): (u8, &[u8]) = match write {
            Write::Put(_, record) => (PUT, record.as_bytes()),
            Write::Remove(_) => (REMOVE, &[]),
        };
        let length = u32::try_from(bytes.len()).map_err(|_| too_large())?;
        stream.push(op);
        stream.extend_from_slice(write.index().as_bytes());
        stream.extend_from_slice(&length.to_be_bytes());
        stream.extend_from_slice(bytes);
    }
    Ok(stream)
}

fn decode(stream: &[u8]) -> Result<Vec<Write>> {
    let mut reader = Reader::new(stream);
    let mut writes = Vec::new();
    while reader.end().is_none() {
        writes.push(decode_entry(&mut reader)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "the redo record holds no group of changes",
            )
        })?);
    }
    Ok(writes)
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Option<Write>> {
    let mut header = || Some((reader.u8()?, reader.array()?, reader.u32()?));
    let Some((op, index, length)) = header() else {
        return Ok(None);
    };
    let index = super::engine::index_of(index)?;
    let length = length as usize;
    match op {
        REMOVE if length == 0 => Ok(Some(Write::Remove(index))),
        PUT if length <= RECORD_HEADER_LENGTH + MAX_RECORD_BODY => {
            let Some(bytes) = reader.slice(length) else {
                return Ok(None);
            };
            Ok(Some(Write::Put(
                index,
                SealedRecord::parse(bytes.to_vec())?,
            )))
        }
        _ => Ok(None),
    }
}

fn too_large() -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "one request changes more than a group can hold",
    )
}
