//! The operations that a key permits: the JWK member `key_ops`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// One value of `key_ops`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum KeyOperation {
    /// Encrypt a block of data.
    Encrypt,
    /// Decrypt a block of data.
    Decrypt,
    /// Sign a digest.
    Sign,
    /// Verify a signature.
    Verify,
    /// Wrap another key.
    WrapKey,
    /// Unwrap another key.
    UnwrapKey,
    /// The key protects keys that are being imported.
    Import,
    /// The key may be released.
    Export,
}

impl KeyOperation {
    /// All operations.
    pub const ALL: [Self; 8] = [
        Self::Encrypt,
        Self::Decrypt,
        Self::Sign,
        Self::Verify,
        Self::WrapKey,
        Self::UnwrapKey,
        Self::Import,
        Self::Export,
    ];

    /// The name in a JWK.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
            Self::Import => "import",
            Self::Export => "export",
        }
    }

    /// Whether the operation needs a version inside its validity window. Decrypting, unwrapping and
    /// verifying do not: old data must stay readable.
    #[must_use]
    pub const fn needs_current_key(self) -> bool {
        matches!(self, Self::Encrypt | Self::Sign | Self::WrapKey)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Encrypt => 1,
            Self::Decrypt => 1 << 1,
            Self::Sign => 1 << 2,
            Self::Verify => 1 << 3,
            Self::WrapKey => 1 << 4,
            Self::UnwrapKey => 1 << 5,
            Self::Import => 1 << 6,
            Self::Export => 1 << 7,
        }
    }
}

impl fmt::Display for KeyOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyOperation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == text)
            .ok_or_else(|| {
                Error::bad_parameter(
                    "a key operation is encrypt, decrypt, sign, verify, wrapKey, unwrapKey, import or export",
                )
            })
    }
}

/// A set of [`KeyOperation`]s; serialised as a list of their names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeyOperations {
    bits: u8,
}

impl KeyOperations {
    /// No operation.
    pub const NONE: Self = Self { bits: 0 };

    /// Whether `operation` is in the set.
    #[must_use]
    pub const fn contains(self, operation: KeyOperation) -> bool {
        self.bits & operation.bit() != 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// This set and `operation`.
    #[must_use]
    pub const fn with(self, operation: KeyOperation) -> Self {
        Self {
            bits: self.bits | operation.bit(),
        }
    }

    /// The members, in the order of [`KeyOperation::ALL`].
    pub fn iter(self) -> impl Iterator<Item = KeyOperation> {
        KeyOperation::ALL
            .into_iter()
            .filter(move |operation| self.contains(*operation))
    }

    pub(crate) const fn to_bits(self) -> u8 {
        self.bits
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self { bits }
    }
}

impl FromIterator<KeyOperation> for KeyOperations {
    fn from_iter<I: IntoIterator<Item = KeyOperation>>(operations: I) -> Self {
        operations
            .into_iter()
            .fold(Self::NONE, |set, operation| set.with(operation))
    }
}

impl<const N: usize> From<[KeyOperation; N]> for KeyOperations {
    fn from(operations: [KeyOperation; N]) -> Self {
        operations.into_iter().collect()
    }
}

impl fmt::Debug for KeyOperations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for KeyOperations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for KeyOperations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let operations = Vec::<KeyOperation>::deserialize(deserializer)?;
        Ok(operations.into_iter().collect())
    }
}
