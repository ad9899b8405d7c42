//! A tripwire, not a proof: what the time of a refusal must not tell, through the public API. In each test a leak is
//! planted that the measurement must find; of the vault itself it must find none.
//!
//! Promised is: the time of refusing a MAC does not tell where it is wrong; the time of an RSA1_5 decryption does not
//! tell whether the padding was right; and the time of refusing a name that does not exist does not tell how much it
//! has in common with one that does. Whether a name exists is no secret from who may ask for it: the answer says so,
//! and it takes another time than a key.

use std::hint::black_box;
use std::time::Instant;

use strongroom::timing::Question;
use strongroom::{
    Ciphertext, CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind,
    ImportKeyOptions, KeyName, KeyOperation, RsaKeySize, SignatureAlgorithm,
};

use crate::support::{fixed_oct, fixed_rsa, memory_vault, name, refused};

/// Compares byte by byte and stops at the first difference, often enough to be noticed beside the rest.
fn leak(one: &[u8], other: &[u8], times: usize) {
    for _ in 0..times {
        let equal = black_box(one).iter().zip(black_box(other));
        black_box(equal.take_while(|(one, other)| one == other).count());
    }
}

#[test]
fn the_time_of_refusing_a_mac_does_not_tell_where_it_is_wrong() {
    let (vault, _) = memory_vault();
    let (key, algorithm) = (name("k"), SignatureAlgorithm::Hs256);
    vault
        .import_key(
            &key,
            ImportKeyOptions::new(fixed_oct(32))
                .operations([KeyOperation::Sign, KeyOperation::Verify]),
        )
        .unwrap();
    let good = vault.sign_data(&key, algorithm, b"data").unwrap();
    let good = good.signature();
    let kinds = [0, good.len() - 1].map(|at| {
        let mut wrong = good.to_vec();
        wrong[at] ^= 1;
        wrong
    });
    let verify = |mac: &[u8]| refused(vault.verify_data(&key, algorithm, b"data", mac));
    for mac in &kinds {
        assert_eq!(verify(mac), ErrorKind::InvalidSignature);
    }
    let question = Question::about_microseconds();
    question.assert_leaks(
        "a comparison that stops early",
        |kind| &kinds[kind],
        |_, mac| {
            leak(good, mac, 20);
            verify(mac)
        },
    );
    question.assert_silent(
        "the first wrong byte of a MAC",
        |kind| &kinds[kind],
        |_, mac| verify(mac),
    );
}

#[test]
fn the_time_of_an_rsa1_5_decryption_does_not_tell_whether_the_padding_was_right() {
    let (vault, _) = memory_vault();
    let (key, algorithm) = (name("k"), EncryptionAlgorithm::Rsa1_5);
    let imported = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048));
    vault.import_key(&key, imported).unwrap();
    let options = EncryptOptions::new();
    let sealed = vault.encrypt(&key, algorithm, b"text", options).unwrap();
    let good = sealed.ciphertext().to_vec();
    let wrong = vec![0x11; good.len()];
    let kinds = [good, wrong];
    let decrypt = |bytes: &[u8]| vault.decrypt(&key, algorithm, Ciphertext::new(bytes));
    assert_eq!(decrypt(&kinds[0]).unwrap().expose(), b"text");
    // Opened to something: nobody learns that it was none.
    decrypt(&kinds[1]).unwrap();
    let question = Question::about_milliseconds();
    // What a second attempt would take, or making bytes only when they are needed.
    let times = (0..5).map(|_| {
        let start = Instant::now();
        decrypt(&kinds[0]).unwrap();
        start.elapsed()
    });
    let planted = times.min().unwrap();
    question.assert_leaks(
        "a rejection that takes twice as long",
        |kind| &kinds[kind],
        |kind, bytes| {
            let start = Instant::now();
            while kind == 1 && start.elapsed() < planted {
                std::hint::spin_loop();
            }
            decrypt(bytes).unwrap()
        },
    );
    question.assert_silent(
        "a right or wrong padding",
        |kind| &kinds[kind],
        |_, bytes| decrypt(bytes).unwrap(),
    );
}

/// Names are stored under a keyed function of them, so that what a missing name shares with others does not matter.
#[test]
fn the_time_of_refusing_a_name_does_not_tell_what_it_shares_with_others() {
    let (vault, _) = memory_vault();
    let prefix = "payments-production-signer".repeat(4);
    let names: Vec<KeyName> = (0..16)
        .map(|number| name(&format!("{prefix}-{number:03}")))
        .collect();
    for key in &names {
        let options = CreateKeyOptions::ec(Curve::P256);
        vault.create_key(key, options).unwrap();
    }
    // Many of each kind: where the keyed function puts a single one does matter, a little, and tells nothing.
    // The far ones have the same letters backwards.
    let backwards: String = prefix.chars().rev().collect();
    let missing: [Vec<KeyName>; 2] = [backwards, prefix].map(|prefix| {
        let names = (100..600).map(|number| name(&format!("{prefix}-{number}")));
        names.collect()
    });
    let look = |key: &KeyName| refused(vault.get_key(key));
    for key in missing.iter().flatten() {
        assert_eq!(look(key), ErrorKind::KeyNotFound);
    }
    let mut turn = 0;
    let mut next = |kind: usize| {
        turn += 1;
        // A copy, so that it does not matter where in memory the names are.
        missing[kind][turn % missing[kind].len()].clone()
    };
    let question = Question::about_microseconds();
    question.assert_leaks(
        "names that are compared one after the other",
        &mut next,
        |_, key| {
            for other in &names {
                leak(other.as_str().as_bytes(), key.as_str().as_bytes(), 1);
            }
            look(&key)
        },
    );
    question.assert_silent(
        "what a missing name shares with others",
        &mut next,
        |_, key| look(&key),
    );
}
