//! A key that is held on to.

use std::fmt;

use super::{Operation, Vault};
use crate::crypto::public_key::PublicKey;
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::identifier::{KeyIdentifier, KeySelector};
use crate::model::options::{Ciphertext, EncryptOptions};
use crate::model::results::{EncryptResult, SignResult, WrapResult};
use crate::secret::SecretBytes;

/// One exact version of a key, bound to its vault: owned, cheap to clone, and `Send + Sync`.
///
/// It is what a TLS stack or a token service holds. Every call asks the policy anew: a version that is
/// disabled, expires or is deleted stops working here at the same moment. So does a permission that is taken
/// away from the handle which bound the key: each call needs the one of its own operation.
#[derive(Clone)]
pub struct BoundKey {
    vault: Vault,
    id: KeyIdentifier,
    public: Option<PublicKey>,
}

impl Vault {
    /// Binds the selected version. With a name, that is the version that is newest now; it stays bound
    /// when the key is rotated.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound), and the errors of storage.
    pub fn key<'a>(&self, key: impl Into<KeySelector<'a>>) -> Result<BoundKey> {
        let selector = key.into();
        self.act(Operation::BindKey, selector, |act| {
            let bundle = act.inner().get(act, selector)?;
            let public = bundle
                .key()
                .public_parts()
                .map(|parts| PublicKey::from_parts(&parts))
                .transpose()
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Tampered,
                        "the stored public key is not a legal key",
                    )
                    .with_source(error)
                })?;
            Ok(BoundKey {
                vault: self.clone(),
                id: bundle.id().clone(),
                public,
            })
        })
    }
}

impl BoundKey {
    /// The identifier with the exact version.
    #[must_use]
    pub fn id(&self) -> &KeyIdentifier {
        &self.id
    }

    /// The public key; `None` for a symmetric key.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// See [`Vault::sign`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<SignResult> {
        self.vault.sign(&self.id, algorithm, digest)
    }

    /// See [`Vault::sign_data`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn sign_data(&self, algorithm: SignatureAlgorithm, data: &[u8]) -> Result<SignResult> {
        self.vault.sign_data(&self.id, algorithm, data)
    }

    /// See [`Vault::verify`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        self.vault.verify(&self.id, algorithm, digest, signature)
    }

    /// See [`Vault::verify_data`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn verify_data(
        &self,
        algorithm: SignatureAlgorithm,
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        self.vault.verify_data(&self.id, algorithm, data, signature)
    }

    /// See [`Vault::encrypt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        options: EncryptOptions<'_>,
    ) -> Result<EncryptResult> {
        self.vault.encrypt(&self.id, algorithm, plaintext, options)
    }

    /// See [`Vault::decrypt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        ciphertext: Ciphertext<'_>,
    ) -> Result<SecretBytes> {
        self.vault.decrypt(&self.id, algorithm, ciphertext)
    }

    /// See [`Vault::wrap_key`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wrap_key(&self, algorithm: WrapAlgorithm, key_to_wrap: &[u8]) -> Result<WrapResult> {
        self.vault.wrap_key(&self.id, algorithm, key_to_wrap)
    }

    /// See [`Vault::unwrap_key`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped_key: &[u8]) -> Result<SecretBytes> {
        self.vault.unwrap_key(&self.id, algorithm, wrapped_key)
    }
}

impl fmt::Debug for BoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
