//! Tests of strongroom through its public API.

mod cross_check;
mod rfc_vectors;
mod smoke;
#[allow(dead_code, reason = "every test uses a part of it")]
mod support;
mod wycheproof;
