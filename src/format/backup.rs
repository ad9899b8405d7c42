//! The container of backups: framing and limits, nothing opened.

use super::fields::{Reader, Writer};
use crate::error::{Error, ErrorKind, Result};

/// The longest blob.
pub(crate) const MAX_BLOB_LENGTH: usize = 48 * 1_024 * 1_024;
/// The longest header.
pub(crate) const MAX_BACKUP_HEADER_LENGTH: usize = 65_536;
/// The most stanzas.
pub(crate) const MAX_STANZAS: usize = 16;
/// Bytes of each of the two MACs.
pub(crate) const BACKUP_MAC_LENGTH: usize = 64;
/// Bytes of a domain stanza's data: a sealed file key.
pub(crate) const DOMAIN_STANZA_LENGTH: usize = 104;

const BACKUP_MAGIC: [u8; 8] = *b"SRMBKP01";
const BACKUP_FORMAT: u16 = 1;
const FIXED_LENGTH: usize = 64;
const STANZA_HEADER_LENGTH: usize = 8;
/// Bytes of a recipient stanza's data: HPKE's encapsulated key and the sealed file key.
pub(crate) const RECIPIENT_STANZA_LENGTH: usize = 80;
/// Bytes of a passphrase stanza's data: parameters, salt and sealed file key.
pub(crate) const PASSPHRASE_STANZA_LENGTH: usize = 152;
const PASSPHRASE_PREFIX_LENGTH: usize = 48;
/// The fixed part, the shortest stanza and the MAC.
const MIN_HEADER_LENGTH: usize =
    FIXED_LENGTH + STANZA_HEADER_LENGTH + RECIPIENT_STANZA_LENGTH + BACKUP_MAC_LENGTH;
/// Salt, commitment and one tag.
const MIN_PAYLOAD_LENGTH: usize = 72;

const TYPE_DOMAIN: u16 = 1;
const TYPE_RECIPIENT: u16 = 2;
const TYPE_PASSPHRASE: u16 = 3;
/// Reserved for recipients with a hybrid KEM.
const TYPE_HYBRID_RECIPIENT: u16 = 4;

/// The ways in which a container can be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Modes {
    byte: u8,
}

impl Modes {
    pub(crate) const DOMAIN: Self = Self { byte: 1 };
    pub(crate) const RECIPIENTS: Self = Self { byte: 2 };
    pub(crate) const PASSPHRASE: Self = Self { byte: 4 };
    /// Not a backup but a security domain.
    pub(crate) const DOMAIN_FILE: Self = Self { byte: 8 };
    /// The beginning of the backup of a whole vault.
    pub(crate) const WHOLE_VAULT: Self = Self { byte: 16 };
    /// No bit: the backup of a key, before its stanzas add theirs.
    pub(crate) const KEY: Self = Self { byte: 0 };

    const KNOWN: u8 = 31;
    const CONTENTS: u8 = Self::DOMAIN_FILE.byte | Self::WHOLE_VAULT.byte;

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.byte & other.byte == other.byte
    }

    /// The bits that say what is sealed rather than to whom.
    pub(crate) const fn contents(self) -> Self {
        Self {
            byte: self.byte & Self::CONTENTS,
        }
    }

    const fn with(self, other: Self) -> Self {
        Self {
            byte: self.byte | other.byte,
        }
    }
}

/// One way to the file key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stanza<'b> {
    Domain {
        epoch: u32,
        data: &'b [u8; DOMAIN_STANZA_LENGTH],
    },
    Recipient(&'b [u8; RECIPIENT_STANZA_LENGTH]),
    Passphrase(&'b [u8; PASSPHRASE_STANZA_LENGTH]),
    /// A type that a later build added: of no use here, and no reason to refuse the other stanzas, because the
    /// header's MAC covers it.
    Other(u16),
}

/// A container cut into its parts. Nothing in it may be believed before its MACs are checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Container<'b> {
    pub(crate) suite: u8,
    pub(crate) modes: Modes,
    /// Zero without a domain stanza.
    pub(crate) domain_id: [u8; 16],
    pub(crate) blob_id: [u8; 16],
    pub(crate) created_unix_milliseconds: u64,
    pub(crate) stanzas: Vec<Stanza<'b>>,
    /// The header with its MAC, which the payload's context binds.
    pub(crate) header: &'b [u8],
    pub(crate) header_mac_input: &'b [u8],
    pub(crate) header_mac: [u8; BACKUP_MAC_LENGTH],
    pub(crate) sealed_payload: &'b [u8],
    pub(crate) domain_mac_input: &'b [u8],
    /// Present exactly with [`Modes::DOMAIN`].
    pub(crate) domain_mac: Option<[u8; BACKUP_MAC_LENGTH]>,
}

impl<'b> Container<'b> {
    /// Errors: `InvalidBackup` for anything that no build writes, `TooLarge` above [`MAX_BLOB_LENGTH`],
    /// `NewerFormat` for an unknown format or mode or when no stanza is known.
    pub(crate) fn parse(blob: &'b [u8]) -> Result<Self> {
        if blob.len() > MAX_BLOB_LENGTH {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "a backup has at most 48 MiB",
            ));
        }
        let mut fields = Reader::new(blob);
        if fields.array() != Some(BACKUP_MAGIC) {
            return Err(invalid("these bytes are not a backup"));
        }
        let format = fields.u16().ok_or_else(damaged)?;
        let suite = fields.u8().ok_or_else(damaged)?;
        let mode = fields.u8().ok_or_else(damaged)?;
        if format != BACKUP_FORMAT || mode & !Modes::KNOWN != 0 {
            return Err(newer());
        }
        let modes = Modes { byte: mode };
        let container = Self::read(blob, suite, modes, fields).ok_or_else(damaged)?;
        let known = |stanza: &Stanza<'_>| !matches!(stanza, Stanza::Other(_));
        if container.stanzas.iter().any(known) {
            Ok(container)
        } else {
            Err(newer())
        }
    }

    fn read(blob: &'b [u8], suite: u8, modes: Modes, mut fields: Reader<'b>) -> Option<Self> {
        let header_length = usize::try_from(fields.u32()?).ok()?;
        if !(MIN_HEADER_LENGTH..=MAX_BACKUP_HEADER_LENGTH).contains(&header_length) {
            return None;
        }
        let (header, rest) = blob.split_at_checked(header_length)?;
        let (header_mac_input, header_mac) = header.split_last_chunk()?;
        let (sealed_payload, domain_mac) = if modes.contains(Modes::DOMAIN) {
            let (payload, mac) = rest.split_last_chunk()?;
            (payload, Some(*mac))
        } else {
            (rest, None)
        };
        if sealed_payload.len() < MIN_PAYLOAD_LENGTH {
            return None;
        }

        let domain_id = fields.array()?;
        let blob_id = fields.array()?;
        let created_unix_milliseconds = fields.u64()?;
        let count = usize::from(fields.u16()?);
        fields.zeros(6)?;
        if count == 0 || count > MAX_STANZAS {
            return None;
        }
        let mut fields = Reader::new(header_mac_input.get(FIXED_LENGTH..)?);
        let stanzas = (0..count)
            .map(|_| read_stanza(&mut fields))
            .collect::<Option<Vec<_>>>()?;
        fields.end()?;

        let count_of = |mode| {
            stanzas
                .iter()
                .filter(|stanza| mode_of(stanza) == mode)
                .count()
        };
        let present = stanzas
            .iter()
            .map(mode_of)
            .fold(Modes::default(), Modes::with);
        let declared = Modes {
            byte: modes.byte & !Modes::CONTENTS,
        };
        let has_domain = modes.contains(Modes::DOMAIN);
        let consistent = present == declared
            && count_of(Modes::DOMAIN) <= 1
            && count_of(Modes::PASSPHRASE) <= 1
            && (has_domain || domain_id == [0; 16])
            && !(has_domain && modes.contains(Modes::DOMAIN_FILE))
            && modes.contents().byte != Modes::CONTENTS;
        consistent.then_some(Self {
            suite,
            modes,
            domain_id,
            blob_id,
            created_unix_milliseconds,
            stanzas,
            header,
            header_mac_input,
            header_mac: *header_mac,
            sealed_payload,
            domain_mac_input: &blob[..header.len() + sealed_payload.len()],
            domain_mac,
        })
    }

    /// The domain stanza's epoch and sealed file key.
    pub(crate) fn domain_stanza(&self) -> Option<(u32, &'b [u8; DOMAIN_STANZA_LENGTH])> {
        self.stanzas.iter().find_map(|stanza| match stanza {
            Stanza::Domain { epoch, data } => Some((*epoch, *data)),
            _ => None,
        })
    }
}

fn read_stanza<'b>(fields: &mut Reader<'b>) -> Option<Stanza<'b>> {
    let stanza_type = fields.u16()?;
    let length = usize::from(fields.u16()?);
    let epoch = fields.u32()?;
    let data = fields.slice(length)?;
    if (stanza_type == TYPE_DOMAIN) != (epoch != 0) {
        return None;
    }
    Some(match stanza_type {
        0 => return None,
        TYPE_DOMAIN => Stanza::Domain {
            epoch,
            data: data.try_into().ok()?,
        },
        TYPE_RECIPIENT => Stanza::Recipient(data.try_into().ok()?),
        TYPE_PASSPHRASE => Stanza::Passphrase(data.try_into().ok()?),
        other => Stanza::Other(other),
    })
}

fn mode_of(stanza: &Stanza<'_>) -> Modes {
    match stanza {
        Stanza::Domain { .. } => Modes::DOMAIN,
        Stanza::Recipient(_) | Stanza::Other(TYPE_HYBRID_RECIPIENT) => Modes::RECIPIENTS,
        Stanza::Passphrase(_) => Modes::PASSPHRASE,
        Stanza::Other(_) => Modes::default(),
    }
}

/// The header, up to its MAC, of a container with these stanzas. `contents` says what it holds if
/// that is no key.
///
/// Errors: `BadParameter` without stanzas or with more than [`MAX_STANZAS`].
pub(crate) fn encode_header(
    suite: u8,
    contents: Modes,
    domain_id: [u8; 16],
    blob_id: [u8; 16],
    created_unix_milliseconds: u64,
    stanzas: &[Stanza<'_>],
) -> Result<Vec<u8>> {
    if stanzas.is_empty() || stanzas.len() > MAX_STANZAS {
        return Err(Error::bad_parameter(
            "a backup is sealed to the domain, to recipients or under a passphrase, 1 to 16 of them together",
        ));
    }
    let oversized = |_| Error::internal("the header of a backup is longer than its format allows");
    let stanzas_length: usize = stanzas
        .iter()
        .map(|stanza| STANZA_HEADER_LENGTH + data_of(stanza).len())
        .sum();
    let length = FIXED_LENGTH + stanzas_length;
    let modes = stanzas.iter().map(mode_of).fold(contents, Modes::with);
    let mut bytes = vec![0; length];
    let mut writer = Writer::new(&mut bytes)
        .bytes(&BACKUP_MAGIC)
        .u16(BACKUP_FORMAT)
        .bytes(&[suite, modes.byte])
        .u32(u32::try_from(length + BACKUP_MAC_LENGTH).map_err(oversized)?)
        .bytes(&domain_id)
        .bytes(&blob_id)
        .u64(created_unix_milliseconds)
        .u16(u16::try_from(stanzas.len()).map_err(oversized)?)
        .zeros(6);
    for stanza in stanzas {
        let data = data_of(stanza);
        let (stanza_type, epoch) = match stanza {
            Stanza::Domain { epoch, .. } => (TYPE_DOMAIN, *epoch),
            Stanza::Recipient(_) => (TYPE_RECIPIENT, 0),
            Stanza::Passphrase(_) => (TYPE_PASSPHRASE, 0),
            Stanza::Other(other) => (*other, 0),
        };
        writer = writer
            .u16(stanza_type)
            .u16(u16::try_from(data.len()).map_err(oversized)?)
            .u32(epoch)
            .bytes(data);
    }
    Ok(bytes)
}

fn data_of<'b>(stanza: &Stanza<'b>) -> &'b [u8] {
    match stanza {
        Stanza::Domain { data, .. } => *data,
        Stanza::Recipient(data) => *data,
        Stanza::Passphrase(data) => *data,
        Stanza::Other(_) => &[],
    }
}

/// A passphrase stanza before its sealed file key: the parameters of Argon2id, zero and the salt.
pub(crate) fn passphrase_prefix(
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
    salt: &[u8; 32],
) -> [u8; PASSPHRASE_PREFIX_LENGTH] {
    let mut bytes = [0; PASSPHRASE_PREFIX_LENGTH];
    Writer::new(&mut bytes)
        .u32(memory_kib)
        .u32(iterations)
        .u32(lanes)
        .zeros(4)
        .bytes(salt);
    bytes
}

/// What a passphrase stanza asks for: memory, iterations and lanes, unchecked, and the salt.
pub(crate) struct PassphraseStanza<'b> {
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
    pub(crate) lanes: u32,
    pub(crate) salt: [u8; 32],
    pub(crate) prefix: &'b [u8],
    pub(crate) sealed_key: &'b [u8],
}

impl<'b> PassphraseStanza<'b> {
    /// `None` when the reserved bytes are not zero.
    pub(crate) fn read(data: &'b [u8; PASSPHRASE_STANZA_LENGTH]) -> Option<Self> {
        let (prefix, sealed_key) = data.split_at(PASSPHRASE_PREFIX_LENGTH);
        let mut fields = Reader::new(prefix);
        let (memory_kib, iterations, lanes) = (fields.u32()?, fields.u32()?, fields.u32()?);
        fields.zeros(4)?;
        Some(Self {
            memory_kib,
            iterations,
            lanes,
            salt: fields.array()?,
            prefix,
            sealed_key,
        })
    }
}

pub(crate) fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidBackup, what)
}

pub(crate) fn damaged() -> Error {
    invalid("the backup is damaged or was altered")
}

pub(crate) fn newer() -> Error {
    Error::new(
        ErrorKind::NewerFormat,
        "the backup was written by a newer version of this library; restore it with that version",
    )
}
