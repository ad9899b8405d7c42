//! The backend under test, on the token under test.

use hsm_softhsm_tests::{Token, TokenUnderTest};
use strongroom::Pin;
use strongroom::backend::pkcs11::{PinSource, Pkcs11Options, TokenSelector};

/// How the backend under test reaches its token.
pub(crate) fn options(token: &TokenUnderTest) -> Pkcs11Options {
    options_with(token, pin(token.user_pin()))
}

/// The same with a PIN from elsewhere.
pub(crate) fn options_with(token: &TokenUnderTest, pin: PinSource) -> Pkcs11Options {
    let selector = match token.serial() {
        Some(serial) => TokenSelector::Serial(serial.to_owned()),
        None => TokenSelector::Label(token.label().to_owned()),
    };
    let options = Pkcs11Options::new(token.module(), selector, pin);
    match token.initialization_string() {
        Some(text) => options.initialization_string(text),
        None => options,
    }
}

/// The same for a token of SoftHSM2's.
pub(crate) fn own_options(token: &Token) -> Pkcs11Options {
    let selector = TokenSelector::Serial(token.serial().to_owned());
    Pkcs11Options::new(token.module(), selector, pin(token.user_pin()))
}

pub(crate) fn pin(text: &str) -> PinSource {
    PinSource::value(Pin::new(text).unwrap())
}
