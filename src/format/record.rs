//! Index keys and the framing of sealed records.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// What a record holds; the byte stands in the index key and in the record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) enum Class {
    Audit,
    Bucket,
    Settings,
    GcmCounter,
    Intent,
    KeyObject,
    Redo,
    State,
    KeyVersion,
}

impl Class {
    pub(crate) const ALL: [Self; 9] = [
        Self::Audit,
        Self::Bucket,
        Self::Settings,
        Self::GcmCounter,
        Self::Intent,
        Self::KeyObject,
        Self::Redo,
        Self::State,
        Self::KeyVersion,
    ];

    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Audit => b'A',
            Self::Bucket => b'B',
            Self::Settings => b'C',
            Self::GcmCounter => b'G',
            Self::Intent => b'I',
            Self::KeyObject => b'M',
            Self::Redo => b'R',
            Self::State => b'S',
            Self::KeyVersion => b'V',
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.byte() == byte)
    }

    /// Whether the record belongs to the bucket of its `n`.
    pub(crate) const fn is_bucket_member(self) -> bool {
        matches!(self, Self::KeyObject | Self::KeyVersion | Self::GcmCounter)
    }
}

/// Namespace bytes: the first byte of an index key.
pub(crate) const NAMESPACE_STATE: u8 = 0;
pub(crate) const NAMESPACE_BUCKETS: u8 = 1;
pub(crate) const NAMESPACE_KEYS: u8 = 2;
pub(crate) const NAMESPACE_NAMELESS: u8 = 3;

/// How many buckets share the key objects, by the first 12 bits of `n`.
pub(crate) const BUCKET_COUNT: u16 = 4_096;

/// The place of a record: namespace(1) ‖ n(16) ‖ class(1) ‖ v(16).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct IndexKey {
    bytes: [u8; Self::LENGTH],
}

impl IndexKey {
    pub(crate) const LENGTH: usize = 34;

    fn new(namespace: u8, n: [u8; 16], class: Class, v: [u8; 16]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = namespace;
        bytes[1..17].copy_from_slice(&n);
        bytes[17] = class.byte();
        bytes[18..].copy_from_slice(&v);
        Self { bytes }
    }

    pub(crate) fn state() -> Self {
        Self::new(NAMESPACE_STATE, [0; 16], Class::State, [0; 16])
    }

    pub(crate) fn bucket(bucket: u16) -> Self {
        let mut n = [0; 16];
        n[..2].copy_from_slice(&bucket.to_be_bytes());
        Self::new(NAMESPACE_BUCKETS, n, Class::Bucket, [0; 16])
    }

    /// The key object with this PRF of its name.
    pub(crate) fn key_object(n: [u8; 16]) -> Self {
        Self::new(NAMESPACE_KEYS, n, Class::KeyObject, [0; 16])
    }

    /// A version with these PRFs of name and version.
    pub(crate) fn key_version(n: [u8; 16], v: [u8; 16]) -> Self {
        Self::new(NAMESPACE_KEYS, n, Class::KeyVersion, v)
    }

    /// The GCM counter of a version with these PRFs of name and version.
    pub(crate) fn gcm_counter(n: [u8; 16], v: [u8; 16]) -> Self {
        Self::new(NAMESPACE_KEYS, n, Class::GcmCounter, v)
    }

    pub(crate) fn settings(number: u64) -> Self {
        Self::nameless(Class::Settings, number, [0; 16])
    }

    /// The audit record whose first entry has this number.
    pub(crate) fn audit(first: u64) -> Self {
        Self::nameless(Class::Audit, first, [0; 16])
    }

    /// The intent about the key with this tag.
    pub(crate) fn intent(tag: [u8; 16]) -> Self {
        Self::nameless(Class::Intent, 0, tag)
    }

    pub(crate) fn redo(piece: u64) -> Self {
        Self::nameless(Class::Redo, piece, [0; 16])
    }

    fn nameless(class: Class, index: u64, v: [u8; 16]) -> Self {
        let mut n = [0; 16];
        n[0] = class.byte();
        n[8..].copy_from_slice(&index.to_be_bytes());
        Self::new(NAMESPACE_NAMELESS, n, class, v)
    }

    /// Reads the 34 bytes; `None` when the class byte is unknown.
    pub(crate) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        Class::from_byte(bytes[17]).map(|_| Self { bytes })
    }

    /// Whether any constructor makes this key: what lies elsewhere is nobody's, and nobody would ever read it.
    pub(crate) fn is_place_of_a_record(&self) -> bool {
        let (n, v) = (self.n(), self.v());
        match (self.namespace(), self.class()) {
            (NAMESPACE_STATE, _) => *self == Self::state(),
            (NAMESPACE_BUCKETS, _) => {
                let number = u16::from_be_bytes([n[0], n[1]]);
                number < BUCKET_COUNT && *self == Self::bucket(number)
            }
            (NAMESPACE_KEYS, Class::KeyObject) => v == [0; 16],
            (NAMESPACE_KEYS, class) => class.is_bucket_member(),
            (
                NAMESPACE_NAMELESS,
                class @ (Class::Audit | Class::Settings | Class::Intent | Class::Redo),
            ) => {
                n[0] == class.byte()
                    && n[1..8] == [0; 7]
                    && (class == Class::Intent || v == [0; 16])
            }
            _ => false,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.bytes
    }

    pub(crate) fn namespace(&self) -> u8 {
        self.bytes[0]
    }

    pub(crate) fn n(&self) -> [u8; 16] {
        let mut n = [0; 16];
        n.copy_from_slice(&self.bytes[1..17]);
        n
    }

    /// The number of a nameless record: of a setting, a piece, or the first audit entry.
    pub(crate) fn number(&self) -> u64 {
        self.n()[8..]
            .iter()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    pub(crate) fn class(&self) -> Class {
        // Every constructor takes the byte from a `Class`.
        Class::from_byte(self.bytes[17]).unwrap_or(Class::State)
    }

    pub(crate) fn v(&self) -> [u8; 16] {
        let mut v = [0; 16];
        v.copy_from_slice(&self.bytes[18..]);
        v
    }

    /// The bucket of a member: the first 12 bits of `n`.
    pub(crate) fn bucket_number(&self) -> u16 {
        u16::from_be_bytes([self.bytes[1], self.bytes[2]]) >> 4
    }

    /// namespace ‖ n ‖ v: what the sealing context adds to the record's own first 16 bytes.
    pub(crate) fn context_bytes(&self) -> [u8; 33] {
        let mut context = [0; 33];
        context[..17].copy_from_slice(&self.bytes[..17]);
        context[17..].copy_from_slice(&self.bytes[18..]);
        context
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexKey({:?} ", self.class())?;
        self.bytes
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Magic of a sealed record.
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"SRMR";
/// The format that this build writes.
pub(crate) const RECORD_FORMAT: u8 = 1;
/// Bytes before the body: magic, format, suite, class, parts, term, body length.
pub(crate) const RECORD_HEADER_LENGTH: usize = 16;
/// The longest padded plaintext of a record.
pub(crate) const MAX_RECORD_PLAINTEXT: usize = 65_536;
/// Shortest body: salt, commitment and one tag.
pub(crate) const MIN_RECORD_BODY: usize = 72;
/// Longest body: the longest plaintext in five chunks.
pub(crate) const MAX_RECORD_BODY: usize = MAX_RECORD_PLAINTEXT + 56 + 5 * 16;
/// Longest value of the storage engine: larger ones could leave its log for files that nothing syncs.
pub(crate) const PART_LENGTH: usize = 6_144;
/// The most parts of a record.
pub(crate) const MAX_PARTS: usize = 11;

/// The first 16 bytes of a record: everything that its sealing context binds besides its place.
pub(crate) fn record_header(suite: u8, class: Class, term: u32, body_length: u32) -> [u8; 16] {
    let parts = (RECORD_HEADER_LENGTH + body_length as usize).div_ceil(PART_LENGTH);
    let mut header = [0; RECORD_HEADER_LENGTH];
    header[..4].copy_from_slice(&RECORD_MAGIC);
    header[4] = RECORD_FORMAT;
    header[5] = suite;
    header[6] = class.byte();
    header[7] = u8::try_from(parts).unwrap_or(u8::MAX);
    header[8..12].copy_from_slice(&term.to_be_bytes());
    header[12..].copy_from_slice(&body_length.to_be_bytes());
    header
}

/// A record as it is stored: framing checked, contents still sealed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealedRecord {
    bytes: Vec<u8>,
}

impl SealedRecord {
    /// Frames a sealed body (salt ‖ commitment ‖ chunks).
    pub(crate) fn from_parts(header: [u8; RECORD_HEADER_LENGTH], body: &[u8]) -> Result<Self> {
        let mut bytes = Vec::with_capacity(RECORD_HEADER_LENGTH + body.len());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(body);
        Self::parse(bytes)
    }

    /// Checks the framing.
    ///
    /// Errors: `Corrupt` when the bytes are no record, `NewerFormat` when a newer build wrote it.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self> {
        let corrupt = |what: &'static str| Err(Error::new(ErrorKind::Corrupt, what));
        let Some(header) = bytes.first_chunk::<RECORD_HEADER_LENGTH>() else {
            return corrupt("a stored record is shorter than its header");
        };
        if header[..4] != RECORD_MAGIC {
            return corrupt("a stored record does not begin with its magic");
        }
        if header[4] != RECORD_FORMAT || Class::from_byte(header[6]).is_none() {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                "a stored record has a format or class that this build does not know; \
                 open the vault with the version that wrote it",
            ));
        }
        let body = bytes.len() - RECORD_HEADER_LENGTH;
        let declared = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
        if declared as usize != body || !(MIN_RECORD_BODY..=MAX_RECORD_BODY).contains(&body) {
            return corrupt("a stored record does not have the length that it declares");
        }
        if usize::from(header[7]) != bytes.len().div_ceil(PART_LENGTH) {
            return corrupt("a stored record does not have the parts that it declares");
        }
        Ok(Self { bytes })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.bytes[..RECORD_HEADER_LENGTH]
    }

    /// salt ‖ commitment ‖ chunks.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[RECORD_HEADER_LENGTH..]
    }

    /// What a replacement of exactly this record is compared by.
    pub(crate) fn salt(&self) -> [u8; 24] {
        let mut salt = [0; 24];
        salt.copy_from_slice(&self.salt_and_commitment()[..24]);
        salt
    }

    /// salt ‖ commitment, 56 bytes: they fix the key of the contents, so they stand for them in digests.
    pub(crate) fn salt_and_commitment(&self) -> &[u8] {
        &self.bytes[RECORD_HEADER_LENGTH..RECORD_HEADER_LENGTH + 56]
    }

    pub(crate) fn suite(&self) -> u8 {
        self.bytes[5]
    }

    pub(crate) fn class(&self) -> Option<Class> {
        Class::from_byte(self.bytes[6])
    }

    pub(crate) fn term(&self) -> u32 {
        u32::from_be_bytes([self.bytes[8], self.bytes[9], self.bytes[10], self.bytes[11]])
    }
}

impl fmt::Debug for SealedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedRecord({} bytes)", self.bytes.len())
    }
}
