//! Up to 16 bytes in place: an IV or a tag is not worth a trip to the allocator.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};

const CAPACITY: usize = 16;

/// Words that are written whole and copied whole: a processor waits when it reads more at once than was written at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShortBytes {
    /// Zero from the length on.
    bytes: [u8; CAPACITY],
    /// One more than the length, so that `None` takes no room of its own.
    after_length: NonZeroUsize,
}

impl ShortBytes {
    /// `None` for more than 16 bytes.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut short = Self::zeroed(bytes.len())?;
        short.copy_from_slice(bytes);
        Some(short)
    }

    /// So many zeros, to be filled in place; `None` for more than 16.
    #[inline]
    pub(crate) fn zeroed(length: usize) -> Option<Self> {
        if length > CAPACITY {
            return None;
        }
        Some(Self {
            bytes: [0; CAPACITY],
            after_length: NonZeroUsize::MIN.saturating_add(length),
        })
    }

    #[inline]
    fn length(&self) -> usize {
        self.after_length.get() - 1
    }
}

impl From<[u8; CAPACITY]> for ShortBytes {
    #[inline]
    fn from(bytes: [u8; CAPACITY]) -> Self {
        Self {
            bytes,
            after_length: NonZeroUsize::MIN.saturating_add(CAPACITY),
        }
    }
}

impl Deref for ShortBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length()]
    }
}

impl DerefMut for ShortBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.length();
        &mut self.bytes[..length]
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
    fn what_is_filled_in_place_is_as_if_it_had_been_copied() {
        let bytes: Vec<u8> = (1..=16).collect();
        for length in 0..=16 {
            let mut short = ShortBytes::zeroed(length).unwrap();
            assert_eq!(*short, vec![0; length]);
            short.copy_from_slice(&bytes[..length]);
            assert_eq!(Some(short), ShortBytes::new(&bytes[..length]));
        }
        for length in [17, 256, 272, usize::MAX] {
            assert_eq!(ShortBytes::zeroed(length), None);
        }
    }

    #[test]
    fn one_that_may_be_missing_is_no_larger() {
        assert_eq!(size_of::<Option<ShortBytes>>(), size_of::<ShortBytes>());
        assert_eq!(size_of::<ShortBytes>(), 24);
    }

    #[test]
    fn a_short_value_is_not_equal_to_one_with_zeros_behind_it() {
        assert_ne!(ShortBytes::new(&[1]), ShortBytes::new(&[1, 0]));
    }
}
