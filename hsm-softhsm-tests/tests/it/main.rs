//! Tests of strongroom with PKCS#11 tokens, and of what they stand on.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "what a library may not ask its environment, a test may"
)]

mod attributes;
mod backends;
mod conformance;
#[path = "../../../src/store/tests/copies.rs"]
mod copies;
#[path = "../../../tests/it/cross_check/mod.rs"]
mod cross_check;
mod domain;
mod fallbacks;
mod faults;
mod fixture;
mod foreign;
mod hardware_keys;
#[path = "../../../tests/it/hooked.rs"]
mod hooked;
mod key_transfer;
mod make;
#[path = "../../../tests/it/model/mod.rs"]
mod model;
mod neighbours;
#[path = "../../../src/store/tests/programme.rs"]
mod programme;
mod proxy;
mod readme;
#[path = "../../../tests/it/rfc_vectors/mod.rs"]
mod rfc_vectors;
mod rollback;
#[path = "../../../tests/it/rules/mod.rs"]
mod rules;
#[path = "../../../tests/it/smoke.rs"]
mod smoke;
#[allow(dead_code, reason = "every test uses a part of it")]
mod support;
mod timing;
mod token_slots;
#[path = "../../../tests/it/wycheproof/mod.rs"]
mod wycheproof;
