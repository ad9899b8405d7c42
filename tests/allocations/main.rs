//! No parser takes more memory than four times its input and 64 KiB, whatever a length in the input announces.
//!
//! A global allocator counts what is held; the peak during a call counts, on all threads. The inputs are the seeds of
//! the fuzz targets and our vectors, and each of them again with 0xff, 0x7f… and other edge numbers of every width
//! written over every place where a length may stand.
//!
//! Exempt is the work of key derivation, which has bounds of its own that the caller sets: Argon2id of passphrases
//! (`RestoreOptions::max_kdf_work_kib`, `VaultOptions::max_kdf_work_kib`, zero here, so that nothing is derived) and
//! scrypt of encrypted PKCS#8 (256 MiB at most). Opening a vault is measured against opening it intact, because the
//! storage engine has buffers of a fixed size.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]
#![allow(unsafe_code, reason = "an allocator that counts is one")]

#[allow(dead_code, reason = "another test uses the rest")]
#[path = "../it/image.rs"]
mod image;

mod counting;
mod parsers;
mod vault;

/// What a parser may hold beyond its input.
const ALLOWANCE: usize = 64 * 1_024;

fn allowed(input: usize) -> usize {
    4 * input + ALLOWANCE
}
