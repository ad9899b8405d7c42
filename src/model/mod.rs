//! Pure values, each parsed once: a value of these types that exists is legal.

pub(crate) mod algorithm;
pub(crate) mod attributes;
pub(crate) mod audit;
pub(crate) mod base64url;
pub(crate) mod batch;
mod calendar;
pub(crate) mod duration;
pub(crate) mod encrypted;
pub(crate) mod hex;
pub(crate) mod identifier;
#[cfg(feature = "rest")]
pub(crate) mod imported_jwk;
mod json;
pub(crate) mod json_object;
pub(crate) mod jwk;
pub(crate) mod jwt;
pub(crate) mod key;
pub(crate) mod key_transfer;
pub(crate) mod material;
pub(crate) mod name;
pub(crate) mod name_pattern;
pub(crate) mod operation;
pub(crate) mod options;
pub(crate) mod paging;
pub(crate) mod permission;
pub(crate) mod pin;
pub(crate) mod principal;
mod private_jwk;
pub(crate) mod release_policy;
pub(crate) mod results;
pub(crate) mod rotation_policy;
pub(crate) mod settings;
pub(crate) mod short_bytes;
pub(crate) mod spec;
pub(crate) mod strict_json;
pub(crate) mod tags;
pub(crate) mod time;
pub(crate) mod version;

#[cfg(test)]
mod jwk_tests;
