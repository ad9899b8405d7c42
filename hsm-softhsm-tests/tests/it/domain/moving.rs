//! Keys of every kind go from token to token, however they are kept, and are the same keys there.

use std::sync::Arc;

use cryptoki_sys::{CK_RV, CKR_ATTRIBUTE_TYPE_INVALID};
use hsm_softhsm_tests::Proxy;
use hsm_softhsm_tests::proxy::{Fault, Function};
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{KeyKeeping, provision_domain};
use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, ImportKeyOptions, ImportedKey, KeyName, KeyOperation,
    OctKeySize, RsaKeySize, SecretBytes, Vault,
};

use super::{Evidence, Site, Uses, backend, name, provisioned, uses, vault};

/// Keys of every kind, and what they do.
fn make_all(vault: &Vault) -> Vec<(KeyName, Uses)> {
    use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
    let mut keys = Vec::new();
    let mut made = |key: &str, options: CreateKeyOptions, text: &[&str]| {
        let key = name(key);
        vault
            .create_key(&key, options.hsm().backup_allowed())
            .unwrap();
        keys.push((key, uses(text)));
    };
    made(
        "rsa",
        CreateKeyOptions::rsa(RsaKeySize::Bits2048),
        &["RS256", "PS384", "RSA-OAEP", "RSA-OAEP-256"],
    );
    for (curve, algorithm) in [
        (Curve::P256, "ES256"),
        (Curve::P384, "ES384"),
        (Curve::P521, "ES512"),
        (Curve::P256K, "ES256K"),
    ] {
        let key = format!("ec-{}", algorithm.to_lowercase());
        made(&key, CreateKeyOptions::ec(curve), &[algorithm]);
    }
    for (size, bits) in [
        (OctKeySize::Bits128, 128),
        (OctKeySize::Bits192, 192),
        (OctKeySize::Bits256, 256),
    ] {
        let aes = ["GCM", "CBC", "CBCPAD", "KW"].map(|mode| format!("A{bits}{mode}"));
        let mut all: Vec<&str> = aes.iter().map(String::as_str).collect();
        made(&format!("aes-{bits}"), CreateKeyOptions::oct(size), &all);
        let macs = ["HS256", "HS384", "HS512"];
        let options = CreateKeyOptions::oct(size).operations([Sign, Verify]);
        made(&format!("mac-{bits}"), options, &macs);
        all.extend(macs);
        let operations = [Encrypt, Decrypt, WrapKey, UnwrapKey, Sign, Verify];
        let options = CreateKeyOptions::oct(size).operations(operations);
        made(&format!("both-{bits}"), options, &all);
    }
    let imported = name("imported-mac");
    let material = ImportedKey::oct(SecretBytes::copied_from(&[0x11; 20]));
    let options = ImportKeyOptions::new(material).operations([Sign, Verify]);
    vault
        .import_key(&imported, options.hsm().backup_allowed())
        .unwrap();
    keys.push((imported, uses(&["HS256"])));
    keys
}

fn every_key_moves(from: KeyKeeping, to: KeyKeeping) {
    let (first, second) = provisioned(from, to);
    let keys = make_all(&first.vault);
    assert_eq!(keys.len(), 15);
    for (key, uses) in &keys {
        let evidence = Evidence::of(&first.vault, key, uses);
        let backup = first.vault.backup_key(key).unwrap();
        second.vault.restore_key(&backup).unwrap();
        evidence.holds_for(&second.vault, key, uses);
        // The original goes on working beside it.
        evidence.holds_for(&first.vault, key, uses);
        // And what was restored can be backed up again.
        let again = second.vault.backup_key(key).unwrap();
        let (third, _directory) = vault(&second.backend, Some(&first.vault));
        third.restore_key(&again).unwrap();
        evidence.holds_for(&third, key, uses);
    }
    let report = second.vault.check().unwrap();
    assert_eq!(report.findings(), &[], "{report:?}");
}

#[test]
fn every_kind_of_key_moves_to_another_token() {
    every_key_moves(KeyKeeping::Resident, KeyKeeping::Resident);
}

#[test]
fn every_kind_of_wrapped_key_moves_to_another_token() {
    every_key_moves(KeyKeeping::Wrapped, KeyKeeping::Wrapped);
}

#[test]
fn a_resident_key_can_become_a_wrapped_one() {
    every_key_moves(KeyKeeping::Resident, KeyKeeping::Wrapped);
}

#[test]
fn a_wrapped_key_can_become_a_resident_one() {
    every_key_moves(KeyKeeping::Wrapped, KeyKeeping::Resident);
}

#[test]
fn a_token_restores_its_own_backups_and_ceremonies_leave_no_transport_key() {
    let site = Site::new(KeyKeeping::Resident, None).with_domain();
    let (key, uses) = (name("signer"), uses(&["ES256"]));
    let options = CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    site.vault.create_key(&key, options).unwrap();
    let evidence = Evidence::of(&site.vault, &key, &uses);
    let backup = site.vault.backup_key(&key).unwrap();
    let taken = site.vault.restore_key(&backup).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::KeyExists);

    let (other, _directory) = vault(&site.backend, Some(&site.vault));
    other.restore_key(&backup).unwrap();
    evidence.holds_for(&other, &key, &uses);
    // The two are objects of their own.
    site.vault.delete_key(&key).unwrap();
    site.vault.purge_deleted_key(&key).unwrap();
    evidence.holds_for(&other, &key, &uses);
    assert!(site.vault.restore_key(&backup).unwrap().previously_purged());
    evidence.holds_for(&site.vault, &key, &uses);

    // Without destinations a ceremony only closes the domain, and closing changes nothing else.
    let open = site.backend.domain_key().unwrap().unwrap();
    assert!(open.is_trusted() && !open.is_closed());
    let closed = provision_domain(&site.backend, &site.officer(), &[]).unwrap();
    assert!(closed.is_trusted() && closed.is_closed());
    assert_eq!(closed.check_value(), open.check_value());
    let (third, _directory) = vault(&site.backend, Some(&site.vault));
    third.restore_key(&backup).unwrap();
    evidence.holds_for(&third, &key, &uses);
}

#[test]
fn where_officers_cannot_give_trust_wrapped_keys_are_backed_up_all_the_same() {
    let proxy = Proxy::new();
    let no_trust = |function, code: CK_RV| proxy.inject(Fault::answer(function, code));
    let site = Site::on(proxy.new_token(), KeyKeeping::Wrapped, None);
    site.backend.check().unwrap();
    no_trust(Function::GenerateKey, CKR_ATTRIBUTE_TYPE_INVALID);
    let domain = site.backend.create_domain_key(&site.officer()).unwrap();
    assert!(!domain.is_trusted());
    let key = name("signer");
    let options = || CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed();
    site.vault.create_key(&key, options()).unwrap();
    let evidence = Evidence::of(&site.vault, &key, &uses(&["ES256"]));
    let backup = site.vault.backup_key(&key).unwrap();
    let (other, _directory) = vault(&site.backend, Some(&site.vault));
    other.restore_key(&backup).unwrap();
    evidence.holds_for(&other, &key, &uses(&["ES256"]));

    // The token itself keeps resident keys from going under such a key.
    let resident = Arc::new(backend(&site.token, KeyKeeping::Resident));
    let (other, _directory) = vault(&resident, None);
    other.create_key(&key, options()).unwrap();
    let error = other.backup_key(&key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotExportable);
    assert!(error.to_string().contains("not trusted"), "{error}");
}
