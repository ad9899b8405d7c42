//! `Entropy` in the shape in which the curve and RSA crates take randomness.

use std::convert::Infallible;
use std::fmt;

use rand_core::{TryCryptoRng, TryRng};

use crate::crypto::{CryptoError, CryptoResult};
use crate::env::Entropy;
use crate::error::Error;

/// Runs `work` with a generator on `entropy`. A failure of the generator wins over whatever `work`
/// answers: nothing made after it may be used.
pub(super) fn with_random<T, E>(
    entropy: &dyn Entropy,
    work: impl FnOnce(&mut Random<'_>) -> Result<T, E>,
    otherwise: impl FnOnce(E) -> CryptoError,
) -> CryptoResult<T> {
    let mut random = Random {
        entropy,
        failure: None,
    };
    let result = work(&mut random);
    match random.failure {
        Some(error) => Err(CryptoError::Random(error)),
        None => result.map_err(otherwise),
    }
}

/// Like [`with_random`], for work that cannot be told of a failure and so runs to its end, to be
/// thrown away.
pub(super) fn with_infallible_random<T, E>(
    entropy: &dyn Entropy,
    work: impl FnOnce(&mut InfallibleRandom<'_, '_>) -> Result<T, E>,
    otherwise: impl FnOnce(E) -> CryptoError,
) -> CryptoResult<T> {
    with_random(
        entropy,
        |random| {
            work(&mut InfallibleRandom {
                random,
                substitute: 0,
            })
        },
        otherwise,
    )
}

/// The crates drop the cause of a failure, so it is kept here.
pub(super) struct Random<'a> {
    entropy: &'a dyn Entropy,
    failure: Option<Error>,
}

/// Stands for the error that [`Random`] keeps.
#[derive(Debug)]
pub(super) struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no random bytes")
    }
}

impl std::error::Error for Unavailable {}

impl TryRng for Random<'_> {
    type Error = Unavailable;

    fn try_next_u32(&mut self) -> Result<u32, Unavailable> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Unavailable> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Unavailable> {
        if self.failure.is_some() {
            return Err(Unavailable);
        }
        self.entropy.fill(bytes).map_err(|error| {
            self.failure = Some(error);
            Unavailable
        })
    }
}

impl TryCryptoRng for Random<'_> {}

/// After a failure it gives a fixed sequence, so that a search for primes still ends; a constant would
/// let it find the same prime for ever.
pub(super) struct InfallibleRandom<'r, 'e> {
    random: &'r mut Random<'e>,
    substitute: u64,
}

impl TryRng for InfallibleRandom<'_, '_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        if self.random.try_fill_bytes(bytes).is_err() {
            for byte in bytes {
                // The multiplier of a common linear congruential generator; its high byte varies well.
                self.substitute = self
                    .substitute
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = self.substitute.to_be_bytes()[0];
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for InfallibleRandom<'_, '_> {}
