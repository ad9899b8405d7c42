//! How a token is found and logged into.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cryptoki_sys::*;

use super::softhsm::{LABEL, PIN, Place, on_softhsm_in, options, token};
use crate::backend::pkcs11::error::ErrorClass;
use crate::backend::pkcs11::pin::PinSource;
use crate::backend::pkcs11::selection::TokenSelector;
use crate::backend::pkcs11::token::{Retry, Token, TokenOptions};
use crate::secret::Pin;

fn on_softhsm(test: &str, body: impl FnOnce(&Place)) {
    on_softhsm_in("finding", test, body);
}

#[test]
fn a_token_is_found_by_serial_and_by_label() {
    on_softhsm("a_token_is_found_by_serial_and_by_label", |place| {
        place.make_token("another");
        let by_label = token();
        let serial = by_label.serial().unwrap();
        let by_serial = Token::new(TokenOptions {
            selector: TokenSelector::Serial(serial.clone()),
            ..options()
        });
        let info = by_serial
            .run(Retry::Safe, |lease| lease.token_info())
            .unwrap();
        assert_eq!(info.label, LABEL);
        assert_eq!(info.serial, serial);
        assert!(info.initialized && info.login_required && !info.user_pin_locked);
        let nobody = Token::new(TokenOptions {
            selector: TokenSelector::Serial("0000000000000000".to_owned()),
            ..options()
        });
        let error = nobody.check().unwrap_err();
        assert_eq!(error.class, ErrorClass::TokenLost);
        assert!(error.to_string().contains("0000000000000000"), "{error}");
    });
}

#[test]
fn a_label_that_two_tokens_have_selects_neither() {
    on_softhsm("a_label_that_two_tokens_have_selects_neither", |place| {
        place.make_token(LABEL);
        assert_eq!(token().check().unwrap_err().class, ErrorClass::BadParameter);
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    on_softhsm("a_wrong_pin_is_tried_once", |_| {
        let wrong = Token::new(TokenOptions {
            pin: PinSource::value(Pin::new("1357").unwrap()),
            ..options()
        });
        let error = wrong.check().unwrap_err();
        assert_eq!(error.class, ErrorClass::Authentication);
        assert_eq!(error.code, Some(CKR_PIN_INCORRECT));
        // Beyond the pause after a failure the breaker answers, not the token.
        thread::sleep(Duration::from_millis(150));
        let error = wrong.check().unwrap_err();
        assert_eq!(error.class, ErrorClass::Authentication);
        assert_eq!((error.code, error.function), (None, "login"));

        // A callback that gives the same PIN is refused as well, and the right one is taken.
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let careful = Token::new(TokenOptions {
            pin: PinSource::callback(move || {
                let pins = ["1357", "1357", PIN];
                let number = counter.fetch_add(1, Ordering::SeqCst);
                Ok(Pin::new(pins[number.min(2)]).unwrap())
            }),
            ..options()
        });
        let codes: Vec<_> = (0..3)
            .map(|_| {
                thread::sleep(Duration::from_millis(450));
                careful.check().map_err(|error| error.code)
            })
            .collect();
        assert_eq!(codes, [Err(Some(CKR_PIN_INCORRECT)), Err(None), Ok(())]);
        // The login holds: nobody is asked again.
        careful.check().unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn a_pin_callback_that_panics_leaves_the_token_usable() {
    on_softhsm("a_pin_callback_that_panics_leaves_the_token_usable", |_| {
        let asked = AtomicUsize::new(0);
        let token = Token::new(TokenOptions {
            pin: PinSource::callback(move || {
                assert!(asked.fetch_add(1, Ordering::SeqCst) > 0, "on purpose");
                Ok(Pin::new(PIN).unwrap())
            }),
            ..options()
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| token.check()));
        assert!(caught.is_err());
        token.check().unwrap();
    });
}
