//! Tokens that go and come back.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::softhsm::{Place, TAG, expected_mac, heal, mac, make_hmac_key, on_softhsm_in, token};
use crate::backend::pkcs11::error::ErrorClass;

fn on_softhsm(test: &str, body: impl FnOnce(&Place)) {
    on_softhsm_in("losing", test, body);
}

#[test]
fn a_token_that_is_gone_is_lost_and_comes_back() {
    on_softhsm("a_token_that_is_gone_is_lost_and_comes_back", |place| {
        let token = token();
        make_hmac_key(&token, TAG);
        mac(&token, TAG, b"1").unwrap();
        place.move_away();
        for _ in 0..3 {
            let error = mac(&token, TAG, b"2").unwrap_err();
            assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
        }
        // Inside the pause the answer is immediate.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            let _ = mac(&token, TAG, b"2").unwrap_err();
        }
        let start = Instant::now();
        mac(&token, TAG, b"2").unwrap_err();
        assert!(start.elapsed() < Duration::from_millis(50));
        place.move_back();
        heal(&token);
        assert_eq!(mac(&token, TAG, b"3").unwrap(), expected_mac(b"3"));
    });
}

#[test]
fn a_token_that_was_gone_between_two_calls_is_not_noticed() {
    on_softhsm(
        "a_token_that_was_gone_between_two_calls_is_not_noticed",
        |place| {
            let token = token();
            make_hmac_key(&token, TAG);
            mac(&token, TAG, b"1").unwrap();
            place.move_away();
            place.move_back();
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        },
    );
}

#[test]
fn a_token_that_was_taken_out_of_its_slot_is_found_when_it_is_back() {
    on_softhsm(
        "a_token_that_was_taken_out_of_its_slot_is_found_when_it_is_back",
        |place| {
            let token = token();
            make_hmac_key(&token, TAG);
            let directory = fs::read_dir(place.tokens()).unwrap().next().unwrap();
            let directory = directory.unwrap().path();
            fs::rename(&directory, place.away()).unwrap();
            for _ in 0..2 {
                thread::sleep(Duration::from_millis(250));
                let error = mac(&token, TAG, b"1").unwrap_err();
                assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
            }
            fs::rename(place.away(), &directory).unwrap();
            heal(&token);
            assert_eq!(mac(&token, TAG, b"2").unwrap(), expected_mac(b"2"));
        },
    );
}

#[test]
fn many_threads_survive_the_loss_of_the_token() {
    on_softhsm("many_threads_survive_the_loss_of_the_token", |place| {
        let token = token();
        // Of the same token, as a second store of the process has it.
        let second = self::token();
        make_hmac_key(&token, TAG);
        let good = AtomicU32::new(0);
        let start = Barrier::new(7);
        thread::scope(|scope| {
            for number in 0..6 {
                let (token, good, start) = (
                    if number % 2 == 0 { &token } else { &second },
                    &good,
                    &start,
                );
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..2_000 {
                        match mac(token, TAG, b"x") {
                            Ok(mac) => {
                                assert_eq!(mac, expected_mac(b"x"));
                                good.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(error) => {
                                assert_eq!(error.class, ErrorClass::TokenLost, "{error}");
                                thread::sleep(Duration::from_millis(1));
                            }
                        }
                    }
                });
            }
            start.wait();
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(60));
                place.move_away();
                thread::sleep(Duration::from_millis(60));
                place.move_back();
            }
        });
        heal(&token);
        heal(&second);
        assert_eq!(mac(&token, TAG, b"y").unwrap(), expected_mac(b"y"));
        assert_eq!(mac(&second, TAG, b"y").unwrap(), expected_mac(b"y"));
        assert!(good.load(Ordering::SeqCst) > 100);
    });
}
