//! What tests of strongroom against PKCS#11 tokens stand on.
//!
//! * [`Token::new`] makes a SoftHSM2 token of its own for a test, purely through PKCS#11: no root, no tool.
//! * [`TokenUnderTest::get`] gives that, or the token of any other module that the environment names.
//! * [`SoftHsm`] is the module itself: [`SoftHsm::main`] in the process, or a [copy](SoftHsm::copy) of the shared
//!   library with its own state and [`Configuration`].
//! * [`Proxy`] is a module that passes every call on and fails where a test wants it to.
//! * [`child`] runs the test binary once more: another process, another configuration, a sudden end.
//! * [`skip`] says what could not be tested, and why.
//!
//! The environment, for modules other than the SoftHSM2 of the system:
//!
//! | variable | |
//! |---|---|
//! | `STRONGROOM_TEST_PKCS11_MODULE` | path of the shared library; alone, SoftHSM2 in an unusual place |
//! | `STRONGROOM_TEST_PKCS11_TOKEN` | label of the token: makes the module a foreign one |
//! | `STRONGROOM_TEST_PKCS11_PIN` | its user PIN |
//! | `STRONGROOM_TEST_PKCS11_SERIAL` | its serial number, if the label is not enough |
//! | `STRONGROOM_TEST_PKCS11_INIT_ARGS` | initialization string for `pReserved`, for modules that want one |
#![expect(clippy::missing_panics_doc, reason = "a fixture fails by panicking")]

pub mod child;
mod configuration;
mod environment;
mod foreign;
mod issued;
pub mod proxy;
mod scratch;
mod skipped;
mod softhsm;
mod token;

pub use configuration::Configuration;
pub use foreign::{ForeignToken, TokenUnderTest};
pub use proxy::Proxy;
pub use skipped::{skip, skipped};
pub use softhsm::{SoftHsm, library_path};
pub use token::Token;
