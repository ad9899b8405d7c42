//! Recipients: HPKE (RFC 9180, base mode) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM.

use std::fmt;
use std::str::FromStr;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::mac::hash32;
use crate::env::{Entropy, OsEntropy};
use crate::error::{Error, Result};
use crate::model::hex::{self, Hex};
use crate::secret::Key32;

/// IANA's number of DHKEM(X25519, HKDF-SHA256).
pub(crate) const KEM_X25519: u16 = 0x0020;
/// Bytes of what [`seal_to`] makes of a 32-byte key: encapsulated key ‖ ciphertext ‖ tag.
pub(crate) const SEALED_KEY_LENGTH: usize = 32 + 32 + 16;

type Kem25519 = X25519HkdfSha256;

/// Who can open what is sealed to it: an X25519 public key, 32 bytes, written as 64 hexadecimal characters.
///
/// It is not a secret, but whoever exchanges it gets what is sealed to it: compare it over a second channel.
///
/// # Examples
///
/// ```
/// use strongroom::{Recipient, RecipientKey};
///
/// let key = RecipientKey::generate()?;
/// let text = key.recipient().to_string();
/// assert_eq!(text.parse::<Recipient>()?, key.recipient());
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recipient {
    public: [u8; 32],
}

impl Recipient {
    /// The 32 bytes of the public key, as RFC 7748 writes them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.public
    }

    /// Errors: those of the public constructor.
    fn from_array(public: [u8; 32]) -> Result<Self> {
        // The points of small order lead to the same secret whoever holds the private key.
        let low_order = x25519_is_low_order(&public);
        if low_order {
            return Err(Error::bad_parameter(
                "this X25519 public key belongs to nobody: everything sealed to it could be read by anyone",
            ));
        }
        Ok(Self { public })
    }

    /// A public key of 32 bytes.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for another length, and for the points of small order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let public = bytes
            .try_into()
            .map_err(|_| Error::bad_parameter("an X25519 public key has 32 bytes"))?;
        Self::from_array(public)
    }

    /// What tells slots and stanzas of different recipients apart.
    pub(crate) fn tag(&self) -> [u8; 16] {
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash32(&self.public)[..16]);
        tag
    }
}

/// Whether a Diffie-Hellman with any private key gives zero: tried with one fixed key.
fn x25519_is_low_order(public: &[u8; 32]) -> bool {
    let Ok(public) = <Kem25519 as Kem>::PublicKey::from_bytes(public) else {
        return true;
    };
    let mut fixed = FilledRandom::new([1; 32]);
    Kem25519::encap_with_rng(&public, None, &mut fixed).is_err()
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let public = hex::parse(text).ok_or_else(|| {
            Error::bad_parameter("a recipient is written as 64 hexadecimal characters")
        })?;
        Self::from_array(public)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.public).fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

/// The private key of a [`Recipient`].
///
/// # Examples
///
/// ```
/// let key = strongroom::RecipientKey::generate()?;
/// let again = strongroom::RecipientKey::from_bytes(key.expose())?;
/// assert_eq!(again.recipient(), key.recipient());
/// # Ok::<(), strongroom::Error>(())
/// ```
pub struct RecipientKey {
    private: Key32,
    recipient: Recipient,
}

impl RecipientKey {
    /// A new key from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`RandomUnavailable`](crate::ErrorKind::RandomUnavailable).
    pub fn generate() -> Result<Self> {
        Self::from_key(Key32::of_caller(|bytes| OsEntropy.fill(bytes))?)
    }

    /// The key that [`RecipientKey::expose`] gave before.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let key = Key32::copied_from_caller(bytes)
            .ok_or_else(|| Error::bad_parameter("an X25519 private key has 32 bytes"))?;
        Self::from_key(key)
    }

    fn from_key(private: Key32) -> Result<Self> {
        let secret = <Kem25519 as Kem>::PrivateKey::from_bytes(private.expose())
            .map_err(|_| Error::bad_parameter("this is no X25519 private key"))?;
        let public = Kem25519::sk_to_pk(&secret).to_bytes();
        let recipient = Recipient {
            public: public[..]
                .try_into()
                .map_err(|_| Error::internal("an X25519 public key does not have its length"))?,
        };
        Ok(Self { private, recipient })
    }

    /// The public half.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        self.recipient
    }

    /// The 32 bytes of the private key, to be stored where what it opens is not.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.private.expose()
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientKey(..)")
    }
}

/// Seals a key to a recipient. Anyone can do this: what opens proves nothing about its origin.
///
/// Errors: `RandomUnavailable`.
pub(crate) fn seal_to(
    recipient: &Recipient,
    info: &[u8],
    key: &Key32,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    let failed = |_| Error::internal("HPKE refuses a public key that was checked");
    let public = <Kem25519 as Kem>::PublicKey::from_bytes(&recipient.public).map_err(failed)?;
    let mut seed = Zeroizing::new([0; 32]);
    entropy.fill(&mut seed[..])?;
    let mut random = FilledRandom::new(*seed);
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, Kem25519>(
            &OpModeS::Base,
            &public,
            info,
            key.expose(),
            &[],
            &mut random,
        )
        .map_err(failed)?;
    if random.exhausted {
        return Err(Error::internal(
            "HPKE wants more random bytes than one key has",
        ));
    }
    let mut sealed = Vec::with_capacity(SEALED_KEY_LENGTH);
    sealed.extend_from_slice(&encapsulated.to_bytes());
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Opens what [`seal_to`] made; `None` for another recipient, other info, or altered bytes.
pub(crate) fn open_with(key: &RecipientKey, info: &[u8], sealed: &[u8]) -> Option<Key32> {
    let (encapsulated, ciphertext) = sealed.split_at_checked(32)?;
    let private = <Kem25519 as Kem>::PrivateKey::from_bytes(key.private.expose()).ok()?;
    let encapsulated = <Kem25519 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
    let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, Kem25519>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        info,
        ciphertext,
        &[],
    )
    .ok()?;
    Key32::copied_from(&Zeroizing::new(opened))
}

/// Random bytes that were drawn beforehand, where a failure can still be told.
struct FilledRandom {
    bytes: Zeroizing<[u8; 32]>,
    used: usize,
    exhausted: bool,
}

impl FilledRandom {
    fn new(bytes: [u8; 32]) -> Self {
        Self {
            bytes: Zeroizing::new(bytes),
            used: 0,
            exhausted: false,
        }
    }

    fn fill(&mut self, target: &mut [u8]) {
        let rest = &self.bytes[self.used..];
        if target.len() > rest.len() {
            self.exhausted = true;
            target.fill(0);
            return;
        }
        target.copy_from_slice(&rest[..target.len()]);
        self.used += target.len();
    }
}

impl rand_core::TryRng for FilledRandom {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        self.fill(target);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for FilledRandom {}

#[cfg(test)]
mod tests {
    use rand_core::TryRng;

    use super::*;

    #[test]
    fn drawn_bytes_are_given_once_in_their_order_and_then_no_more() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let mut random = FilledRandom::new(bytes);
        assert_eq!(random.try_next_u32(), Ok(0x0302_0100));
        assert_eq!(random.try_next_u64(), Ok(0x0b0a_0908_0706_0504));
        let mut rest = [0xff; 20];
        random.try_fill_bytes(&mut rest).unwrap();
        assert_eq!(rest[..], bytes[12..]);
        assert!(!random.exhausted);
        let mut more = [0xff; 1];
        random.try_fill_bytes(&mut more).unwrap();
        assert_eq!((random.exhausted, more), (true, [0]));
    }

    #[test]
    fn more_than_was_drawn_is_never_given_in_part() {
        let mut random = FilledRandom::new([7; 32]);
        let mut target = [0xff; 33];
        random.try_fill_bytes(&mut target).unwrap();
        assert_eq!((random.exhausted, target), (true, [0; 33]));
    }
}
