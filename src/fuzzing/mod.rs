//! Doors for the fuzz targets, most of them to parsers that are not public. Feature `testing`; no part of the API.
//!
//! A door takes arbitrary bytes and panics when something does not hold; its answer is whether the bytes were
//! accepted. Besides not panicking, what decodes must encode again to the same bytes, or, where a layout has several
//! encodings of one meaning, to bytes that stay the same from then on.
//!
//! No check of a MAC or a seal is ever left out, so there is no switch for it that could get into a build. Where such
//! a check would stop the fuzzer, the door holds the keys, and seals or signs again what the fuzzer changed.

mod audit;
mod backup;
mod containers;
mod fixture;
mod header;
mod identifiers;
mod jwk;
mod operations;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod policies;
mod record;
#[cfg(feature = "rest")]
mod rest;
mod sealing;
mod seeds;
mod slots;
mod state;
mod stream;

use crate::format::backup::Modes;
use crate::seal::hpke::RecipientKey;

/// One door with inputs to begin with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// As in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Takes one input; whether it was accepted.
    pub run: fn(&[u8]) -> bool,
    /// Inputs by name, most of which are accepted.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
}

macro_rules! targets {
    ($($(#[$cfg:meta])* $name:ident)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$(
            $(#[$cfg])*
            Target {
                name: stringify!($name),
                run: $name::run,
                seeds: seeds::$name,
            },
        )*];
    };
}

targets! {
    audit
    backup
    containers
    header
    identifiers
    jwk
    operations
    #[cfg(feature = "pkcs11")]
    pkcs11
    policies
    record
    #[cfg(feature = "rest")]
    rest
    slots
    state
    stream
}

/// Who can open what [`sealed_backup`] and [`sealed_domain_file`] give.
#[must_use]
pub fn recipient_key() -> RecipientKey {
    sealing::recipient()
}

/// A backup of a key around any payload: what anybody can make who knows a public key.
#[must_use]
pub fn sealed_backup(payload: &[u8]) -> Vec<u8> {
    sealing::sealed(Modes::KEY, payload).bytes
}

/// The same around the payload of a security domain.
#[must_use]
pub fn sealed_domain_file(payload: &[u8]) -> Vec<u8> {
    sealing::sealed(Modes::DOMAIN_FILE, payload).bytes
}

/// The target with this name.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    *TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("the fuzz target has a door")
}
