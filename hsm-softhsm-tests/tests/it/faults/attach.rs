//! What a backend finds when it comes to a token: trouble that passes is not taken for a token that cannot do something,
//! a wrapping key that does not work is not chosen, a key that is another than was asked for is not kept, and a token
//! that is not the vault's is called so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::Session;
use cryptoki_sys::{
    CK_RV, CKR_DEVICE_REMOVED, CKR_FUNCTION_FAILED, CKR_GENERAL_ERROR, CKR_HOST_MEMORY,
};
use hsm_softhsm_tests::proxy::{Fault, Function};
use hsm_softhsm_tests::{Proxy, Token};
use strongroom::backend::pkcs11::{KeyKeeping, Pkcs11Backend};
use strongroom::backend::{BackendError, BackendErrorKind, Capabilities, KeyBackend};
use strongroom::{
    BackendFindingKind, CreateKeyOptions, CryptoOperation, ErrorKind, KeyOperation, KeySpec,
    MaintenanceOptions, OctKeySize, RsaKeySize, WrapAlgorithm,
};

use super::{Bench, fails, kinds, labels, markers, name, settled, signer, versions, works};
use crate::backends::own_options;

const KEK: &[u8] = b"strongroom/kek";

/// Everything that a backend says it can do.
fn all(capabilities: &Capabilities) -> Vec<String> {
    let mut all: Vec<String> = capabilities
        .iter()
        .map(|entry| format!("{entry:?}"))
        .collect();
    for size in RsaKeySize::ALL {
        all.push(format!(
            "{size:?} {}",
            capabilities.generates(KeySpec::Rsa(size))
        ));
    }
    for size in OctKeySize::ALL {
        let spec = KeySpec::Oct(size.into());
        all.push(format!("{size:?} {}", capabilities.generates(spec)));
        all.push(format!("{size:?} {}", capabilities.imports(spec)));
    }
    all
}

/// Functions that the measurement calls, with how often a healthy one does.
fn measured(bench: &Bench) -> (Vec<String>, Vec<(Function, u64)>) {
    const MEASURING: [Function; 12] = [
        Function::GetMechanismInfo,
        Function::CreateObject,
        Function::DestroyObject,
        Function::GenerateKey,
        Function::GenerateKeyPair,
        Function::GetAttributeValue,
        Function::SignInit,
        Function::Sign,
        Function::EncryptInit,
        Function::Encrypt,
        Function::Decrypt,
        Function::UnwrapKey,
    ];
    let before = MEASURING.map(|function| bench.proxy.calls(function));
    let backend = bench.resident();
    backend.check().unwrap();
    let counts = MEASURING
        .into_iter()
        .zip(before)
        .map(|(function, before)| (function, bench.proxy.calls(function) - before))
        .collect();
    (all(&backend.capabilities()), counts)
}

#[test]
fn one_failure_while_the_token_is_measured_changes_nothing() {
    let bench = Bench::new();
    let (healthy, calls) = measured(&bench);
    let mut struck = 0;
    for (function, calls) in calls {
        assert!(calls > 0, "{function:?} is not called");
        // The first, the last and some in between.
        let places = [1, calls / 3, calls / 2, calls - 1, calls];
        let codes: [CK_RV; 3] = [CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_HOST_MEMORY];
        for (place, code) in places.into_iter().zip(codes.into_iter().cycle()) {
            let fault = Fault::answer(function, code).from_call(place.max(1));
            let strikes = bench.proxy.inject(fault);
            let backend = bench.resident();
            backend.check().unwrap();
            assert_eq!(
                all(&backend.capabilities()),
                healthy,
                "{function:?} call {place}: {code:#x}"
            );
            struck += strikes.count();
            bench.proxy.heal();
        }
    }
    assert!(struck >= 50, "{struck}");
}

#[test]
fn what_failed_longer_is_measured_again_and_nothing_else_waits_for_it() {
    let bench = Bench::new();
    let (healthy, _) = measured(&bench);
    let strikes = bench
        .proxy
        .inject(Fault::answer(Function::GenerateKeyPair, CKR_GENERAL_ERROR).for_ever());
    let vault = bench.vault();
    let aes = || CreateKeyOptions::oct(OctKeySize::Bits256).hsm();
    vault.create_key(&name("aes"), aes()).unwrap();
    fails(
        vault.create_key(&name("key"), signer()),
        ErrorKind::Unsupported,
        "EC P-256",
    );
    assert!(strikes.count() > 4);
    bench.proxy.heal();
    let start = Instant::now();
    loop {
        match vault.create_key(&name("key"), signer()) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    works(&vault, &name("key"));
    let backend = vault
        .backends()
        .unwrap()
        .find(|backend| backend.is_hardware())
        .unwrap();
    assert_eq!(all(&backend.capabilities()), healthy);
    // A profile without doubts is not measured again, however long ago it was.
    std::thread::sleep(Duration::from_millis(1_500));
    let calls = bench.proxy.calls(Function::GenerateKeyPair);
    backend.check().unwrap();
    vault.create_key(&name("more"), aes()).unwrap();
    assert_eq!(bench.proxy.calls(Function::GenerateKeyPair), calls);
    settled(&vault, &bench.token);
}

#[test]
fn a_token_that_stays_full_while_it_is_measured_is_not_taken_for_a_lesser_one() {
    let bench = Bench::new();
    bench
        .proxy
        .inject(Fault::answer(Function::CreateObject, CKR_HOST_MEMORY).for_ever());
    let backend = bench.resident();
    let error: BackendError = backend.check().unwrap_err();
    assert!(
        matches!(error.kind(), BackendErrorKind::Throttled { .. }),
        "{error}"
    );
    bench.proxy.heal();
    backend.check().unwrap();
    assert_eq!(all(&backend.capabilities()), measured(&bench).0);
}

/// The attributes of an object as SoftHSM2 keeps it in a file: a number, then type, kind and value of each.
fn without_attribute(file: &[u8], unwanted: u64) -> Vec<u8> {
    let number = |at: usize| u64::from_be_bytes(file[at..at + 8].try_into().unwrap());
    let mut left = file[..8].to_vec();
    let mut at = 8;
    while at < file.len() {
        let value = at + 16;
        let length = match number(at + 8) {
            1 => 1,
            2 => 8,
            3..=5 => 8 + usize::try_from(number(value)).unwrap(),
            kind => panic!("an attribute of kind {kind}"),
        };
        if number(at) != unwanted {
            left.extend_from_slice(&file[at..value + length]);
        }
        at = value + length;
    }
    assert!(left.len() < file.len(), "it had no such attribute");
    left
}

fn object_files(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "object")
        })
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "token"))
        .collect();
    files.sort();
    files
}

/// A key that says that it is the wrapping key, with an id below all others.
fn plant(session: &Session, id: u8, change: impl Fn(&mut Vec<Attribute>)) {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::ValueLen(32.into()),
        Attribute::Label(KEK.to_vec()),
        Attribute::Id([&[0; 15][..], &[id]].concat()),
    ];
    change(&mut template);
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap();
}

fn keks(bench: &Bench) -> usize {
    labels(&bench.token)
        .iter()
        .filter(|label| label.as_bytes() == KEK)
        .count()
}

/// As a process that is killed in the middle of C_GenerateKey leaves it: everything but the value.
#[test]
fn a_wrapping_key_without_a_value_is_passed_over_and_left_alone() {
    let bench = Bench::new();
    bench.proxy.softhsm().initialize().unwrap();
    plant(&bench.token.session(), 0, |_| {});
    let file = object_files(bench.token.directory()).pop().unwrap();
    let half = without_attribute(&fs::read(&file).unwrap(), 0x11);
    fs::write(&file, half).unwrap();
    bench.proxy.softhsm().finalize();

    let vault = bench.vault_with(bench.wrapped());
    vault.create_key(&name("key"), signer()).unwrap();
    works(&vault, &name("key"));
    assert_eq!(keks(&bench), 2);
    // The new one is found again, by others too.
    vault.create_key(&name("other"), signer()).unwrap();
    vault.close().unwrap();
    let vault = bench.vault_with(bench.wrapped());
    vault.create_key(&name("third"), signer()).unwrap();
    for key in ["key", "other", "third"] {
        works(&vault, &name(key));
    }
    assert_eq!(keks(&bench), 2);
    assert!(file.exists());
}

#[test]
fn a_wrapping_key_that_cannot_wrap_or_can_leave_is_not_chosen_and_one_that_works_is() {
    let bench = Bench::new();
    bench.proxy.softhsm().initialize().unwrap();
    let session = bench.token.session();
    plant(&session, 0, |template| {
        template.retain(|attribute| !matches!(attribute, Attribute::Wrap(_)));
        template.push(Attribute::Wrap(false));
    });
    plant(&session, 1, |template| {
        template.retain(|attribute| !matches!(attribute, Attribute::Unwrap(_)));
        template.push(Attribute::Unwrap(false));
    });
    plant(&session, 2, |template| {
        template.retain(|attribute| !matches!(attribute, Attribute::Extractable(_)));
        template.push(Attribute::Extractable(true));
    });
    // Known to him who put it there.
    session
        .create_object(&[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
            Attribute::Label(KEK.to_vec()),
            Attribute::Id([&[0; 15][..], &[3]].concat()),
            Attribute::Value(vec![7; 32]),
        ])
        .unwrap();
    plant(&session, 9, |_| {});
    drop(session);
    bench.proxy.softhsm().finalize();
    let vault = bench.vault_with(bench.wrapped());
    for key in ["key", "other"] {
        vault.create_key(&name(key), signer()).unwrap();
        works(&vault, &name(key));
    }
    assert_eq!(keks(&bench), 5, "none was made and none destroyed");
    // Without the good one its keys are lost, and a new one serves new keys.
    let session = bench.token.session();
    let template = [Attribute::Id([&[0; 15][..], &[9]].concat())];
    let good = session.find_objects(&template).unwrap();
    session.destroy_object(good[0]).unwrap();
    drop(session);
    vault.create_key(&name("new"), signer()).unwrap();
    works(&vault, &name("new"));
    assert_eq!(keks(&bench), 5);
}

#[test]
fn an_rsa_key_that_is_another_than_was_asked_for_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let resident = bench.vault();
    let wrapped = super::open(bench.path().with_file_name("wrapped"), bench.wrapped());
    for vault in [&resident, &wrapped] {
        let unusual = || {
            CreateKeyOptions::rsa(RsaKeySize::Bits2048)
                .hsm()
                .public_exponent(65_539)
        };
        for (bits, exponent, words) in [
            (None, Some(65_537), "another public exponent than 65539"),
            (Some(3_072), None, "of 3072 bits instead of 2048"),
        ] {
            vault
                .backends()
                .unwrap()
                .for_each(|backend| backend.check().unwrap());
            bench.proxy.overrule_rsa(bits, exponent);
            fails(
                vault.create_key(&name("key"), unusual()),
                ErrorKind::BackendRejected,
                words,
            );
            bench.proxy.heal();
        }
        assert_eq!(versions(vault), 0);
        assert_eq!(
            labels(&bench.token)
                .iter()
                .filter(|l| l.as_bytes() != KEK)
                .count(),
            0
        );
        assert_eq!(markers(&bench.token), 0);
        settled(vault, &bench.token);
        let made = vault.create_key(&name("key"), unusual()).unwrap();
        assert_eq!(made.key().e().unwrap(), [1, 0, 3]);
        vault.delete_key(&name("key")).unwrap();
        vault.purge_deleted_key(&name("key")).unwrap();
    }
}

#[test]
fn a_transport_key_of_another_size_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let backend = bench.resident();
    bench.proxy.overrule_rsa(Some(2_048), None);
    let error = backend.begin_provisioning().unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Device);
    assert!(
        error.to_string().contains("of 2048 bits instead of 3072"),
        "{error}"
    );
    assert_eq!(labels(&bench.token), [] as [&str; 0]);
    bench.proxy.heal();
    backend.begin_provisioning().unwrap();
}

/// Wrapping over single blocks is bounded; what the token unwraps itself is not.
#[test]
fn a_long_key_is_not_wrapped_block_by_block() {
    let bench = Bench::new();
    let vault = bench.vault();
    let key = name("aes");
    let options = CreateKeyOptions::oct(OctKeySize::Bits256)
        .hsm()
        .operations([KeyOperation::WrapKey, KeyOperation::UnwrapKey]);
    vault.create_key(&key, options).unwrap();
    let padded = WrapAlgorithm::A256KwPad;
    for length in [1, 7, 8, 9, 16, 29, 4_095, 4_096] {
        let data: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
        let wrapped = vault.wrap_key(&key, padded, &data).unwrap();
        let back = vault
            .unwrap_key(&key, padded, wrapped.wrapped_key())
            .unwrap();
        assert_eq!(back.expose(), data, "{length}");
    }
    let calls = bench.proxy.calls(Function::Encrypt);
    let error = fails(
        vault.wrap_key(&key, padded, &[7; 4_097]),
        ErrorKind::Unsupported,
        "4096 bytes at most",
    );
    assert!(error.to_string().contains("A256KWPAD"), "{error}");
    assert_eq!(bench.proxy.calls(Function::Encrypt), calls);
    // Without padding the token does it itself.
    let long = vec![9; 65_536];
    let start = Instant::now();
    let wrapped = vault.wrap_key(&key, WrapAlgorithm::A256Kw, &long).unwrap();
    let back = vault.unwrap_key(&key, WrapAlgorithm::A256Kw, wrapped.wrapped_key());
    assert_eq!(back.unwrap().expose(), long);
    println!("64 KiB wrapped and unwrapped in {:?}", start.elapsed());
}

#[test]
fn a_token_unwraps_padded_keys_itself_where_it_can() {
    let bench = Bench::new();
    let backend: Arc<Pkcs11Backend> = Arc::new(bench.resident());
    backend.check().unwrap();
    let capabilities = backend.capabilities();
    let spec = KeySpec::Oct(OctKeySize::Bits256.into());
    let support = |operation| format!("{:?}", capabilities.support(spec, operation));
    let padded = WrapAlgorithm::A256KwPad;
    assert!(support(CryptoOperation::UnwrapKey(padded)).contains("session object"));
    println!("wrapping: {}", support(CryptoOperation::WrapKey(padded)));
}

/// A bench, and another token of its module.
fn two_tokens() -> (Bench, Token) {
    let proxy = Proxy::new();
    let (token, stranger) = (proxy.new_token(), proxy.new_token());
    proxy.softhsm().finalize();
    (Bench { proxy, token }, stranger)
}

#[test]
fn an_unfinished_creation_is_undone_in_its_own_token_and_no_other() {
    let (bench, stranger) = two_tokens();
    let vault = bench.vault();
    vault.create_key(&name("kept"), signer()).unwrap();
    // The token makes the key and is gone then.
    let gone = [
        Function::GetAttributeValue,
        Function::FindObjectsInit,
        Function::DestroyObject,
    ];
    for function in gone {
        let fault = Fault::answer(function, CKR_DEVICE_REMOVED).for_ever();
        bench.proxy.inject(fault);
    }
    fails(
        vault.create_key(&name("key"), signer()),
        ErrorKind::BackendUnavailable,
        "",
    );
    bench.proxy.heal();
    vault.close().unwrap();
    assert_eq!((labels(&bench.token).len(), markers(&bench.token)), (2, 1));

    let vault = bench.vault_with(Pkcs11Backend::new(own_options(&stranger)));
    let findings = vault.open_report().unwrap().backend_findings();
    let expected = [
        BackendFindingKind::Unsettled,
        BackendFindingKind::WrongDevice,
    ];
    assert_eq!(kinds(findings), expected);
    for finding in findings {
        let message = finding.message();
        assert!(message.contains(bench.token.serial()), "{message}");
        assert!(message.contains(stranger.serial()), "{message}");
    }
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 1));
    vault.close().unwrap();

    let vault = bench.vault();
    assert_eq!(vault.open_report().unwrap().backend_findings(), []);
    assert_eq!(labels(&bench.token).len(), 1);
    works(&vault, &name("kept"));
    settled(&vault, &bench.token);
}

#[test]
fn wrapped_keys_of_another_token_are_told_of_too() {
    let (bench, stranger) = two_tokens();
    let vault = bench.vault_with(bench.wrapped());
    for key in ["one", "two"] {
        vault.create_key(&name(key), signer()).unwrap();
    }
    vault.close().unwrap();
    let wrapped = own_options(&stranger).keeping(KeyKeeping::Wrapped);
    let vault = bench.vault_with(Pkcs11Backend::new(wrapped));
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(kinds(findings), [BackendFindingKind::WrongDevice]);
    assert_eq!(findings[0].key_count(), Some(2));
    vault.close().unwrap();
    let vault = bench.vault_with(bench.wrapped());
    assert_eq!(vault.open_report().unwrap().backend_findings(), []);
    works(&vault, &name("one"));
}
