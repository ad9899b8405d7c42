//! A key in the token that is for imports alone opens what was wrapped under it, and the token's word on its keys is in
//! the attestation.

use std::io::Write as _;
use std::process::{Command, Stdio};

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, ImportTransferredKeyOptions, KeyOperation, KeyTransferBlob,
    KeyType, PublicKey, RsaKeySize, UpdateKeyOptions, WrapAlgorithm,
};

use crate::make;
use crate::support::{memory_vault, name};

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let word = (0..3).fold(0, |word, at| {
                word << 8 | usize::from(chunk.get(at).copied().unwrap_or(0))
            });
            (0..=chunk.len()).map(move |at| char::from(DIGITS[word >> (18 - 6 * at) & 63]))
        })
        .collect()
}

/// RSA-OAEP with SHA-1, by openssl.
fn encrypted(public: &PublicKey, text: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("public.pem");
    std::fs::write(&key, public.to_spki_pem().unwrap()).unwrap();
    let mut child = Command::new("openssl")
        .args([
            "pkeyutl",
            "-encrypt",
            "-pubin",
            "-pkeyopt",
            "rsa_padding_mode:oaep",
            "-inkey",
        ])
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn a_key_for_imports_in_the_token_opens_what_came_under_it() {
    let (vault, _) = memory_vault();
    let kek = CreateKeyOptions::rsa(RsaKeySize::Bits2048)
        .backend(&make::BACKEND.parse().unwrap())
        .operations([KeyOperation::Import]);
    let kek = vault.create_key(&name("kek"), kek).unwrap();
    let public = PublicKey::from_jwk(kek.key()).unwrap();
    let transport = encrypted(&public, &[7; 32]);
    // The AES key wraps by this library's own hands, in another vault.
    let plain = strongroom::VaultOptions::new().create_in_memory().unwrap();
    let aes = strongroom::ImportedKey::oct(strongroom::SecretBytes::from(vec![7; 32]));
    plain
        .import_key(&name("aes"), strongroom::ImportKeyOptions::new(aes))
        .unwrap();
    let wrapped = plain
        .wrap_key(&name("aes"), WrapAlgorithm::A256KwPad, &[9; 32])
        .unwrap();
    let ciphertext = [&transport, wrapped.wrapped_key()].concat();
    let blob = |ciphertext: &[u8]| {
        let json = format!(
            r#"{{"schema_version":"1.0.0","header":{{"kid":"{}","alg":"dir","enc":"CKM_RSA_AES_KEY_WRAP"}},"ciphertext":"{}"}}"#,
            kek.id(),
            base64url(ciphertext)
        );
        KeyTransferBlob::from_json(json.as_bytes()).unwrap()
    };
    let import = |ciphertext: &[u8]| {
        let options = ImportTransferredKeyOptions::new(KeyType::Oct, blob(ciphertext));
        vault.import_transferred_key(&name("target"), options)
    };
    let mut altered = ciphertext.clone();
    altered[100] ^= 1;
    assert_eq!(
        import(&altered).unwrap_err().kind(),
        ErrorKind::DecryptFailed
    );
    let target = import(&ciphertext).unwrap();
    let ours = vault
        .wrap_key(target.id(), WrapAlgorithm::A256Kw, &[1; 16])
        .unwrap();
    let same = strongroom::ImportedKey::oct(strongroom::SecretBytes::from(vec![9; 32]));
    plain
        .import_key(&name("same"), strongroom::ImportKeyOptions::new(same))
        .unwrap();
    let theirs = plain
        .wrap_key(&name("same"), WrapAlgorithm::A256Kw, &[1; 16])
        .unwrap();
    assert_eq!(ours.wrapped_key(), theirs.wrapped_key());

    let update = UpdateKeyOptions::new().operations([KeyOperation::Decrypt]);
    let error = vault
        .update_key_properties(&name("kek"), update)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
}

#[test]
fn the_token_tells_how_it_keeps_a_key() {
    let (vault, _) = memory_vault();
    vault.create_key(&name("k"), make::ec(Curve::P256)).unwrap();
    let attested = vault.get_key_attestation(&name("k")).unwrap();
    let statement = attested.attestation().private_key_attestation();
    let payload = statement.split(|byte| *byte == b'.').nth(1).unwrap();
    let decoded = String::from_utf8(decode(payload)).unwrap();
    assert!(decoded.contains(r#""hsm":true"#) && decoded.contains(r#""origin":"generated""#));
    match make::keeping() {
        strongroom::backend::pkcs11::KeyKeeping::Wrapped => {
            assert!(decoded.contains(r#""extractable":true"#) && !decoded.contains("local"));
        }
        _ => {
            for member in [
                "local",
                "sensitive",
                "always_sensitive",
                "never_extractable",
            ] {
                assert!(decoded.contains(&format!(r#""{member}":true"#)), "{member}");
            }
            assert!(decoded.contains(r#""extractable":false"#));
        }
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| -> u32 {
        (0..64)
            .find(|digit| base64url(&[digit << 2]).as_bytes()[0] == byte)
            .unwrap()
            .into()
    };
    text.chunks(4)
        .flat_map(|chunk| {
            let word = (0..4).fold(0, |word, at| {
                word << 6 | chunk.get(at).map_or(0, |byte| digit(*byte))
            });
            word.to_be_bytes()[1..chunk.len()].to_vec()
        })
        .collect()
}
