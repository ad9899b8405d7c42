//! A module that dies, and sessions that end: many threads meet it, one of them reconnects, all go on.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use cryptoki_sys::{
    CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_HOST_MEMORY,
};
use hsm_softhsm_tests::proxy::{Fault, Function};
use strongroom::{ErrorKind, Vault};

use super::{Bench, eventually, fails, markers, name, settled, sign, signer, within, works};

const THREADS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(120);

/// What each of many threads that sign at once gets.
fn together(vault: &Vault) -> Vec<strongroom::Result<Vec<u8>>> {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    sign(vault, &name("key"))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn bench() -> (Bench, Vault) {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    // All sessions that there may be are open.
    for result in together(&vault) {
        result.unwrap();
    }
    (bench, vault)
}

fn logins_and_starts(bench: &Bench) -> (u64, u64) {
    let calls = |function| bench.proxy.calls(function);
    (calls(Function::Login), calls(Function::Initialize))
}

/// How many logins and starts of the module it takes until all threads have signed after `trouble`.
fn after(trouble: impl Fn(&Bench)) -> (u64, u64) {
    within(PATIENCE, || {
        let (bench, vault) = bench();
        let before = logins_and_starts(&bench);
        trouble(&bench);
        for result in together(&vault) {
            result.unwrap();
        }
        let after = logins_and_starts(&bench);
        vault.create_key(&name("other"), signer()).unwrap();
        works(&vault, &name("other"));
        settled(&vault, &bench.token);
        (after.0 - before.0, after.1 - before.1)
    })
}

#[test]
fn many_threads_restart_a_dead_module_once() {
    for code in [
        CKR_DEVICE_ERROR,
        CKR_DEVICE_REMOVED,
        CKR_CRYPTOKI_NOT_INITIALIZED,
    ] {
        let counts = after(|bench| bench.proxy.die_until_reinitialized(code));
        assert_eq!(counts, (1, 1), "{code:#x}");
    }
}

#[test]
fn many_threads_log_in_once_after_all_sessions_are_lost() {
    assert_eq!(after(|bench| bench.proxy.lose_sessions()), (1, 0));
}

#[test]
fn sessions_that_are_lost_again_and_again_cost_one_login_each_time() {
    within(PATIENCE, || {
        let (bench, vault) = bench();
        let before = logins_and_starts(&bench);
        for _ in 0..20 {
            bench.proxy.lose_sessions();
            works(&vault, &name("key"));
            vault.rotate_key(&name("key")).unwrap();
        }
        let after = logins_and_starts(&bench);
        assert_eq!((after.0 - before.0, after.1 - before.1), (20, 0));
        settled(&vault, &bench.token);
    });
}

#[test]
fn while_a_module_is_dead_everyone_is_told_at_once_and_later_all_is_well() {
    within(PATIENCE, || {
        let (bench, vault) = bench();
        bench.proxy.die(CKR_DEVICE_ERROR);
        for _ in 0..3 {
            for result in together(&vault) {
                fails(result, ErrorKind::BackendUnavailable, "");
            }
            let result = vault.create_key(&name("other"), signer());
            fails(result, ErrorKind::BackendUnavailable, "");
        }
        bench.proxy.heal();
        eventually(|| sign(&vault, &name("key")));
        for result in together(&vault) {
            result.unwrap();
        }
        vault.create_key(&name("other"), signer()).unwrap();
        settled(&vault, &bench.token);
    });
}

#[test]
fn a_module_that_dies_while_a_key_is_made_leaves_no_key() {
    within(PATIENCE, || {
        let (bench, vault) = bench();
        let state = std::sync::Arc::new(bench);
        for (count, function) in [
            Function::GenerateKeyPair,
            Function::GetAttributeValue,
            Function::SignInit,
        ]
        .into_iter()
        .enumerate()
        {
            let dying = std::sync::Arc::downgrade(&state);
            state.proxy.inject(
                Fault::run(function, move || {
                    if let Some(bench) = dying.upgrade() {
                        bench.proxy.die(CKR_DEVICE_REMOVED);
                    }
                })
                .after_the_call(),
            );
            let key = name(&format!("other-{count}"));
            let made = vault.create_key(&key, signer());
            fails(made, ErrorKind::BackendUnavailable, "");
            state.proxy.heal();
            eventually(|| sign(&vault, &name("key")));
            let report = vault.maintain(Default::default()).unwrap();
            assert_eq!((report.settled(), report.unsettled()), (1, 0));
            fails(vault.get_key(&key), ErrorKind::KeyNotFound, "");
            settled(&vault, &state.token);
        }
    });
}

#[test]
fn a_key_whose_confirmation_fails_is_there_and_confirmed_later() {
    within(PATIENCE, || {
        let (bench, vault) = bench();
        bench
            .proxy
            // The first one takes the public half away, which only the session has.
            .inject(
                Fault::answer(Function::DestroyObject, CKR_DEVICE_ERROR)
                    .from_call(2)
                    .for_ever(),
            );
        let other = name("other");
        vault.create_key(&other, signer()).unwrap();
        works(&vault, &other);
        assert_eq!(markers(&bench.token), 1);
        bench.proxy.heal();
        eventually(|| sign(&vault, &other));
        assert_eq!(vault.reconcile_backends().unwrap(), []);
        settled(&vault, &bench.token);
        works(&vault, &other);
    });
}

/// What a token cannot do for lack of memory while it is measured, it can do afterwards.
#[test]
fn a_token_that_could_not_be_measured_for_a_moment_makes_keys() {
    let bench = Bench::new();
    let strikes = bench
        .proxy
        .inject(Fault::answer(Function::GetMechanismList, CKR_HOST_MEMORY).times(2));
    // The first strikes when the vault is opened, the second when the backend is asked what it can do.
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    assert_eq!(strikes.count(), 2);
    works(&vault, &name("key"));
    settled(&vault, &bench.token);
}
