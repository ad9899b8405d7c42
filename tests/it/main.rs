//! Tests of strongroom through its public API.
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

/// As a program has it that asks for full protection of memory.
#[global_allocator]
static HEAP: strongroom::WipingAllocator = strongroom::WipingAllocator::system();

mod attested;
mod audit;
#[cfg(feature = "azure-transport")]
mod azure_sdk;
mod bad_input;
mod batches;
mod canaries;
mod compaction;
mod conformance;
#[path = "../../src/store/tests/copies.rs"]
mod copies;
mod corpus;
mod crash;
mod cross_check;
mod domains;
mod explain;
mod golden;
mod held_keys;
mod hooked;
mod image;
mod key_attestation;
mod key_transfer;
#[cfg(feature = "keyring")]
mod keyring_slots;
mod locked_meanwhile;
#[allow(dead_code, reason = "the tests of tokens have one with more to say")]
mod make;
mod marker_scan;
mod memory;
mod model;
mod overtaken;
mod permissions;
mod plots;
#[path = "../../src/store/tests/programme.rs"]
mod programme;
#[cfg(feature = "serve")]
mod python_sdk;
mod recipients;
mod recovery;
mod release;
#[cfg(feature = "rest")]
mod rest;
mod rfc_vectors;
mod rollback;
mod root_rotation;
mod rotation;
mod rotation_policy;
mod rules;
mod slots;
mod smoke;
#[allow(dead_code, reason = "every test uses a part of it")]
mod support;
mod tamper;
mod threats;
mod tidy;
mod timing;
mod vectors;
mod whole_state;
mod whole_vault;
mod wycheproof;
