//! Tests of strongroom with PKCS#11 tokens, and of what they stand on.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod backends;
mod conformance;
mod faults;
mod fixture;
mod foreign;
mod proxy;
#[allow(dead_code, reason = "every test uses a part of it")]
mod support;
