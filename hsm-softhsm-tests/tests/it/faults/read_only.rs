//! A token that nothing can be written to: its keys are used, and making one fails with a clear sentence and leaves
//! nothing behind.

use std::os::unix::process::CommandExt as _;

use cryptoki_sys::{CKR_SESSION_READ_ONLY, CKR_TOKEN_WRITE_PROTECTED};
use hsm_softhsm_tests::proxy::{Fault, Function};
use hsm_softhsm_tests::{child, skip};
use strongroom::{
    CreateKeyOptions, EncryptionAlgorithm, ErrorKind, ImportKeyOptions, ImportedKey,
    MaintenanceOptions, OctKeySize, SecretBytes, Vault,
};

use super::{Bench, fails, labels, name, settled, signer, versions, works};

/// The functions that make token objects here.
const MAKING: [Function; 3] = [
    Function::GenerateKey,
    Function::GenerateKeyPair,
    Function::CreateObject,
];

fn aes() -> CreateKeyOptions {
    CreateKeyOptions::oct(OctKeySize::Bits256).hsm()
}

fn opens(vault: &Vault) {
    let gcm = EncryptionAlgorithm::A256Gcm;
    let sealed = vault
        .encrypt(&name("aes"), gcm, b"text", Default::default())
        .unwrap();
    let opened = vault.decrypt(&name("aes"), gcm, (&sealed).into()).unwrap();
    assert_eq!(opened.expose(), b"text");
}

#[test]
fn a_token_that_says_it_is_write_protected_goes_on_with_its_keys() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    vault.create_key(&name("aes"), aes()).unwrap();
    let (held, records) = (labels(&bench.token).len(), versions(&vault));
    for code in [CKR_TOKEN_WRITE_PROTECTED, CKR_SESSION_READ_ONLY] {
        for function in MAKING {
            bench.proxy.inject(Fault::answer(function, code).for_ever());
        }
        making_is_refused(&vault, ErrorKind::BackendRejected, "write protected");
        works(&vault, &name("key"));
        opens(&vault);
        assert_eq!(labels(&bench.token).len(), held);
        assert_eq!(versions(&vault), records);
        settled(&vault, &bench.token);
        bench.proxy.heal();
    }
    vault.create_key(&name("other"), signer()).unwrap();
    works(&vault, &name("other"));
    settled(&vault, &bench.token);
}

/// SoftHSM2 does not say it, and fails with CKR_GENERAL_ERROR.
#[test]
fn a_token_whose_files_are_write_protected_goes_on_with_its_keys() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    vault.create_key(&name("aes"), aes()).unwrap();
    let (held, records) = (labels(&bench.token).len(), versions(&vault));
    if !bench.token.make_read_only() {
        bench.token.make_writable();
        as_nobody();
        return;
    }
    making_is_refused(&vault, ErrorKind::BackendRejected, "failed");
    works(&vault, &name("key"));
    opens(&vault);
    bench.token.make_writable();
    assert_eq!(labels(&bench.token).len(), held);
    assert_eq!(versions(&vault), records);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!(report.unsettled(), 0);
    settled(&vault, &bench.token);
    println!("done");
}

/// File modes do not stop root.
fn as_nobody() {
    const NOBODY: u32 = 65_534;
    assert_eq!(child::job(), None, "nobody is not stopped either");
    let test = "faults::read_only::a_token_whose_files_are_write_protected_goes_on_with_its_keys";
    match child::command(test, "as nobody")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
    {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("done"));
        }
        Err(error) => skip(&format!(
            "files that are write protected: root is not stopped, and nobody cannot run the tests: {error}"
        )),
    }
}

fn making_is_refused(vault: &Vault, kind: ErrorKind, words: &str) {
    let key = ImportedKey::oct(SecretBytes::from((1..=32).collect::<Vec<u8>>()));
    for result in [
        vault.create_key(&name("other"), signer()),
        vault.create_key(&name("other"), aes()),
        vault.import_key(&name("taken"), ImportKeyOptions::new(key).hsm()),
        vault.rotate_key(&name("key")),
        vault.rotate_key(&name("aes")),
    ] {
        fails(result, kind, words);
    }
    for key in ["other", "taken"] {
        fails(vault.get_key(&name(key)), ErrorKind::KeyNotFound, "");
    }
}

#[test]
fn wrapped_keys_are_made_without_writing_to_the_token_once_it_has_its_wrapping_key() {
    let bench = Bench::new();
    let vault = bench.vault_with(bench.wrapped());
    // Measures the token, before it is protected.
    for backend in vault.backends().unwrap() {
        backend.check().unwrap();
    }
    let strikes = bench
        .proxy
        .inject(Fault::answer(Function::GenerateKey, CKR_SESSION_READ_ONLY).for_ever());
    let rejected = ErrorKind::BackendRejected;
    fails(
        vault.create_key(&name("key"), signer()),
        rejected,
        "write protected",
    );
    assert_eq!(strikes.count(), 1);
    assert_eq!(labels(&bench.token), [] as [&str; 0]);
    bench.proxy.heal();
    vault.create_key(&name("key"), signer()).unwrap();
    works(&vault, &name("key"));
    let objects = bench.token.object_files();

    bench
        .proxy
        .inject(Fault::answer(Function::GenerateKey, CKR_SESSION_READ_ONLY).for_ever());
    bench
        .proxy
        .inject(Fault::answer(Function::CreateObject, CKR_TOKEN_WRITE_PROTECTED).for_ever());
    vault.create_key(&name("other"), signer()).unwrap();
    vault.rotate_key(&name("key")).unwrap();
    works(&vault, &name("other"));
    works(&vault, &name("key"));
    vault.delete_key(&name("other")).unwrap();
    vault.purge_deleted_key(&name("other")).unwrap();
    assert_eq!(bench.token.object_files(), objects);
    assert_eq!(labels(&bench.token), ["strongroom/kek"]);
    settled(&vault, &bench.token);
}
