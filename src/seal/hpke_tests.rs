//! RFC 9180 computed a second time, from its text and with another library's primitives.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{agreement, hmac};

use super::hpke::{Recipient, RecipientKey, SEALED_KEY_LENGTH, open_with, seal_to};
use super::tests::{Counting, hex, key};
use crate::env::OsEntropy;
use crate::secret::Key32;

/// KEM 0x0020, KDF 0x0001, AEAD 0x0002.
const KEM_SUITE: &[u8] = b"KEM\x00\x20";
const HPKE_SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x02";

fn hmac_sha256(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, &pieces.concat()).as_ref().to_vec()
}

fn labeled_extract(salt: &[u8], suite: &[u8], label: &[u8], input: &[u8]) -> Vec<u8> {
    hmac_sha256(salt, &[b"HPKE-v1", suite, label, input])
}

/// Up to one block of HKDF-Expand, which is all that is needed here.
fn labeled_expand(key: &[u8], suite: &[u8], label: &[u8], info: &[u8], length: u8) -> Vec<u8> {
    let input = [&[0, length], &b"HPKE-v1"[..], suite, label, info, &[1]];
    let mut block = hmac_sha256(key, &input);
    block.truncate(length.into());
    block
}

fn x25519(private: &[u8; 32], public: &[u8]) -> Vec<u8> {
    let private = agreement::PrivateKey::from_private_key(&agreement::X25519, private).unwrap();
    let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, public);
    agreement::agree(&private, peer, "no agreement", |secret| Ok(secret.to_vec())).unwrap()
}

fn public_of(private: &[u8; 32]) -> Vec<u8> {
    let private = agreement::PrivateKey::from_private_key(&agreement::X25519, private).unwrap();
    private.compute_public_key().unwrap().as_ref().to_vec()
}

/// ExtractAndExpand of DHKEM, then KeySchedule in base mode: the AEAD's key and first nonce.
fn schedule(secret: &[u8], enc: &[u8], recipient: &[u8], info: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let prk = labeled_extract(b"", KEM_SUITE, b"eae_prk", secret);
    let context = [enc, recipient].concat();
    let shared = labeled_expand(&prk, KEM_SUITE, b"shared_secret", &context, 32);
    let psk_id_hash = labeled_extract(b"", HPKE_SUITE, b"psk_id_hash", b"");
    let info_hash = labeled_extract(b"", HPKE_SUITE, b"info_hash", info);
    let context = [&[0][..], &psk_id_hash, &info_hash].concat();
    let secret = labeled_extract(&shared, HPKE_SUITE, b"secret", b"");
    (
        labeled_expand(&secret, HPKE_SUITE, b"key", &context, 32),
        labeled_expand(&secret, HPKE_SUITE, b"base_nonce", &context, 12),
    )
}

fn other_seal(ephemeral: &[u8; 32], recipient: &[u8; 32], info: &[u8], text: &[u8]) -> Vec<u8> {
    let enc = public_of(ephemeral);
    let secret = x25519(ephemeral, recipient);
    let (key, nonce) = schedule(&secret, &enc, recipient, info);
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    let mut text = text.to_vec();
    cipher
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut text)
        .unwrap();
    [enc, text].concat()
}

fn other_open(private: &[u8; 32], info: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (enc, ciphertext) = sealed.split_at(32);
    let secret = x25519(private, enc);
    let (key, nonce) = schedule(&secret, enc, &public_of(private), info);
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    let mut text = ciphertext.to_vec();
    let opened = cipher
        .open_in_place(nonce, Aad::empty(), &mut text)
        .ok()?
        .len();
    text.truncate(opened);
    Some(text)
}

#[test]
fn what_is_sealed_here_opens_by_another_implementation() {
    for number in 0..8_u8 {
        let recipient = RecipientKey::generate().unwrap();
        let info = vec![number; usize::from(number) * 3];
        let secret = Key32::random(&OsEntropy).unwrap();
        let sealed = seal_to(&recipient.recipient(), &info, &secret, &OsEntropy).unwrap();
        assert_eq!(sealed.len(), SEALED_KEY_LENGTH);
        let opened = other_open(recipient.expose(), &info, &sealed).unwrap();
        assert_eq!(opened, secret.expose());
        assert!(other_open(recipient.expose(), b"other info", &sealed).is_none());
    }
}

#[test]
fn what_another_implementation_sealed_opens_here() {
    for number in 1..=8_u8 {
        let recipient = RecipientKey::generate().unwrap();
        let public = public_of(recipient.expose());
        assert_eq!(recipient.recipient().as_bytes()[..], public);
        let info = vec![number; usize::from(number) * 3];
        let ephemeral = Key32::random(&OsEntropy).unwrap();
        let sealed = other_seal(
            ephemeral.expose(),
            recipient.recipient().as_bytes(),
            &info,
            key(number).expose(),
        );
        let opened = open_with(&recipient, &info, &sealed).unwrap();
        assert_eq!(opened.expose(), key(number).expose());
        assert!(open_with(&recipient, b"other info", &sealed).is_none());
        let stranger = RecipientKey::generate().unwrap();
        assert!(open_with(&stranger, &info, &sealed).is_none());
    }
}

#[test]
fn every_altered_byte_and_every_other_length_is_refused() {
    let recipient = RecipientKey::generate().unwrap();
    let sealed = seal_to(&recipient.recipient(), b"info", &key(7), &OsEntropy).unwrap();
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert!(open_with(&recipient, b"info", &altered).is_none(), "{at}");
        assert!(open_with(&recipient, b"info", &sealed[..at]).is_none());
    }
    // Anyone can seal; what is no key of 32 bytes is refused all the same.
    let public = recipient.recipient();
    for length in [0, 31, 33] {
        let sealed = other_seal(&[9; 32], public.as_bytes(), b"info", &vec![1; length]);
        assert!(open_with(&recipient, b"info", &sealed).is_none());
    }
    // An encapsulated key of small order would make the secret known to everybody.
    let zero = [vec![0; 32], sealed[32..].to_vec()].concat();
    assert!(open_with(&recipient, b"info", &zero).is_none());
    assert!(Recipient::from_bytes(&[0; 32]).is_err());
}

/// DeriveKeyPair of RFC 9180, from the random bytes.
#[test]
fn the_ephemeral_key_is_made_of_the_random_bytes_that_were_given() {
    let recipient = RecipientKey::from_bytes(&[5; 32]).unwrap().recipient();
    let sealed = seal_to(&recipient, b"info", &key(7), &Counting::default()).unwrap();
    let drawn: Vec<u8> = (1..=32).collect();
    let prk = labeled_extract(b"", KEM_SUITE, b"dkp_prk", &drawn);
    let private = labeled_expand(&prk, KEM_SUITE, b"sk", b"", 32);
    let private = private.try_into().unwrap();
    let expected = other_seal(&private, recipient.as_bytes(), b"info", key(7).expose());
    assert_eq!(hex(&sealed), hex(&expected));
}

#[test]
fn recipients_are_written_in_hexadecimal_and_private_keys_not_at_all() {
    let key = RecipientKey::from_bytes(&[5; 32]).unwrap();
    let recipient = key.recipient();
    let text = hex(recipient.as_bytes());
    assert_eq!(recipient.to_string(), text);
    assert_eq!(format!("{recipient:?}"), format!("Recipient({text})"));
    assert_eq!(format!("{key:?}"), "RecipientKey(..)");
    assert_eq!(text.parse::<Recipient>().unwrap(), recipient);
    assert_eq!(
        Recipient::from_bytes(recipient.as_bytes()).unwrap(),
        recipient
    );
    for bad in [&text[1..], "", &text.replace(|_| true, "g")] {
        assert!(bad.parse::<Recipient>().is_err(), "{bad}");
    }
    assert!(Recipient::from_bytes(&[9; 31]).is_err());
    assert!(Recipient::from_bytes(&[9; 33]).is_err());
}

/// RFC 7748 and its errata name them: orders 1, 2, 4 and 8, also unreduced.
#[test]
fn points_of_small_order_are_nobodys_keys() {
    let one = [&[1][..], &[0; 31]].concat();
    let p_minus = |by: u8| [&[0xed - by][..], &[0xff; 30], &[0x7f]].concat();
    let eight = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    let other_eight = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
    let of_eight = [eight, other_eight].map(|text| text.parse::<Recipient>().is_err());
    assert_eq!(of_eight, [true, true]);
    for public in [vec![0; 32], one, p_minus(0), p_minus(1)] {
        assert!(Recipient::from_bytes(&public).is_err(), "{public:?}");
    }
    // The base point, and the last number below the prime but two.
    let base = [&[9][..], &[0; 31]].concat();
    assert!(Recipient::from_bytes(&base).is_ok());
    assert!(Recipient::from_bytes(&p_minus(2)).is_ok());
}

#[test]
fn a_recipients_tag_is_the_beginning_of_the_hash_of_its_key() {
    use sha2::Digest;
    let recipient = RecipientKey::from_bytes(&[5; 32]).unwrap().recipient();
    let hash = sha2::Sha512::digest(recipient.as_bytes());
    assert_eq!(recipient.tag()[..], hash[..16]);
}

#[test]
fn random_bytes_come_from_the_source_that_was_given() {
    let recipient = RecipientKey::from_bytes(&[5; 32]).unwrap().recipient();
    let once = seal_to(&recipient, b"info", &key(7), &Counting::default()).unwrap();
    let again = seal_to(&recipient, b"info", &key(7), &Counting::default()).unwrap();
    assert_eq!(hex(&once), hex(&again));
}
