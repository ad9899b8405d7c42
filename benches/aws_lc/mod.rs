//! The engine on aws-lc, through the vault and as the bare calls of aws-lc-rs.

use std::hint::black_box;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::{
    self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _,
    ParsedPublicKey,
};
use strongroom::{Ciphertext, EncryptionAlgorithm, SignatureAlgorithm, Vault};

use crate::operations::{DIGEST, TEXT, import};
use crate::pairs::Pair;

/// Signatures and decryption; the vault is on aws-lc.
pub(crate) fn pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    rsa_pairs(vault, pairs);
    ec_pairs(
        vault,
        pairs,
        (SignatureAlgorithm::Es256, &digest::SHA256),
        (
            &aws::ECDSA_P256_SHA256_FIXED_SIGNING,
            &aws::ECDSA_P256_SHA256_FIXED,
        ),
        ("aws_lc_sign_es256", "aws_lc_verify_es256"),
    );
    ec_pairs(
        vault,
        pairs,
        (SignatureAlgorithm::Es384, &digest::SHA384),
        (
            &aws::ECDSA_P384_SHA384_FIXED_SIGNING,
            &aws::ECDSA_P384_SHA384_FIXED,
        ),
        ("aws_lc_sign_es384", "aws_lc_verify_es384"),
    );
}

fn imported(bytes: &[u8], algorithm: &'static digest::Algorithm) -> Digest {
    Digest::import_less_safe(bytes, algorithm).expect("a digest")
}

fn rsa_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let container: Pkcs8V1Der<'_> = key.as_der().expect("a container");
    let name = import(vault, "aws-lc-rsa-2048", container.as_ref());
    let bytes = &DIGEST[..32];
    let rs256 = SignatureAlgorithm::Rs256;
    let mut signature = vec![0; 256];
    key.sign_digest(
        &aws::RSA_PKCS1_SHA256,
        &imported(bytes, &digest::SHA256),
        &mut signature,
    )
    .expect("a signature");
    let public = ParsedPublicKey::new(&aws::RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .expect("a public key");
    let by_name = name.clone();
    pairs.push(Pair::new(
        "aws_lc_sign_rs256_2048",
        move || {
            drop(black_box(
                vault.sign(&by_name, rs256, bytes).expect("a signature"),
            ))
        },
        move || {
            let mut signature = vec![0; 256];
            let digest = imported(bytes, &digest::SHA256);
            key.sign_digest(&aws::RSA_PKCS1_SHA256, &digest, &mut signature)
                .expect("a signature");
            drop(black_box(signature));
        },
    ));
    let (by_name, given) = (name.clone(), signature.clone());
    pairs.push(Pair::new(
        "aws_lc_verify_rs256_2048",
        move || {
            vault.verify(&by_name, rs256, bytes, &given).expect("valid");
        },
        move || {
            let digest = imported(bytes, &digest::SHA256);
            public
                .verify_digest_sig(&digest, &signature)
                .expect("valid");
        },
    ));
    let private = PrivateDecryptingKey::from_pkcs8(container.as_ref()).expect("a key");
    let encrypting = OaepPublicEncryptingKey::new(private.public_key()).expect("a public key");
    let private = OaepPrivateDecryptingKey::new(private).expect("a key");
    let mut ciphertext = vec![0; 256];
    encrypting
        .encrypt(&OAEP_SHA256_MGF1SHA256, &TEXT[..32], &mut ciphertext, None)
        .expect("a ciphertext");
    let given = ciphertext.clone();
    pairs.push(Pair::new(
        "aws_lc_decrypt_oaep_256",
        move || {
            let opened = vault.decrypt(
                &name,
                EncryptionAlgorithm::RsaOaep256,
                Ciphertext::new(&given),
            );
            drop(black_box(opened.expect("the plaintext")));
        },
        move || {
            let mut out = vec![0; 256];
            private
                .decrypt(&OAEP_SHA256_MGF1SHA256, &ciphertext, &mut out, None)
                .expect("the plaintext");
            drop(black_box(out));
        },
    ));
}

fn ec_pairs<'a>(
    vault: &'a Vault,
    pairs: &mut Vec<Pair<'a>>,
    (algorithm, hash): (SignatureAlgorithm, &'static digest::Algorithm),
    (signing, verification): (
        &'static EcdsaSigningAlgorithm,
        &'static EcdsaVerificationAlgorithm,
    ),
    (sign, verify): (&'static str, &'static str),
) {
    let random = SystemRandom::new();
    let container = EcdsaKeyPair::generate_pkcs8(signing, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(signing, container.as_ref()).expect("a key");
    let name = import(vault, &sign.replace('_', "-"), container.as_ref());
    let bytes = &DIGEST[..hash.output_len()];
    let public = ParsedPublicKey::new(verification, key.public_key().as_ref()).expect("a key");
    let signature = key
        .sign_digest(&imported(bytes, hash))
        .expect("a signature")
        .as_ref()
        .to_vec();
    let by_name = name.clone();
    pairs.push(Pair::new(
        sign,
        move || {
            drop(black_box(
                vault.sign(&by_name, algorithm, bytes).expect("a signature"),
            ))
        },
        move || {
            let signature = key.sign_digest(&imported(bytes, hash));
            drop(black_box(signature.expect("a signature").as_ref().to_vec()));
        },
    ));
    let given = signature.clone();
    pairs.push(Pair::new(
        verify,
        move || {
            vault
                .verify(&name, algorithm, bytes, &given)
                .expect("valid");
        },
        move || {
            public
                .verify_digest_sig(&imported(bytes, hash), &signature)
                .expect("valid");
        },
    ));
}
