//! Records cut into values that the engine keeps in its log.

use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{IndexKey, MAX_PARTS, PART_LENGTH, SealedRecord};

/// Length of the engine's keys: index key ‖ part.
pub(crate) const PART_KEY_LENGTH: usize = IndexKey::LENGTH + 1;

/// The engine's key of a part.
pub(crate) fn part_key(index: &IndexKey, part: u8) -> [u8; PART_KEY_LENGTH] {
    let mut key = [part; PART_KEY_LENGTH];
    key[..IndexKey::LENGTH].copy_from_slice(index.as_bytes());
    key
}

/// The parts of a record with their numbers, highest first: part 0 completes it.
pub(crate) fn cut(record: &SealedRecord) -> impl DoubleEndedIterator<Item = (u8, &[u8])> {
    // A record has at most eleven parts, so the zip loses none.
    let parts: Vec<(u8, &[u8])> = (0..=u8::MAX)
        .zip(record.as_bytes().chunks(PART_LENGTH))
        .collect();
    parts.into_iter().rev()
}

/// How many parts a record has.
pub(crate) fn count(record: &SealedRecord) -> u8 {
    u8::try_from(record.as_bytes().len().div_ceil(PART_LENGTH)).unwrap_or(u8::MAX)
}

/// How many parts there are, as part 0 says.
pub(crate) fn declared(first: &[u8]) -> u8 {
    first.get(7).copied().unwrap_or(0)
}

/// Puts a record together from its parts.
#[derive(Debug)]
pub(crate) struct Joiner {
    bytes: Vec<u8>,
    declared: u8,
    joined: u8,
}

impl Joiner {
    /// Begins with part 0, which says how many there are.
    pub(crate) fn start(first: &[u8]) -> Result<Self> {
        let declared = declared(first);
        if declared == 0 || usize::from(declared) > MAX_PARTS {
            return Err(damaged());
        }
        let mut joiner = Self {
            bytes: Vec::with_capacity(usize::from(declared) * PART_LENGTH.min(first.len())),
            declared,
            joined: 0,
        };
        joiner.push(first)?;
        Ok(joiner)
    }

    /// The number of the part that comes next; `None` when all are there.
    pub(crate) fn wants(&self) -> Option<u8> {
        (self.joined < self.declared).then_some(self.joined)
    }

    /// Adds the part that [`Joiner::wants`].
    pub(crate) fn push(&mut self, part: &[u8]) -> Result<()> {
        let last = self.joined + 1 == self.declared;
        if part.len() > PART_LENGTH || (!last && part.len() != PART_LENGTH) {
            return Err(damaged());
        }
        self.bytes.extend_from_slice(part);
        self.joined += 1;
        Ok(())
    }

    /// The record, whose own length says whether the last part was right.
    pub(crate) fn finish(self) -> Result<SealedRecord> {
        if self.wants().is_some() {
            return Err(damaged());
        }
        SealedRecord::parse(self.bytes)
    }
}

/// A part is missing or has a wrong length.
pub(crate) fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "parts of a stored record are missing or have a wrong length",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Class, record_header};

    fn record(body: usize) -> SealedRecord {
        let header = record_header(2, Class::KeyVersion, 0, u32::try_from(body).unwrap());
        let bytes: Vec<u8> = (0..=250).cycle().take(body).collect();
        SealedRecord::from_parts(header, &bytes).unwrap()
    }

    #[test]
    fn every_length_near_a_boundary_comes_back() {
        for total in [88, 6143, 6144, 6145, 12_287, 12_288, 12_289, 65_536, 65_688] {
            let record = record(total - 16);
            let parts: Vec<_> = cut(&record).collect();
            assert_eq!(parts.len(), usize::from(count(&record)));
            assert!(parts.iter().all(|(_, bytes)| bytes.len() <= PART_LENGTH));
            let mut joiner = Joiner::start(parts.last().unwrap().1).unwrap();
            for (number, bytes) in parts.iter().rev().skip(1) {
                assert_eq!(joiner.wants(), Some(*number));
                joiner.push(bytes).unwrap();
            }
            assert_eq!(joiner.finish().unwrap(), record);
        }
    }

    #[test]
    fn a_missing_short_or_long_part_is_corrupt() {
        let record = record(20_000);
        let parts: Vec<_> = cut(&record).map(|(_, bytes)| bytes).rev().collect();
        let join = |parts: &[&[u8]]| -> Result<SealedRecord> {
            let mut joiner = Joiner::start(parts[0])?;
            for part in &parts[1..] {
                joiner.push(part)?;
            }
            joiner.finish()
        };
        assert!(join(&parts).is_ok());
        for bad in [
            vec![parts[0]],
            vec![parts[0], parts[1], parts[2]],
            vec![parts[0], &parts[1][1..], parts[2], parts[3]],
            vec![parts[0], parts[1], parts[2], &parts[3][1..]],
            vec![&parts[0][..5]],
        ] {
            assert_eq!(join(&bad).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
