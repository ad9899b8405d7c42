//! What an encryption gives.

use super::short_bytes::ShortBytes;

/// What [`KeyHandle::encrypt`](crate::backend::KeyHandle::encrypt) gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    pub(crate) ciphertext: Box<[u8]>,
    /// 16 bytes.
    pub(crate) tag: Option<ShortBytes>,
}

impl Encrypted {
    /// Ciphertext, and the tag for GCM.
    #[must_use]
    #[inline]
    pub fn new(ciphertext: Vec<u8>, tag: Option<[u8; 16]>) -> Self {
        Self {
            ciphertext: ciphertext.into(),
            tag: tag.map(ShortBytes::from),
        }
    }

    /// Both, by value.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Option<[u8; 16]>) {
        let tag = self.tag.and_then(|tag| <[u8; 16]>::try_from(&*tag).ok());
        (self.ciphertext.into(), tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_those_that_it_was_made_of() {
        for ciphertext in [Vec::new(), vec![1; 5], Vec::with_capacity(9)] {
            for tag in [None, Some([0; 16]), Some([7; 16])] {
                let made = Encrypted::new(ciphertext.clone(), tag);
                assert_eq!(made.clone().into_parts(), (ciphertext.clone(), tag));
                assert_eq!(made.tag.as_deref(), tag.as_ref().map(<[u8; 16]>::as_slice));
                let other = Encrypted::new(ciphertext.clone(), Some([1; 16]));
                assert_ne!(made, other);
            }
        }
    }
}
