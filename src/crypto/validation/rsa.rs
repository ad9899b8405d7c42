use std::cmp::Ordering;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul, Gcd, Odd};
use zeroize::Zeroizing;

use super::primality::{is_prime, random_base};
use super::{CryptoResult, invalid, weak_modulus, without_leading_zeros};
use crate::crypto::CryptoError;
use crate::env::Entropy;
use crate::model::material::RsaMaterial;
use crate::model::spec::RsaKeySize;
use crate::secret::SecretBytes;

/// 65537 <= e < 2^33: small exponents make mistakes elsewhere fatal, large ones only cost time.
const MIN_EXPONENT: u64 = 65537;
const EXPONENT_LIMIT: u64 = 1 << 33;
/// FIPS 186-5 A.1.1: the primes differ within their first 100 bits.
const DISTINCT_BITS: u32 = 100;
/// Attempts to factor `n` with `d`; for an honest key each succeeds with probability 1/2 at least.
const RECOVERY_ATTEMPTS: u32 = 32;

type Secret = Zeroizing<BoxedUint>;
type Primes = (SecretBytes, SecretBytes);
type Crt = (SecretBytes, SecretBytes, SecretBytes);

pub(super) fn validate(
    n: &[u8],
    e: &[u8],
    d: &SecretBytes,
    primes: Option<Primes>,
    crt: Option<Crt>,
    entropy: &dyn Entropy,
) -> CryptoResult<RsaMaterial> {
    let (n_bytes, e_bytes) = (without_leading_zeros(n), without_leading_zeros(e));
    let size = public_size(n_bytes, e_bytes)?;
    let bits = size.bits();
    let n = number(n_bytes, bits).ok_or_else(|| internal("n fits its size"))?;
    let e = number(e_bytes, u64::BITS).ok_or_else(|| internal("e fits 64 bits"))?;
    let d = number(d.expose(), bits)
        .filter(|d| d.cmp_vartime(&*n) == Ordering::Less)
        .ok_or_else(|| invalid("the RSA private exponent d is not below the modulus"))?;
    if d.bits() <= bits / 2 {
        return Err(small_exponent());
    }
    weak_modulus::check(&n)?;

    let supplied = primes.is_some();
    let (p, q) = match primes {
        Some((p, q)) => (prime_number(&p, size)?, prime_number(&q, size)?),
        None => recover_primes(&n, &e, &d, size, entropy)?,
    };
    check_pair(&n, &p, &q, size)?;
    let p_minus_1 = minus_one(&p);
    let q_minus_1 = minus_one(&q);
    check_exponents(&e, &d, &p_minus_1, &q_minus_1, size)?;
    if !is_prime(&p, entropy)? || !is_prime(&q, entropy)? {
        return Err(invalid(if supplied {
            "p or q is not prime"
        } else {
            "the RSA modulus is not a product of two primes"
        }));
    }
    let dp = reduced(&d, &p_minus_1)?;
    let dq = reduced(&d, &q_minus_1)?;
    let inverse_of_q = inverse(&q, &p)?;
    if let Some((given_dp, given_dq, given_qi)) = crt {
        let matches = |given: &SecretBytes, computed: &Secret| {
            number(given.expose(), bits / 2).is_some_and(|given| *given == **computed)
        };
        if !matches(&given_dp, &dp)
            || !matches(&given_dq, &dq)
            || !matches(&given_qi, &inverse_of_q)
        {
            return Err(invalid("dp, dq or qi does not fit d, p and q"));
        }
    }
    let (p, q, dp, dq, qi) = if p.cmp_vartime(&*q) == Ordering::Less {
        let qi = inverse(&p, &q)?;
        (q, p, dq, dp, qi)
    } else {
        (p, q, dp, dq, inverse_of_q)
    };
    Ok(RsaMaterial {
        size,
        n: n_bytes.to_vec(),
        e: e_bytes.to_vec(),
        d: bytes(&d),
        p: bytes(&p),
        q: bytes(&q),
        dp: bytes(&dp),
        dq: bytes(&dq),
        qi: bytes(&qi),
    })
}

/// Checks the public numbers, given without leading zeros.
pub(super) fn public_size(n: &[u8], e: &[u8]) -> CryptoResult<RsaKeySize> {
    let size = RsaKeySize::ALL
        .into_iter()
        .find(|size| size.modulus_length() == n.len() && n[0] & 0x80 != 0)
        .ok_or_else(|| invalid("the RSA modulus has not 2048, 3072 or 4096 bits"))?;
    if n.last().is_none_or(|byte| byte & 1 == 0) {
        return Err(invalid("the RSA modulus is even"));
    }
    let exponent = (e.len() <= 8).then(|| {
        e.iter()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    });
    match exponent {
        Some(exponent) if exponent & 1 == 0 => Err(invalid("the RSA public exponent is even")),
        Some(exponent) if (MIN_EXPONENT..EXPONENT_LIMIT).contains(&exponent) => Ok(size),
        _ => Err(invalid(
            "the RSA public exponent is outside 65537 <= e < 2^33",
        )),
    }
}

fn prime_number(bytes: &SecretBytes, size: RsaKeySize) -> CryptoResult<Secret> {
    let half = size.bits() / 2;
    number(bytes.expose(), half)
        .filter(|prime| prime.bits() == half && prime.as_odd_vartime().is_some())
        .ok_or_else(|| {
            invalid("p and q are not odd numbers of half the bits of the RSA modulus each")
        })
}

fn check_pair(n: &BoxedUint, p: &Secret, q: &Secret, size: RsaKeySize) -> CryptoResult<()> {
    if **p == **q {
        return Err(invalid("p and q are equal"));
    }
    let product = Zeroizing::new(p.concatenating_mul(&**q));
    if *product != *n {
        return Err(invalid("the RSA modulus is not the product of p and q"));
    }
    let difference = Zeroizing::new(if p.cmp_vartime(&**q) == Ordering::Less {
        q.wrapping_sub(&**p)
    } else {
        p.wrapping_sub(&**q)
    });
    let least = BoxedUint::one_with_precision(size.bits() / 2)
        .shl_vartime(size.bits() / 2 - DISTINCT_BITS)
        .ok_or_else(|| internal("the bound fits a prime"))?;
    if difference.cmp_vartime(&least) != Ordering::Greater {
        return Err(invalid(
            "p and q are too close to each other: their first 100 bits are equal",
        ));
    }
    Ok(())
}

/// e * d = 1 modulo p - 1 and q - 1, which holds for `d` made with the least common multiple as well as
/// with the product; and `d` is not small, nor small in disguise.
fn check_exponents(
    e: &BoxedUint,
    d: &Secret,
    p_minus_1: &Secret,
    q_minus_1: &Secret,
    size: RsaKeySize,
) -> CryptoResult<()> {
    let product = Zeroizing::new(d.concatenating_mul(e));
    for modulus in [p_minus_1, q_minus_1] {
        let remainder = reduced(&product, modulus)?;
        if !remainder.is_one().to_bool() {
            return Err(invalid(
                "the RSA private exponent d does not belong to e, p and q",
            ));
        }
    }
    let common = Zeroizing::new(p_minus_1.gcd(&**q_minus_1));
    let common = common
        .as_nz_vartime()
        .ok_or_else(|| internal("a common divisor is not zero"))?;
    let totient = Zeroizing::new(p_minus_1.concatenating_mul(&**q_minus_1));
    let least_common_multiple = Zeroizing::new(totient.div_rem(common).0);
    if reduced(d, &least_common_multiple)?.bits() <= size.bits() / 2 {
        return Err(small_exponent());
    }
    Ok(())
}

/// Factors `n`: e * d - 1 is a multiple of the group's exponent, so a random power to its odd part ends,
/// squared often enough, in 1; the number before that 1 is a square root of it and shares a factor with
/// `n` when it is not -1.
fn recover_primes(
    n: &Secret,
    e: &BoxedUint,
    d: &Secret,
    size: RsaKeySize,
    entropy: &dyn Entropy,
) -> CryptoResult<(Secret, Secret)> {
    let foreign = || invalid("the RSA private exponent d does not belong to e and the modulus");
    let product = Zeroizing::new(d.concatenating_mul(e));
    let multiple = minus_one(&product);
    if product.as_odd_vartime().is_none() || multiple.is_zero().to_bool() {
        return Err(foreign());
    }
    let twos = multiple.trailing_zeros();
    let odd_part = Zeroizing::new(multiple.shr(twos));
    let modulus: &Odd<BoxedUint> = n.as_odd_vartime().ok_or_else(foreign)?;
    let params = BoxedMontyParams::new_vartime(modulus.clone());
    let one = BoxedMontyForm::one(&params);
    for _ in 0..RECOVERY_ATTEMPTS {
        let base = random_base(n, entropy)?;
        let mut root = Zeroizing::new(BoxedMontyForm::new((*base).clone(), &params).pow(&odd_part));
        let mut before = Zeroizing::new(one.clone());
        for _ in 0..twos {
            if *root == one {
                break;
            }
            let square = Zeroizing::new(root.square());
            before = root;
            root = square;
        }
        if *root != one {
            return Err(foreign());
        }
        let before = Zeroizing::new(before.retrieve());
        let candidate = minus_one(&before);
        let factor = Zeroizing::new(modulus.gcd(&candidate).get());
        if factor.is_one().to_bool() || *factor == **n {
            continue;
        }
        let divisor = factor.as_nz_vartime().ok_or_else(foreign)?;
        let cofactor = Zeroizing::new(n.div_rem(divisor).0);
        return Ok((
            prime_number(&bytes(&factor), size)?,
            prime_number(&bytes(&cofactor), size)?,
        ));
    }
    Err(invalid(
        "the RSA modulus is not a product of two primes, or d does not belong to it",
    ))
}

/// Big-endian bytes as a number of this precision; `None` when it has more bits.
fn number(bytes: &[u8], precision: u32) -> Option<Secret> {
    BoxedUint::from_be_slice(without_leading_zeros(bytes), precision)
        .ok()
        .map(Zeroizing::new)
}

/// Big-endian in the full length of the number's precision.
fn bytes(number: &BoxedUint) -> SecretBytes {
    SecretBytes::copied_from(&Zeroizing::new(number.to_be_bytes()))
}

fn minus_one(number: &BoxedUint) -> Secret {
    Zeroizing::new(number.wrapping_sub(BoxedUint::one_with_precision(number.bits_precision())))
}

fn reduced(number: &BoxedUint, modulus: &BoxedUint) -> CryptoResult<Secret> {
    let modulus = modulus
        .as_nz_vartime()
        .ok_or_else(|| internal("a modulus is not zero"))?;
    Ok(Zeroizing::new(number.rem(modulus)))
}

/// The inverse of one prime modulo another.
fn inverse(number: &BoxedUint, modulus: &BoxedUint) -> CryptoResult<Secret> {
    let odd = modulus
        .as_odd_vartime()
        .ok_or_else(|| internal("a prime is odd"))?;
    reduced(number, modulus)?
        .invert_odd_mod(odd)
        .into_option()
        .map(Zeroizing::new)
        .ok_or_else(|| internal("two primes have inverses"))
}

fn small_exponent() -> CryptoError {
    invalid("the RSA private exponent d is too small: d <= 2^(k/2) for a modulus of k bits")
}

fn internal(invariant: &str) -> CryptoError {
    CryptoError::Internal(format!("RSA validation: {invariant}"))
}
