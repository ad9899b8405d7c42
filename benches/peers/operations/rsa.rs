//! RSA with 2048 bits.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::rsa::{
    KeyPair as AwsKeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::{self as aws, KeyPair, ParsedPublicKey};
use openssl::md::Md;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use p256::pkcs8::EncodePrivateKey;
use rsa::traits::{PaddingScheme, SignatureScheme};
use rsa::{Oaep, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use sha2::Sha256;
use strongroom::{Ciphertext, EncryptionAlgorithm, KeyName, SignatureAlgorithm, Vault};

use super::{KEY, Random, Vaults, sha256};
use crate::contest::{Operation, Peer};

pub(super) fn all(vaults: &Vaults) -> [Operation<'_>; 3] {
    let key = RsaPrivateKey::new(&mut Random, 2048).expect("an RSA key");
    let der = key.to_pkcs8_der().expect("a container");
    let name = vaults.import_pkcs8("rsa-2048", der.as_bytes());
    let openssl = PKey::private_key_from_pkcs8(der.as_bytes()).expect("a key");
    [
        sign(vaults, &name, key.clone(), der.as_bytes(), &openssl),
        verify(vaults, &name, &key, der.as_bytes(), &openssl),
        decrypt(vaults, &name, key, der.as_bytes(), &openssl),
    ]
}

fn imported(bytes: &[u8]) -> Digest {
    Digest::import_less_safe(bytes, &digest::SHA256).expect("a digest")
}

fn aws_lc(der: &[u8]) -> (AwsKeyPair, ParsedPublicKey) {
    let key = AwsKeyPair::from_pkcs8(der).expect("a key");
    let public = ParsedPublicKey::new(&aws::RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    (key, public.expect("a key"))
}

fn for_signatures(context: &mut PkeyCtx<Private>) {
    context.set_rsa_padding(Padding::PKCS1).expect("set");
    context.set_signature_md(Md::sha256()).expect("set");
}

fn sign_bare(key: &RsaPrivateKey, digest: &[u8]) -> Vec<u8> {
    Pkcs1v15Sign::new::<Sha256>()
        .sign(Some(&mut Random), key, digest)
        .expect("a signature")
}

fn sign<'a>(
    vaults: &'a Vaults,
    name: &KeyName,
    key: RsaPrivateKey,
    der: &[u8],
    openssl: &PKey<Private>,
) -> Operation<'a> {
    let mut operation = Operation::new("sign RS256, 2048 bits");
    // There is only one signature, so that two that agree prove each other.
    let expected = sign_bare(&key, &sha256());
    aws_lc(der)
        .1
        .verify_digest_sig(&imported(&sha256()), &expected)
        .expect("aws-lc-rs takes it");
    let check = |signature: &[u8]| assert_eq!(signature, expected);
    let by = |vault: &'a Vault| {
        let (name, digest) = (name.clone(), sha256());
        move || {
            vault
                .sign(&name, SignatureAlgorithm::Rs256, &digest)
                .expect("a signature")
        }
    };
    let bytes = |signed: strongroom::SignResult| signed.signature().to_vec();
    operation.making(Peer::Strongroom, by(&vaults.rust_crypto), bytes, check);
    operation.making(Peer::StrongroomAwsLc, by(&vaults.aws_lc), bytes, check);
    let digest = sha256();
    let call = move || sign_bare(&key, &digest);
    operation.making(Peer::RustCrypto, call, |bytes| bytes, check);
    let ((key, _), digest) = (aws_lc(der), sha256());
    let call = move || {
        let mut signature = vec![0; 256];
        key.sign_digest(&aws::RSA_PKCS1_SHA256, &imported(&digest), &mut signature)
            .expect("a signature");
        signature
    };
    operation.making(Peer::AwsLc, call, |bytes| bytes, check);
    let mut context = PkeyCtx::new(openssl).expect("a context");
    context.sign_init().expect("ready");
    for_signatures(&mut context);
    let digest = sha256();
    let call = move || {
        let mut signature = vec![0; 256];
        context
            .sign(&digest, Some(&mut signature))
            .expect("a signature");
        signature
    };
    operation.making(Peer::OpenSsl, call, |bytes| bytes, check);
    operation
}

fn verify<'a>(
    vaults: &'a Vaults,
    name: &KeyName,
    key: &RsaPrivateKey,
    der: &[u8],
    openssl: &PKey<Private>,
) -> Operation<'a> {
    let mut operation = Operation::new("verify RS256, 2048 bits");
    let given = sign_bare(key, &sha256());
    let by = |vault: &'a Vault| {
        let (name, digest) = (name.clone(), sha256());
        move |signature: &[u8]| {
            vault
                .verify(&name, SignatureAlgorithm::Rs256, &digest, signature)
                .ok()
        }
    };
    operation.taking(Peer::Strongroom, &given, by(&vaults.rust_crypto), drop);
    operation.taking(Peer::StrongroomAwsLc, &given, by(&vaults.aws_lc), drop);
    let (public, digest) = (RsaPublicKey::from(key), sha256());
    let call = move |signature: &[u8]| {
        Pkcs1v15Sign::new::<Sha256>()
            .verify(&public, &digest, signature)
            .ok()
    };
    operation.taking(Peer::RustCrypto, &given, call, drop);
    let ((_, public), digest) = (aws_lc(der), sha256());
    let call = move |signature: &[u8]| public.verify_digest_sig(&imported(&digest), signature).ok();
    operation.taking(Peer::AwsLc, &given, call, drop);
    let mut context = PkeyCtx::new(openssl).expect("a context");
    context.verify_init().expect("ready");
    for_signatures(&mut context);
    let digest = sha256();
    let call = move |signature: &[u8]| context.verify(&digest, signature).ok()?.then_some(());
    operation.taking(Peer::OpenSsl, &given, call, drop);
    operation
}

fn decrypt<'a>(
    vaults: &'a Vaults,
    name: &KeyName,
    key: RsaPrivateKey,
    der: &[u8],
    openssl: &PKey<Private>,
) -> Operation<'a> {
    let mut operation = Operation::new("decrypt RSA-OAEP-256, 2048 bits");
    let given = Oaep::<Sha256>::new()
        .encrypt(&mut Random, &RsaPublicKey::from(&key), &KEY)
        .expect("a ciphertext");
    let check = |opened: Vec<u8>| assert_eq!(opened, KEY);
    let by = |vault: &'a Vault| {
        let name = name.clone();
        move |given: &[u8]| {
            vault
                .decrypt(
                    &name,
                    EncryptionAlgorithm::RsaOaep256,
                    Ciphertext::new(given),
                )
                .ok()
        }
    };
    let exposed = |opened: strongroom::SecretBytes| check(opened.expose().to_vec());
    operation.taking(Peer::Strongroom, &given, by(&vaults.rust_crypto), exposed);
    operation.taking(Peer::StrongroomAwsLc, &given, by(&vaults.aws_lc), exposed);
    let call = move |given: &[u8]| {
        Oaep::<Sha256>::new()
            .decrypt(Some(&mut Random), &key, given)
            .ok()
    };
    operation.taking(Peer::RustCrypto, &given, call, check);
    let private = PrivateDecryptingKey::from_pkcs8(der).expect("a key");
    let private = OaepPrivateDecryptingKey::new(private).expect("a key");
    let call = move |given: &[u8]| {
        let mut out = vec![0; 256];
        let opened = private.decrypt(&OAEP_SHA256_MGF1SHA256, given, &mut out, None);
        let length = opened.ok()?.len();
        out.truncate(length);
        Some(out)
    };
    operation.taking(Peer::AwsLc, &given, call, check);
    let mut context = PkeyCtx::new(openssl).expect("a context");
    context.decrypt_init().expect("ready");
    context.set_rsa_padding(Padding::PKCS1_OAEP).expect("set");
    context.set_rsa_oaep_md(Md::sha256()).expect("set");
    context.set_rsa_mgf1_md(Md::sha256()).expect("set");
    let call = move |given: &[u8]| {
        let mut out = vec![0; 256];
        let length = context.decrypt(given, Some(&mut out)).ok()?;
        out.truncate(length);
        Some(out)
    };
    operation.taking(Peer::OpenSsl, &given, call, check);
    operation
}
