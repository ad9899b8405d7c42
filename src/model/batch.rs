//! The items of batches.

use std::fmt;

use super::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use super::identifier::KeySelector;
use super::options::EncryptOptions;

/// One signature of [`Vault::sign_many`](crate::Vault::sign_many).
#[derive(Clone, Copy)]
pub struct SignItem<'a> {
    pub(crate) key: KeySelector<'a>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) digest: &'a [u8],
}

impl<'a> SignItem<'a> {
    /// What [`Vault::sign`](crate::Vault::sign) takes.
    #[must_use]
    pub fn new(
        key: impl Into<KeySelector<'a>>,
        algorithm: SignatureAlgorithm,
        digest: &'a [u8],
    ) -> Self {
        Self {
            key: key.into(),
            algorithm,
            digest,
        }
    }
}

/// One encryption of [`Vault::encrypt_many`](crate::Vault::encrypt_many).
#[derive(Clone, Copy)]
pub struct EncryptItem<'a> {
    pub(crate) key: KeySelector<'a>,
    pub(crate) algorithm: EncryptionAlgorithm,
    pub(crate) plaintext: &'a [u8],
    pub(crate) options: EncryptOptions<'a>,
}

impl<'a> EncryptItem<'a> {
    /// What [`Vault::encrypt`](crate::Vault::encrypt) takes.
    #[must_use]
    pub fn new(
        key: impl Into<KeySelector<'a>>,
        algorithm: EncryptionAlgorithm,
        plaintext: &'a [u8],
        options: EncryptOptions<'a>,
    ) -> Self {
        Self {
            key: key.into(),
            algorithm,
            plaintext,
            options,
        }
    }
}

/// One key that [`Vault::wrap_many`](crate::Vault::wrap_many) wraps.
#[derive(Clone, Copy)]
pub struct WrapItem<'a> {
    pub(crate) key: KeySelector<'a>,
    pub(crate) algorithm: WrapAlgorithm,
    pub(crate) key_to_wrap: &'a [u8],
}

impl<'a> WrapItem<'a> {
    /// What [`Vault::wrap_key`](crate::Vault::wrap_key) takes.
    #[must_use]
    pub fn new(
        key: impl Into<KeySelector<'a>>,
        algorithm: WrapAlgorithm,
        key_to_wrap: &'a [u8],
    ) -> Self {
        Self {
            key: key.into(),
            algorithm,
            key_to_wrap,
        }
    }
}

/// Which key and how; never what is to be signed, encrypted or wrapped.
macro_rules! show_key_and_algorithm {
    ($($item:ident)*) => {$(
        impl fmt::Debug for $item<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($item))
                    .field("key", &self.key)
                    .field("algorithm", &self.algorithm)
                    .finish_non_exhaustive()
            }
        }
    )*};
}

show_key_and_algorithm!(SignItem EncryptItem WrapItem);
