//! PINs: a wrong one is tried once, a locked one never, and the last try is left to people.

use std::sync::{Arc, Mutex};

use hsm_softhsm_tests::proxy::{Fault, Function};
use strongroom::backend::pkcs11::{PinSource, Pkcs11Backend, Pkcs11Options, TokenSelector};
use strongroom::{BackendFindingKind, ErrorKind, Pin, Vault};

use super::{Bench, eventually, fails, kinds, name, settled, sign, signer, works};
use crate::backends::pin;

fn options(bench: &Bench, pin: PinSource) -> Pkcs11Options {
    let selector = TokenSelector::Serial(bench.token.serial().to_owned());
    Pkcs11Options::new(bench.token.module(), selector, pin)
}

/// A callback that answers what stands here.
fn asked(answer: &Arc<Mutex<String>>) -> PinSource {
    let answer = Arc::clone(answer);
    PinSource::callback(move || Ok(Pin::new(&answer.lock().unwrap()).unwrap()))
}

/// A key is there, and the vault is closed.
fn bench_with_key() -> Bench {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    vault.close().unwrap();
    bench
}

fn use_in_every_way(vault: &Vault, words: &str) {
    let key = name("key");
    let kind = ErrorKind::BackendAuthentication;
    for result in [
        sign(vault, &key).map(drop),
        vault.create_key(&name("other"), signer()).map(drop),
        vault.rotate_key(&key).map(drop),
        vault
            .get_random_bytes_from(&"pkcs11".parse().unwrap(), 8)
            .map(drop),
    ] {
        let error = fails(result, kind, words);
        assert!(!format!("{error} {error:?}").contains("a wrong one"));
    }
    let findings = vault.reconcile_backends().unwrap();
    assert_eq!(kinds(&findings), [BackendFindingKind::Unavailable]);
    assert!(findings[0].message().contains(words));
}

/// Longer than the first pauses between attempts to connect.
fn let_pauses_pass() {
    std::thread::sleep(std::time::Duration::from_millis(500));
}

#[test]
fn a_wrong_pin_reaches_the_token_once() {
    let bench = bench_with_key();
    let before = bench.proxy.calls(Function::Login);
    let backend = Pkcs11Backend::new(options(&bench, pin("a wrong one")));
    let vault = bench.vault_with(backend);
    let logins = || bench.proxy.calls(Function::Login) - before;
    assert_eq!(
        kinds(vault.open_report().unwrap().backend_findings()),
        [BackendFindingKind::Unavailable]
    );
    use_in_every_way(&vault, "PIN");
    for _ in 0..3 {
        let_pauses_pass();
        use_in_every_way(&vault, "not tried again");
    }
    bench.proxy.lose_sessions();
    use_in_every_way(&vault, "PIN");
    let_pauses_pass();
    bench
        .proxy
        .die_until_reinitialized(cryptoki_sys::CKR_DEVICE_REMOVED);
    for _ in 0..10 {
        assert!(sign(&vault, &name("key")).is_err());
        let_pauses_pass();
    }
    use_in_every_way(&vault, "PIN");
    assert_eq!((logins(), bench.proxy.failed_logins()), (1, 1));
    vault.close().unwrap();
    settled(&bench.vault(), &bench.token);
}

#[test]
fn a_callback_that_gives_the_right_pin_later_is_heard() {
    let bench = bench_with_key();
    let before = bench.proxy.calls(Function::Login);
    let answer = Arc::new(Mutex::new("a wrong one".to_owned()));
    let vault = bench.vault_with(Pkcs11Backend::new(options(&bench, asked(&answer))));
    use_in_every_way(&vault, "PIN");
    let_pauses_pass();
    use_in_every_way(&vault, "PIN");
    assert_eq!(bench.proxy.failed_logins(), 1);
    bench
        .token
        .user_pin()
        .clone_into(&mut answer.lock().unwrap());
    eventually(|| sign(&vault, &name("key")));
    works(&vault, &name("key"));
    vault.create_key(&name("other"), signer()).unwrap();
    settled(&vault, &bench.token);
    assert_eq!(bench.proxy.calls(Function::Login) - before, 2);
}

#[test]
fn a_locked_pin_is_said_to_be_locked_and_not_tried() {
    let bench = bench_with_key();
    bench.proxy.lock_pin_after(1);
    let before = bench.proxy.calls(Function::Login);
    let answer = Arc::new(Mutex::new("a wrong one".to_owned()));
    let vault = bench.vault_with(Pkcs11Backend::new(options(&bench, asked(&answer))));
    assert_eq!(bench.proxy.calls(Function::Login) - before, 1);
    bench
        .token
        .user_pin()
        .clone_into(&mut answer.lock().unwrap());
    for _ in 0..3 {
        let_pauses_pass();
        use_in_every_way(&vault, "PIN");
    }
    use_in_every_way(&vault, "locked");
    // Nor by another backend.
    vault.close().unwrap();
    let vault = bench.vault();
    use_in_every_way(&vault, "security officer");
    assert_eq!(bench.proxy.calls(Function::Login) - before, 1);
    // The officer has set it.
    bench.proxy.heal();
    eventually(|| sign(&vault, &name("key")));
    settled(&vault, &bench.token);
}

/// Tokens that do not show in their flags that they are locked.
#[test]
fn a_token_that_answers_that_its_pin_is_locked_is_believed_and_not_asked_again() {
    let bench = bench_with_key();
    let before = bench.proxy.calls(Function::Login);
    let logins = || bench.proxy.calls(Function::Login) - before;
    bench
        .proxy
        .inject(Fault::answer(Function::Login, cryptoki_sys::CKR_PIN_LOCKED).for_ever());
    let vault = bench.vault();
    use_in_every_way(&vault, "CKR_PIN_LOCKED");
    for _ in 0..3 {
        let_pauses_pass();
        use_in_every_way(&vault, "PIN is locked");
    }
    bench.proxy.lose_sessions();
    let_pauses_pass();
    use_in_every_way(&vault, "PIN is locked");
    assert_eq!(logins(), 1);
    // The officer has set it, which the token does not show either: it takes somebody who makes the backend anew.
    bench.proxy.heal();
    let_pauses_pass();
    assert!(sign(&vault, &name("key")).is_err());
    assert_eq!(logins(), 1);
    vault.close().unwrap();
    let vault = bench.vault();
    works(&vault, &name("key"));
    assert_eq!(logins(), 2);
    settled(&vault, &bench.token);
}

#[test]
fn after_a_lock_another_pin_of_the_callback_is_heard() {
    let bench = bench_with_key();
    let before = bench.proxy.calls(Function::Login);
    let answer = Arc::new(Mutex::new("the old one".to_owned()));
    bench
        .proxy
        .inject(Fault::answer(Function::Login, cryptoki_sys::CKR_PIN_LOCKED));
    let vault = bench.vault_with(Pkcs11Backend::new(options(&bench, asked(&answer))));
    let_pauses_pass();
    use_in_every_way(&vault, "PIN is locked");
    bench
        .token
        .user_pin()
        .clone_into(&mut answer.lock().unwrap());
    eventually(|| sign(&vault, &name("key")));
    assert_eq!(bench.proxy.calls(Function::Login) - before, 2);
    settled(&vault, &bench.token);
}

#[test]
fn the_last_try_before_the_lock_is_left_to_people() {
    let bench = bench_with_key();
    bench.proxy.lock_pin_after(2);
    let before = bench.proxy.calls(Function::Login);
    let answer = Arc::new(Mutex::new("a wrong one".to_owned()));
    let vault = bench.vault_with(Pkcs11Backend::new(options(&bench, asked(&answer))));
    "another".clone_into(&mut answer.lock().unwrap());
    for _ in 0..3 {
        let_pauses_pass();
        use_in_every_way(&vault, "token");
    }
    let_pauses_pass();
    let_pauses_pass();
    use_in_every_way(&vault, "one try left");
    assert_eq!(bench.proxy.calls(Function::Login) - before, 1);
    vault.close().unwrap();
    // A backend that is made anew is a person's decision.
    let vault = bench.vault();
    works(&vault, &name("key"));
    assert_eq!(bench.proxy.calls(Function::Login) - before, 2);
    settled(&vault, &bench.token);
}
