//! Keys in PKCS#11 tokens.
#![allow(dead_code, reason = "the upper half of the room is not there yet")]

mod buffers;
mod error;
mod gate;
mod lease;
mod mechanism;
mod module;
mod objects;
mod pin;
mod pool;
mod raw;
mod return_codes;
mod template;
mod token;
mod token_info;

#[cfg(test)]
mod tests;
