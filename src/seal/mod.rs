//! The one sealing primitive and, in the modules, what is sealed with it.
//!
//! Everything on disk is sealed by Cobblestone-256: the chunked encryption of
//! <https://c2sp.org/chunked-encryption> with HKDF-Expand over SHA-512 and AES-256-GCM. It derives a
//! fresh key, nonce and commitment for each message from a random salt and the context, so that no
//! caller chooses a nonce and a wrong key, context or place fails before any decryption.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::env::Entropy;
use crate::error::{Error, Result};
use crate::secret::Key32;

pub(crate) use mac::hash32;

use cipher::Cipher;
use mac::{Keyed, MAC_LENGTH};

pub(crate) mod anchor;
pub(crate) mod backup;
mod cipher;
pub(crate) mod header;
pub(crate) mod hierarchy;
pub(crate) mod hpke;
mod mac;
pub(crate) mod passphrase;
pub(crate) mod slot;
pub(crate) mod vault_stream;

#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod header_tests;
#[cfg(test)]
mod hierarchy_tests;
#[cfg(test)]
mod hpke_tests;
#[cfg(test)]
mod slot_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timing_tests;
#[cfg(test)]
mod vault_stream_tests;

/// Bytes of the salt in front of a sealed message.
pub(crate) const SALT_LENGTH: usize = 24;
/// Bytes of the commitment behind the salt.
pub(crate) const COMMITMENT_LENGTH: usize = 32;
/// Bytes of the tag behind each chunk.
pub(crate) const TAG_LENGTH: usize = 16;
/// Bytes of plaintext in every chunk but the last, which is shorter.
pub(crate) const CHUNK_LENGTH: usize = 16_384;

const HEADER_LENGTH: usize = SALT_LENGTH + COMMITMENT_LENGTH;
const SEALED_CHUNK_LENGTH: usize = CHUNK_LENGTH + TAG_LENGTH;
const NONCE_LENGTH: usize = 12;
const MAX_CHUNKS: u64 = 1 << 38;

/// The AEAD under the construction; chosen once, when a vault is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suite {
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Suite {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Aes256Gcm => 0x02,
            Self::ChaCha20Poly1305 => 0x03,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x02 => Some(Self::Aes256Gcm),
            0x03 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The start of the HKDF info: prefix, name in IANA's registry of AEADs, zero byte. C2SP's text is
    /// generic in the AEAD, so the second suite is the same construction under its registered name.
    const fn info_prefix(self) -> &'static [u8] {
        match self {
            Self::Aes256Gcm => b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0",
            Self::ChaCha20Poly1305 => b"c2sp.org/chunked-encryption@v1+AEAD_CHACHA20_POLY1305\0",
        }
    }
}

/// Why sealed bytes did not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpenError {
    /// No message has this length.
    Malformed,
    /// The commitment is that of another key, context or salt; nothing was decrypted.
    WrongKeyOrContext,
    /// A chunk was altered, moved or cut.
    Damaged,
}

/// The length of what [`seal`] makes of `plaintext` bytes.
pub(crate) const fn sealed_length(plaintext: usize) -> usize {
    HEADER_LENGTH + plaintext + (plaintext / CHUNK_LENGTH + 1) * TAG_LENGTH
}

/// Seals `plaintext`: salt(24) ‖ commitment(32) ‖ chunks. The pieces of `context` are concatenated.
pub(crate) fn seal(
    suite: Suite,
    key: &Key32,
    context: &[&[u8]],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    let mut salt = [0; SALT_LENGTH];
    entropy.fill(&mut salt)?;
    let keys = MessageKeys::derive(suite, key, &salt, context);
    let cipher = Cipher::new(suite, keys.key());

    // Exactly as long as needed: growing would leave copies of the plaintext behind.
    let mut sealed = Zeroizing::new(Vec::with_capacity(sealed_length(plaintext.len())));
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(keys.commitment());
    let full_chunks = plaintext.chunks_exact(CHUNK_LENGTH);
    let last_chunk = full_chunks.remainder();
    for (number, chunk) in (0..).zip(full_chunks.chain([last_chunk])) {
        let start = sealed.len();
        sealed.extend_from_slice(chunk);
        let tag = keys
            .nonce(number)
            .and_then(|nonce| cipher.encrypt(&nonce, &mut sealed[start..]))
            .ok_or_else(|| Error::internal("a message is too long to be sealed"))?;
        sealed.extend_from_slice(&tag);
    }
    Ok(std::mem::take(&mut *sealed))
}

/// Opens what [`seal`] made; gives nothing before every chunk is verified.
pub(crate) fn open(
    suite: Suite,
    key: &Key32,
    context: &[&[u8]],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (salt, rest) = sealed
        .split_first_chunk::<SALT_LENGTH>()
        .ok_or(OpenError::Malformed)?;
    let (commitment, chunks) = rest
        .split_first_chunk::<COMMITMENT_LENGTH>()
        .ok_or(OpenError::Malformed)?;
    let full_chunks = chunks.chunks_exact(SEALED_CHUNK_LENGTH);
    let last_chunk = full_chunks.remainder();
    if last_chunk.len() < TAG_LENGTH {
        return Err(OpenError::Malformed);
    }

    let keys = MessageKeys::derive(suite, key, salt, context);
    if !bool::from(keys.commitment().ct_eq(commitment)) {
        return Err(OpenError::WrongKeyOrContext);
    }

    let cipher = Cipher::new(suite, keys.key());
    let length = chunks.len() - (full_chunks.len() + 1) * TAG_LENGTH;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(length));
    for (number, chunk) in (0..).zip(full_chunks.chain([last_chunk])) {
        let (ciphertext, tag) = chunk
            .split_last_chunk::<TAG_LENGTH>()
            .ok_or(OpenError::Malformed)?;
        let start = plaintext.len();
        plaintext.extend_from_slice(ciphertext);
        keys.nonce(number)
            .and_then(|nonce| cipher.decrypt(&nonce, &mut plaintext[start..], tag))
            .ok_or(OpenError::Damaged)?;
    }
    Ok(plaintext)
}

/// key(32) ‖ base nonce(12) ‖ commitment(32) of one message, at the front of two whole HMAC outputs.
struct MessageKeys {
    derived: Box<Zeroizing<[u8; 2 * MAC_LENGTH]>>,
}

impl MessageKeys {
    fn derive(suite: Suite, key: &Key32, salt: &[u8; SALT_LENGTH], context: &[&[u8]]) -> Self {
        let mut derived = Box::new(Zeroizing::new([0; 2 * MAC_LENGTH]));
        let mac = Keyed::new(key);
        let (first, second) = derived.split_at_mut(MAC_LENGTH);
        let input = [suite.info_prefix(), salt]
            .into_iter()
            .chain(context.iter().copied());
        mac.write(input.clone().chain([&[1][..]]), first);
        mac.write([&*first].into_iter().chain(input).chain([&[2][..]]), second);
        Self { derived }
    }

    fn key(&self) -> &[u8] {
        &self.derived[..32]
    }

    fn commitment(&self) -> &[u8] {
        &self.derived[44..76]
    }

    /// The base nonce with the chunk's number on its last bytes.
    fn nonce(&self, number: u64) -> Option<[u8; NONCE_LENGTH]> {
        if number >= MAX_CHUNKS {
            return None;
        }
        let mut nonce = [0; NONCE_LENGTH];
        nonce.copy_from_slice(&self.derived[32..44]);
        for (byte, mask) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= mask;
        }
        Some(nonce)
    }
}
