//! The mask generation function of OAEP and PSS, RFC 8017 appendix B.2.1.

use sha2::Digest;
use sha2::digest::Output;
use zeroize::Zeroize;

/// `target ⊕ MGF1(seed)`.
pub(super) fn mgf1_xor<D: Digest>(seed: &[u8], target: &mut [u8]) {
    let mut mask = Output::<D>::default();
    for (counter, chunk) in (0_u32..).zip(target.chunks_mut(<D as Digest>::output_size())) {
        D::new()
            .chain_update(seed)
            .chain_update(counter.to_be_bytes())
            .finalize_into(&mut mask);
        for (byte, mask) in chunk.iter_mut().zip(mask.iter()) {
            *byte ^= mask;
        }
    }
    mask.as_mut_slice().zeroize();
}
