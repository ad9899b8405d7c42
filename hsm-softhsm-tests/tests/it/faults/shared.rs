//! Several vaults, and copies of one, on one token; and a vault with the wrong token: nobody sees or destroys the keys
//! of another.

use std::path::Path;

use strongroom::backend::pkcs11::Pkcs11Backend;
use strongroom::{BackendFindingKind, EncryptionAlgorithm, ErrorKind, MaintenanceOptions};

use super::{
    Bench, fails, kinds, labels, name, open, settled, sign, signer, verifies, versions, works,
};
use crate::backends::own_options;
use crate::copies::copy_of_one_moment;
use crate::hooked::Hooked;

#[test]
fn two_vaults_on_one_token_see_their_own_keys_only() {
    let bench = Bench::new();
    let (one, other) = (
        bench.vault(),
        open(bench.path().with_file_name("other"), bench.resident()),
    );
    for vault in [&one, &other] {
        for key in ["key", "gone"] {
            vault.create_key(&name(key), signer()).unwrap();
        }
    }
    assert_eq!(labels(&bench.token).len(), 4);
    one.delete_key(&name("gone")).unwrap();
    one.purge_deleted_key(&name("gone")).unwrap();
    assert_eq!(labels(&bench.token).len(), 3);
    for vault in [&one, &other] {
        works(vault, &name("key"));
        settled(vault, &bench.token);
    }
    works(&other, &name("gone"));
    let signature = sign(&one, &name("key")).unwrap();
    let foreign = other.verify_data(
        &name("key"),
        strongroom::SignatureAlgorithm::Es256,
        b"text",
        &signature,
    );
    fails(foreign, ErrorKind::InvalidSignature, "");
    one.close().unwrap();
    let one = bench.vault();
    assert_eq!(one.open_report().unwrap().backend_findings(), []);
    one.delete_key(&name("key")).unwrap();
    one.purge_deleted_key(&name("key")).unwrap();
    assert_eq!(labels(&bench.token).len(), 2);
    settled(&other, &bench.token);
}

#[test]
fn two_vaults_share_the_wrapping_key_of_a_token() {
    let bench = Bench::new();
    let (one, other) = (
        bench.vault_with(bench.wrapped()),
        open(bench.path().with_file_name("other"), bench.wrapped()),
    );
    let barrier = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for vault in [&one, &other] {
            scope.spawn(|| {
                barrier.wait();
                vault.create_key(&name("key"), signer()).unwrap();
            });
        }
    });
    assert_eq!(labels(&bench.token), ["strongroom/kek"]);
    for vault in [&one, &other] {
        works(vault, &name("key"));
        settled(vault, &bench.token);
    }
}

#[test]
fn a_vault_with_another_token_of_the_module_says_so_and_destroys_nothing() {
    let proxy = hsm_softhsm_tests::Proxy::new();
    let (token, stranger) = (proxy.new_token(), proxy.new_token());
    proxy.softhsm().finalize();
    let bench = Bench { proxy, token };
    let vault = bench.vault();
    for key in ["key", "gone", "other"] {
        vault.create_key(&name(key), signer()).unwrap();
    }
    let signature = sign(&vault, &name("key")).unwrap();
    vault.close().unwrap();

    let vault = bench.vault_with(Pkcs11Backend::new(own_options(&stranger)));
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(kinds(findings), [BackendFindingKind::WrongDevice]);
    assert_eq!(findings[0].key_count(), Some(3));
    for serial in [bench.token.serial(), stranger.serial()] {
        assert!(findings[0].message().contains(serial), "{findings:?}");
    }
    for result in [
        sign(&vault, &name("key")).map(drop),
        vault
            .decrypt(
                &name("key"),
                EncryptionAlgorithm::A256Gcm,
                strongroom::Ciphertext::new(b"x"),
            )
            .map(drop),
    ] {
        if let Err(error) = &result
            && error.kind() == ErrorKind::AlgorithmMismatch
        {
            continue;
        }
        fails(result, ErrorKind::BackendUnavailable, "serial number");
    }
    verifies(&vault, &name("key"), &signature);
    // What is purged waits for the right token.
    vault.delete_key(&name("gone")).unwrap();
    vault.purge_deleted_key(&name("gone")).unwrap();
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 1));
    assert_eq!(labels(&bench.token).len(), 3);
    assert_eq!(labels(&stranger).len(), 0);
    assert_eq!(versions(&vault), 2);
    vault.close().unwrap();

    let vault = bench.vault();
    assert_eq!(vault.open_report().unwrap().backend_findings(), []);
    assert_eq!(labels(&bench.token).len(), 2);
    works(&vault, &name("key"));
    works(&vault, &name("other"));
    settled(&vault, &bench.token);
}

/// An intent says which token it is about: it waits for that one.
#[test]
fn an_unfinished_creation_in_another_token_waits_for_that_token() {
    let proxy = hsm_softhsm_tests::Proxy::new();
    let (token, stranger) = (proxy.new_token(), proxy.new_token());
    proxy.softhsm().finalize();
    let bench = Bench { proxy, token };
    let copy = bench.path().with_file_name("copy");
    bench.vault().close().unwrap();
    let vault = bench.vault_with(copying(&bench, &copy));
    vault.create_key(&name("key"), signer()).unwrap();
    vault.close().unwrap();
    let vault = open(copy.clone(), Pkcs11Backend::new(own_options(&stranger)));
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(kinds(findings), [BackendFindingKind::Unsettled]);
    assert!(findings[0].message().contains(bench.token.serial()));
    vault.close().unwrap();
    let vault = open(copy, bench.resident());
    let findings = vault.open_report().unwrap().backend_findings();
    let used = [
        BackendFindingKind::UsedByAnotherCopy,
        BackendFindingKind::UnknownKey,
    ];
    assert_eq!(kinds(findings), used);
    assert_eq!(labels(&bench.token).len(), 1);
}

/// A backend that copies the vault's directory after each generation, before the records are written.
fn copying(bench: &Bench, to: &Path) -> Hooked<Pkcs11Backend> {
    let (from, to) = (bench.path(), to.to_owned());
    Hooked::new(bench.resident(), move || copy_of_one_moment(&from, &to))
}

#[test]
fn an_older_copy_of_a_vault_destroys_nothing_that_the_newer_one_uses() {
    let bench = Bench::new();
    let copy = bench.path().with_file_name("copy");
    bench.vault().close().unwrap();
    let newer = bench.vault_with(copying(&bench, &copy));
    newer.create_key(&name("key"), signer()).unwrap();

    let older = open(copy, bench.resident());
    assert_eq!(
        kinds(older.open_report().unwrap().backend_findings()),
        [
            BackendFindingKind::UsedByAnotherCopy,
            BackendFindingKind::UnknownKey
        ]
    );
    assert_eq!(versions(&older), 0);
    assert_eq!(labels(&bench.token).len(), 1);
    works(&newer, &name("key"));
    settled(&newer, &bench.token);
    older.close().unwrap();

    // An older copy that has keys of its own uses those that are still there.
    newer.close().unwrap();
    let older = bench.path().with_file_name("older");
    copy_of_one_moment(&bench.path(), &older);
    let newer = bench.vault();
    newer.create_key(&name("later"), signer()).unwrap();
    newer.delete_key(&name("key")).unwrap();
    newer.purge_deleted_key(&name("key")).unwrap();
    let older = open(older, bench.resident());
    assert_eq!(
        kinds(older.open_report().unwrap().backend_findings()),
        [
            BackendFindingKind::UnknownKey,
            BackendFindingKind::MissingKey
        ]
    );
    fails(
        sign(&older, &name("key")),
        ErrorKind::BackendUnavailable,
        "",
    );
    works(&newer, &name("later"));
    settled(&newer, &bench.token);
}
