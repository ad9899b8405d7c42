//! Kinds of keys and what they can do, written down by hand.

use strongroom::{KeyOperation, KeyOperations, KeyType};

use crate::make;

/// The kinds of keys in the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    P256,
    P256K,
    Oct128,
    Oct256,
    /// An HMAC key of 64 bytes, which can only be imported.
    Mac64,
    /// One fixed RSA key of 2048 bits, which is only imported.
    Rsa2048,
}

pub(super) const SIGN: &[&str] = &["ES256", "ES256K", "HS256", "RS256"];
pub(super) const ENCRYPT: &[&str] = &["A128GCM", "A256GCM", "RSA-OAEP-256"];
pub(super) const WRAP: &[&str] = &["A128KW", "A256KW", "CKM_AES_KEY_WRAP", "RSA-OAEP-256"];

impl Kind {
    pub(super) fn family(self) -> KeyType {
        make::kty(match self {
            Self::P256 | Self::P256K => KeyType::Ec,
            Self::Oct128 | Self::Oct256 | Self::Mac64 => KeyType::Oct,
            Self::Rsa2048 => KeyType::Rsa,
        })
    }

    /// The algorithms of these runs that fit, by operation.
    pub(super) fn fitting(self, operation: KeyOperation) -> &'static [&'static str] {
        use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
        match (self, operation) {
            (Self::P256, Sign | Verify) => &["ES256"],
            (Self::P256K, Sign | Verify) => &["ES256K"],
            (Self::Oct128 | Self::Oct256 | Self::Mac64, Sign | Verify) => &["HS256"],
            (Self::Rsa2048, Sign | Verify) => &["RS256"],
            (Self::Oct128, Encrypt | Decrypt) => &["A128GCM"],
            (Self::Oct256, Encrypt | Decrypt) => &["A256GCM"],
            (Self::Oct128, WrapKey | UnwrapKey) => &["A128KW", "CKM_AES_KEY_WRAP"],
            (Self::Oct256, WrapKey | UnwrapKey) => &["A256KW", "CKM_AES_KEY_WRAP"],
            (Self::Rsa2048, Encrypt | Decrypt | WrapKey | UnwrapKey) => &["RSA-OAEP-256"],
            _ => &[],
        }
    }

    /// What `key_ops` may list.
    pub(super) fn possible(self, operation: KeyOperation) -> bool {
        match operation {
            KeyOperation::Export => true,
            KeyOperation::Import => self == Self::Rsa2048,
            _ => !self.fitting(operation).is_empty(),
        }
    }

    /// What `key_ops` lists when nothing is asked for.
    pub(super) fn defaults(self) -> KeyOperations {
        use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
        match self {
            Self::P256 | Self::P256K | Self::Mac64 => [Sign, Verify].into(),
            Self::Oct128 | Self::Oct256 => [Encrypt, Decrypt, WrapKey, UnwrapKey].into(),
            Self::Rsa2048 => [Encrypt, Decrypt, Sign, Verify, WrapKey, UnwrapKey].into(),
        }
    }
}
