//! Decryptions that say which version did the work, as answers on the wire do.

use super::crypto_ops::hint_at_older_version;
use super::perform::{self, Input};
use super::{Operation, Vault};
use crate::error::Result;
use crate::model::algorithm::{CryptoOperation, EncryptionAlgorithm, WrapAlgorithm};
use crate::model::identifier::{KeyIdentifier, KeySelector};
use crate::model::options::Ciphertext;
use crate::secret::SecretBytes;

impl Vault {
    /// [`Vault::decrypt`] and the version that decrypted.
    pub(crate) fn decrypt_named(
        &self,
        selector: KeySelector<'_>,
        algorithm: EncryptionAlgorithm,
        ciphertext: Ciphertext<'_>,
    ) -> Result<(KeyIdentifier, SecretBytes)> {
        let operation = CryptoOperation::Decrypt(algorithm);
        self.act(Operation::Decrypt, selector, |act| {
            perform::check_data(algorithm, ciphertext.bytes, ciphertext.aad)?;
            let (open, output) = act
                .inner()
                .run(act, selector, operation, Input::Decrypt(ciphertext))
                .map_err(|error| hint_at_older_version(error, selector))?;
            Ok((open.id.clone(), output.into_secret()?))
        })
    }

    /// [`Vault::unwrap_key`] and the version that unwrapped.
    pub(crate) fn unwrap_key_named(
        &self,
        selector: KeySelector<'_>,
        algorithm: WrapAlgorithm,
        wrapped_key: &[u8],
    ) -> Result<(KeyIdentifier, SecretBytes)> {
        let operation = CryptoOperation::UnwrapKey(algorithm);
        self.act(Operation::UnwrapKey, selector, |act| {
            let (open, output) = act
                .inner()
                .run(act, selector, operation, Input::UnwrapKey(wrapped_key))
                .map_err(|error| hint_at_older_version(error, selector))?;
            Ok((open.id.clone(), output.into_secret()?))
        })
    }
}
