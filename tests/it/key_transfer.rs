//! Keys that come wrapped under a key for imports, wrapped here by another implementation.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, ImportKeyOptions, ImportTransferredKeyOptions,
    KeyIdentifier, KeyOperation, KeyTransferBlob, KeyType, Permission, Permissions, PublicKey,
    RsaKeySize, SignatureAlgorithm, UpdateKeyOptions, Vault, WrapAlgorithm,
};

use crate::support::{fixed_rsa, memory_vault, name, refused};

/// A vault with a key for imports.
fn with_kek() -> (Vault, KeyIdentifier) {
    let (vault, _) = memory_vault();
    let kek =
        ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048)).operations([KeyOperation::Import]);
    let kek = vault.import_key(&name("kek"), kek).unwrap();
    assert_eq!(
        kek.key().key_ops().iter().collect::<Vec<_>>(),
        [KeyOperation::Import]
    );
    let id = kek.id().clone();
    (vault, id)
}

fn wrapped(vault: &Vault, kek: &KeyIdentifier, key: &[u8], sha256: bool) -> Vec<u8> {
    let public = PublicKey::from_jwk(vault.get_key(kek).unwrap().key()).unwrap();
    let public = PublicEncryptingKey::from_der(&public.to_spki_der().unwrap()).unwrap();
    let public = OaepPublicEncryptingKey::new(public).unwrap();
    let transport = [7; 32];
    let mut blob = vec![0; public.ciphertext_size()];
    let oaep = if sha256 {
        &OAEP_SHA256_MGF1SHA256
    } else {
        &OAEP_SHA1_MGF1SHA1
    };
    public.encrypt(oaep, &transport, &mut blob, None).unwrap();
    let mut buffer = vec![0; key.len() + 16];
    let wrapped = AesKek::new(&AES_256, &transport)
        .unwrap()
        .wrap_with_padding(key, &mut buffer)
        .unwrap();
    blob.extend_from_slice(wrapped);
    blob
}

fn json_of(kek: &str, ciphertext: &[u8]) -> String {
    let json = json!({
        "schema_version": "1.0.0",
        "header": {"kid": kek, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
        "ciphertext": BASE64_URL_SAFE_NO_PAD.encode(ciphertext),
        "generator": "a test; 1.0",
    });
    json.to_string()
}

fn blob_of(kek: &str, ciphertext: &[u8]) -> KeyTransferBlob {
    KeyTransferBlob::from_json(json_of(kek, ciphertext).as_bytes()).unwrap()
}

/// A blob with this key, as a file holds it.
pub(crate) fn blob_json(vault: &Vault, kek: &KeyIdentifier, key: &[u8]) -> Vec<u8> {
    json_of(&kek.to_string(), &wrapped(vault, kek, key, false)).into_bytes()
}

fn blob(vault: &Vault, kek: &KeyIdentifier, key: &[u8]) -> KeyTransferBlob {
    KeyTransferBlob::from_json(&blob_json(vault, kek, key)).unwrap()
}

fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(text).unwrap()
}

fn import(
    vault: &Vault,
    key_type: KeyType,
    blob: KeyTransferBlob,
) -> strongroom::Result<strongroom::KeyBundle> {
    vault.import_transferred_key(
        &name("target"),
        ImportTransferredKeyOptions::new(key_type, blob).allow_type_change(),
    )
}

#[test]
fn keys_of_every_family_come_in() {
    let (vault, kek) = with_kek();
    let pair = aws_lc_rs::signature::EcdsaKeyPair::generate(
        &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    )
    .unwrap();
    let ec = pair.to_pkcs8v1().unwrap();
    let bundle = import(&vault, KeyType::Ec, blob(&vault, &kek, ec.as_ref())).unwrap();
    assert_eq!(bundle.key().crv(), Some(Curve::P384));
    let random = aws_lc_rs::rand::SystemRandom::new();
    let signature = pair.sign(&random, b"text").unwrap();
    vault
        .verify_data(
            bundle.id(),
            SignatureAlgorithm::Es384,
            b"text",
            signature.as_ref(),
        )
        .unwrap();

    let rsa = der(include_str!("data/rsa-3072.pem"));
    let bundle = import(&vault, KeyType::Rsa, blob(&vault, &kek, &rsa)).unwrap();
    assert_eq!(bundle.key().n().unwrap().len(), 384);
    let bundle = import(&vault, KeyType::Oct, blob(&vault, &kek, &[9; 32])).unwrap();
    let wrapping = vault
        .wrap_key(bundle.id(), WrapAlgorithm::A256Kw, &[1; 16])
        .unwrap();
    let mut buffer = vec![0; 24];
    let theirs = AesKek::new(&AES_256, &[9; 32]).unwrap();
    let theirs = aws_lc_rs::key_wrap::KeyWrap::wrap(theirs, &[1; 16], &mut buffer).unwrap();
    assert_eq!(wrapping.wrapped_key(), theirs);
}

#[test]
fn what_does_not_open_or_is_not_what_it_says_is_refused() {
    let (vault, kek) = with_kek();
    let good = wrapped(&vault, &kek, &[9; 32], false);
    let import_oct = |ciphertext: &[u8]| {
        refused(import(
            &vault,
            KeyType::Oct,
            blob_of(&kek.to_string(), ciphertext),
        ))
    };
    for at in [0, 100, 255, 256, 260, good.len() - 1] {
        let mut altered = good.clone();
        altered[at] ^= 1;
        assert_eq!(import_oct(&altered), ErrorKind::DecryptFailed, "byte {at}");
    }
    for length in [0, 1, 255, 256, 264, good.len() - 8, good.len() - 1] {
        assert_eq!(
            import_oct(&good[..length]),
            ErrorKind::DecryptFailed,
            "{length} bytes"
        );
    }
    assert_eq!(
        import_oct(&wrapped(&vault, &kek, &[9; 32], true)),
        ErrorKind::DecryptFailed
    );
    assert_eq!(
        import_oct(&wrapped(&vault, &kek, &[9; 65], false)),
        ErrorKind::InvalidKeyMaterial
    );
    for key_type in [KeyType::Rsa, KeyType::Ec] {
        let outcome = import(&vault, key_type, blob(&vault, &kek, &[9; 32]));
        assert_eq!(refused(outcome), ErrorKind::InvalidKeyMaterial);
    }
    let rsa = der(include_str!("data/rsa-2048.pem"));
    assert_eq!(
        refused(import(&vault, KeyType::Ec, blob(&vault, &kek, &rsa))),
        ErrorKind::InvalidKeyMaterial
    );
    assert_eq!(
        refused(vault.get_key(&name("target"))),
        ErrorKind::KeyNotFound
    );
}

#[test]
fn only_an_enabled_rsa_key_for_imports_alone_unwraps_and_it_does_nothing_else() {
    let (vault, kek) = with_kek();
    let good = wrapped(&vault, &kek, &[9; 32], false);
    let under = |id: &KeyIdentifier| {
        refused(import(
            &vault,
            KeyType::Oct,
            blob_of(&id.to_string(), &good),
        ))
    };
    let plain = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048));
    let plain = vault.import_key(&name("plain"), plain).unwrap();
    assert_eq!(under(plain.id()), ErrorKind::OperationNotPermitted);
    let ec = vault
        .create_key(&name("ec"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    assert_eq!(under(ec.id()), ErrorKind::AlgorithmMismatch);

    // The same ciphertext is safe from every other operation, and stays so.
    let (transport, _) = good.split_at(256);
    let outcome = vault.unwrap_key(&kek, WrapAlgorithm::RsaOaep, transport);
    assert_eq!(refused(outcome), ErrorKind::OperationNotPermitted);
    for operations in [
        vec![KeyOperation::UnwrapKey],
        vec![KeyOperation::Import, KeyOperation::Decrypt],
    ] {
        let update = UpdateKeyOptions::new().operations(
            operations
                .into_iter()
                .collect::<strongroom::KeyOperations>(),
        );
        assert_eq!(
            refused(vault.update_key_properties(&kek, update)),
            ErrorKind::BadParameter
        );
    }
    let handle = vault.restricted(
        Permissions::from([Permission::Import])
            .for_names(["target".parse().unwrap()])
            .unwrap(),
    );
    let outcome = import(&handle, KeyType::Oct, blob_of(&kek.to_string(), &good));
    assert_eq!(refused(outcome), ErrorKind::Forbidden);

    vault
        .update_key_properties(&kek, UpdateKeyOptions::new().enabled(false))
        .unwrap();
    assert_eq!(under(&kek), ErrorKind::KeyDisabled);
    vault.delete_key(kek.name()).unwrap();
    assert_eq!(under(&kek), ErrorKind::KeyNotFound);
}

#[test]
fn malformed_blobs_are_refused() {
    let good = json!({
        "schema_version": "1.0.0",
        "header": {"kid": "https://v/keys/k/00112233445566778899aabbccddeeff", "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
        "ciphertext": "AA",
    });
    KeyTransferBlob::from_json(good.to_string().as_bytes()).unwrap();
    for (pointer, value) in [
        ("/schema_version", json!("2.0.0")),
        ("/schema_version", json!(1)),
        ("/header/alg", json!("RSA-OAEP")),
        ("/header/enc", json!("RSA_AES_KEY_WRAP_256")),
        ("/header/kid", json!("https://v/keys/k")),
        ("/header/kid", json!(null)),
        ("/header", json!([])),
        ("/ciphertext", json!("AA==")),
        ("/ciphertext", json!("A")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let outcome = KeyTransferBlob::from_json(bad.to_string().as_bytes());
        assert_eq!(refused(outcome), ErrorKind::BadParameter, "{bad}");
    }
    for bad in ["", "[]", "{}", "{\"header\":{\"kid\":1,\"kid\":2}}"] {
        assert_eq!(
            refused(KeyTransferBlob::from_json(bad.as_bytes())),
            ErrorKind::BadParameter
        );
    }
    let nested = "[".repeat(60_000);
    assert_eq!(
        refused(KeyTransferBlob::from_json(nested.as_bytes())),
        ErrorKind::BadParameter
    );
    let long = vec![b' '; 70_000];
    assert_eq!(
        refused(KeyTransferBlob::from_json(&long)),
        ErrorKind::TooLarge
    );
}
