//! A module that others in the process use too, and forks of the process.

use std::sync::Arc;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};

use super::softhsm::{
    MODULE, Place, TAG, expected_mac, heal, mac, make_hmac_key, on_softhsm_in, options, token,
};
use crate::backend::pkcs11::error::ErrorClass;
use crate::backend::pkcs11::module::Module;
use crate::backend::pkcs11::selection::TokenSelector;
use crate::backend::pkcs11::token::{Retry, Token, TokenOptions};
use crate::model::key::KeyTag;

fn on_softhsm(test: &str, body: impl FnOnce(&Place)) {
    on_softhsm_in("sharing", test, body);
}

#[test]
fn a_logout_by_others_is_healed_by_a_login() {
    on_softhsm("a_logout_by_others_is_healed_by_a_login", |_| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        let logout = || {
            token
                .run(Retry::Never, |lease| {
                    lease.session().logout().unwrap();
                    Ok(())
                })
                .unwrap();
        };
        logout();
        assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        // What must not be done twice is not begun without a login.
        logout();
        make_hmac_key(&token, KeyTag::from_bytes([8; 16]));
        // All sessions closed by somebody else.
        let slot = token.run(Retry::Safe, |lease| Ok(lease.slot())).unwrap();
        foreign::close_all_sessions(slot);
        assert_eq!(mac(&token, TAG, b"3").unwrap(), expected_mac(b"3"));
    });
}

#[test]
fn a_module_that_others_initialised_is_adopted_and_taken_over_when_they_end_it() {
    on_softhsm(
        "a_module_that_others_initialised_is_adopted_and_taken_over_when_they_end_it",
        |place| {
            let others = Pkcs11::new(MODULE).unwrap();
            let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
            others.initialize(arguments).unwrap();
            let token = token();
            make_hmac_key(&token, TAG);
            let session = others
                .open_rw_session(others.get_slots_with_token().unwrap()[0])
                .unwrap();
            // Not ours to end, so a lost token stays lost and the others' session lives.
            place.move_away();
            assert_eq!(
                mac(&token, TAG, b"1").unwrap_err().class,
                ErrorClass::TokenLost
            );
            session.get_session_info().unwrap();
            place.move_back();
            drop(session);
            others.finalize().unwrap();
            heal(&token);
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        },
    );
}

#[test]
fn tokens_of_one_module_share_it_and_one_is_not_ended_for_the_other() {
    on_softhsm(
        "tokens_of_one_module_share_it_and_one_is_not_ended_for_the_other",
        |place| {
            place.make_token("another");
            let first = token();
            let another = Token::new(TokenOptions {
                selector: TokenSelector::Label("another".to_owned()),
                ..options()
            });
            make_hmac_key(&first, TAG);
            another.check().unwrap();
            let module = Module::at(MODULE.as_ref(), None).unwrap();
            let generation = module.generation();
            assert!(module.serves_others(Some(&first.serial().unwrap())));
            assert!(
                !Arc::ptr_eq(
                    &module.mutation_lock(&first.serial().unwrap()),
                    &module.mutation_lock(&another.serial().unwrap())
                ),
                "tokens do not wait for each other"
            );
            module
                .reinitialize(generation, Duration::from_secs(5), || true)
                .unwrap();
            assert_eq!(module.generation(), generation);
            mac(&first, TAG, b"1").unwrap();
            module
                .reinitialize(generation, Duration::from_secs(5), || false)
                .unwrap();
            assert_eq!(module.generation(), generation + 1);
            // A second one that lost the token in the same generation changes nothing any more.
            module
                .reinitialize(generation, Duration::from_secs(5), || false)
                .unwrap();
            assert_eq!(module.generation(), generation + 1);
            assert_eq!(mac(&first, TAG, b"2").unwrap(), expected_mac(b"2"));
            another.check().unwrap();
            drop(another);
            assert!(!module.serves_others(Some(&first.serial().unwrap())));
            // Other arguments for a module that is in use are refused.
            let other = Module::at(MODULE.as_ref(), Some("configdir='x'"));
            assert_eq!(other.unwrap_err().class, ErrorClass::BadParameter);
        },
    );
}

#[expect(unsafe_code, reason = "there is no safe way to do these")]
mod foreign {
    use crate::backend::pkcs11::mechanism::Ulong;

    /// As somebody else in the process may do it.
    pub(super) fn close_all_sessions(slot: Ulong) {
        // SAFETY: the module is loaded already; only a number is passed.
        unsafe {
            let module =
                cryptoki_sys::Pkcs11::new(crate::backend::pkcs11::tests::softhsm::MODULE).unwrap();
            assert_eq!(module.C_CloseAllSessions(slot), 0);
        }
    }

    unsafe extern "C" {
        fn fork() -> i32;
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
        fn _exit(status: i32) -> !;
    }

    /// Whether `child` is true in a fork of this process.
    pub(super) fn in_fork(child: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child calls nothing that another thread could have locked, and ends.
        let process = unsafe { fork() };
        if process == 0 {
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { _exit(i32::from(!good.unwrap_or(false))) }
        }
        let mut status = 0;
        // SAFETY: waits for the child of above.
        unsafe { waitpid(process, &raw mut status, 0) };
        status == 0
    }
}

#[test]
fn a_fork_is_refused_and_harms_nobody() {
    on_softhsm("a_fork_is_refused_and_harms_nobody", |_| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        let copy = Arc::try_unwrap(self::token()).ok();
        copy.as_ref().unwrap().check().unwrap();
        let mut copy = copy;
        assert!(foreign::in_fork(|| {
            let forked = |class| class == ErrorClass::Forked;
            let refused = forked(mac(&token, TAG, b"2").unwrap_err().class)
                && forked(token.check().unwrap_err().class)
                && forked(token.mutate(|_| Ok(())).unwrap_err().class)
                && forked(self::token().check().unwrap_err().class);
            // Dropping a token closes no session of the parent's.
            drop(copy.take());
            refused
        }));
        assert_eq!(mac(&token, TAG, b"3").unwrap(), expected_mac(b"3"));
        copy.unwrap().check().unwrap();
    });
}
