//! AES and HMAC against aws-lc. Each algorithm with many keys.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesBlockCipher, AesKek, KeyWrap, KeyWrapPadded};
use strongroom::{
    Ciphertext, EncryptOptions, EncryptionAlgorithm, ErrorKind, ImportedKey, KeyName, KeyOperation,
    SecretBytes, SignatureAlgorithm, Vault, WrapAlgorithm, hazmat,
};

use super::{Inputs, key_name, per_direction, vault};
use crate::make;

/// Operations per direction with one key.
const PER_KEY: usize = 25;

/// Runs `work` with a new key as often as makes all the operations, for the length that it needs.
fn with_keys(
    seed: &str,
    lengths: &[usize],
    operations: &[KeyOperation],
    mut work: impl FnMut(&Vault, &KeyName, &[u8], &mut Inputs),
) {
    let vault = vault();
    let mut inputs = Inputs::new(seed);
    let mut ran = 0;
    for number in 0..per_direction() / PER_KEY {
        let key = inputs.bytes(lengths[number % lengths.len()]);
        let name = key_name(number);
        let imported = ImportedKey::oct(SecretBytes::copied_from(&key));
        let options = make::import(imported).operations(
            operations
                .iter()
                .copied()
                .collect::<strongroom::KeyOperations>(),
        );
        vault.import_key(&name, options).unwrap();
        for _ in 0..PER_KEY {
            work(&vault, &name, &key, &mut inputs);
            ran += 1;
        }
    }
    assert_eq!(ran, per_direction());
}

fn gcm(algorithm: EncryptionAlgorithm, theirs: &'static aead::Algorithm) {
    let operations = [KeyOperation::Encrypt, KeyOperation::Decrypt];
    let length = theirs.key_len();
    with_keys(
        algorithm.as_str(),
        &[length],
        &operations,
        |vault, name, key, inputs| {
            let theirs = LessSafeKey::new(UnboundKey::new(theirs, key).unwrap());
            // Made here, opened there.
            let (text, aad) = (inputs.up_to(1000), inputs.up_to(60));
            let options = EncryptOptions::new().aad(&aad);
            let made = vault.encrypt(name, algorithm, &text, options).unwrap();
            let nonce = Nonce::try_assume_unique_for_key(made.iv().unwrap()).unwrap();
            let mut buffer = [made.ciphertext(), made.tag().unwrap()].concat();
            let opened = theirs.open_in_place(nonce, Aad::from(&aad), &mut buffer);
            assert_eq!(opened.unwrap(), text);

            // Made there, made here again with the same IV, opened here.
            let (text, aad, iv) = (inputs.up_to(1000), inputs.up_to(60), inputs.bytes(12));
            let nonce = Nonce::try_assume_unique_for_key(&iv).unwrap();
            let mut buffer = text.clone();
            let tag = theirs
                .seal_in_place_separate_tag(nonce, Aad::from(&aad), &mut buffer)
                .unwrap();
            let options = EncryptOptions::new().aad(&aad);
            let same = hazmat::encrypt_with_iv(vault, name, algorithm, &text, &iv, options);
            let same = same.unwrap();
            assert_eq!(same.ciphertext(), buffer);
            assert_eq!(same.tag(), Some(tag.as_ref()));
            let ciphertext = Ciphertext::new(&buffer).iv(&iv).aad(&aad).tag(tag.as_ref());
            let opened = vault.decrypt(name, algorithm, ciphertext).unwrap();
            assert_eq!(opened.expose(), text);
            let other = Ciphertext::new(&buffer).iv(&iv).tag(tag.as_ref()).aad(b"?");
            let refused = vault.decrypt(name, algorithm, other).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::DecryptFailed);
        },
    );
}

#[test]
fn a128gcm() {
    gcm(EncryptionAlgorithm::A128Gcm, &aead::AES_128_GCM);
}

#[test]
fn a192gcm() {
    gcm(EncryptionAlgorithm::A192Gcm, &aead::AES_192_GCM);
}

#[test]
fn a256gcm() {
    gcm(EncryptionAlgorithm::A256Gcm, &aead::AES_256_GCM);
}

/// CBC there: without padding, or with PKCS#7.
fn cbc_encrypt(key: UnboundCipherKey, iv: &[u8], padded: bool, text: &[u8]) -> Vec<u8> {
    let iv = EncryptionContext::Iv128(FixedLength::try_from(iv).unwrap());
    let mut buffer = text.to_vec();
    if padded {
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap();
        key.less_safe_encrypt(&mut buffer, iv).unwrap();
    } else {
        let key = EncryptingKey::cbc(key).unwrap();
        key.less_safe_encrypt(&mut buffer, iv).unwrap();
    }
    buffer
}

fn cbc_decrypt(key: UnboundCipherKey, iv: &[u8], padded: bool, ciphertext: &[u8]) -> Vec<u8> {
    let iv = DecryptionContext::Iv128(FixedLength::try_from(iv).unwrap());
    let mut buffer = ciphertext.to_vec();
    if padded {
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).unwrap();
        key.decrypt(&mut buffer, iv).unwrap().to_vec()
    } else {
        let key = DecryptingKey::cbc(key).unwrap();
        key.decrypt(&mut buffer, iv).unwrap().to_vec()
    }
}

fn cbc(algorithm: EncryptionAlgorithm, theirs: &'static cipher::Algorithm, length: usize) {
    let padded = algorithm.as_str().ends_with("PAD");
    let operations = [KeyOperation::Encrypt, KeyOperation::Decrypt];
    with_keys(
        algorithm.as_str(),
        &[length],
        &operations,
        |vault, name, key, inputs| {
            let theirs = || UnboundCipherKey::new(theirs, key).unwrap();
            let text = |inputs: &mut Inputs| {
                let mut text = inputs.between(16, 600);
                if !padded {
                    text.truncate(text.len() / 16 * 16);
                }
                text
            };
            // Made here with an IV from here, opened there.
            let ours = text(inputs);
            let made = vault
                .encrypt(name, algorithm, &ours, EncryptOptions::new())
                .unwrap();
            let opened = cbc_decrypt(theirs(), made.iv().unwrap(), padded, made.ciphertext());
            assert_eq!(opened, ours);

            // Made there, made here again with the same IV, opened here.
            let (text, iv) = (text(inputs), inputs.bytes(16));
            let made = cbc_encrypt(theirs(), &iv, padded, &text);
            let options = EncryptOptions::new().iv(&iv);
            let same = vault.encrypt(name, algorithm, &text, options).unwrap();
            assert_eq!(same.ciphertext(), made);
            let opened = vault.decrypt(name, algorithm, Ciphertext::new(&made).iv(&iv));
            assert_eq!(opened.unwrap().expose(), text);
        },
    );
}

#[test]
fn a128cbc() {
    cbc(EncryptionAlgorithm::A128Cbc, &cipher::AES_128, 16);
}

#[test]
fn a192cbc() {
    cbc(EncryptionAlgorithm::A192Cbc, &cipher::AES_192, 24);
}

#[test]
fn a256cbc() {
    cbc(EncryptionAlgorithm::A256Cbc, &cipher::AES_256, 32);
}

#[test]
fn a128cbcpad() {
    cbc(EncryptionAlgorithm::A128CbcPad, &cipher::AES_128, 16);
}

#[test]
fn a192cbcpad() {
    cbc(EncryptionAlgorithm::A192CbcPad, &cipher::AES_192, 24);
}

#[test]
fn a256cbcpad() {
    cbc(EncryptionAlgorithm::A256CbcPad, &cipher::AES_256, 32);
}

fn kek(key: &[u8]) -> AesKek {
    let cipher: &'static AesBlockCipher = if key.len() == 16 { &AES_128 } else { &AES_256 };
    AesKek::new(cipher, key).unwrap()
}

/// aws-lc has no AES Key Wrap with 192 bits; the `openssl` command does that.
fn key_wrap(algorithm: WrapAlgorithm, lengths: &[usize]) {
    let padded = algorithm.is_padded_key_wrap();
    let operations = [KeyOperation::WrapKey, KeyOperation::UnwrapKey];
    with_keys(
        algorithm.as_str(),
        lengths,
        &operations,
        |vault, name, key, inputs| {
            let text = |inputs: &mut Inputs| {
                if padded {
                    return inputs.between(1, 200);
                }
                let mut text = inputs.between(16, 200);
                text.truncate(text.len() / 8 * 8);
                text
            };
            let mut buffer = [0; 256];
            // Wrapped here, unwrapped there.
            let ours = text(inputs);
            let wrapped = vault.wrap_key(name, algorithm, &ours).unwrap();
            let opened = if padded {
                kek(key).unwrap_with_padding(wrapped.wrapped_key(), &mut buffer)
            } else {
                kek(key).unwrap(wrapped.wrapped_key(), &mut buffer)
            };
            assert_eq!(opened.unwrap(), ours);

            // Wrapped there, the same here, unwrapped here.
            let text = text(inputs);
            let wrapped = if padded {
                kek(key).wrap_with_padding(&text, &mut buffer)
            } else {
                kek(key).wrap(&text, &mut buffer)
            };
            let wrapped: &[u8] = wrapped.unwrap();
            let same = vault.wrap_key(name, algorithm, &text).unwrap();
            assert_eq!(same.wrapped_key(), wrapped);
            let opened = vault.unwrap_key(name, algorithm, wrapped).unwrap();
            assert_eq!(opened.expose(), text);
        },
    );
}

#[test]
fn a128kw() {
    key_wrap(WrapAlgorithm::A128Kw, &[16]);
}

#[test]
fn a256kw() {
    key_wrap(WrapAlgorithm::A256Kw, &[32]);
}

#[test]
fn a128kwpad() {
    key_wrap(WrapAlgorithm::A128KwPad, &[16]);
}

#[test]
fn a256kwpad() {
    key_wrap(WrapAlgorithm::A256KwPad, &[32]);
}

#[test]
fn ckm_aes_key_wrap() {
    key_wrap(WrapAlgorithm::CkmAesKeyWrap, &[16, 32]);
}

#[test]
fn ckm_aes_key_wrap_pad() {
    key_wrap(WrapAlgorithm::CkmAesKeyWrapPad, &[16, 32]);
}

fn hmac_with(algorithm: SignatureAlgorithm, theirs: hmac::Algorithm) {
    let operations = [KeyOperation::Sign, KeyOperation::Verify];
    // Every length of a symmetric key in turn, as far as the number of keys goes.
    let lengths = [16, 64, 17, 24, 31, 32, 33, 48, 50, 63];
    with_keys(
        algorithm.as_str(),
        &lengths,
        &operations,
        |vault, name, key, inputs| {
            let theirs = hmac::Key::new(theirs, key);
            let data = inputs.up_to(500);
            let made = vault.sign_data(name, algorithm, &data).unwrap();
            hmac::verify(&theirs, &data, made.signature()).unwrap();

            let data = inputs.up_to(500);
            let mac = hmac::sign(&theirs, &data);
            vault
                .verify_data(name, algorithm, &data, mac.as_ref())
                .unwrap();
            let same = vault.sign(name, algorithm, &data).unwrap();
            assert_eq!(same.signature(), mac.as_ref());
        },
    );
}

#[test]
fn hs256() {
    hmac_with(SignatureAlgorithm::Hs256, hmac::HMAC_SHA256);
}

#[test]
fn hs384() {
    hmac_with(SignatureAlgorithm::Hs384, hmac::HMAC_SHA384);
}

#[test]
fn hs512() {
    hmac_with(SignatureAlgorithm::Hs512, hmac::HMAC_SHA512);
}
