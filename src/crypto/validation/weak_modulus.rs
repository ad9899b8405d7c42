//! Marks of a weak modulus that show without its factors.

use crypto_bigint::{BoxedUint, Limb, NonZero};

use super::{CryptoResult, invalid};

/// No prime below this may divide a modulus.
const SMALL_FACTOR_LIMIT: u32 = 1 << 16;
/// The largest prime of the ROCA test. CVE-2017-15361: the flawed generator made primes
/// `k * M + (65537^a mod M)`, where M is the product of the first primes, at least up to this one.
const LAST_ROCA_PRIME: u32 = 167;
const ROCA_GENERATOR: u64 = 65537;

/// Refuses a modulus with a small factor or of the ROCA form. The modulus is public: time may depend on
/// it.
pub(super) fn check(n: &BoxedUint) -> CryptoResult<()> {
    let primes = primes_below(SMALL_FACTOR_LIMIT);
    if has_factor(n, &primes) {
        return Err(invalid("the RSA modulus has a factor below 2^16"));
    }
    if has_roca_form(n, &primes) {
        return Err(invalid(
            "the RSA modulus has the form that the flawed generator of CVE-2017-15361 (ROCA) makes; make another key elsewhere",
        ));
    }
    Ok(())
}

fn has_factor(n: &BoxedUint, primes: &[u32]) -> bool {
    // One long division by as many primes as fit into a limb.
    let mut rest = primes;
    while !rest.is_empty() {
        let mut product = 1u64;
        let mut count = 0;
        while let Some(next) = rest
            .get(count)
            .and_then(|prime| product.checked_mul(u64::from(*prime)))
        {
            product = next;
            count += 1;
        }
        let (batch, later) = rest.split_at(count);
        let remainder = remainder(n, product);
        if batch
            .iter()
            .any(|prime| remainder.is_multiple_of(u64::from(*prime)))
        {
            return true;
        }
        rest = later;
    }
    false
}

/// Whether the modulus lies, modulo every small odd prime, in the subgroup that 65537 generates. One
/// random modulus in 2^27 does by chance.
fn has_roca_form(n: &BoxedUint, primes: &[u32]) -> bool {
    primes
        .iter()
        .skip(1)
        .take_while(|prime| **prime <= LAST_ROCA_PRIME)
        .map(|prime| u64::from(*prime))
        .all(|prime| {
            let wanted = remainder(n, prime);
            let mut power = 1;
            loop {
                if power == wanted {
                    return true;
                }
                power = power * ROCA_GENERATOR % prime;
                if power == 1 {
                    return false;
                }
            }
        })
}

fn remainder(n: &BoxedUint, divisor: u64) -> u64 {
    NonZero::new(Limb::from_u64(divisor))
        .into_option()
        .map_or(0, |divisor| n.rem_limb(divisor).0)
}

fn primes_below(limit: u32) -> Vec<u32> {
    let mut composite = vec![false; limit as usize];
    let mut primes = Vec::new();
    for candidate in 2..limit {
        if composite[candidate as usize] {
            continue;
        }
        primes.push(candidate);
        let mut multiple = u64::from(candidate) * u64::from(candidate);
        while let Some(mark) = usize::try_from(multiple)
            .ok()
            .and_then(|index| composite.get_mut(index))
        {
            *mark = true;
            multiple += u64::from(candidate);
        }
    }
    primes
}
