use std::collections::BTreeSet;

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PrivateDecryptingKey};
use rsa::Pkcs1v15Encrypt;
use rsa::traits::{PaddingScheme, PrivateKeyParts};

use super::*;
use crate::model::algorithm::EncryptionAlgorithm;

const SECRET: [u8; 32] = [0x5e; 32];

/// A block with any start, and zeros only where they are put.
pub(super) fn block(
    random: &mut Random,
    size: RsaKeySize,
    start: [u8; 2],
    separator: Option<usize>,
) -> Vec<u8> {
    let mut block = [&start[..], &random.nonzero(size.modulus_length() - 2)].concat();
    if let Some(place) = separator {
        block[place] = 0;
    }
    block
}

fn decode(size: RsaKeySize, block: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    pkcs1v15_decode_implicit(message(size, block), ciphertext, &SECRET)
        .expose()
        .to_vec()
}

/// What a ciphertext opens to whose block is certainly wrong.
fn alternative(size: RsaKeySize, ciphertext: &[u8]) -> Vec<u8> {
    decode(size, &vec![0xff; size.modulus_length()], ciphertext)
}

/// The draft's secret: the hash of the private exponent in k bytes.
fn secret_of_exponent(key: &Key) -> [u8; 32] {
    let d = key.key.d().to_be_bytes();
    let k = key.size.modulus_length();
    let padded = [&vec![0; k - d.len()], &*d].concat();
    let hash = digest::digest(&digest::SHA256, &padded);
    hash.as_ref().try_into().unwrap()
}

#[test]
fn what_other_implementations_encrypt_opens_through_the_raw_operation() {
    let mut random = Random(20);
    for key in &*KEYS {
        let public = key.public();
        let other = PrivateDecryptingKey::from_pkcs8(&key.pkcs8).unwrap();
        let other = Pkcs1PublicEncryptingKey::new(other.public_key()).unwrap();
        let limit = key.size.modulus_length() - 11;
        for length in [0, 1, 32, limit - 1, limit] {
            let plaintext = random.bytes(length);
            let mut theirs = vec![0; key.size.modulus_length()];
            other.encrypt(&plaintext, &mut theirs).unwrap();
            let ours = public
                .encrypt(EncryptionAlgorithm::Rsa1_5, &plaintext)
                .unwrap();
            for ciphertext in [ours, theirs] {
                check_ciphertext(&key.modulus(), &ciphertext).unwrap();
                let opened = pkcs1v15_decode_implicit(key.open(&ciphertext), &ciphertext, &SECRET);
                assert_eq!(opened.expose(), plaintext);
            }
        }
    }
}

#[test]
fn every_ciphertext_opens_as_the_draft_says_when_the_secret_is_the_drafts() {
    let mut random = Random(21);
    let mut rejected = 0;
    for key in &*KEYS {
        let secret = secret_of_exponent(key);
        let k = key.size.modulus_length();
        let mut ciphertexts: Vec<Vec<u8>> = (0..8)
            .map(|_| [&[0], random.bytes(k - 1).as_slice()].concat())
            .collect();
        for (start, separator) in [
            ([0, 2], Some(k - 1)),
            ([0, 2], Some(k - 2)),
            ([0, 2], Some(40)),
            ([0, 2], Some(10)),
            ([0, 2], Some(9)),
            ([0, 2], Some(2)),
            ([0, 2], None),
            ([0, 1], Some(40)),
            ([0, 0], Some(40)),
            ([1, 2], Some(40)),
        ] {
            let block = block(&mut random, key.size, start, separator);
            ciphertexts.push(key.seal(&block));
        }
        for ciphertext in ciphertexts {
            let none = None::<&mut dyn rand_core::TryCryptoRng<Error = Infallible>>;
            let expected = Pkcs1v15Encrypt
                .decrypt(none, &key.key, &ciphertext)
                .unwrap();
            let opened = pkcs1v15_decode_implicit(key.open(&ciphertext), &ciphertext, &secret);
            assert_eq!(opened.expose(), expected);
            let mut elsewhere = secret;
            elsewhere[31] ^= 1;
            let other = pkcs1v15_decode_implicit(key.open(&ciphertext), &ciphertext, &elsewhere);
            rejected += usize::from(other != opened);
        }
    }
    // Eight random ones and six of the ten made ones, less the odd two that are empty with either secret.
    assert!((38..=42).contains(&rejected), "{rejected}");
}

/// Appendix B.1 of draft-irtf-cfrg-rsa-guidance-10: the hash of its key's private exponent, and
/// ciphertexts that are wrongly padded, with what they open to.
#[test]
fn the_published_vectors_of_implicit_rejection_come_out() {
    let hex = |text: &str| -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    };
    let secret = hex("6c0571495ea846844647bdc4caf5987476657440475ba2ddc2a90b4c3e186668");
    let secret = secret.try_into().unwrap();
    for (ciphertext, expected) in [
        // B.1.5
        (
            "20aaa8adbbc593a924ba1c5c7990b5c2242ae4b99d0fe636a19a4cf754edbcee774e472fe028160ed42634f8864900cb514006da642cae6ae8c7d087caebcfa6dad1551301e130344989a1d462d4164505f6393933450c67bc6d39d8f5160907cabc251b737925a1cf21e5c6aa5781b7769f6a2a583d97cce008c0f8b6add5f0b2bd80bee60237aa39bb20719fe75749f4bc4e42466ef5a861ae3a92395c7d858d430bfe38040f445ea93fa2958b503539800ffa5ce5f8cf51fa8171a91f36cb4f4575e8de6b4d3f096ee140b938fd2f50ee13f0d050222e2a72b0a3069ff3a6738e82c87090caa5aed4fcbe882c49646aa250b98f12f83c8d528113614a29e7",
            "",
        ),
        // B.1.7
        (
            "006f89db685c0a132700c6a17f88a37a6635d0ab89de4c45dc09736c891ca5bf3401ce34c6e5d51e94ed2f518857ddc12d9f9f9e68e01cdc30d86ae5dd83988c0c46a8e39daa1b328a23def551d67fa1964fb15242c83ddd7dd5b1aec720a391d0b86cb16cf4d3c466850c3df88a3ed85993900d1287a0c90c4b04d34ba29e59967661f3f10e0c998f64e14e777e8e81371eca5318b4e0b53414292130c821477c51e2bff844836ab10dff293d82e4f40d345968ef268c92ed0bc238f31d50f4d3f759c23964923e135d15527556410fbd2c451d6a2aa852dc88b01139c6fdd826736d8cd3780601b2977b09c080bd8c0fa471606ad59f053ad33d9eeb905f20",
            "2b5dd72df3cae37f1aef",
        ),
        // B.1.9
        (
            "9b2ec9c0c917c98f1ad3d0119aec6be51ae3106e9af1914d48600ab6a2c0c0c8ae02a2dc3039906ff3aac904af32ec798fd65f3ad1afa2e69400e7c1de81f5728f3b3291f38263bc7a90a0563e43ce7a0d4ee9c0d8a716621ca5d3d081188769ce1b131af7d35b13dea99153579c86db31fe07d5a2c14d621b77854e48a8df41b5798563af489a291e417b6a334c63222627376118c02c53b6e86310f728734ffc86ef9d7c8bf56c0c841b24b82b59f51aee4526ba1c4268506d301e4ebc498c6aebb6fd5258c876bf900bac8ca4d309dd522f6a6343599a8bc3760f422c10c72d0ad527ce4af1874124ace3d99bb74db8d69d2528db22c3a37644640f95c05f",
            "a1f8c9255c35cfba403ccc",
        ),
    ] {
        let wrong = message(RsaKeySize::Bits2048, &[0; 256]);
        let opened = pkcs1v15_decode_implicit(wrong, &hex(ciphertext), &secret);
        assert_eq!(opened.expose(), hex(expected));
    }
}

#[test]
fn messages_of_every_length_open_and_too_short_padding_is_rejected() {
    let mut random = Random(22);
    for size in RsaKeySize::ALL {
        let k = size.modulus_length();
        let ciphertext = random.bytes(k);
        let other = alternative(size, &ciphertext);
        for separator in 2..k {
            let mut block = block(&mut random, size, [0, 2], Some(separator));
            // Later zeros belong to the message.
            if separator + 3 < k {
                block[k - 2] = 0;
            }
            let opened = decode(size, &block, &ciphertext);
            if separator < 10 {
                assert_eq!(opened, other, "{separator}");
            } else {
                assert_eq!(opened, block[separator + 1..], "{separator}");
            }
        }
    }
}

#[test]
fn each_rule_about_the_block_is_enforced_by_itself() {
    let mut random = Random(23);
    for size in RsaKeySize::ALL {
        let k = size.modulus_length();
        let ciphertext = random.bytes(k);
        let other = alternative(size, &ciphertext);
        let good = block(&mut random, size, [0, 2], Some(k - 30));
        assert_eq!(decode(size, &good, &ciphertext), good[k - 29..]);
        for change in 1..=255 {
            for place in [0, 1] {
                let mut bad = good.clone();
                bad[place] ^= change;
                assert_eq!(decode(size, &bad, &ciphertext), other, "{place} {change}");
            }
        }
        for early_zero in 2..10 {
            let mut bad = good.clone();
            bad[early_zero] = 0;
            assert_eq!(decode(size, &bad, &ciphertext), other);
        }
        let mut bad = good.clone();
        bad[k - 30] = 7;
        assert_eq!(decode(size, &bad, &ciphertext), other);
        assert_eq!(decode(size, &vec![0; k], &ciphertext), other);
    }
}

#[test]
fn a_rejected_ciphertext_opens_to_the_same_bytes_whatever_is_wrong_with_it() {
    let mut random = Random(24);
    let mut lengths = BTreeSet::new();
    for size in RsaKeySize::ALL {
        let k = size.modulus_length();
        let mut seen = BTreeSet::new();
        for _ in 0..60 {
            let ciphertext = random.bytes(k);
            let first = alternative(size, &ciphertext);
            for (start, separator) in [([0, 2], None), ([0, 2], Some(9)), ([3, 2], Some(99))] {
                let block = block(&mut random, size, start, separator);
                assert_eq!(decode(size, &block, &ciphertext), first);
            }
            assert!(first.len() <= k - 11);
            lengths.insert(first.len());
            if first.len() > 8 {
                assert!(seen.insert(first.clone()), "two ciphertexts, one message");
                let block = message(size, &vec![0; k]);
                let elsewhere = pkcs1v15_decode_implicit(block, &ciphertext, &[0x5f; 32]);
                assert_ne!(elsewhere.expose(), first);
            }
        }
    }
    // Short and long ones, as for a message whose length nobody knows.
    assert!(lengths.len() > 80, "{}", lengths.len());
    assert!(lengths.first().unwrap() < &40 && lengths.last().unwrap() > &400);
}

#[test]
fn arbitrary_blocks_are_read_as_a_plain_reader_reads_them() {
    let mut random = Random(25);
    let size = RsaKeySize::Bits2048;
    let mut opened = 0;
    for _ in 0..1_000 {
        let padding = random.below(30);
        let mut block = vec![[0, 0, 0, 1][random.below(4)], [2, 2, 2, 3][random.below(4)]];
        block.extend(random.nonzero(padding));
        block.extend((padding + 2..256).map(|_| [0, 0, 0, 9][random.below(4)]));
        let ciphertext = random.bytes(256);
        let plain = match block.as_slice() {
            [0, 2, rest @ ..] => rest
                .iter()
                .position(|byte| *byte == 0)
                .filter(|padding| *padding >= 8)
                .map(|padding| rest[padding + 1..].to_vec()),
            _ => None,
        };
        opened += usize::from(plain.is_some());
        let expected = plain.unwrap_or_else(|| alternative(size, &ciphertext));
        assert_eq!(decode(size, &block, &ciphertext), expected);
    }
    assert!((200..800).contains(&opened), "{opened}");
}
