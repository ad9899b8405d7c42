//! Argon2id: slot secrets from passphrases, with the cost bounded before any work is done.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::{Key32, Passphrase};

/// KiB x passes that an open spends on one passphrase unless the caller allows more: 1 GiB.
pub(crate) const DEFAULT_MAX_KDF_WORK_KIB: u64 = 1_048_576;

const MIN_MEMORY_KIB: u32 = 19 * 1_024;
const MAX_MEMORY_KIB: u32 = 1_024 * 1_024;
const MAX_ITERATIONS: u32 = 16;
const MAX_LANES: u32 = 8;
const MAX_WORK_KIB: u64 = 4 * 1_024 * 1_024;

/// The cost of guessing a passphrase: the parameters of Argon2id (RFC 9106).
///
/// The default, 64 MiB, 3 passes and 4 lanes, takes a fifth of a second on an ordinary server.
///
/// # Examples
///
/// ```
/// use strongroom::PassphraseParameters;
///
/// let slower = PassphraseParameters::new(256 * 1024, 3, 4)?;
/// assert_eq!(slower.memory_kib(), 262_144);
/// assert!(PassphraseParameters::new(8, 1, 1).is_err());
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PassphraseParameters {
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
}

impl PassphraseParameters {
    /// Memory in KiB (19,456 to 1,048,576), passes over it (1 to 16) and lanes (1 to 8); memory times passes
    /// at most 4 GiB.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) outside these bounds.
    pub fn new(memory_kib: u32, iterations: u32, lanes: u32) -> Result<Self> {
        Self::within_bounds(memory_kib, iterations, lanes).ok_or_else(|| {
            Error::bad_parameter(
                "Argon2id takes 19,456 to 1,048,576 KiB of memory, 1 to 16 passes and 1 to 8 lanes here, \
                 and at most 4 GiB of memory times passes",
            )
        })
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn iterations(self) -> u32 {
        self.iterations
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(self) -> u32 {
        self.lanes
    }

    /// Parameters that a file asks for.
    ///
    /// Errors: `KdfCostRefused` outside the bounds of [`PassphraseParameters::new`] or above the caller's
    /// limit in KiB times passes.
    pub(crate) fn from_untrusted(
        memory_kib: u32,
        iterations: u32,
        lanes: u32,
        max_work_kib: u64,
    ) -> Result<Self> {
        Self::within_bounds(memory_kib, iterations, lanes)
            .filter(|parameters| parameters.work_kib() <= max_work_kib)
            .ok_or_else(|| {
                cost_refused(
                    "the passphrase slot asks for more memory or passes than is allowed; \
                     raise the limit on the work of unlocking if this is expected",
                )
            })
    }

    fn within_bounds(memory_kib: u32, iterations: u32, lanes: u32) -> Option<Self> {
        let parameters = Self {
            memory_kib,
            iterations,
            lanes,
        };
        ((MIN_MEMORY_KIB..=MAX_MEMORY_KIB).contains(&memory_kib)
            && (1..=MAX_ITERATIONS).contains(&iterations)
            && (1..=MAX_LANES).contains(&lanes)
            && parameters.work_kib() <= MAX_WORK_KIB)
            .then_some(parameters)
    }

    pub(super) fn work_kib(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.iterations)
    }

    /// Argon2id of the passphrase. Takes the time and memory that the parameters say.
    ///
    /// Errors: `KdfCostRefused` when the memory is not to be had.
    pub(crate) fn derive(self, passphrase: &Passphrase, salt: &[u8; 32]) -> Result<Key32> {
        let parameters = Params::new(self.memory_kib, self.iterations, self.lanes, Some(32))
            .map_err(|_| Error::internal("Argon2id refuses parameters that were checked"))?;
        // Our own blocks, because the crate's are not wiped and the last of them give the key.
        let mut blocks = Zeroizing::new(Vec::new());
        blocks
            .try_reserve_exact(parameters.block_count())
            .map_err(|_| cost_refused("there is not enough memory to hash the passphrase"))?;
        blocks.resize(parameters.block_count(), Block::new());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        Key32::filled_with(|key| {
            argon2
                .hash_password_into_with_memory(passphrase.expose(), salt, key, &mut blocks[..])
                .map_err(|_| Error::internal("Argon2id failed"))
        })
    }
}

impl Default for PassphraseParameters {
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1_024,
            iterations: 3,
            lanes: 4,
        }
    }
}

pub(super) fn cost_refused(message: &'static str) -> Error {
    Error::new(ErrorKind::KdfCostRefused, message)
}
