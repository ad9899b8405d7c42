//! Which implementation of the primitives a program wants.

use std::sync::Arc;

use super::Engine;
#[cfg(feature = "aws-lc")]
use super::aws_lc::AwsLcEngine;
use super::rustcrypto::RustCryptoEngine;
use crate::env::Entropy;

/// What computes with keys in software.
///
/// Keys are the same bytes on every engine: a vault opens with whichever, and each opens and verifies what the
/// others made. What an engine cannot do, or does less safely, RustCrypto does in its place.
///
/// # Examples
///
/// ```
/// use strongroom::{CryptoEngine, VaultOptions};
///
/// let vault = VaultOptions::new()
///     .crypto_engine(CryptoEngine::default())
///     .create_in_memory()?;
/// assert_eq!(CryptoEngine::default(), CryptoEngine::RustCrypto);
/// # drop(vault);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CryptoEngine {
    /// The RustCrypto crates, for everything: nothing but Rust.
    #[default]
    RustCrypto,
    /// aws-lc for RSA keys with the exponent 65537 and for P-256, P-384 and P-521; RustCrypto for all other keys, and
    /// for what aws-lc does less safely or not at all: decryption with RSA1_5, signatures with RSNULL, and
    /// deterministic ECDSA.
    ///
    /// aws-lc has a random generator of its own, seeded by the operating system and safe across forks; without
    /// random bytes from there it ends the process. It makes RSA keys from it, nonces, salts and blinding, whatever
    /// [`VaultOptions::entropy`](crate::VaultOptions::entropy) says; elliptic-curve and symmetric keys come from
    /// that option's source. Parsed keys are in memory of its own, which it wipes when it frees it, and which
    /// [`MemoryProtection`](crate::MemoryProtection) does not reach.
    #[cfg(feature = "aws-lc")]
    AwsLc,
}

impl CryptoEngine {
    /// `entropy` is for what the engine lets others draw.
    pub(crate) fn start(self, entropy: Arc<dyn Entropy>) -> Arc<dyn Engine> {
        let rustcrypto = RustCryptoEngine::new(entropy);
        match self {
            Self::RustCrypto => Arc::new(rustcrypto),
            #[cfg(feature = "aws-lc")]
            Self::AwsLc => Arc::new(AwsLcEngine::new(rustcrypto)),
        }
    }
}
