//! The backend does what it measured, for every kind of key, operation and way of keeping; with mechanisms taken
//! away, by its fallbacks.

use hsm_softhsm_tests::TokenUnderTest;
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{KeyKeeping, Pkcs11Backend};
use strongroom::backend::testing::check_conformance;

use crate::backends::options;

#[test]
fn resident_keys_do_what_the_backend_claims_and_nothing_else() {
    conforms(KeyKeeping::Resident);
}

#[test]
fn wrapped_keys_do_what_the_backend_claims_and_nothing_else() {
    conforms(KeyKeeping::Wrapped);
}

fn conforms(keeping: KeyKeeping) {
    let token = TokenUnderTest::get();
    let backend = Pkcs11Backend::new(options(&token).keeping(keeping));
    backend.check().unwrap();
    let report = check_conformance(&backend);
    assert_eq!(report.failures(), &[] as &[String]);
    assert!(report.passed() > 500, "{}", report.passed());
}
