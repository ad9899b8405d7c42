//! The checks that every imported key passes before a backend sees it, and those of public numbers.
//!
//! Sizes come before anything expensive. Messages name the rule, never a value.

mod ec;
mod oct;
mod primality;
mod rsa;
mod weak_modulus;

#[cfg(test)]
mod tests;

pub(super) use ec::point_from_sec1;

use super::{CryptoError, CryptoResult};
use crate::env::Entropy;
use crate::model::material::{ImportedKey, ImportedParts, KeyMaterial, MaterialParts, PublicParts};

/// Validates a decoded key and completes it: canonical lengths, all CRT values, the public point.
///
/// The cost is bounded by that of an RSA 4096 key: well under two seconds on one core.
pub(crate) fn validate(key: ImportedKey, entropy: &dyn Entropy) -> CryptoResult<KeyMaterial> {
    let parts = match key.parts {
        ImportedParts::Rsa {
            n,
            e,
            d,
            primes,
            crt,
        } => MaterialParts::Rsa(rsa::validate(&n, &e, &d, primes, crt, entropy)?),
        ImportedParts::Ec { curve, d, point } => {
            MaterialParts::Ec(ec::validate(curve, &d, point.as_ref())?)
        }
        ImportedParts::Oct(key) => {
            let length = oct::validate(&key)?;
            MaterialParts::Oct { length, key }
        }
    };
    Ok(KeyMaterial::new(parts))
}

/// Validates public numbers, which may carry leading zeros, and gives them in canonical lengths: RSA of
/// a supported size with an odd exponent 65537 <= e < 2^33, or a point on the curve.
pub(crate) fn validate_public(parts: &PublicParts) -> CryptoResult<PublicParts> {
    match parts {
        PublicParts::Rsa { n, e } => {
            let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
            rsa::public_size(n, e)?;
            Ok(PublicParts::Rsa {
                n: n.to_vec(),
                e: e.to_vec(),
            })
        }
        PublicParts::Ec { curve, x, y } => {
            let (x, y) = ec::validate_point(*curve, x, y)?;
            Ok(PublicParts::Ec {
                curve: *curve,
                x,
                y,
            })
        }
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn invalid(rule: &str) -> CryptoError {
    CryptoError::InvalidKey(rule.to_owned())
}
