use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Decode;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::pkcs5::{EncryptionScheme, Error as Pkcs5Error};
use zeroize::Zeroizing;

use super::{malformed, private};
use crate::error::{Error, ErrorKind, Result};
use crate::model::material::ImportedKey;

/// The most PBKDF2 iterations that are run for a container.
pub(crate) const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
/// The most memory that scrypt may work through for a container, in bytes: 128 * N * r * p.
pub(crate) const MAX_SCRYPT_MEMORY: u64 = 256 * 1024 * 1024;

/// What deriving the key of one container may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CostLimits {
    pub(crate) pbkdf2_iterations: u32,
    /// In bytes.
    pub(crate) scrypt_memory: u64,
}

impl CostLimits {
    pub(crate) const PUBLISHED: Self = Self {
        pbkdf2_iterations: MAX_PBKDF2_ITERATIONS,
        scrypt_memory: MAX_SCRYPT_MEMORY,
    };
}

pub(crate) fn from_pkcs8(der: &[u8], password: &[u8], limits: CostLimits) -> Result<ImportedKey> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| {
        malformed(
            "this is not an encrypted PKCS#8 private key in DER, exactly one, under PBES2 with AES and a salt of at most 32 bytes",
        )
    })?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(outdated());
    };
    check_cost(parameters, limits)?;
    let mut buffer = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let plaintext =
        parameters
            .decrypt_in_place(password, &mut buffer)
            .map_err(|error| match error {
                Pkcs5Error::UnsupportedAlgorithm { .. } => outdated(),
                _ => undecryptable(),
            })?;
    // A wrong password passes the padding of CBC once in 256 times: what comes out then is one and the
    // same failure.
    let inner = private::parse_pkcs8(plaintext).ok_or_else(undecryptable)?;
    private::from_info(&inner)
}

fn check_cost(parameters: &Parameters, limits: CostLimits) -> Result<()> {
    let bearable = match &parameters.kdf {
        Kdf::Pbkdf2(pbkdf2) => (1..=limits.pbkdf2_iterations).contains(&pbkdf2.iteration_count),
        Kdf::Scrypt(scrypt) => {
            let memory = [
                scrypt.cost_parameter,
                u64::from(scrypt.block_size),
                u64::from(scrypt.parallelization),
            ]
            .into_iter()
            .try_fold(128, u64::checked_mul);
            let legal = scrypt.cost_parameter > 1 && scrypt.cost_parameter.is_power_of_two();
            legal && memory.is_some_and(|memory| (1..=limits.scrypt_memory).contains(&memory))
        }
        _ => return Err(outdated()),
    };
    if bearable {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::KdfCostRefused,
            "the encrypted private key asks for an impossible or excessive key derivation: at most 10,000,000 iterations of PBKDF2 or 256 MiB of scrypt are accepted",
        ))
    }
}

fn outdated() -> Error {
    malformed(
        "the private key is encrypted with an algorithm that is not supported: convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc`",
    )
}

fn undecryptable() -> Error {
    Error::new(
        ErrorKind::DecryptFailed,
        "the encrypted private key does not open: the password is wrong or the data is damaged",
    )
}
