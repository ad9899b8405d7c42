//! Wiping what finished calls left on the stack.

use zeroize::Zeroize;

/// More than the cryptographic crates use below one operation.
const DEPTH: usize = 32 * 1_024;

/// Overwrites the stack below the caller with zeros.
#[inline(never)]
pub(crate) fn wipe_stack() {
    // Words rather than bytes: each is written by itself.
    let mut words = [0_u128; DEPTH / size_of::<u128>()];
    words.zeroize();
    std::hint::black_box(&mut words);
}
