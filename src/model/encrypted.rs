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
