//! Up to 16 bytes in place: an IV or a tag is not worth a trip to the allocator.

use std::fmt;
use std::ops::Deref;

const CAPACITY: usize = 16;
const FULL: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShortBytes {
    /// Zero from `length` on.
    bytes: [u8; CAPACITY],
    length: u8,
}

impl ShortBytes {
    /// `None` for more than 16 bytes.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut short = Self {
            bytes: [0; CAPACITY],
            length: u8::try_from(bytes.len()).ok()?,
        };
        short.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(short)
    }
}

impl ShortBytes {
    /// `length` bytes, up to 16, filled in place.
    #[inline]
    pub(crate) fn filled_with<E>(
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut short = Self {
            bytes: [0; CAPACITY],
            length: FULL,
        };
        let length = length.min(CAPACITY);
        fill(&mut short.bytes[..length])?;
        short.length = u8::try_from(length).unwrap_or(FULL);
        Ok(short)
    }
}

impl From<[u8; CAPACITY]> for ShortBytes {
    fn from(bytes: [u8; CAPACITY]) -> Self {
        Self {
            bytes,
            length: FULL,
        }
    }
}

impl Deref for ShortBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for ShortBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_sixteen_bytes_are_held_as_they_are() {
        let bytes: Vec<u8> = (1..=17).collect();
        for length in 0..=16 {
            let short = ShortBytes::new(&bytes[..length]).unwrap();
            assert_eq!(*short, bytes[..length]);
            assert_eq!(format!("{short:?}"), format!("{:?}", &bytes[..length]));
        }
        assert_eq!(ShortBytes::new(&bytes), None);
        let whole: [u8; 16] = bytes[..16].try_into().unwrap();
        assert_eq!(*ShortBytes::from(whole), whole);
    }

    #[test]
    fn a_short_value_is_not_equal_to_one_with_zeros_behind_it() {
        assert_ne!(ShortBytes::new(&[1]), ShortBytes::new(&[1, 0]));
    }
}
