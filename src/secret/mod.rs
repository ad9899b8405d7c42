//! Bytes that must not leak: boxed, wiped on drop, never cloned, printed or serialised.

mod arena;
mod process;
mod process_number;
mod protection;
mod stack;
mod zeros;

use std::fmt;

use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

use crate::env::Entropy;
use crate::error::{Error, Result};

pub use self::arena::WipingAllocator;
use self::arena::{Block, Home};
pub(crate) use self::process::Process;
pub use self::process::{HardeningReport, harden_process};
#[cfg(feature = "testing")]
pub use self::protection::refuse_protected_memory;
pub use self::protection::{MemoryDegradation, MemoryProtection, MemoryReport};
pub(crate) use self::stack::wipe_stack;
pub(crate) use self::zeros::zeros;

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
            bytes: zeros(length).into_boxed_slice(),
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
        // `zeroize` writes one byte at a time, which takes longer than decrypting them did. The barrier reads the memory as
        // far as the compiler knows, so that it cannot leave out the writes.
        self.bytes.fill(0);
        zeroize::optimization_barrier(&*self.bytes);
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.bytes.len())
    }
}

/// A 32-byte key in protected memory, wiped when dropped: every key of the at-rest hierarchy.
pub(crate) struct Key32 {
    block: Block,
}

impl Key32 {
    fn zeroed(home: Home) -> Self {
        Self {
            block: Block::zeroed(32, home),
        }
    }

    /// Built in place, so that no copy stays on the stack of the caller.
    pub(crate) fn filled_with<E>(
        fill: impl FnOnce(&mut [u8; 32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        Self::zeroed(Home::Vault).filled(fill)
    }

    fn filled<E>(
        mut self,
        fill: impl FnOnce(&mut [u8; 32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        fill(self.bytes_mut())?;
        Ok(self)
    }

    fn bytes_mut(&mut self) -> &mut [u8; 32] {
        (&mut *self.block).try_into().expect("made with 32 bytes")
    }

    /// Zeros: no key of anything.
    pub(crate) fn blank() -> Self {
        Self::zeroed(Home::Vault)
    }

    /// As [`Key32::filled_with`], for a key that the caller of this library holds: it survives a fork.
    pub(crate) fn of_caller<E>(
        fill: impl FnOnce(&mut [u8; 32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        Self::zeroed(Home::Caller).filled(fill)
    }

    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self> {
        Self::filled_with(|bytes| entropy.fill(bytes))
    }

    pub(crate) fn copied_from(bytes: &[u8]) -> Option<Self> {
        Self::zeroed(Home::Vault).copied(bytes)
    }

    /// As [`Key32::copied_from`], for a key that the caller of this library holds.
    pub(crate) fn copied_from_caller(bytes: &[u8]) -> Option<Self> {
        Self::zeroed(Home::Caller).copied(bytes)
    }

    fn copied(self, bytes: &[u8]) -> Option<Self> {
        self.filled(|place| {
            if bytes.len() != place.len() {
                return Err(());
            }
            place.copy_from_slice(bytes);
            Ok(())
        })
        .ok()
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        (&*self.block).try_into().expect("made with 32 bytes")
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32(..)")
    }
}

/// A few thousand secret bytes in protected memory, wiped when dropped.
pub(crate) struct ProtectedBytes {
    block: Block,
}

impl ProtectedBytes {
    /// For a vault's own use.
    pub(crate) fn copied_from(bytes: &[u8]) -> Self {
        let mut block = Block::zeroed(bytes.len(), Home::Vault);
        block.copy_from_slice(bytes);
        Self { block }
    }

    /// For what a caller holds.
    fn of_caller<E>(
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let mut block = Block::zeroed(length, Home::Caller);
        fill(&mut block)?;
        Ok(Self { block })
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.block
    }
}

impl fmt::Debug for ProtectedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtectedBytes({} bytes)", self.block.len())
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
            key: Key32::of_caller(|bytes| crate::env::OsEntropy.fill(bytes))?,
        })
    }

    /// The key that [`MasterKey::expose`] gave before.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) when there are not exactly 32 bytes or all are equal,
    /// which no generator produces and every placeholder is.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let key = Key32::copied_from_caller(bytes).ok_or_else(|| {
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
    normalized: ProtectedBytes,
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
        let normalized = ProtectedBytes::of_caller(length, |bytes| {
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
    text: ProtectedBytes,
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
        let text = ProtectedBytes::of_caller(text.len(), |bytes| {
            bytes.copy_from_slice(text.as_bytes());
            Ok::<_, Error>(())
        })?;
        Ok(Self { text })
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
