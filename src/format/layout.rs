//! The encoding inside sealed records: a big-endian u16 layout number, then bincode with fixed-width
//! big-endian integers, a limit, and nothing after the end.

use std::fmt;
use std::marker::PhantomData;

use bincode::Options;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::record::MAX_RECORD_PLAINTEXT;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of the layout number.
const NUMBER_LENGTH: usize = 2;

fn options(limit: usize) -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_big_endian()
        .with_limit(limit as u64)
        .reject_trailing_bytes()
}

/// layout number ‖ `head` ‖ `value`, in one allocation that is wiped.
pub(super) fn encode<T: Serialize>(
    layout: u16,
    head: &[u8],
    value: &T,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    let options = || options(limit.saturating_sub(NUMBER_LENGTH + head.len()));
    let too_large = |error: bincode::Error| {
        Error::new(
            ErrorKind::TooLarge,
            "the key does not fit into a record: use fewer or shorter tags",
        )
        .with_source(error)
    };
    let size = options().serialized_size(value).map_err(too_large)?;
    let size = usize::try_from(size).map_err(|_| Error::internal("a record has no size"))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(NUMBER_LENGTH + head.len() + size));
    bytes.extend_from_slice(&layout.to_be_bytes());
    bytes.extend_from_slice(head);
    options()
        .serialize_into(&mut *bytes, value)
        .map_err(too_large)?;
    Ok(bytes)
}

/// The default limit: what a record holds.
pub(super) fn encode_record<T: Serialize>(
    layout: u16,
    head: &[u8],
    value: &T,
) -> Result<Zeroizing<Vec<u8>>> {
    encode(layout, head, value, MAX_RECORD_PLAINTEXT - 1)
}

/// Splits off the layout number.
///
/// Errors: `Corrupt` when there is none.
pub(super) fn split_number(bytes: &[u8]) -> Result<(u16, &[u8])> {
    let (number, rest) = bytes
        .split_first_chunk::<NUMBER_LENGTH>()
        .ok_or_else(|| corrupt("a record is empty"))?;
    Ok((u16::from_be_bytes(*number), rest))
}

pub(super) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
    options(bytes.len())
        .deserialize(bytes)
        .map_err(|_| corrupt("a record opens but does not decode"))
}

/// A sequence of at most `MAX` elements whose memory grows with those that are there. Left to serde, a length that is
/// only announced takes up to a mebibyte.
pub(super) struct Bounded<T, const MAX: usize>(pub(super) Vec<T>);

impl<T: Serialize, const MAX: usize> Serialize for Bounded<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

struct BoundedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedVisitor<T, MAX> {
    type Value = Bounded<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if elements.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            elements.push(element);
        }
        Ok(Bounded(elements))
    }
}

pub(super) fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

pub(super) fn newer(what: &'static str) -> Error {
    Error::new(ErrorKind::NewerFormat, what)
}
