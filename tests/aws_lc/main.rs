//! The tests of keys in software that `tests/it` runs on the built-in engine, on the engine of aws-lc: published
//! vectors, other implementations, the rules of the vault, and what backends promise.
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

#[path = "../it/cross_check/mod.rs"]
mod cross_check;
mod engines;
#[allow(dead_code, reason = "the tests of tokens have one with more to say")]
mod make;
#[path = "../../src/store/tests/programme.rs"]
mod programme;
#[path = "../it/rfc_vectors/mod.rs"]
mod rfc_vectors;
#[path = "../it/rules/mod.rs"]
mod rules;
#[path = "../it/smoke.rs"]
mod smoke;
#[allow(dead_code, reason = "every test uses a part of it")]
#[path = "../it/support.rs"]
mod support;
#[path = "../it/wycheproof/mod.rs"]
mod wycheproof;
