//! The header file: two identical copies of everything that must be known before the records.

use super::fields::{Reader, Writer};
use super::slot::{SLOT_LENGTH, Slot};
use crate::error::{Error, ErrorKind, Result};

pub(crate) use super::ring::{KekRing, SdkRing};

/// Bytes of one copy.
pub(crate) const HEADER_COPY_LENGTH: usize = 20_480;
/// The most slots of a header.
pub(crate) const MAX_SLOTS: usize = 8;
/// Bytes of the MAC.
pub(crate) const HEADER_MAC_LENGTH: usize = HEADER_COPY_LENGTH - MAC_AT;
/// Bytes of a sealed KEK ring.
pub(crate) const SEALED_KEK_RING_LENGTH: usize = 152;
/// Bytes of a sealed security-domain ring.
pub(crate) const SEALED_SDK_RING_LENGTH: usize = 1_520;

const HEADER_MAGIC: [u8; 8] = *b"SRMHDR01";
const HEADER_FORMAT: u16 = 1;
const HEADER_COPY_LENGTH_FIELD: u32 = 20_480;

const FORMAT_AT: usize = 8;
const MIN_READER_AT: usize = 10;
const HEADER_LENGTH_AT: usize = 12;
const VAULT_ID_AT: usize = 16;
const DOMAIN_ID_AT: usize = 32;
const SEQ_AT: usize = 48;
const SLOT_COUNT_AT: usize = 56;
const SUITE_AT: usize = 58;
const SLOTS_AT: usize = 64;
const KEK_RING_AT: usize = 16_448;
const SDK_RING_AT: usize = 16_608;
const RESERVED_AT: usize = 18_144;
const CHECKSUM_AT: usize = 20_384;
const MAC_AT: usize = 20_416;

const _: () = {
    assert!(DOMAIN_ID_AT == VAULT_ID_AT + 16 && SEQ_AT == DOMAIN_ID_AT + 16);
    assert!(SLOT_COUNT_AT == SEQ_AT + 8 && SUITE_AT == SLOT_COUNT_AT + 2);
    assert!(KEK_RING_AT == SLOTS_AT + MAX_SLOTS * SLOT_LENGTH);
};

/// The contents of a copy besides checksum and MAC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) vault_id: [u8; 16],
    pub(crate) domain_id: [u8; 16],
    /// Counts the headers of this vault.
    pub(crate) seq: u64,
    /// The suite's byte; `seal` knows which there are.
    pub(crate) suite: u8,
    /// One to [`MAX_SLOTS`].
    pub(crate) slots: Vec<Slot>,
    pub(crate) kek_ring: [u8; SEALED_KEK_RING_LENGTH],
    pub(crate) sdk_ring: [u8; SEALED_SDK_RING_LENGTH],
}

/// SHA-512 of the bytes, its first 32 bytes: given by the caller, because this room hashes nothing.
pub(crate) type Checksum = fn(&[u8]) -> [u8; 32];

impl Header {
    /// The bytes under the MAC, the checksum included.
    pub(crate) fn mac_input(&self, checksum: Checksum) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_COPY_LENGTH];
        Writer::new(&mut bytes)
            .bytes(&HEADER_MAGIC)
            .u16(HEADER_FORMAT)
            .u16(HEADER_FORMAT)
            .u32(HEADER_COPY_LENGTH_FIELD)
            .bytes(&self.vault_id)
            .bytes(&self.domain_id)
            .u64(self.seq)
            .u16(u16::try_from(self.slots.len()).unwrap_or(u16::MAX))
            .bytes(&[self.suite]);
        let places = bytes[SLOTS_AT..KEK_RING_AT].chunks_exact_mut(SLOT_LENGTH);
        for (place, slot) in places.zip(&self.slots) {
            slot.write(place);
        }
        bytes[KEK_RING_AT..KEK_RING_AT + SEALED_KEK_RING_LENGTH].copy_from_slice(&self.kek_ring);
        bytes[SDK_RING_AT..SDK_RING_AT + SEALED_SDK_RING_LENGTH].copy_from_slice(&self.sdk_ring);
        let sum = checksum(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..MAC_AT].copy_from_slice(&sum);
        bytes.truncate(MAC_AT);
        bytes
    }

    /// One whole copy, with the MAC of [`Header::mac_input`].
    pub(crate) fn encode(&self, checksum: Checksum, mac: &[u8; HEADER_MAC_LENGTH]) -> Vec<u8> {
        let mut bytes = self.mac_input(checksum);
        bytes.extend_from_slice(mac);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<StoredHeader> {
        let mut fields = Reader::new(bytes);
        fields.slice(VAULT_ID_AT)?; // checked by the caller
        let vault_id = fields.array()?;
        let domain_id = fields.array()?;
        let seq = fields.u64()?;
        let count = usize::from(fields.u16()?);
        let suite = fields.u8()?;
        fields.zeros(SLOTS_AT - SUITE_AT - 1)?;
        if count == 0 || count > MAX_SLOTS {
            return None;
        }
        let slots = (0..count)
            .map(|_| Slot::read(fields.slice(SLOT_LENGTH)?))
            .collect::<Option<_>>()?;
        fields.zeros((MAX_SLOTS - count) * SLOT_LENGTH)?;
        let kek_ring = fields.array()?;
        fields.zeros(SDK_RING_AT - KEK_RING_AT - SEALED_KEK_RING_LENGTH)?;
        let sdk_ring = fields.array()?;
        fields.zeros(RESERVED_AT - SDK_RING_AT - SEALED_SDK_RING_LENGTH)?;
        fields.zeros(CHECKSUM_AT - RESERVED_AT)?;
        fields.slice(MAC_AT - CHECKSUM_AT)?;
        let mac = fields.array()?;
        fields.end()?;
        Some(StoredHeader {
            header: Self {
                vault_id,
                domain_id,
                seq,
                suite,
                slots,
                kek_ring,
                sdk_ring,
            },
            mac,
        })
    }
}

/// A header as it was read. Nothing in it may be believed before the MAC is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredHeader {
    pub(crate) header: Header,
    pub(crate) mac: [u8; HEADER_MAC_LENGTH],
}

impl StoredHeader {
    /// Reads one copy. Reserved bytes must be zero here, before the MAC is known: then a header has one encoding
    /// only, and a format that gives them a meaning must say so in its numbers.
    ///
    /// Errors: `Corrupt` for a wrong length, magic or checksum and for contents that no version writes;
    /// `NewerFormat`. A damaged copy is never called newer, because the checksum comes first.
    pub(crate) fn decode(bytes: &[u8], checksum: Checksum) -> Result<Self> {
        let corrupt = || {
            Error::new(
                ErrorKind::Corrupt,
                "a copy of the vault's header is damaged",
            )
        };
        if bytes.len() != HEADER_COPY_LENGTH
            || bytes[..FORMAT_AT] != HEADER_MAGIC
            || bytes[CHECKSUM_AT..MAC_AT] != checksum(&bytes[..CHECKSUM_AT])
        {
            return Err(corrupt());
        }
        // Another format, even if it lets this one read, could not be written back without loss.
        if bytes[FORMAT_AT..MIN_READER_AT] != HEADER_FORMAT.to_be_bytes()
            || bytes[MIN_READER_AT..HEADER_LENGTH_AT] != HEADER_FORMAT.to_be_bytes()
        {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                "the vault was written by a newer version of this library; open it with that version",
            ));
        }
        if bytes[HEADER_LENGTH_AT..VAULT_ID_AT] != HEADER_COPY_LENGTH_FIELD.to_be_bytes() {
            return Err(corrupt());
        }
        Header::read(bytes).ok_or_else(corrupt)
    }

    /// The copy again, byte for byte.
    pub(crate) fn encode(&self, checksum: Checksum) -> Vec<u8> {
        self.header.encode(checksum, &self.mac)
    }
}

/// The headers worth trying, the one with the higher sequence number first; equal copies give one.
///
/// Errors: `NewerFormat` as soon as one copy is whole and newer, since writing would destroy it; `Corrupt` when
/// neither copy is whole.
pub(crate) fn choose(
    copy_a: &[u8],
    copy_b: &[u8],
    checksum: Checksum,
) -> Result<Vec<StoredHeader>> {
    let mut candidates = Vec::with_capacity(2);
    for copy in [copy_a, copy_b] {
        match StoredHeader::decode(copy, checksum) {
            Ok(header) if !candidates.contains(&header) => candidates.push(header),
            Err(error) if error.kind() == ErrorKind::NewerFormat => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    if candidates.is_empty() {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "both copies of the vault's header are damaged; restore the file vault.hdr from a copy",
        ));
    }
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.header.seq));
    Ok(candidates)
}
