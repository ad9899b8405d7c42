//! Tests of strongroom through its public API.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod conformance;
mod smoke;

#[allow(dead_code, reason = "every test uses a part of it")]
mod support;
mod tamper;
mod tidy;
