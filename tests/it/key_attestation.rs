//! What the vault states of its keys is true, signed, and no more than it knows.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use strongroom::backend::testing::MemoryDevice;
use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, ImportKeyOptions, PublicKey, SignatureAlgorithm, Vault,
    VaultOptions,
};

use crate::support::{fixed_oct, memory_vault, name, refused};

/// The payload, if the signature is the vault's.
fn verified(vault: &Vault, jws: &[u8]) -> Value {
    let jws = std::str::from_utf8(jws).unwrap();
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    vault
        .identity_public_key()
        .unwrap()
        .verify_data(
            SignatureAlgorithm::Es256,
            signed.as_bytes(),
            &decode(signature),
        )
        .unwrap();
    serde_json::from_slice(&decode(signed.split_once('.').unwrap().1)).unwrap()
}

#[test]
fn software_keys_are_stated_to_be_in_the_process() {
    let (vault, _) = memory_vault();
    let made = vault
        .create_key(&name("ec"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let attested = vault.get_key_attestation(&name("ec")).unwrap();
    assert_eq!(*attested.bundle(), made);
    let attestation = attested.attestation();
    let private = verified(&vault, attestation.private_key_attestation());
    assert_eq!(private["kid"], made.id().to_string());
    assert_eq!(private["origin"], "generated");
    for (member, value) in [
        ("hsm", false),
        ("exportable", false),
        ("backup_allowed", true),
        ("local", false),
        ("sensitive", false),
        ("always_sensitive", false),
        ("extractable", true),
        ("never_extractable", false),
    ] {
        assert_eq!(private[member], value, "{member}");
    }
    let public = verified(&vault, attestation.public_key_attestation().unwrap());
    assert_eq!(public["jwk"], serde_json::to_value(made.key()).unwrap());
    let pem = std::str::from_utf8(attestation.certificate_pem_file()).unwrap();
    assert_eq!(
        PublicKey::from_spki_pem(pem).unwrap(),
        vault.identity_public_key().unwrap()
    );

    vault
        .import_key(&name("oct"), ImportKeyOptions::new(fixed_oct(32)))
        .unwrap();
    let attested = vault.get_key_attestation(&name("oct")).unwrap();
    assert_eq!(attested.attestation().public_key_attestation(), None);
    let private = verified(&vault, attested.attestation().private_key_attestation());
    assert_eq!(
        (&private["origin"], &private["kty"]),
        (&"imported".into(), &"oct".into())
    );
    assert_eq!(
        refused(vault.get_key_attestation(&name("nobody"))),
        ErrorKind::KeyNotFound
    );
}

#[test]
fn what_a_backend_does_not_know_is_not_stated() {
    let device = Arc::new(MemoryDevice::new("device".parse().unwrap()));
    let vault = VaultOptions::new()
        .backend(device)
        .create_in_memory()
        .unwrap();
    vault
        .create_key(&name("k"), CreateKeyOptions::ec(Curve::P256).hsm())
        .unwrap();
    let attested = vault.get_key_attestation(&name("k")).unwrap();
    let private = verified(&vault, attested.attestation().private_key_attestation());
    assert_eq!(
        (&private["hsm"], &private["backend"]),
        (&true.into(), &"device".into())
    );
    for member in [
        "local",
        "sensitive",
        "always_sensitive",
        "extractable",
        "never_extractable",
    ] {
        assert_eq!(private.get(member), None, "{member}");
    }
}
