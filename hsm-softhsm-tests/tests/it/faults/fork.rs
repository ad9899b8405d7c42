//! A process that forks: the child is refused with a sentence, touches neither module nor token, and the parent goes
//! on.
#![expect(unsafe_code, reason = "forking is unsafe")]

use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::time::Duration;

use hsm_softhsm_tests::{Token, child};
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::Pkcs11Backend;
use strongroom::{ErrorKind, SignatureAlgorithm, Vault};

use super::{fails, name, open, place_of, settled, sign, signer, within, works};
use crate::backends::own_options;

#[test]
fn a_fork_of_the_process_is_refused_and_the_process_goes_on() {
    let test = "faults::fork::a_fork_of_the_process_is_refused_and_the_process_goes_on";
    if child::job().is_some() {
        within(Duration::from_secs(60), fork_and_go_on);
        println!("done");
        return;
    }
    let token = Token::alone();
    let mut command = child::command(test, "fork");
    token.lend(&mut command);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (told, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{told}{errors}");
    assert!(told.contains("done"), "{told}{errors}");
}

fn fork_and_go_on() {
    let token = Token::lent().unwrap();
    let backend = || Pkcs11Backend::new(own_options(&token));
    let vault = open(place_of(token.softhsm()), backend());
    let key = name("key");
    vault.create_key(&key, signer()).unwrap();
    let signature = sign(&vault, &key).unwrap();
    let bound = vault.key(&key).unwrap();
    let public = bound.public_key().unwrap();
    let attached = backend();
    attached.check().unwrap();
    // SAFETY: the other threads of this process are the test harness, which waits, and the watch over the time; the
    // child calls nothing that they may have locked but the allocator, which the C library makes fit for use after a
    // fork, and ends without returning.
    let forked = unsafe { libc::fork() };
    assert!(forked >= 0, "{}", std::io::Error::last_os_error());
    if forked == 0 {
        // SAFETY: it only sets a timer, which ends the fork if it hangs: no other thread watches here.
        unsafe { libc::alarm(30) };
        let refused = std::panic::catch_unwind(AssertUnwindSafe(|| {
            in_the_fork(&vault, &token, &attached);
            // Public keys need neither vault nor token.
            public
                .verify_data(SignatureAlgorithm::Es256, b"text", &signature)
                .unwrap();
        }))
        .is_ok();
        // SAFETY: it ends the process and does nothing else.
        unsafe { libc::_exit(if refused { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: the status lives until the call returns.
    let waited = unsafe { libc::waitpid(forked, &raw mut status, 0) };
    assert_eq!(
        (waited, status),
        (forked, 0),
        "the fork was not refused as it should be"
    );

    works(&vault, &key);
    vault.create_key(&name("after"), signer()).unwrap();
    works(&vault, &name("after"));
    settled(&vault, &token);
    vault.close().unwrap();
    works(&open(place_of(token.softhsm()), backend()), &key);
}

fn in_the_fork(vault: &Vault, token: &Token, attached: &Pkcs11Backend) {
    for _ in 0..2 {
        fails(
            sign(vault, &name("key")),
            ErrorKind::ForkedProcess,
            "forked",
        );
        // A backend knows it by itself.
        let error = attached.check().unwrap_err();
        assert!(error.to_string().contains("forked"), "{error}");
    }
    // A new backend is refused too, and dropping it touches nothing.
    let new = Pkcs11Backend::new(own_options(token));
    let error = new.serial().unwrap_err();
    assert!(error.to_string().contains("forked"), "{error}");
    drop(new);
}
