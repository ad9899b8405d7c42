//! AES and HMAC. The engine on aws-lc leaves all of it to RustCrypto.

use aes::Aes256;
use aes::cipher::KeyInit;
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes256Gcm, aead};
use aes_kw::{AesKw, InnerInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce as AwsNonce, RandomizedNonceKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use hmac::{Hmac, Mac};
use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use sha2::Sha256;
use strongroom::{
    Ciphertext, EncryptOptions, EncryptResult, EncryptionAlgorithm, ImportKeyOptions, ImportedKey,
    KeyName, KeyOperation, SecretBytes, SignatureAlgorithm, WrapAlgorithm,
};

use super::{KEY, TEXT, Vaults, fill_randomly};
use crate::contest::{Operation, Peer};
use crate::keysets;

const SECRET: [u8; 32] = [0x22; 32];
const IV: usize = 12;
const TAG: usize = 16;

pub(super) fn all(vaults: &Vaults) -> [Operation<'_>; 4] {
    let key = || ImportedKey::oct(SecretBytes::copied_from(&SECRET));
    let name = vaults.import("oct-256", || ImportKeyOptions::new(key()));
    let mac = vaults.import("mac-256", || {
        ImportKeyOptions::new(key()).operations([KeyOperation::Sign, KeyOperation::Verify])
    });
    [
        encrypt(vaults, name.clone()),
        decrypt(vaults, name.clone()),
        wrap(vaults, name),
        authenticate(vaults, mac),
    ]
}

fn openssl_gcm(given: &[u8]) -> Option<Vec<u8>> {
    let mut context = CipherCtx::new().expect("a context");
    let gcm = Some(Cipher::aes_256_gcm());
    context
        .decrypt_init(gcm, Some(&SECRET), None)
        .expect("ready");
    open_openssl(&mut context, given)
}

fn open_openssl(context: &mut CipherCtx, given: &[u8]) -> Option<Vec<u8>> {
    let (iv, rest) = given.split_at(IV);
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
    context.decrypt_init(None, None, Some(iv)).ok()?;
    let mut text = vec![0; ciphertext.len()];
    context.cipher_update(ciphertext, Some(&mut text)).ok()?;
    context.set_tag(tag).ok()?;
    context.cipher_final(&mut []).ok()?;
    Some(text)
}

/// What strongroom gives in three parts, in one.
fn joined(sealed: &EncryptResult) -> Vec<u8> {
    let (iv, tag) = (sealed.iv().expect("an IV"), sealed.tag().expect("a tag"));
    [iv, sealed.ciphertext(), tag].concat()
}

fn encrypt(vaults: &Vaults, name: KeyName) -> Operation<'_> {
    let mut operation = Operation::new("encrypt A256GCM, 1 KiB");
    let bare = Aes256Gcm::new_from_slice(&SECRET).expect("a key");
    let other = bare.clone();
    let check = |sealed: &[u8]| {
        assert_eq!(openssl_gcm(sealed).expect("OpenSSL takes it"), TEXT);
        assert_eq!(
            open_bare(&other, sealed).expect("RustCrypto takes it"),
            TEXT
        );
    };
    let call = move || {
        let gcm = EncryptionAlgorithm::A256Gcm;
        let sealed = (vaults.rust_crypto).encrypt(&name, gcm, &TEXT, EncryptOptions::new());
        sealed.expect("a ciphertext")
    };
    operation.making(Peer::Strongroom, call, |sealed| joined(&sealed), check);
    let call = move || {
        let mut iv: Nonce<Aes256Gcm> = aead::array::Array::default();
        fill_randomly(&mut iv);
        let mut text = TEXT.to_vec();
        let tag = bare.encrypt_inout_detached(&iv, &[], text.as_mut_slice().into());
        (iv, text, tag.expect("a tag"))
    };
    let bytes = |(iv, text, tag): (Nonce<Aes256Gcm>, Vec<u8>, Tag<Aes256Gcm>)| {
        [iv.as_slice(), &text, tag.as_slice()].concat()
    };
    operation.making(Peer::RustCrypto, call, bytes, check);
    let key = RandomizedNonceKey::new(&AES_256_GCM, &SECRET).expect("a key");
    let call = move || {
        let mut text = TEXT.to_vec();
        let sealed = key.seal_in_place_separate_tag(Aad::empty(), &mut text);
        let (iv, tag) = sealed.expect("a ciphertext");
        (iv, text, tag)
    };
    let bytes = |(iv, text, tag): (AwsNonce, Vec<u8>, aws_lc_rs::aead::Tag)| {
        [iv.as_ref().as_slice(), &text, tag.as_ref()].concat()
    };
    operation.making(Peer::AwsLc, call, bytes, check);
    let mut context = CipherCtx::new().expect("a context");
    let gcm = Some(Cipher::aes_256_gcm());
    context
        .encrypt_init(gcm, Some(&SECRET), None)
        .expect("ready");
    let call = move || {
        let (mut iv, mut tag) = ([0; IV], [0; TAG]);
        openssl::rand::rand_bytes(&mut iv).expect("random bytes");
        context.encrypt_init(None, None, Some(&iv)).expect("ready");
        let mut text = vec![0; TEXT.len()];
        context
            .cipher_update(&TEXT, Some(&mut text))
            .expect("encrypted");
        context.cipher_final(&mut []).expect("encrypted");
        context.tag(&mut tag).expect("a tag");
        (iv, text, tag)
    };
    let bytes =
        |(iv, text, tag): ([u8; IV], Vec<u8>, [u8; TAG])| [iv.as_slice(), &text, &tag].concat();
    operation.making(Peer::OpenSsl, call, bytes, check);
    let tink = tink_aead::new(&keysets::aes_gcm(&SECRET)).expect("a cipher");
    let call = move || tink.encrypt(&TEXT, &[]).expect("a ciphertext");
    operation.making(Peer::Tink, call, |bytes| bytes, check);
    operation
}

fn open_bare(cipher: &Aes256Gcm, given: &[u8]) -> Option<Vec<u8>> {
    let (iv, rest) = given.split_at(IV);
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
    let iv = Nonce::<Aes256Gcm>::try_from(iv).ok()?;
    let tag = Tag::<Aes256Gcm>::try_from(tag).ok()?;
    let mut text = ciphertext.to_vec();
    cipher
        .decrypt_inout_detached(&iv, &[], text.as_mut_slice().into(), &tag)
        .ok()?;
    Some(text)
}

fn decrypt(vaults: &Vaults, name: KeyName) -> Operation<'_> {
    let mut operation = Operation::new("decrypt A256GCM, 1 KiB");
    let check = |text: Vec<u8>| assert_eq!(text, TEXT);
    let gcm = EncryptionAlgorithm::A256Gcm;
    let sealed = vaults
        .rust_crypto
        .encrypt(&name, gcm, &TEXT, EncryptOptions::new());
    let given = joined(&sealed.expect("a ciphertext"));
    let call = move |given: &[u8]| {
        let (iv, rest) = given.split_at(IV);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
        let sealed = Ciphertext::new(ciphertext).iv(iv).tag(tag);
        vaults.rust_crypto.decrypt(&name, gcm, sealed).ok()
    };
    let exposed = |text: SecretBytes| check(text.expose().to_vec());
    operation.taking(Peer::Strongroom, &given, call, exposed);
    let cipher = Aes256Gcm::new_from_slice(&SECRET).expect("a key");
    let call = move |given: &[u8]| open_bare(&cipher, given);
    operation.taking(Peer::RustCrypto, &given, call, check);
    let key = RandomizedNonceKey::new(&AES_256_GCM, &SECRET).expect("a key");
    let call = move |given: &[u8]| {
        let (iv, sealed) = given.split_at(NONCE_LEN);
        let iv = AwsNonce::try_assume_unique_for_key(iv).ok()?;
        let mut text = sealed.to_vec();
        let length = key.open_in_place(iv, Aad::empty(), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    };
    operation.taking(Peer::AwsLc, &given, call, check);
    let mut context = CipherCtx::new().expect("a context");
    let cipher = Some(Cipher::aes_256_gcm());
    context
        .decrypt_init(cipher, Some(&SECRET), None)
        .expect("ready");
    let call = move |given: &[u8]| open_openssl(&mut context, given);
    operation.taking(Peer::OpenSsl, &given, call, check);
    let tink = tink_aead::new(&keysets::aes_gcm(&SECRET)).expect("a cipher");
    let call = move |given: &[u8]| tink.decrypt(given, &[]).ok();
    operation.taking(Peer::Tink, &given, call, check);
    operation
}

fn wrap(vaults: &Vaults, name: KeyName) -> Operation<'_> {
    let mut operation = Operation::new("wrap A256KW, 32 bytes");
    let check = |wrapped: &[u8]| {
        let kek = AesKek::new(&AES_256, &SECRET).expect("a key");
        let mut key = [0; 40];
        let key = kek.unwrap(wrapped, &mut key).expect("aws-lc-rs takes it");
        assert_eq!(key, KEY);
        let unwrapping = openssl::aes::AesKey::new_decrypt(&SECRET).expect("a key");
        let mut key = [0; 32];
        openssl::aes::unwrap_key(&unwrapping, None, &mut key, wrapped).expect("OpenSSL takes it");
        assert_eq!(key, KEY);
    };
    let call = move || {
        let wrapped = vaults
            .rust_crypto
            .wrap_key(&name, WrapAlgorithm::A256Kw, &KEY);
        wrapped.expect("wrapped")
    };
    let bytes = |wrapped: strongroom::WrapResult| wrapped.wrapped_key().to_vec();
    operation.making(Peer::Strongroom, call, bytes, check);
    let wrapper = AesKw::inner_init(Aes256::new_from_slice(&SECRET).expect("a key"));
    let call = move || {
        let mut wrapped = vec![0; 40];
        wrapper.wrap_key(&KEY, &mut wrapped).expect("wrapped");
        wrapped
    };
    operation.making(Peer::RustCrypto, call, |bytes| bytes, check);
    let call = || {
        // Its keys are used up by each call.
        let kek = AesKek::new(&AES_256, &SECRET).expect("a key");
        let mut wrapped = vec![0; 40];
        kek.wrap(&KEY, &mut wrapped).expect("wrapped");
        wrapped
    };
    operation.making(Peer::AwsLc, call, |bytes| bytes, check);
    let mut context = CipherCtx::new().expect("a context");
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    let cipher = Some(Cipher::aes_256_wrap());
    (context.encrypt_init(cipher, Some(&SECRET), None)).expect("ready");
    let call = move || {
        // Longer than the result, as the context demands.
        let mut wrapped = vec![0; 48];
        context.encrypt_init(None, None, None).expect("ready");
        let length = context.cipher_update(&KEY, Some(&mut wrapped));
        wrapped.truncate(length.expect("wrapped"));
        wrapped
    };
    operation.making(Peer::OpenSsl, call, |bytes| bytes, check);
    operation
}

fn authenticate(vaults: &Vaults, name: KeyName) -> Operation<'_> {
    let mut operation = Operation::new("sign HS256, 1 KiB");
    let check = |mac: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &SECRET);
        aws_lc_rs::hmac::verify(&key, &TEXT, mac).expect("aws-lc-rs takes it");
        let mut other = Hmac::<Sha256>::new_from_slice(&SECRET).expect("a key");
        other.update(&TEXT);
        other.verify_slice(mac).expect("RustCrypto takes it");
    };
    let call = move || {
        let signed = vaults
            .rust_crypto
            .sign(&name, SignatureAlgorithm::Hs256, &TEXT);
        signed.expect("a MAC")
    };
    let bytes = |signed: strongroom::SignResult| signed.signature().to_vec();
    operation.making(Peer::Strongroom, call, bytes, check);
    let keyed = Hmac::<Sha256>::new_from_slice(&SECRET).expect("a key");
    let call = move || {
        let mut mac = keyed.clone();
        mac.update(&TEXT);
        mac.finalize().into_bytes().to_vec()
    };
    operation.making(Peer::RustCrypto, call, |bytes| bytes, check);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &SECRET);
    let call = move || aws_lc_rs::hmac::sign(&key, &TEXT).as_ref().to_vec();
    operation.making(Peer::AwsLc, call, |bytes| bytes, check);
    let key = PKey::hmac(&SECRET).expect("a key");
    let call = move || {
        let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("a context");
        signer.sign_oneshot_to_vec(&TEXT).expect("a MAC")
    };
    operation.making(Peer::OpenSsl, call, |bytes| bytes, check);
    let tink = tink_mac::new(&keysets::hmac(&SECRET)).expect("a MAC");
    let call = move || tink.compute_mac(&TEXT).expect("a MAC");
    operation.making(Peer::Tink, call, |bytes| bytes, check);
    operation
}
