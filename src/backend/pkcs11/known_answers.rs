//! What known-answer tests work with: keys that everybody has, and data.

use std::sync::OnceLock;

use super::attributes::{Custody, Permissions, imported};
use super::error::{ErrorClass, TokenError, TokenResult};
use super::routes::{Route, Usage};
use super::template::Template;
use crate::crypto::validation;
use crate::env::OsEntropy;
use crate::model::algorithm::{SignatureAlgorithm, WrapAlgorithm};
use crate::model::material::{ImportedKey, KeyMaterial};
use crate::model::spec::OctKeyLength;
use crate::secret::SecretBytes;

/// An RSA key that everybody has: it only shows that a token computes right.
const KNOWN_RSA_KEY: &[u8] = include_bytes!("known_answer_rsa.der");

/// An error of the library inside a probe.
pub(super) fn internal(error: impl std::fmt::Display) -> TokenError {
    TokenError::with_detail(
        ErrorClass::Device,
        "known-answer test",
        format!("a known-answer test could not be prepared: {error}"),
    )
}

pub(super) fn known_rsa_key() -> TokenResult<&'static KeyMaterial> {
    static KNOWN: OnceLock<KeyMaterial> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known);
    }
    let known = ImportedKey::from_pkcs1_der(KNOWN_RSA_KEY).map_err(internal)?;
    let known = validation::validate(known, &OsEntropy).map_err(internal)?;
    Ok(KNOWN.get_or_init(|| known))
}

pub(super) fn probe_object(known: &KeyMaterial) -> Template<'_> {
    imported(known, false, &Custody::PROBE, &rsa_permissions())
}

pub(super) const TWO_BLOCKS: &[u8; 32] = b"thirty-two bytes of known answer";

/// What is tried for an algorithm, and with which data.
pub(super) fn key_wrap_ways(
    algorithm: WrapAlgorithm,
) -> (&'static [Route], &'static [&'static [u8]]) {
    if algorithm.is_padded_key_wrap() {
        // No multiples of 8: some modules pad differently. And one that has a form of its own.
        const DATA: &[&[u8]] = &[TWO_BLOCKS.split_at(29).0, TWO_BLOCKS.split_at(5).0];
        (
            &[
                Route::KeyWrapPadded,
                Route::KeyWrapPaddedObject,
                Route::KeyWrapPadObject,
                Route::KeyWrapPaddedBlocks,
            ],
            DATA,
        )
    } else {
        (
            &[Route::KeyWrap, Route::KeyWrapObject, Route::KeyWrapBlocks],
            &[TWO_BLOCKS],
        )
    }
}

pub(super) fn known_secret(length: OctKeyLength) -> TokenResult<KeyMaterial> {
    let bytes: Vec<u8> = (1..=length.bytes().to_le_bytes()[0]).collect();
    let key = ImportedKey::oct(SecretBytes::from(bytes));
    validation::validate(key, &OsEntropy).map_err(internal)
}

pub(super) fn digest_for(algorithm: SignatureAlgorithm) -> Vec<u8> {
    vec![0x5a; algorithm.digest().map_or(32, |hash| hash.digest_length())]
}

pub(super) fn rsa_permissions() -> Permissions {
    Permissions::some(&[Usage::Sign, Usage::Decrypt])
}

pub(super) fn sign_permissions() -> Permissions {
    Permissions::some(&[Usage::Sign])
}

pub(super) fn cipher_permissions() -> Permissions {
    Permissions::some(&[Usage::Encrypt, Usage::Decrypt, Usage::Wrap, Usage::Unwrap])
}
