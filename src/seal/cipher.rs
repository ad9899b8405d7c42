//! The AEADs of the suites, in place and without associated data.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit, Nonce, Tag};
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::ZeroizeOnDrop;

use super::{NONCE_LENGTH, Suite, TAG_LENGTH};

/// One message's cipher; its key schedule is on the heap and wipes itself.
pub(super) enum Cipher {
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Cipher {
    /// `key` has 32 bytes.
    pub(super) fn new(suite: Suite, key: &[u8]) -> Self {
        const KEY: &str = "callers give 32 bytes";
        match suite {
            Suite::Aes256Gcm => {
                Self::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).expect(KEY)))
            }
            Suite::ChaCha20Poly1305 => {
                Self::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new_from_slice(key).expect(KEY)))
            }
        }
    }

    /// Encrypts in place and gives the tag.
    pub(super) fn encrypt(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        chunk: &mut [u8],
    ) -> Option<[u8; TAG_LENGTH]> {
        match self {
            Self::Aes256Gcm(cipher) => encrypt(&**cipher, nonce, chunk),
            Self::ChaCha20Poly1305(cipher) => encrypt(&**cipher, nonce, chunk),
        }
    }

    /// Verifies and decrypts in place.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        chunk: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Option<()> {
        match self {
            Self::Aes256Gcm(cipher) => decrypt(&**cipher, nonce, chunk, tag),
            Self::ChaCha20Poly1305(cipher) => decrypt(&**cipher, nonce, chunk, tag),
        }
    }
}

fn encrypt<A: AeadInOut>(
    cipher: &A,
    nonce: &[u8; NONCE_LENGTH],
    chunk: &mut [u8],
) -> Option<[u8; TAG_LENGTH]> {
    let nonce = Nonce::<A>::try_from(&nonce[..]).ok()?;
    let tag = cipher
        .encrypt_inout_detached(&nonce, &[], chunk.into())
        .ok()?;
    tag[..].try_into().ok()
}

fn decrypt<A: AeadInOut>(
    cipher: &A,
    nonce: &[u8; NONCE_LENGTH],
    chunk: &mut [u8],
    tag: &[u8; TAG_LENGTH],
) -> Option<()> {
    let nonce = Nonce::<A>::try_from(&nonce[..]).ok()?;
    let tag = Tag::<A>::try_from(&tag[..]).ok()?;
    cipher
        .decrypt_inout_detached(&nonce, &[], chunk.into(), &tag)
        .ok()
}

const _: () = {
    const fn wipes_itself<T: ZeroizeOnDrop>() {}
    wipes_itself::<Aes256Gcm>();
    wipes_itself::<ChaCha20Poly1305>();
};
