//! A token as rollback guard: it remembers the newest state across everything that can cut a change short, and an
//! older copy of the whole directory is refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::CKR_DEVICE_MEMORY;
use hsm_softhsm_tests::proxy::{Fault, Function};
use hsm_softhsm_tests::{Proxy, Token};
use strongroom::backend::pkcs11::{Pkcs11Backend, Pkcs11RollbackGuard};
use strongroom::backend::{BackendErrorKind, RollbackGuard};
use strongroom::{CreateKeyOptions, Curve, ErrorKind, Unlock, Vault, VaultOptions, VaultPin};

use crate::backends::own_options;
use crate::support::{master_key, name, refused};

const VAULT: [u8; 16] = *b"0123456789abcdef";
const LABEL: &[u8] = b"strongroom/rollback/30313233343536373839616263646566";

fn guard(token: &Token) -> Pkcs11RollbackGuard {
    Pkcs11RollbackGuard::new(own_options(token).session_patience(Duration::from_secs(5)))
}

fn pin(generation: u64) -> VaultPin {
    pin_of(&VAULT, generation)
}

fn pin_of(vault: &[u8; 16], generation: u64) -> VaultPin {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let text = format!(
        "strongroom-pin-1:{}:{}:{generation}:{}",
        hex(vault),
        hex(&[7; 32]),
        hex(&generation.to_be_bytes().repeat(4))
    );
    text.parse().unwrap()
}

fn objects(session: &Session) -> Vec<ObjectHandle> {
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Label(LABEL.to_vec()),
    ];
    session.find_objects(&template).unwrap()
}

fn plant(session: &Session, value: &[u8]) {
    session
        .create_object(&[
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Label(LABEL.to_vec()),
            Attribute::Value(value.to_vec()),
        ])
        .unwrap();
}

#[test]
fn the_last_pin_of_each_vault_is_remembered_in_one_private_object() {
    let token = Token::new();
    let guard = guard(&token);
    assert_eq!(guard.recall(&VAULT).unwrap(), None);
    let other = [9; 16];
    for generation in 1..=5 {
        guard.remember(&pin(generation)).unwrap();
        guard.remember(&pin_of(&other, 100 + generation)).unwrap();
        assert_eq!(guard.recall(&VAULT).unwrap(), Some(pin(generation)));
    }
    guard.remember(&pin(5)).unwrap();
    assert_eq!(token.object_files(), 2);
    let again = Pkcs11RollbackGuard::of(&Pkcs11Backend::new(own_options(&token)));
    assert_eq!(again.recall(&VAULT).unwrap(), Some(pin(5)));
    assert_eq!(again.recall(&other).unwrap(), Some(pin_of(&other, 105)));

    let session = token.session();
    let [object] = objects(&session)[..] else {
        panic!("one object")
    };
    for (attribute, wanted) in [
        (AttributeType::Private, Attribute::Private(true)),
        (AttributeType::Token, Attribute::Token(true)),
        (
            AttributeType::Application,
            Attribute::Application(b"strongroom".to_vec()),
        ),
        (
            AttributeType::Value,
            Attribute::Value(pin(5).to_string().into_bytes()),
        ),
    ] {
        let found = session.get_attributes(object, &[attribute]).unwrap();
        assert_eq!(found, [wanted]);
    }
    guard.forget(&VAULT).unwrap();
    assert_eq!(guard.recall(&VAULT).unwrap(), None);
    assert_eq!(guard.recall(&other).unwrap(), Some(pin_of(&other, 105)));
}

#[test]
fn of_several_the_highest_generation_counts_and_is_never_lowered() {
    let token = Token::new();
    let guard = guard(&token);
    let session = token.session();
    for generation in [7, 12, 9] {
        plant(&session, pin(generation).to_string().as_bytes());
    }
    plant(&session, b"nonsense");
    plant(&session, pin_of(&[9; 16], 99).to_string().as_bytes());
    assert_eq!(guard.recall(&VAULT).unwrap(), Some(pin(12)));
    let error = guard.remember(&pin(11)).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Rejected);
    assert!(error.to_string().contains("later"), "{error}");
    assert_eq!(objects(&session).len(), 5);
    // The same one again tidies up.
    guard.remember(&pin(12)).unwrap();
    assert_eq!(objects(&session).len(), 1);
    assert_eq!(guard.recall(&VAULT).unwrap(), Some(pin(12)));
}

#[test]
fn what_is_no_pin_is_no_answer_and_what_is_empty_is_nothing() {
    let token = Token::new();
    let guard = guard(&token);
    let session = token.session();
    plant(&session, b"");
    assert_eq!(guard.recall(&VAULT).unwrap(), None);
    for bad in [&b"nonsense"[..], b"\xff\xfe", &[b'x'; 5_000]] {
        plant(&session, bad);
        let error = guard.recall(&VAULT).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Rejected);
    }
    guard.remember(&pin(3)).unwrap();
    assert_eq!(guard.recall(&VAULT).unwrap(), Some(pin(3)));
    assert_eq!(objects(&session).len(), 1);
}

/// As if the process ended before or after any call that writes: the answer is the old pin or the new one, and the
/// next change leaves one object.
#[test]
fn a_change_that_stops_anywhere_loses_nothing() {
    let proxy = Proxy::new();
    let token = proxy.new_token();
    let guard = guard(&token);
    guard.remember(&pin(1)).unwrap();
    let mut known = 1;
    for (function, after) in [
        (Function::CreateObject, false),
        (Function::CreateObject, true),
        (Function::DestroyObject, false),
        (Function::DestroyObject, true),
    ] {
        let fault = Fault::answer(function, CKR_DEVICE_MEMORY);
        let fault = if after { fault.after_the_call() } else { fault };
        let strikes = proxy.inject(fault);
        guard.remember(&pin(known + 1)).unwrap_err();
        assert_eq!(strikes.count(), 1);
        let recalled = guard.recall(&VAULT).unwrap().unwrap().generation();
        let made = !matches!((function, after), (Function::CreateObject, false));
        assert_eq!(recalled, known + u64::from(made), "{function:?} {after}");
        known += 2;
        guard.remember(&pin(known)).unwrap();
        assert_eq!(guard.recall(&VAULT).unwrap(), Some(pin(known)));
        assert_eq!(token.object_files(), 1);
    }
}

fn options(guard: &Pkcs11RollbackGuard) -> VaultOptions {
    VaultOptions::new().rollback_guard(Arc::new(guard.clone()))
}

fn create_key(vault: &Vault, text: &str) {
    let ec = CreateKeyOptions::ec(Curve::P256);
    vault.create_key(&name(text), ec).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

#[test]
fn a_whole_directory_put_back_is_refused_until_the_token_forgets() {
    let token = Token::new();
    let guard = guard(&token);
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (directory.path().join("vault"), directory.path().join("old"));
    let master = master_key();
    let vault = options(&guard)
        .create(&path, Unlock::raw_key(&master))
        .unwrap();
    create_key(&vault, "a");
    vault.close().unwrap();
    copy(&path, &old);
    let open = || options(&guard).open(&path, Unlock::raw_key(&master));
    let vault = open().unwrap();
    create_key(&vault, "b");
    let id = *vault.pin().unwrap().vault_id();
    vault.close().unwrap();

    let newest = directory.path().join("newest");
    fs::rename(&path, &newest).unwrap();
    copy(&old, &path);
    assert_eq!(refused(open()), ErrorKind::RolledBack);
    fs::remove_dir_all(&path).unwrap();
    copy(&newest, &path);
    open().unwrap().get_key(&name("b")).unwrap();

    fs::remove_dir_all(&path).unwrap();
    copy(&old, &path);
    assert_eq!(refused(open()), ErrorKind::RolledBack);
    guard.forget(&id).unwrap();
    open().unwrap().get_key(&name("a")).unwrap();
}

#[test]
fn a_vault_does_not_open_while_the_guards_token_is_away() {
    let token = Token::alone();
    let guard = guard(&token);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    let master = master_key();
    let vault = options(&guard)
        .create(&path, Unlock::raw_key(&master))
        .unwrap();
    create_key(&vault, "a");
    vault.close().unwrap();
    token.move_away();
    let opened = options(&guard).open(&path, Unlock::raw_key(&master));
    assert_eq!(refused(opened), ErrorKind::GuardUnavailable);
    token.move_back();
    token.softhsm().finalize();
    token.softhsm().initialize().unwrap();
    let fresh = self::guard(&token);
    let vault = options(&fresh)
        .open(&path, Unlock::raw_key(&master))
        .unwrap();
    vault.get_key(&name("a")).unwrap();
}
