#![doc = include_str!("../README.md")]
#![allow(dead_code, reason = "floors are built before their users")]

mod crypto;
mod env;
mod error;
mod format;
mod model;
mod seal;
mod secret;
mod store;

pub use env::{Clock, Entropy, OsEntropy, SystemClock};
pub use error::{AzureError, Error, ErrorKind, Result};
pub use model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, HashAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
pub use model::identifier::{KeyIdentifier, KeySelector, VaultUrl};
pub use model::material::{ImportedKey, KeyMaterial, PublicParts};
pub use model::name::KeyName;
pub use model::operation::{KeyOperation, KeyOperations};
pub use model::spec::{Curve, KeyFamily, KeySpec, KeyType, OctKeyLength, OctKeySize, RsaKeySize};
pub use model::tags::Tags;
pub use model::time::Timestamp;
pub use model::version::KeyVersion;
pub use seal::passphrase::PassphraseParameters;
pub use seal::slot::Unlock;
pub use secret::{MasterKey, Passphrase, SecretBytes};
