//! Operations with keys that everyone has parsed before.
//!
//! Every peer has the same keys and gets the same digests, and gives its result as bytes: `r` and `s` of a signature at
//! their full width; IV, ciphertext and tag. Who needs random bytes takes them from where that peer does: strongroom and
//! RustCrypto from the kernel, the others from their own generator.

mod ecdsa;
mod rsa;
mod symmetric;

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256, Sha384};
use strongroom::{
    CryptoEngine, Entropy, ImportKeyOptions, ImportedKey, KeyName, OsEntropy, Vault, VaultOptions,
};

use crate::contest::Operation;

/// What is signed. Tink takes no digest and hashes this itself.
const MESSAGE: [u8; 32] = [0x5a; 32];
const TEXT: [u8; 1_024] = [0x33; 1_024];
/// The key that is wrapped, or encrypted with RSA.
const KEY: [u8; 32] = [0x44; 32];

/// A vault on each engine.
#[derive(Debug)]
pub(crate) struct Vaults {
    rust_crypto: Vault,
    aws_lc: Vault,
}

impl Vaults {
    pub(crate) fn new() -> Self {
        let on = |engine| {
            VaultOptions::new()
                .crypto_engine(engine)
                .create_in_memory()
                .expect("a vault")
        };
        Self {
            rust_crypto: on(CryptoEngine::RustCrypto),
            aws_lc: on(CryptoEngine::AwsLc),
        }
    }

    fn import(&self, text: &str, key: impl Fn() -> ImportKeyOptions) -> KeyName {
        let name: KeyName = text.parse().expect("a legal name");
        for vault in [&self.rust_crypto, &self.aws_lc] {
            vault.import_key(&name, key()).expect("the key is imported");
        }
        name
    }

    fn import_pkcs8(&self, text: &str, der: &[u8]) -> KeyName {
        self.import(text, || {
            ImportKeyOptions::new(ImportedKey::from_pkcs8_der(der).expect("a key"))
        })
    }
}

pub(crate) fn all(vaults: &Vaults) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    operations.extend(ecdsa::p256(vaults));
    operations.extend(rsa::all(vaults));
    operations.extend(ecdsa::p384(vaults));
    operations.extend(ecdsa::k256(vaults));
    operations.extend(symmetric::all(vaults));
    operations
}

fn sha256() -> Vec<u8> {
    Sha256::digest(MESSAGE).to_vec()
}

fn sha384() -> Vec<u8> {
    Sha384::digest(MESSAGE).to_vec()
}

/// The kernel's generator, which the vault asks too, in the shape that the crates take.
struct Random;

impl TryRng for Random {
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
        fill_randomly(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

fn fill_randomly(bytes: &mut [u8]) {
    OsEntropy::default().fill(bytes).expect("random bytes");
}
