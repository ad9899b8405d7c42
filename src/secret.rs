//! Bytes that must not leak: boxed, wiped on drop, never cloned, printed or serialised.

use std::fmt;

use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

use crate::env::Entropy;
use crate::error::{Error, Result};

/// Secret bytes of any length on the heap, wiped when dropped.
///
/// Comparison takes the same time for equal lengths whatever the contents. Reading them is
/// [`SecretBytes::expose`].
///
/// # Examples
///
/// ```
/// let secret = strongroom::SecretBytes::from(vec![7; 32]);
/// assert_eq!(format!("{secret:?}"), "SecretBytes(32 bytes)");
/// assert_eq!(secret.expose()[0], 7);
/// ```
pub struct SecretBytes {
    bytes: Box<[u8]>,
}

impl SecretBytes {
    /// The bytes themselves. Whoever calls this answers for the copy.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies `bytes`; the caller keeps, and answers for, the original.
    #[must_use]
    pub fn copied_from(bytes: &[u8]) -> Self {
        Self {
            bytes: Box::from(bytes),
        }
    }

    /// `length` bytes, filled in place.
    pub(crate) fn filled_with<E>(
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let mut secret = Self {
            bytes: vec![0; length].into_boxed_slice(),
        };
        fill(&mut secret.bytes)?;
        Ok(secret)
    }

    pub(crate) fn random(length: usize, entropy: &dyn Entropy) -> Result<Self> {
        Self::filled_with(length, |bytes| entropy.fill(bytes))
    }
}

/// Takes the bytes over; the vector's spare capacity is wiped with it.
impl From<Vec<u8>> for SecretBytes {
    fn from(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self {
                bytes: bytes.into_boxed_slice(),
            };
        }
        // `into_boxed_slice` would move the bytes and leave the old allocation unwiped.
        let secret = Self::copied_from(&bytes);
        bytes.zeroize();
        secret
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        Self::from(std::mem::take(&mut *bytes))
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for SecretBytes {}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.bytes.len())
    }
}

/// A 32-byte key on the heap, wiped when dropped: every key of the at-rest hierarchy.
pub(crate) struct Key32 {
    bytes: Box<[u8; 32]>,
}

impl Key32 {
    /// Built in place, so that no copy stays on the stack of the caller.
    pub(crate) fn filled_with<E>(
        fill: impl FnOnce(&mut [u8; 32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let mut key = Self {
            bytes: Box::new([0; 32]),
        };
        fill(&mut key.bytes)?;
        Ok(key)
    }

    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self> {
        Self::filled_with(|bytes| entropy.fill(bytes))
    }

    pub(crate) fn copied_from(bytes: &[u8]) -> Option<Self> {
        let mut key = Self {
            bytes: Box::new([0; 32]),
        };
        if bytes.len() != key.bytes.len() {
            return None;
        }
        key.bytes.copy_from_slice(bytes);
        Some(key)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl Drop for Key32 {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32(..)")
    }
}

/// The 32 random bytes that unlock a vault.
///
/// Whoever has them and the vault's directory has every software key in it. Whoever loses them has
/// lost the vault.
///
/// # Examples
///
/// ```
/// let key = strongroom::MasterKey::generate()?;
/// let again = strongroom::MasterKey::from_bytes(key.expose())?;
/// # let _ = again;
/// # Ok::<(), strongroom::Error>(())
/// ```
pub struct MasterKey {
    key: Key32,
}

impl MasterKey {
    /// Length in bytes.
    pub const LENGTH: usize = 32;

    /// A new key from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`RandomUnavailable`](crate::ErrorKind::RandomUnavailable).
    pub fn generate() -> Result<Self> {
        Ok(Self {
            key: Key32::random(&crate::env::OsEntropy)?,
        })
    }

    /// The key that [`MasterKey::expose`] gave before.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) when there are not exactly 32 bytes or all are equal,
    /// which no generator produces and every placeholder is.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let key = Key32::copied_from(bytes).ok_or_else(|| {
            Error::bad_parameter(format!(
                "a master key has {} bytes, but {} were given",
                Self::LENGTH,
                bytes.len()
            ))
        })?;
        let first = key.expose()[0];
        if key.expose().iter().all(|byte| *byte == first) {
            return Err(Error::bad_parameter(
                "all bytes of the master key are equal; use MasterKey::generate",
            ));
        }
        Ok(Self { key })
    }

    /// The 32 bytes, to be stored where the vault's directory is not.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.key.expose()
    }

    pub(crate) fn key(&self) -> &Key32 {
        &self.key
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// A passphrase in Unicode's NFC form, so that every keyboard's spelling of it is the same. White space
/// counts.
///
/// # Examples
///
/// ```
/// let passphrase = strongroom::Passphrase::new("correct horse battery staple")?;
/// assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
/// # Ok::<(), strongroom::Error>(())
/// ```
pub struct Passphrase {
    normalized: SecretBytes,
}

impl Passphrase {
    /// The longest passphrase, in bytes of UTF-8.
    pub const MAX_LENGTH: usize = 4_096;

    /// Copies `text`; the caller keeps, and answers for, the original.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) when the text is empty or longer than
    /// [`Passphrase::MAX_LENGTH`] bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > Self::MAX_LENGTH {
            return Err(Error::bad_parameter(format!(
                "a passphrase has 1 to {} bytes of UTF-8",
                Self::MAX_LENGTH
            )));
        }
        // Twice, so that no buffer has to grow.
        let length = text.nfc().map(char::len_utf8).sum();
        let normalized = SecretBytes::filled_with(length, |bytes| {
            let mut rest = bytes;
            for character in text.nfc() {
                let (place, after) = rest.split_at_mut(character.len_utf8());
                character.encode_utf8(place);
                rest = after;
            }
            Ok::<_, Error>(())
        })?;
        Ok(Self { normalized })
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.normalized.expose()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// The PIN of a token's user, in UTF-8, wiped when dropped.
///
/// # Examples
///
/// ```
/// let pin = strongroom::Pin::new("1234-abcd")?;
/// assert_eq!(format!("{pin:?}"), "Pin(..)");
/// # Ok::<(), strongroom::Error>(())
/// ```
#[cfg(feature = "pkcs11")]
pub struct Pin {
    text: SecretBytes,
}

#[cfg(feature = "pkcs11")]
impl Pin {
    /// The longest PIN, in bytes of UTF-8; most tokens take fewer.
    pub const MAX_LENGTH: usize = 255;

    /// Copies `text`; the caller keeps, and answers for, the original.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) when the text is empty or longer than
    /// [`Pin::MAX_LENGTH`] bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > Self::MAX_LENGTH {
            return Err(Error::bad_parameter(format!(
                "a PIN has 1 to {} bytes of UTF-8",
                Self::MAX_LENGTH
            )));
        }
        Ok(Self {
            text: SecretBytes::copied_from(text.as_bytes()),
        })
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.text.expose()
    }
}

#[cfg(feature = "pkcs11")]
impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}
