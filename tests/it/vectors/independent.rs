//! The sealing of the format, written a second time from its document with another library, so that vectors can have
//! right MACs and seals round wrong contents.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hmac};

const CHUNK: usize = 16_384;

pub(crate) fn sha512(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA512, bytes).as_ref().to_vec()
}

pub(crate) fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA512, key);
    hmac::sign(&key, bytes).as_ref().to_vec()
}

/// `X(key, text)` of the format document.
pub(crate) fn expand(key: &[u8], text: &[u8]) -> Vec<u8> {
    mac(key, &[text, &[1]].concat())[..32].to_vec()
}

/// A sub-key of the root key.
pub(crate) fn sub_key(root: &[u8], label: &str, vault_id: &[u8]) -> Vec<u8> {
    let text = [b"strongroom/v1/", label.as_bytes(), &[0], vault_id].concat();
    expand(root, &text)
}

struct Message {
    cipher: LessSafeKey,
    nonce: [u8; 12],
    commitment: Vec<u8>,
}

impl Message {
    fn derive(key: &[u8], salt: &[u8], context: &[u8]) -> Self {
        let info = [
            &b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"[..],
            salt,
            context,
        ]
        .concat();
        let first = mac(key, &[&info[..], &[1]].concat());
        let second = mac(key, &[&first[..], &info, &[2]].concat());
        let derived = [first, second].concat();
        Self {
            cipher: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived[..32]).unwrap()),
            nonce: derived[32..44].try_into().unwrap(),
            commitment: derived[44..76].to_vec(),
        }
    }

    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.nonce;
        for (byte, mask) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= mask;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

pub(crate) fn seal(key: &[u8], context: &[u8], salt: &[u8; 24], text: &[u8]) -> Vec<u8> {
    let message = Message::derive(key, salt, context);
    let mut sealed = [&salt[..], &message.commitment].concat();
    let mut chunks: Vec<&[u8]> = text.chunks(CHUNK).collect();
    if text.len().is_multiple_of(CHUNK) {
        chunks.push(&[]);
    }
    for (number, chunk) in (0..).zip(chunks) {
        let mut chunk = chunk.to_vec();
        message
            .cipher
            .seal_in_place_append_tag(message.nonce(number), Aad::empty(), &mut chunk)
            .unwrap();
        sealed.extend(chunk);
    }
    sealed
}

pub(crate) fn open(key: &[u8], context: &[u8], sealed: &[u8]) -> Vec<u8> {
    let message = Message::derive(key, &sealed[..24], context);
    assert_eq!(sealed[24..56], message.commitment);
    let mut text = Vec::new();
    for (number, chunk) in (0..).zip(sealed[56..].chunks(CHUNK + 16)) {
        let mut chunk = chunk.to_vec();
        let opened = message
            .cipher
            .open_in_place(message.nonce(number), Aad::empty(), &mut chunk)
            .unwrap();
        text.extend_from_slice(opened);
    }
    text
}
