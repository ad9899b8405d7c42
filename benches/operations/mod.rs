//! Operations with cached keys, through the vault and as the bare calls of the same crates with parsed keys.

use std::convert::Infallible;
use std::hint::black_box;

use aes::Aes256;
use aes::cipher::KeyInit;
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes256Gcm, aead};
use aes_kw::{AesKw, InnerInit};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier, RandomizedPrehashSigner};
use p256::pkcs8::EncodePrivateKey;
use rand_core::{TryCryptoRng, TryRng};
use rsa::traits::{PaddingScheme, SignatureScheme};
use rsa::{Oaep, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use sha2::Sha256;
use strongroom::{
    Ciphertext, EncryptOptions, EncryptionAlgorithm, Entropy, ImportKeyOptions, ImportedKey,
    KeyName, OsEntropy, SecretBytes, SignatureAlgorithm, Vault, WrapAlgorithm,
};

use crate::pairs::Pair;

/// The generator that the vault uses too, in the shape that the crates take.
struct Random;

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_randomly(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

fn fill_randomly(bytes: &mut [u8]) {
    OsEntropy::default().fill(bytes).expect("random bytes");
}

pub(crate) const DIGEST: [u8; 48] = [0x5a; 48];
pub(crate) const TEXT: [u8; 1_024] = [0x33; 1_024];

pub(crate) fn name(text: &str) -> KeyName {
    text.parse().expect("a legal name")
}

pub(crate) fn import(vault: &Vault, text: &str, der: &[u8]) -> KeyName {
    let name = name(text);
    let key = ImportedKey::from_pkcs8_der(der).expect("a key");
    vault
        .import_key(&name, ImportKeyOptions::new(key))
        .expect("the key is imported");
    name
}

#[allow(dead_code, reason = "not every benchmark uses it")]
pub(crate) fn rsa_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    let key = RsaPrivateKey::new(&mut Random, 2048).expect("an RSA key");
    rsa_pairs_of(key, vault, pairs);
}

pub(crate) fn rsa_pairs_of<'a>(key: RsaPrivateKey, vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    let public = RsaPublicKey::from(&key);
    let name = import(
        vault,
        "rsa-2048",
        key.to_pkcs8_der().expect("a container").as_bytes(),
    );
    let digest = &DIGEST[..32];
    let rs256 = SignatureAlgorithm::Rs256;
    let padding = Pkcs1v15Sign::new::<Sha256>;
    let signature = padding()
        .sign(Some(&mut Random), &key, digest)
        .expect("a signature");
    let bare_key = key.clone();
    let by_name = name.clone();
    pairs.push(Pair::new(
        "sign_rs256_2048",
        move || {
            drop(black_box(
                vault.sign(&by_name, rs256, digest).expect("a signature"),
            ))
        },
        move || {
            let signature = padding().sign(Some(&mut Random), &bare_key, digest);
            drop(black_box(signature.expect("a signature")));
        },
    ));
    let (by_name, given, bare_public) = (name.clone(), signature.clone(), public.clone());
    pairs.push(Pair::new(
        "verify_rs256_2048",
        move || {
            vault
                .verify(&by_name, rs256, digest, &given)
                .expect("valid")
        },
        move || {
            let verified = padding().verify(&bare_public, digest, &signature);
            verified.expect("valid");
        },
    ));
    let oaep = EncryptionAlgorithm::RsaOaep256;
    let ciphertext = Oaep::<Sha256>::new()
        .encrypt(&mut Random, &public, &TEXT[..32])
        .expect("a ciphertext");
    let given = ciphertext.clone();
    pairs.push(Pair::new(
        "decrypt_rsa_oaep_256",
        move || {
            let opened = vault.decrypt(&name, oaep, Ciphertext::new(&given));
            drop(black_box(opened.expect("the plaintext")));
        },
        move || {
            let opened = Oaep::<Sha256>::new().decrypt(Some(&mut Random), &key, &ciphertext);
            drop(black_box(opened.expect("the plaintext")));
        },
    ));
}

macro_rules! curve_pairs {
    ($vault:ident, $pairs:ident, $krate:ident, $bytes:literal, $algorithm:ident, $sign:literal, $verify:literal) => {{
        let key = $krate::ecdsa::SigningKey::from_slice(&[0x11; $bytes]).expect("a scalar");
        let public = *key.verifying_key();
        let secret = $krate::SecretKey::from(&key);
        let der = secret.to_pkcs8_der().expect("a container");
        let name = import($vault, &$sign.replace('_', "-"), der.as_bytes());
        let algorithm = SignatureAlgorithm::$algorithm;
        let digest = &DIGEST[..$bytes];
        // The same in every run: how long it takes to verify one depends on it.
        let signature: $krate::ecdsa::Signature = key.sign_prehash(digest).expect("a signature");
        let by_name = name.clone();
        $pairs.push(Pair::new(
            $sign,
            move || {
                drop(black_box(
                    $vault
                        .sign(&by_name, algorithm, digest)
                        .expect("a signature"),
                ))
            },
            move || {
                let signature: $krate::ecdsa::Signature = key
                    .sign_prehash_with_rng(&mut Random, digest)
                    .expect("a signature");
                drop(black_box(signature.to_bytes().to_vec()));
            },
        ));
        let bytes = signature.to_bytes().to_vec();
        $pairs.push(Pair::new(
            $verify,
            move || {
                $vault
                    .verify(&name, algorithm, digest, &bytes)
                    .expect("valid")
            },
            move || public.verify_prehash(digest, &signature).expect("valid"),
        ));
    }};
}

pub(crate) fn ec_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    curve_pairs!(vault, pairs, p256, 32, Es256, "sign_es256", "verify_es256");
    curve_pairs!(
        vault,
        pairs,
        k256,
        32,
        Es256K,
        "sign_es256k",
        "verify_es256k"
    );
    curve_pairs!(vault, pairs, p384, 48, Es384, "sign_es384", "verify_es384");
}

pub(crate) fn symmetric_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    let bytes = [0x22; 32];
    let name = name("oct-256");
    let key = ImportedKey::oct(SecretBytes::copied_from(&bytes));
    vault
        .import_key(&name, ImportKeyOptions::new(key))
        .expect("the key is imported");

    let kw = WrapAlgorithm::A256Kw;
    let aes = Aes256::new_from_slice(&bytes).expect("a key");
    let wrapper = AesKw::inner_init(aes.clone());
    let by_name = name.clone();
    pairs.push(Pair::new(
        "wrap_a256kw",
        move || {
            drop(black_box(
                vault.wrap_key(&by_name, kw, &TEXT[..32]).expect("wrapped"),
            ))
        },
        move || {
            let mut wrapped = vec![0; 40];
            wrapper
                .wrap_key(&TEXT[..32], &mut wrapped)
                .expect("wrapped");
            drop(black_box(wrapped));
        },
    ));
    let wrapper = AesKw::inner_init(aes);
    let wrapped = vault.wrap_key(&name, kw, &TEXT[..32]).expect("wrapped");
    let given = wrapped.wrapped_key().to_vec();
    let by_name = name.clone();
    pairs.push(Pair::new(
        "unwrap_a256kw",
        move || {
            let key = vault.unwrap_key(&by_name, kw, wrapped.wrapped_key());
            drop(black_box(key.expect("unwrapped")));
        },
        move || {
            let mut key = vec![0; 32];
            wrapper.unwrap_key(&given, &mut key).expect("unwrapped");
            drop(black_box(key));
        },
    ));

    let gcm = EncryptionAlgorithm::A256Gcm;
    let cipher = Aes256Gcm::new_from_slice(&bytes).expect("a key");
    let decrypting = cipher.clone();
    let by_name = name.clone();
    pairs.push(Pair::new(
        "encrypt_a256gcm_1k",
        move || {
            let sealed = vault.encrypt(&by_name, gcm, &TEXT, EncryptOptions::new());
            drop(black_box(sealed.expect("a ciphertext")));
        },
        move || {
            let mut iv: Nonce<Aes256Gcm> = aead::array::Array::default();
            fill_randomly(&mut iv);
            let mut text = TEXT.to_vec();
            let tag = cipher.encrypt_inout_detached(&iv, &[], text.as_mut_slice().into());
            drop(black_box((text, tag.expect("a tag"))));
        },
    ));
    let sealed = vault
        .encrypt(&name, gcm, &TEXT, EncryptOptions::new())
        .expect("a ciphertext");
    let given = sealed.clone();
    pairs.push(Pair::new(
        "decrypt_a256gcm_1k",
        move || {
            let opened = vault.decrypt(&name, gcm, Ciphertext::from(&sealed));
            drop(black_box(opened.expect("the plaintext")));
        },
        move || {
            let iv = Nonce::<Aes256Gcm>::try_from(given.iv().unwrap_or_default()).expect("an IV");
            let tag = Tag::<Aes256Gcm>::try_from(given.tag().unwrap_or_default()).expect("a tag");
            let mut text = given.ciphertext().to_vec();
            decrypting
                .decrypt_inout_detached(&iv, &[], text.as_mut_slice().into(), &tag)
                .expect("the plaintext");
            drop(black_box(text));
        },
    ));
}
