use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PrivateDecryptingKey,
};

use super::*;
use crate::model::algorithm::EncryptionAlgorithm;
use crate::secret::SecretBytes;

const HASHES: [(OaepHash, &digest::Algorithm); 2] = [
    (OaepHash::Sha1, &SHA1_FOR_LEGACY_USE_ONLY),
    (OaepHash::Sha256, &SHA256),
];

/// A block with any first byte and any data block.
pub(super) fn block(
    hash: &'static digest::Algorithm,
    first: u8,
    seed: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let masked_data = xor(data, &mask(hash, seed, data.len()));
    let masked_seed = xor(seed, &mask(hash, &masked_data, seed.len()));
    [&[first], masked_seed.as_slice(), &masked_data].concat()
}

/// Hash of the empty label, zeros, one, message.
pub(super) fn data(hash: &'static digest::Algorithm, size: RsaKeySize, message: &[u8]) -> Vec<u8> {
    let label = digest::digest(hash, b"");
    let zeros = size.modulus_length() - 2 * label.as_ref().len() - 2 - message.len();
    [label.as_ref(), &vec![0; zeros], &[1], message].concat()
}

fn longest(hash: &digest::Algorithm, size: RsaKeySize) -> usize {
    size.modulus_length() - 2 * hash.output_len() - 2
}

fn is_refused(hash: OaepHash, size: RsaKeySize, block: &[u8]) -> bool {
    match oaep_decode(hash, message(size, block)) {
        Err(CryptoError::DecryptFailed) => true,
        Err(other) => panic!("{other:?}"),
        Ok(_) => false,
    }
}

#[test]
fn what_other_implementations_encrypt_opens_through_the_raw_operation() {
    let mut random = Random(10);
    for key in &*KEYS {
        let public = key.public();
        let other = PrivateDecryptingKey::from_pkcs8(&key.pkcs8).unwrap();
        let other = OaepPublicEncryptingKey::new(other.public_key()).unwrap();
        for (hash, other_hash) in HASHES {
            let (algorithm, parameters) = match hash {
                OaepHash::Sha1 => (EncryptionAlgorithm::RsaOaep, &OAEP_SHA1_MGF1SHA1),
                OaepHash::Sha256 => (EncryptionAlgorithm::RsaOaep256, &OAEP_SHA256_MGF1SHA256),
            };
            let limit = longest(other_hash, key.size);
            for length in [0, 1, 32, limit - 1, limit] {
                let plaintext = random.bytes(length);
                let mut theirs = vec![0; key.size.modulus_length()];
                other
                    .encrypt(parameters, &plaintext, &mut theirs, None)
                    .unwrap();
                let ours = public.encrypt(algorithm, &plaintext).unwrap();
                for ciphertext in [ours, theirs] {
                    check_ciphertext(&key.modulus(), &ciphertext).unwrap();
                    let opened = oaep_decode(hash, key.open(&ciphertext)).unwrap();
                    assert_eq!(opened.expose(), plaintext);
                }
            }
        }
    }
}

#[test]
fn messages_of_every_length_open() {
    let mut random = Random(11);
    for size in RsaKeySize::ALL {
        for (hash, other) in HASHES {
            for length in 0..=longest(other, size) {
                let text = random.bytes(length);
                let seed = random.bytes(other.output_len());
                let block = block(other, 0, &seed, &data(other, size, &text));
                let opened = oaep_decode(hash, message(size, &block)).unwrap();
                assert_eq!(opened.expose(), text);
            }
        }
    }
}

#[test]
fn every_alteration_of_a_single_byte_is_refused() {
    let mut random = Random(12);
    for (hash, other) in HASHES {
        let size = RsaKeySize::Bits2048;
        for length in [0, 32, longest(other, size)] {
            let seed = random.bytes(other.output_len());
            let text = random.bytes(length);
            let good = block(other, 0, &seed, &data(other, size, &text));
            assert!(!is_refused(hash, size, &good));
            for place in 0..good.len() {
                let changes: Vec<u8> = if place == 0 || length == 32 && place % 32 == 1 {
                    (1..=255).collect()
                } else {
                    vec![1, 2, 4, 8, 16, 32, 64, 128, 255]
                };
                for change in changes {
                    let mut bad = good.clone();
                    bad[place] ^= change;
                    assert!(is_refused(hash, size, &bad), "{place} {change}");
                }
            }
        }
    }
}

#[test]
fn each_rule_about_the_block_is_enforced_by_itself() {
    let size = RsaKeySize::Bits3072;
    for (hash, other) in HASHES {
        let h = other.output_len();
        let seed = vec![0x17; h];
        let good = data(other, size, b"a message of some length");
        let separator = good.len() - 25;
        assert_eq!(good[separator], 1);
        let refused =
            |first: u8, data: &[u8]| is_refused(hash, size, &block(other, first, &seed, data));

        assert!(!refused(0, &good));
        for first in 1..=255 {
            assert!(refused(first, &good), "{first}");
        }
        for place in 0..separator {
            // One would be an earlier separator among the zeros.
            for change in [2, 3, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[place] ^= change;
                assert!(refused(0, &bad), "{place} {change}");
            }
        }
        for wrong in [0, 2, 3, 0x81, 0xff] {
            let mut bad = good.clone();
            bad[separator] = wrong;
            assert!(refused(0, &bad), "{wrong}");
        }
        let mut without_separator = good.clone();
        without_separator[h..].fill(0);
        assert!(refused(0, &without_separator));
        let mut wrong_label = good.clone();
        wrong_label[..h].copy_from_slice(digest::digest(other, b"label").as_ref());
        assert!(refused(0, &wrong_label));
    }
}

#[test]
fn blocks_of_the_other_hash_and_of_no_meaning_are_refused() {
    let mut random = Random(13);
    for size in RsaKeySize::ALL {
        for ((hash, _), (_, other)) in HASHES.into_iter().zip([HASHES[1], HASHES[0]]) {
            let seed = random.bytes(other.output_len());
            let crossed = block(other, 0, &seed, &data(other, size, b"text"));
            assert!(is_refused(hash, size, &crossed));
            assert!(is_refused(hash, size, &vec![0; size.modulus_length()]));
            for _ in 0..20 {
                let mut block = random.bytes(size.modulus_length());
                block[0] = 0;
                assert!(is_refused(hash, size, &block));
            }
        }
    }
}

/// The rules as one would write them without a thought for time.
fn plainly(rest: &[u8]) -> Option<&[u8]> {
    let separator = rest.iter().position(|byte| *byte != 0)?;
    (rest[separator] == 1).then(|| &rest[separator + 1..])
}

#[test]
fn arbitrary_data_is_read_as_a_plain_reader_reads_it() {
    let mut random = Random(14);
    let size = RsaKeySize::Bits2048;
    let mut opened = 0;
    for round in 0..2_000 {
        let (hash, other) = HASHES[round % 2];
        let length = longest(other, size) + 1;
        let zeros = random.below(length + 1);
        let mut rest = vec![0; zeros];
        rest.extend((zeros..length).map(|_| [0, 1, 2, 1][random.below(4)]));
        let data = [digest::digest(other, b"").as_ref(), &rest].concat();
        let block = block(other, 0, &random.bytes(other.output_len()), &data);
        let result = oaep_decode(hash, message(size, &block)).ok();
        assert_eq!(result.as_ref().map(SecretBytes::expose), plainly(&rest));
        opened += usize::from(result.is_some());
    }
    assert!((500..1_900).contains(&opened), "{opened}");
}
