use crypto_bigint::{BoxedUint, Resize};
use crypto_primes::hazmat::MillerRabin;
use crypto_primes::{Flavor, is_prime as is_baillie_psw_prime};
use zeroize::Zeroizing;

use super::CryptoResult;
use crate::crypto::CryptoError;
use crate::env::Entropy;

/// Rounds of Miller-Rabin with random bases. No composite is known to pass the Baillie-PSW test that
/// runs before; one made to would still fail here but for a chance of 4^-32.
const RANDOM_BASES: u32 = 32;
/// Random bytes beyond the modulus, so that reduction leaves no bias.
const EXTRA_BYTES: u32 = 16;

/// Whether `candidate` is prime, also when an adversary chose it.
pub(super) fn is_prime(candidate: &BoxedUint, entropy: &dyn Entropy) -> CryptoResult<bool> {
    if !is_baillie_psw_prime(Flavor::Any, candidate) {
        return Ok(false);
    }
    let Some(odd) = candidate.to_odd().into_option() else {
        // The only even prime, 2.
        return Ok(true);
    };
    if candidate.bits_vartime() <= 3 {
        return Ok(true);
    }
    let test = MillerRabin::new(odd);
    for _ in 0..RANDOM_BASES {
        let base = random_base(candidate, entropy)?;
        if !test.test(&base).is_probably_prime() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A random number between 2 and `modulus - 2`, for a modulus of at least 5, in its precision.
pub(super) fn random_base(
    modulus: &BoxedUint,
    entropy: &dyn Entropy,
) -> CryptoResult<Zeroizing<BoxedUint>> {
    let precision = modulus.bits_precision();
    let small = |value: u8| BoxedUint::from(value).resize(precision);
    let range = Zeroizing::new(modulus.wrapping_sub(small(3)));
    let range = range
        .as_nz_vartime()
        .ok_or_else(|| CryptoError::Internal("no base below so small a modulus".to_owned()))?;
    let mut bytes = Zeroizing::new(vec![0; (precision / 8 + EXTRA_BYTES) as usize]);
    entropy.fill(&mut bytes).map_err(CryptoError::Random)?;
    let random = Zeroizing::new(BoxedUint::from_be_slice_truncated(
        &bytes,
        precision + 8 * EXTRA_BYTES,
    ));
    let below = Zeroizing::new(random.rem(range));
    Ok(Zeroizing::new(below.wrapping_add(small(2))))
}
