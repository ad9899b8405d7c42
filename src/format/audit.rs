//! A: entries of the audit log, as many in a record as were made durable together.

use super::fields::Reader;
use super::layout;
use crate::error::{Error, Result};
use crate::model::audit::AuditEntry;
use crate::model::name::KeyName;
use crate::model::principal::Principal;
use crate::model::version::KeyVersion;

const LAYOUT_1: u16 = 1;

/// The most entries of one record. So many of the longest fit into it.
pub(crate) const MAX_ENTRIES_PER_RECORD: usize = 128;

/// Longest name of an operation or an error.
const MAX_TEXT: usize = 64;
/// time, count, three texts with their lengths, kind, version with its flag, actor with its length.
#[cfg(test)]
const MAX_EVENT_LENGTH: usize = 8 + 4 + 2 * (1 + MAX_TEXT) + 2 + 128 + 17 + 129;

const NO_SUBJECT: u8 = 0;
const KEY: u8 = 1;
const PRINCIPAL: u8 = 2;

/// What is recorded of an act, before it has a number.
#[derive(Debug)]
pub(crate) struct EventFields<'a> {
    pub(crate) time_ms: u64,
    pub(crate) count: u32,
    pub(crate) operation: &'a str,
    /// Empty for success.
    pub(crate) error: &'a str,
    pub(crate) subject: EventSubject<'a>,
    pub(crate) version: Option<KeyVersion>,
    pub(crate) actor: Option<&'a Principal>,
}

/// What an act was about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EventSubject<'a> {
    Vault,
    Key(&'a KeyName),
    Principal(&'a Principal),
}

/// The bytes of an entry, which the chain covers together with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    bytes: Vec<u8>,
}

impl Event {
    /// Errors: `Internal` for a name of an operation or error that is too long.
    pub(crate) fn new(fields: &EventFields<'_>) -> Result<Self> {
        let EventFields {
            time_ms,
            count,
            operation,
            error,
            subject,
            version,
            actor,
        } = fields;
        if operation.is_empty() || operation.len() > MAX_TEXT || error.len() > MAX_TEXT {
            return Err(too_long());
        }
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(&time_ms.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        put_text(&mut bytes, operation)?;
        put_text(&mut bytes, error)?;
        let (kind, text) = match subject {
            EventSubject::Vault => (NO_SUBJECT, ""),
            EventSubject::Key(name) => (KEY, name.as_str()),
            EventSubject::Principal(principal) => (PRINCIPAL, principal.as_str()),
        };
        bytes.push(kind);
        put_text(&mut bytes, text)?;
        match version {
            None => bytes.push(0),
            Some(version) => {
                bytes.push(1);
                bytes.extend_from_slice(version.as_bytes());
            }
        }
        put_text(&mut bytes, actor.map_or("", Principal::as_str))?;
        Ok(Self { bytes })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Errors: `Corrupt`, `NewerFormat` for a kind of subject that this build does not know.
    pub(crate) fn decode(bytes: &[u8], seq: u64) -> Result<AuditEntry> {
        let mut reader = Reader::new(bytes);
        let entry = read_event(&mut reader, seq)?;
        reader.end().ok_or_else(damaged)?;
        Ok(entry)
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Result<()> {
    bytes.push(u8::try_from(text.len()).map_err(|_| too_long())?);
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
}

fn read_event(reader: &mut Reader<'_>, seq: u64) -> Result<AuditEntry> {
    let time_ms = reader.u64().ok_or_else(damaged)?;
    let count = reader.u32().ok_or_else(damaged)?;
    let operation = read_text(reader)?;
    let error = read_text(reader)?;
    if operation.is_empty() || operation.len() > MAX_TEXT || error.len() > MAX_TEXT {
        return Err(damaged());
    }
    let kind = reader.u8().ok_or_else(damaged)?;
    let subject = read_text(reader)?;
    let (key, principal) = match kind {
        NO_SUBJECT if subject.is_empty() => (None, None),
        KEY => (Some(subject.parse().map_err(|_| damaged())?), None),
        PRINCIPAL => (None, Some(subject.parse().map_err(|_| damaged())?)),
        NO_SUBJECT => return Err(damaged()),
        _ => {
            return Err(layout::newer(
                "an audit entry is about something that this build does not know",
            ));
        }
    };
    let version = match reader.u8() {
        Some(0) => None,
        Some(1) => Some(KeyVersion::from_bytes(reader.array().ok_or_else(damaged)?)),
        _ => return Err(damaged()),
    };
    let actor = match read_text(reader)? {
        "" => None,
        text => Some(text.parse().map_err(|_| damaged())?),
    };
    Ok(AuditEntry {
        seq,
        time_ms,
        operation: operation.into(),
        key,
        version,
        principal,
        error: (!error.is_empty()).then(|| error.into()),
        actor,
        count,
    })
}

fn read_text<'b>(reader: &mut Reader<'b>) -> Result<&'b str> {
    let length = reader.u8().ok_or_else(damaged)?;
    let bytes = reader.slice(length.into()).ok_or_else(damaged)?;
    std::str::from_utf8(bytes).map_err(|_| damaged())
}

/// The plaintext of a record whose first entry has the number `first`.
///
/// Errors: `Internal` for no entry or more than [`MAX_ENTRIES_PER_RECORD`].
pub(crate) fn encode_record(first: u64, events: &[Event]) -> Result<Vec<u8>> {
    if !(1..=MAX_ENTRIES_PER_RECORD).contains(&events.len()) {
        return Err(Error::internal("an audit record holds 1 to 128 entries"));
    }
    let length: usize = events.iter().map(|event| 2 + event.bytes.len()).sum();
    let mut plaintext = Vec::with_capacity(12 + length);
    plaintext.extend_from_slice(&LAYOUT_1.to_be_bytes());
    plaintext.extend_from_slice(&first.to_be_bytes());
    let count = u16::try_from(events.len()).map_err(|_| too_long())?;
    plaintext.extend_from_slice(&count.to_be_bytes());
    for event in events {
        let length = u16::try_from(event.bytes.len()).map_err(|_| too_long())?;
        plaintext.extend_from_slice(&length.to_be_bytes());
        plaintext.extend_from_slice(&event.bytes);
    }
    Ok(plaintext)
}

/// The number of the first entry, and the bytes of all of them.
///
/// Errors: `Corrupt`, `NewerFormat`.
pub(crate) fn decode_record(plaintext: &[u8]) -> Result<(u64, Vec<&[u8]>)> {
    let (number, rest) = layout::split_number(plaintext)?;
    if number != LAYOUT_1 {
        return Err(layout::newer(
            "an audit record has a layout of a newer version",
        ));
    }
    let mut reader = Reader::new(rest);
    let first = reader.u64().ok_or_else(damaged)?;
    let count = usize::from(reader.u16().ok_or_else(damaged)?);
    if !(1..=MAX_ENTRIES_PER_RECORD).contains(&count) {
        return Err(damaged());
    }
    first.checked_add(count as u64).ok_or_else(damaged)?;
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.u16().ok_or_else(damaged)?;
        events.push(reader.slice(length.into()).ok_or_else(damaged)?);
    }
    reader.end().ok_or_else(damaged)?;
    Ok((first, events))
}

fn damaged() -> Error {
    layout::corrupt("an audit record opens but does not decode")
}

fn too_long() -> Error {
    Error::internal("a text is too long for an audit entry")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::record::MAX_RECORD_PLAINTEXT;
    use super::*;
    use crate::error::ErrorKind;

    fn longest() -> Event {
        let text = "x".repeat(MAX_TEXT);
        let principal: Principal = "p".repeat(128).parse().unwrap();
        Event::new(&EventFields {
            time_ms: u64::MAX,
            count: u32::MAX,
            operation: &text,
            error: &text,
            subject: EventSubject::Principal(&principal),
            version: Some(KeyVersion::from_bytes([9; 16])),
            actor: Some(&principal),
        })
        .unwrap()
    }

    #[test]
    fn the_longest_entries_fill_a_record_and_read_back() {
        let event = longest();
        assert_eq!(event.as_bytes().len(), MAX_EVENT_LENGTH);
        let events = vec![event; MAX_ENTRIES_PER_RECORD];
        let plaintext = encode_record(7, &events).unwrap();
        assert!(plaintext.len() < MAX_RECORD_PLAINTEXT);
        let (first, read) = decode_record(&plaintext).unwrap();
        assert_eq!((first, read.len()), (7, MAX_ENTRIES_PER_RECORD));
        let entry = Event::decode(read[127], 134).unwrap();
        assert_eq!((entry.seq(), entry.count()), (134, u32::MAX));
        assert!(encode_record(0, &[]).is_err());
        assert!(encode_record(0, &vec![longest(); 129]).is_err());
    }

    /// One entry by hand, so that the layout cannot change unnoticed.
    #[test]
    fn the_bytes_are_those_of_the_manual() {
        let name: KeyName = "Ab".parse().unwrap();
        let event = Event::new(&EventFields {
            time_ms: 0x0102_0304_0506_0708,
            count: 1,
            operation: "KeySign",
            error: "",
            subject: EventSubject::Key(&name),
            version: Some(KeyVersion::from_bytes([5; 16])),
            actor: None,
        })
        .unwrap();
        let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 7];
        expected.extend_from_slice(b"KeySign");
        expected.extend_from_slice(&[0, 1, 2, b'A', b'b', 1]);
        expected.extend_from_slice(&[5; 16]);
        expected.push(0);
        assert_eq!(event.as_bytes(), expected);
        let plaintext = encode_record(3, std::slice::from_ref(&event)).unwrap();
        assert_eq!(expected.len(), 43);
        let mut record = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 43];
        record.extend_from_slice(&expected);
        assert_eq!(plaintext, record);
    }

    #[test]
    fn what_is_cut_short_or_has_impossible_fields_is_refused() {
        let plaintext = encode_record(0, &[longest(), longest()]).unwrap();
        for length in 0..plaintext.len() {
            assert!(decode_record(&plaintext[..length]).is_err(), "{length}");
        }
        let event = longest();
        for length in 0..event.as_bytes().len() {
            assert!(
                Event::decode(&event.as_bytes()[..length], 0).is_err(),
                "{length}"
            );
        }
        // Every byte changed: an error or another entry, never a panic.
        for position in 0..event.as_bytes().len() {
            let mut bytes = event.as_bytes().to_vec();
            for change in [1, 0x80, 0xff] {
                bytes[position] ^= change;
                let _ = Event::decode(&bytes, 0);
            }
        }
    }

    /// The bytes of an entry with these texts, kind, subject, flag of the version and actor.
    fn entry(texts: [&str; 2], kind: u8, subject: &str, version: &[u8], actor: &str) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2];
        let mut put = |text: &str| put_text(&mut bytes, text).unwrap();
        texts.into_iter().for_each(&mut put);
        bytes.push(kind);
        put_text(&mut bytes, subject).unwrap();
        bytes.extend_from_slice(version);
        put_text(&mut bytes, actor).unwrap();
        bytes
    }

    #[test]
    fn an_entry_tells_what_happened_to_what_and_by_whom() {
        let read = |bytes: &[u8]| Event::decode(bytes, 9).unwrap();
        let about_key = read(&entry(
            ["KeySign", "BadParameter"],
            KEY,
            "Ab",
            &[0],
            "alice",
        ));
        assert_eq!((about_key.seq(), about_key.time_ms()), (9, 5));
        assert_eq!((about_key.operation(), about_key.count()), ("KeySign", 2));
        assert_eq!(about_key.error_kind(), Some("BadParameter"));
        assert_eq!(about_key.key().map(KeyName::as_str), Some("Ab"));
        assert_eq!((about_key.principal(), about_key.version()), (None, None));
        assert_eq!(about_key.actor().map(Principal::as_str), Some("alice"));

        let version = [&[1][..], &[7; 16]].concat();
        let about_someone = read(&entry(["x", ""], PRINCIPAL, "bob", &version, ""));
        assert_eq!(
            about_someone.principal().map(Principal::as_str),
            Some("bob")
        );
        assert_eq!((about_someone.key(), about_someone.actor()), (None, None));
        assert_eq!(about_someone.error_kind(), None);
        assert_eq!(
            about_someone.version(),
            Some(KeyVersion::from_bytes([7; 16]))
        );

        let about_the_vault = read(&entry(["x", ""], NO_SUBJECT, "", &[0], ""));
        assert_eq!(about_the_vault.key(), None);
        assert_eq!(about_the_vault.principal(), None);
    }

    #[test]
    fn texts_are_bounded_and_subjects_fit_their_kind() {
        let kind = |bytes: &[u8]| Event::decode(bytes, 0).err().map(|error| error.kind());
        let corrupt = Some(ErrorKind::Corrupt);
        let (longest, too_long) = ("x".repeat(64), "x".repeat(65));
        for (texts, expected) in [
            ([&longest[..], &longest], None),
            ([&too_long[..], ""], corrupt),
            (["x", &too_long], corrupt),
            (["", "x"], corrupt),
        ] {
            assert_eq!(kind(&entry(texts, 0, "", &[0], "")), expected);
            let written = Event::new(&EventFields {
                time_ms: 5,
                count: 2,
                operation: texts[0],
                error: texts[1],
                subject: EventSubject::Vault,
                version: None,
                actor: None,
            });
            assert_eq!(written.is_ok(), expected.is_none());
        }
        for (number, subject, expected) in [
            (NO_SUBJECT, "x", corrupt),
            (KEY, "", corrupt),
            (KEY, "no name", corrupt),
            (PRINCIPAL, "", corrupt),
            (3, "x", Some(ErrorKind::NewerFormat)),
            (255, "", Some(ErrorKind::NewerFormat)),
        ] {
            let bytes = entry(["x", ""], number, subject, &[0], "");
            assert_eq!(kind(&bytes), expected, "{number}");
        }
        assert_eq!(kind(&entry(["x", ""], 0, "", &[2], "")), corrupt);
        assert_eq!(kind(&entry(["x", ""], 0, "", &[0, 0], "")), corrupt);
    }
}
