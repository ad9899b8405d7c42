//! Tests of strongroom through its public API.

mod crash;
mod smoke;
#[allow(dead_code, reason = "every test uses a part of it")]
mod support;
