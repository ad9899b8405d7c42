use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, EncryptingKey, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{self, AesKek, KeyWrap, KeyWrapPadded};

use super::*;
use crate::crypto::CryptoError;
use crate::crypto::limits::{MAX_AAD_BYTES, MAX_ENCRYPT_BYTES, MAX_HMAC_BYTES, MAX_WRAP_BYTES};
use crate::model::algorithm::EncryptionAlgorithm::{
    self, A128Cbc, A128CbcPad, A128Gcm, A192Cbc, A192CbcPad, A192Gcm, A256Cbc, A256CbcPad, A256Gcm,
};
use crate::model::algorithm::SignatureAlgorithm::{Es256, Hs256, Hs384, Hs512};
use crate::model::algorithm::WrapAlgorithm::{
    self, A128Kw, A128KwPad, A192Kw, A192KwPad, A256Kw, A256KwPad, CkmAesKeyWrap, CkmAesKeyWrapPad,
};
use crate::model::encrypted::Encrypted;

fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect()
}

fn is_input<T>(result: Result<T, CryptoError>) -> bool {
    matches!(result, Err(CryptoError::InvalidInput(_)))
}

fn is_failed<T>(result: Result<T, CryptoError>) -> bool {
    matches!(result, Err(CryptoError::DecryptFailed))
}

#[test]
fn gcm_agrees_with_another_implementation() {
    for (algorithm, other, length) in [
        (A128Gcm, &aead::AES_128_GCM, 16),
        (A192Gcm, &aead::AES_192_GCM, 24),
        (A256Gcm, &aead::AES_256_GCM, 32),
    ] {
        let key_bytes = bytes(length);
        let key = oct(&key_bytes);
        let other = LessSafeKey::new(UnboundKey::new(other, &key_bytes).unwrap());
        for (size, aad) in [(0, 0), (0, 5), (1, 0), (16, 16), (33, 100), (1000, 1)] {
            let (iv, aad, plaintext) = ([9; 12], bytes(aad), bytes(size));
            let (ciphertext, tag) = key
                .encrypt(algorithm, &plaintext, &iv, &aad)
                .unwrap()
                .into_parts();
            let tag = tag.unwrap();
            let mut expected = plaintext.clone();
            let expected_tag = other
                .seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(iv),
                    Aad::from(&aad),
                    &mut expected,
                )
                .unwrap();
            assert_eq!(
                (ciphertext.as_slice(), tag.as_slice()),
                (&expected[..], expected_tag.as_ref())
            );
            let opened = key
                .decrypt(algorithm, &ciphertext, &iv, &aad, &tag)
                .unwrap();
            assert_eq!(opened.expose(), plaintext);

            let mut wrong = tag;
            wrong[15] ^= 1;
            assert!(is_failed(key.decrypt(
                algorithm,
                &ciphertext,
                &iv,
                &aad,
                &wrong
            )));
            assert!(is_failed(key.decrypt(
                algorithm,
                &ciphertext,
                &[8; 12],
                &aad,
                &tag
            )));
            assert!(is_failed(key.decrypt(
                algorithm,
                &ciphertext,
                &iv,
                b"other",
                &tag
            )));
            assert!(is_input(key.decrypt(
                algorithm,
                &ciphertext,
                &iv,
                &aad,
                &tag[..12]
            )));
        }
        assert!(is_input(key.encrypt(algorithm, b"", &[0; 16], b"")));
        assert!(is_input(key.encrypt(
            algorithm,
            b"",
            &[0; 12],
            &vec![0; MAX_AAD_BYTES + 1]
        )));
    }
}

#[test]
fn cbc_agrees_with_another_implementation() {
    for (plain, padded, other, length) in [
        (A128Cbc, A128CbcPad, &cipher::AES_128, 16),
        (A192Cbc, A192CbcPad, &cipher::AES_192, 24),
        (A256Cbc, A256CbcPad, &cipher::AES_256, 32),
    ] {
        let key_bytes = bytes(length);
        let key = oct(&key_bytes);
        let unbound = || UnboundCipherKey::new(other, &key_bytes).unwrap();
        let iv = [3; 16];
        let context = || EncryptionContext::Iv128(FixedLength::from(iv));
        for size in [0, 16, 32, 160] {
            let plaintext = bytes(size);
            let (ciphertext, tag) = key
                .encrypt(plain, &plaintext, &iv, b"")
                .unwrap()
                .into_parts();
            assert!(tag.is_none());
            if size > 0 {
                let mut expected = plaintext.clone();
                EncryptingKey::cbc(unbound())
                    .unwrap()
                    .less_safe_encrypt(&mut expected, context())
                    .unwrap();
                assert_eq!(ciphertext, expected);
            }
            let opened = key.decrypt(plain, &ciphertext, &iv, b"", b"").unwrap();
            assert_eq!(opened.expose(), plaintext);
        }
        for size in 0..=49 {
            let plaintext = bytes(size);
            let (ciphertext, tag) = key
                .encrypt(padded, &plaintext, &iv, b"")
                .unwrap()
                .into_parts();
            assert!(tag.is_none());
            let mut expected = plaintext.clone();
            PaddedBlockEncryptingKey::cbc_pkcs7(unbound())
                .unwrap()
                .less_safe_encrypt(&mut expected, context())
                .unwrap();
            assert_eq!(ciphertext, expected);
            let opened = key.decrypt(padded, &ciphertext, &iv, b"", b"").unwrap();
            assert_eq!(opened.expose(), plaintext);
        }
    }
}

#[test]
fn cbc_padding_is_checked_in_full_and_fails_with_one_error() {
    let key = oct(&bytes(16));
    let iv = [0; 16];
    let encrypted = |block: [u8; 16]| {
        key.encrypt(A128Cbc, &block, &iv, b"")
            .unwrap()
            .into_parts()
            .0
    };
    for count in 0..=255_u8 {
        let mut block = [count; 16];
        let ciphertext = encrypted(block);
        let opened = key.decrypt(A128CbcPad, &ciphertext, &iv, b"", b"");
        match count {
            1..=16 => assert_eq!(opened.unwrap().len(), 16 - usize::from(count)),
            _ => assert!(is_failed(opened)),
        }
        // One wrong byte anywhere in the padding.
        if (2..=16).contains(&count) {
            for distance in 1..usize::from(count) {
                block = [count; 16];
                block[15 - distance] ^= 0x80;
                let ciphertext = encrypted(block);
                assert!(is_failed(key.decrypt(
                    A128CbcPad,
                    &ciphertext,
                    &iv,
                    b"",
                    b""
                )));
            }
        }
    }
    for length in [0, 1, 15, 17, 31] {
        let result = key.decrypt(A128CbcPad, &vec![0; length], &iv, b"", b"");
        assert!(is_failed(result));
    }
    assert!(is_failed(key.decrypt(A128Cbc, &[0; 17], &iv, b"", b"")));
}

#[test]
fn parameters_of_wrong_lengths_are_refused_in_words() {
    let key = oct(&bytes(16));
    let message = |result: Result<Encrypted, CryptoError>| result.unwrap_err().to_string();
    assert_eq!(
        message(key.encrypt(A128Cbc, &[0; 17], &[0; 16], b"")),
        "A128CBC needs a plaintext of whole blocks of 16 bytes, but 17 were given"
    );
    assert_eq!(
        message(key.encrypt(A128CbcPad, b"", &[0; 12], b"")),
        "A128CBCPAD needs an iv of 16 bytes, but 12 were given"
    );
    assert_eq!(
        message(key.encrypt(A128CbcPad, b"", &[0; 16], b"x")),
        "A128CBCPAD takes no additional authenticated data, but bytes for it were given"
    );
    assert_eq!(
        message(key.encrypt(A128Gcm, &vec![0; MAX_ENCRYPT_BYTES + 1], &[0; 12], b"")),
        "A128GCM takes a plaintext of at most 16777216 bytes, but 16777217 were given"
    );
    assert!(
        key.encrypt(A128Gcm, &vec![0; MAX_ENCRYPT_BYTES], &[0; 12], b"")
            .is_ok()
    );
    let longest = key
        .encrypt(A128CbcPad, &vec![0; MAX_ENCRYPT_BYTES], &[0; 16], b"")
        .unwrap()
        .into_parts()
        .0;
    assert!(
        key.decrypt(A128CbcPad, &longest, &[0; 16], b"", b"")
            .is_ok()
    );
    assert!(is_input(key.decrypt(
        A128CbcPad,
        &vec![0; longest.len() + 16],
        &[0; 16],
        b"",
        b""
    )));
    assert!(is_input(
        key.decrypt(A128CbcPad, &[0; 16], &[0; 16], b"", &[0; 16])
    ));
    assert_eq!(
        key.wrap_key(A128Kw, &[0; 20]).unwrap_err().to_string(),
        "A128KW needs a key of 16 bytes or more in multiples of 8, but 20 were given; use the padded variant for other lengths"
    );
}

#[test]
fn key_wrap_gives_the_vectors_of_rfc_3394() {
    let kek = hex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F");
    let data = hex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
    for (algorithm, kek, data, wrapped) in [
        (
            A128Kw,
            &kek[..16],
            &data[..16],
            "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
        ),
        (
            A192Kw,
            &kek[..24],
            &data[..16],
            "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D",
        ),
        (
            A256Kw,
            &kek[..],
            &data[..16],
            "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7",
        ),
        (
            A192Kw,
            &kek[..24],
            &data[..24],
            "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2",
        ),
        (
            A256Kw,
            &kek[..],
            &data[..],
            "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
        ),
    ] {
        let key = oct(kek);
        for name in [algorithm, CkmAesKeyWrap] {
            let wrapped = hex(wrapped);
            assert_eq!(key.wrap_key(name, data).unwrap(), wrapped);
            assert_eq!(key.unwrap_key(name, &wrapped).unwrap().expose(), data);
        }
    }
}

#[test]
fn padded_key_wrap_gives_the_vectors_of_rfc_5649() {
    let key = oct(&hex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"));
    for (data, wrapped) in [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ] {
        let (data, wrapped) = (hex(data), hex(wrapped));
        for name in [A192KwPad, CkmAesKeyWrapPad] {
            assert_eq!(key.wrap_key(name, &data).unwrap(), wrapped);
            assert_eq!(key.unwrap_key(name, &wrapped).unwrap().expose(), data);
        }
    }
}

#[test]
fn key_wrap_agrees_with_another_implementation() {
    for (plain, padded, other, length) in [
        (A128Kw, A128KwPad, &key_wrap::AES_128, 16),
        (A256Kw, A256KwPad, &key_wrap::AES_256, 32),
    ] {
        let key_bytes = bytes(length);
        let key = oct(&key_bytes);
        let kek = || AesKek::new(other, &key_bytes).unwrap();
        let mut out = vec![0; 600];
        for size in 1..=520 {
            let data = bytes(size);
            let wrapped = key.wrap_key(padded, &data).unwrap();
            assert_eq!(wrapped, kek().wrap_with_padding(&data, &mut out).unwrap());
            assert_eq!(key.unwrap_key(padded, &wrapped).unwrap().expose(), data);
            if size >= 16 && size % 8 == 0 {
                let wrapped = key.wrap_key(plain, &data).unwrap();
                assert_eq!(wrapped, kek().wrap(&data, &mut out).unwrap());
                assert_eq!(key.unwrap_key(plain, &wrapped).unwrap().expose(), data);
            } else {
                assert!(is_input(key.wrap_key(plain, &data)));
            }
        }
    }
}

#[test]
fn wrapped_keys_that_do_not_open_fail_with_one_error() {
    let key = oct(&bytes(32));
    for (algorithm, size) in [(A256Kw, 16), (A256KwPad, 5), (A256KwPad, 21)] {
        let wrapped = key.wrap_key(algorithm, &bytes(size)).unwrap();
        for place in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[place] ^= 1;
            assert!(is_failed(key.unwrap_key(algorithm, &changed)));
        }
        for length in [0, 7, 8, 15, wrapped.len() - 1, wrapped.len() - 8] {
            assert!(is_failed(key.unwrap_key(algorithm, &wrapped[..length])));
        }
        assert!(is_failed(
            oct(&bytes(33)[1..]).unwrap_key(algorithm, &wrapped)
        ));
    }
    for algorithm in [A256Kw, A256KwPad] {
        assert!(is_input(key.wrap_key(algorithm, b"")));
        assert!(is_input(
            key.wrap_key(algorithm, &vec![0; MAX_WRAP_BYTES + 8])
        ));
        let longest = key.wrap_key(algorithm, &vec![1; MAX_WRAP_BYTES]).unwrap();
        assert_eq!(
            key.unwrap_key(algorithm, &longest).unwrap().len(),
            MAX_WRAP_BYTES
        );
        assert!(is_input(
            key.unwrap_key(algorithm, &vec![1; MAX_WRAP_BYTES + 24])
        ));
    }
}

#[test]
fn macs_agree_with_another_implementation_for_every_key_length() {
    for length in 16..=64 {
        let key_bytes = bytes(length);
        let key = oct(&key_bytes);
        for (algorithm, other) in [
            (Hs256, hmac::HMAC_SHA256),
            (Hs384, hmac::HMAC_SHA384),
            (Hs512, hmac::HMAC_SHA512),
        ] {
            for size in [0, 1, 64, 1000] {
                let data = bytes(size);
                let mac = key.sign(algorithm, &data).unwrap();
                let expected = hmac::sign(&hmac::Key::new(other, &key_bytes), &data);
                assert_eq!(mac, expected.as_ref());
                key.verify(algorithm, &data, &mac).unwrap();
                let mut changed = mac.clone();
                changed[0] ^= 1;
                let long = [mac.as_slice(), &[0]].concat();
                for wrong in [&changed, &mac[..mac.len() - 1], &mac[..16], &long, &[]] {
                    let result = key.verify(algorithm, &data, wrong);
                    assert!(matches!(result, Err(CryptoError::InvalidSignature)));
                }
            }
        }
    }
    let key = oct(&bytes(16));
    assert!(key.sign(Hs256, &vec![0; MAX_HMAC_BYTES]).is_ok());
    assert!(is_input(key.sign(Hs256, &vec![0; MAX_HMAC_BYTES + 1])));
}

#[test]
fn keys_do_only_what_their_length_allows() {
    for length in 16..=64 {
        let key = oct(&bytes(length));
        for algorithm in EncryptionAlgorithm::ALL {
            let iv = vec![0; algorithm.iv_length().unwrap_or(0)];
            let fits = matches!(
                (algorithm, length),
                (A128Gcm | A128Cbc | A128CbcPad, 16)
                    | (A192Gcm | A192Cbc | A192CbcPad, 24)
                    | (A256Gcm | A256Cbc | A256CbcPad, 32)
            );
            let result = key.encrypt(*algorithm, b"", &iv, b"");
            assert_eq!(result.is_ok(), fits, "{algorithm} {length}");
            assert!(fits || matches!(result, Err(CryptoError::Unsupported)));
            let result = key.decrypt(*algorithm, b"", &iv, b"", b"");
            assert!(fits || matches!(result, Err(CryptoError::Unsupported)));
        }
        for algorithm in WrapAlgorithm::ALL {
            let fits = matches!(
                (algorithm, length),
                (A128Kw | A128KwPad, 16)
                    | (A192Kw | A192KwPad, 24)
                    | (A256Kw | A256KwPad, 32)
                    | (CkmAesKeyWrap | CkmAesKeyWrapPad, 16 | 24 | 32)
            );
            let result = key.wrap_key(*algorithm, &[1; 16]);
            assert_eq!(result.is_ok(), fits, "{algorithm} {length}");
            assert!(fits || matches!(result, Err(CryptoError::Unsupported)));
        }
        assert!(matches!(
            key.sign(Es256, &[0; 32]),
            Err(CryptoError::Unsupported)
        ));
    }
}

#[test]
fn generated_keys_have_their_length_and_differ() {
    for length in [16, 24, 32, 17, 64] {
        let spec = KeySpec::Oct(OctKeyLength::try_from(length).unwrap());
        let made = [generate(spec), generate(spec)].map(|material| match material.parts {
            MaterialParts::Oct { key, .. } => key,
            _ => panic!("not a symmetric key"),
        });
        assert_eq!(made[0].len(), length);
        assert_ne!(made[0], made[1]);
    }
}
