//! Sessions and handles in use.

use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use super::softhsm::{
    Place, TAG, expected_mac, hmac_key, mac, make_hmac_key, on_softhsm_in, options, token,
};
use crate::backend::pkcs11::error::{ErrorClass, TokenResult};
use crate::backend::pkcs11::lease::Lease;
use crate::backend::pkcs11::mechanism::Mechanism;
use crate::backend::pkcs11::template::Template;
use crate::backend::pkcs11::token::{Retry, Token, TokenOptions};

fn on_softhsm(test: &str, body: impl FnOnce(&Place)) {
    on_softhsm_in("using", test, body);
}

#[test]
fn the_pool_is_bounded_and_waiting_ends() {
    on_softhsm("the_pool_is_bounded_and_waiting_ends", |_| {
        let token = Token::new(TokenOptions {
            max_sessions: Some(1),
            checkout_timeout: Duration::from_millis(100),
            ..options()
        });
        let handle = |lease: &Lease<'_>| Ok(lease.session().handle());
        let error = token
            .run(Retry::Safe, |_| token.run(Retry::Safe, handle))
            .unwrap_err();
        assert_eq!(error.class, ErrorClass::Throttled);
        // The same session again and again.
        let first = token.run(Retry::Safe, handle).unwrap();
        for _ in 0..20 {
            assert_eq!(token.run(Retry::Safe, handle).unwrap(), first);
        }
        // Threads take turns, also when work panics.
        let _ = thread::scope(|scope| {
            scope
                .spawn(|| token.run(Retry::Safe, |_| -> TokenResult<()> { panic!("on purpose") }))
                .join()
        });
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        token.run(Retry::Safe, handle).unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn a_mac_of_the_token_is_the_mac_and_small_buffers_grow() {
    on_softhsm(
        "a_mac_of_the_token_is_the_mac_and_small_buffers_grow",
        |_| {
            let token = token();
            let data = b"what is to be authenticated";
            for capacity in [32, 64, 0, 31] {
                let mac = token
                    .run(Retry::Never, |lease| {
                        let key = lease.create_object(&hmac_key(false, &TAG))?;
                        let mac = lease.sign(&Mechanism::Sha256Hmac, key, data, capacity)?;
                        lease.destroy_object(key)?;
                        Ok(mac)
                    })
                    .unwrap();
                assert_eq!(mac, expected_mac(data), "capacity {capacity}");
            }
        },
    );
}

#[test]
fn a_stale_handle_is_found_again_and_a_missing_key_is_not_found() {
    on_softhsm(
        "a_stale_handle_is_found_again_and_a_missing_key_is_not_found",
        |_| {
            let token = token();
            make_hmac_key(&token, TAG);
            assert_eq!(mac(&token, TAG, b"1").unwrap(), expected_mac(b"1"));
            // Somebody replaces the object.
            let replace = |again: bool| {
                token
                    .mutate(|lease| {
                        let template = Template::new().bytes(CKA_ID, TAG.as_bytes());
                        for object in lease.find_objects(&template, 10)? {
                            lease.destroy_object(object)?;
                        }
                        if again {
                            lease.create_object(&hmac_key(true, &TAG))?;
                        }
                        Ok(())
                    })
                    .unwrap();
            };
            replace(true);
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
            replace(false);
            assert_eq!(
                mac(&token, TAG, b"3").unwrap_err().class,
                ErrorClass::NotFound
            );
            // Two objects with one id are one too many.
            make_hmac_key(&token, TAG);
            make_hmac_key(&token, TAG);
            assert_eq!(
                mac(&token, TAG, b"4").unwrap_err().class,
                ErrorClass::Device
            );
        },
    );
}

/// Interleaved, and with room for a busy machine: without optimisation, too. The figures are printed.
#[test]
fn a_cached_handle_costs_no_more_than_the_bare_calls() {
    on_softhsm("a_cached_handle_costs_no_more_than_the_bare_calls", |_| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let start = Instant::now();
            for _ in 0..10 {
                mac(&token, TAG, b"1").unwrap();
            }
            ours.push(start.elapsed() / 10);
            bare.push(
                token
                    .run(Retry::Safe, |lease| {
                        let id = cryptoki::object::Attribute::Id(TAG.as_bytes().to_vec());
                        let key = lease.session().find_objects(&[id]).unwrap()[0];
                        let start = Instant::now();
                        for _ in 0..10 {
                            lease
                                .session()
                                .sign(&cryptoki::mechanism::Mechanism::Sha256Hmac, key, b"1")
                                .unwrap();
                        }
                        Ok(start.elapsed() / 10)
                    })
                    .unwrap(),
            );
        }
        ours.sort();
        bare.sort();
        let (ours, bare) = (ours[100], bare[100]);
        println!("median of a MAC: {ours:?} here, {bare:?} with the bare calls");
        assert!(ours < bare * 3 / 2, "{ours:?} against {bare:?}");
    });
}
