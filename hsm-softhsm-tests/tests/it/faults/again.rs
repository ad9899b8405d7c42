//! A module that fails once and does not say why while a key is made. SoftHSM2 does so now and then when several
//! threads make keys, and one of them was told `BackendRejected`.

use cryptoki_sys::{CKR_DEVICE_MEMORY, CKR_FUNCTION_FAILED, CKR_GENERAL_ERROR};
use hsm_softhsm_tests::proxy::{Fault, Function};
use strongroom::{
    CreateKeyOptions, EncryptionAlgorithm, ErrorKind, ImportKeyOptions, ImportedKey, KeyOperation,
    OctKeySize, SecretBytes, SignatureAlgorithm, Vault,
};

use super::{Bench, fails, labels, markers, name, settled, signer, versions, works};

/// Of a key with two objects, one of them may be made and the other fail.
fn cipher_and_mac() -> CreateKeyOptions {
    CreateKeyOptions::oct(OctKeySize::Bits256)
        .hsm()
        .operations([
            KeyOperation::Encrypt,
            KeyOperation::Decrypt,
            KeyOperation::Sign,
            KeyOperation::Verify,
        ])
}

fn enciphers_and_signs(vault: &Vault, key: &str) {
    let key = name(key);
    let (gcm, text) = (EncryptionAlgorithm::A256Gcm, b"text");
    let sealed = vault.encrypt(&key, gcm, text, Default::default()).unwrap();
    let opened = vault.decrypt(&key, gcm, (&sealed).into()).unwrap();
    assert_eq!(opened.expose(), text);
    let hs256 = SignatureAlgorithm::Hs256;
    let signed = vault.sign_data(&key, hs256, text).unwrap();
    vault
        .verify_data(&key, hs256, text, signed.signature())
        .unwrap();
}

#[test]
fn a_failure_without_a_reason_is_made_good_and_leaves_nothing_behind() {
    let faults = |function| {
        [CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED].map(|code| Fault::answer(function, code))
    };
    for after in [false, true] {
        let bench = Bench::new();
        let vault = bench.vault();
        let mut made = 0;
        let mut meet = |fault: Fault, make: &dyn Fn(&str) -> strongroom::Result<String>| {
            let fault = if after { fault.after_the_call() } else { fault };
            let strikes = bench.proxy.inject(fault);
            let key = format!("key-{made}");
            make(&key).unwrap();
            assert_eq!(strikes.count(), 1, "{key}");
            bench.proxy.heal();
            made += 1;
            assert_eq!(markers(&bench.token), 0, "{key}");
            key
        };
        let create = |options: fn() -> CreateKeyOptions| {
            let vault = &vault;
            move |key: &str| {
                let made = vault.create_key(&name(key), options())?;
                Ok(made.properties().name().to_string())
            }
        };
        let import = |key: &str| {
            let material = ImportedKey::oct(SecretBytes::from(vec![7; 32]));
            let made = vault.import_key(&name(key), ImportKeyOptions::new(material).hsm())?;
            Ok(made.properties().name().to_string())
        };
        // The first object that is made marks the key as new.
        for fault in faults(Function::CreateObject) {
            let key = meet(fault, &create(signer));
            works(&vault, &name(&key));
        }
        for fault in faults(Function::GenerateKeyPair) {
            let key = meet(fault, &create(signer));
            works(&vault, &name(&key));
        }
        for place in [1, 2] {
            for fault in faults(Function::GenerateKey) {
                let key = meet(fault.from_call(place), &create(cipher_and_mac));
                enciphers_and_signs(&vault, &key);
            }
        }
        for fault in faults(Function::CreateObject) {
            meet(fault.from_call(2), &import);
        }
        // Four keys with one object, two that were taken in with one each, and four with two.
        assert_eq!((made, versions(&vault)), (10, 10));
        assert_eq!(labels(&bench.token).len(), 14, "{after}");
        settled(&vault, &bench.token);
    }
}

#[test]
fn a_failure_that_stays_is_told_and_one_with_a_reason_is_not_tried_again() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    let inject = |code, times| {
        let fault = Fault::answer(Function::GenerateKeyPair, code);
        bench.proxy.inject(fault.times(times))
    };
    let strikes = inject(CKR_GENERAL_ERROR, 9);
    let made = vault.create_key(&name("other"), signer());
    fails(made, ErrorKind::BackendRejected, "CKR_GENERAL_ERROR");
    assert_eq!(strikes.count(), 2);
    bench.proxy.heal();
    let strikes = inject(CKR_DEVICE_MEMORY, 9);
    let made = vault.create_key(&name("other"), signer());
    fails(made, ErrorKind::Throttled, "");
    assert_eq!(strikes.count(), 1);
    bench.proxy.heal();
    assert_eq!((versions(&vault), labels(&bench.token).len()), (1, 1));
    works(&vault, &name("key"));
    settled(&vault, &bench.token);
}
