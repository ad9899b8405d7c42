//! Memory for what an operation gives.

/// Zeros. `vec![0; length]` asks the allocator for memory that is zero already; glibc before 2.41 answers that past its
/// cache, under its lock, which takes longer than writing the zeros.
#[expect(
    clippy::slow_vector_initialization,
    reason = "it is the faster one here"
)]
pub(crate) fn zeros(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    bytes.resize(length, 0);
    bytes
}
