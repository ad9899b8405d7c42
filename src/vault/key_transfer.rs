//! Keys that come wrapped under a key of the vault whose only operation is `import`.

use super::grant::Need;
use super::perform::Input;
use super::{Inner, Operation, Vault};
use crate::crypto::{key_transport, validation};
use crate::error::{Error, ErrorKind, Result};
use crate::model::identifier::KeySelector;
use crate::model::key_transfer::KeyTransferBlob;
use crate::model::material::ImportedKey;
use crate::model::name::KeyName;
use crate::model::options::ImportTransferredKeyOptions;
use crate::model::permission::Permission;
use crate::model::results::KeyBundle;
use crate::model::spec::{KeyFamily, KeySpec};
use crate::policy;
use crate::secret::SecretBytes;

impl Vault {
    /// Stores a key that somebody wrapped under a key of this vault, as a new version:
    /// [Import Key](https://learn.microsoft.com/rest/api/keyvault/keys/import-key/import-key) with `key_hsm`, Azure's *bring your own key*.
    ///
    /// The wrapping key is an RSA key whose only operation is `import`: make it with
    /// [`operations`](crate::CreateKeyOptions::operations), give its public half away, and it does nothing else, for ever. Only the
    /// vault's process sees the key that comes in, and then the backend that is to keep it.
    ///
    /// # Errors
    ///
    /// [`DecryptFailed`](ErrorKind::DecryptFailed) for what was not wrapped under that key;
    /// [`OperationNotPermitted`](ErrorKind::OperationNotPermitted) when it is not for imports alone,
    /// [`AlgorithmMismatch`](ErrorKind::AlgorithmMismatch) when it is not RSA, [`KeyDisabled`](ErrorKind::KeyDisabled),
    /// [`KeyNotFound`](ErrorKind::KeyNotFound); [`InvalidKeyMaterial`](ErrorKind::InvalidKeyMaterial) for a key of another type or
    /// curve than was announced; and those of [`Vault::import_key`].
    pub fn import_transferred_key(
        &self,
        name: &KeyName,
        options: ImportTransferredKeyOptions,
    ) -> Result<KeyBundle> {
        let ImportTransferredKeyOptions {
            key_type,
            curve,
            blob,
            common,
        } = options;
        self.act(Operation::ImportTransferredKey, name, |act| {
            let inner = act.inner();
            // What it opens with is used, too.
            act.require(Need::One(Permission::Import), blob.key_id.name())?;
            let key = inner.unwrap_transferred(&blob)?;
            let key = if key_type.family() == KeyFamily::Oct {
                ImportedKey::oct(key)
            } else {
                ImportedKey::from_pkcs8_der(key.expose())?
            };
            let material = validation::validate(key, &*inner.entropy)?;
            if material.spec().family() != key_type.family() {
                return Err(Error::new(
                    ErrorKind::InvalidKeyMaterial,
                    format!("the wrapped key is {}, not {key_type}", material.spec()),
                ));
            }
            if let Some(curve) = curve
                && material.spec() != KeySpec::Ec(curve)
            {
                return Err(Error::new(
                    ErrorKind::InvalidKeyMaterial,
                    format!("the wrapped key is {}, not of {curve}", material.spec()),
                ));
            }
            inner.import(act, name, material, common)
        })
    }
}

impl Inner {
    fn unwrap_transferred(&self, blob: &KeyTransferBlob) -> Result<SecretBytes> {
        let selector = KeySelector::from(&blob.key_id);
        let open = self
            .open_version(selector)
            .map_err(|error| error.with_key(&blob.key_id))?;
        let authorized =
            policy::authorize_import(open.tag, open.spec, &open.attributes, self.rules.get())
                .map_err(|error| error.with_key(&blob.key_id))?;
        let KeySpec::Rsa(size) = open.spec else {
            return Err(Error::internal("only RSA keys are for imports"));
        };
        let failed = || {
            Error::new(
                ErrorKind::DecryptFailed,
                "the key transfer blob does not open with the key that it names",
            )
        };
        let (transport, wrapped) = blob
            .ciphertext
            .split_at_checked(size.modulus_length())
            .ok_or_else(failed)?;
        let transport = self
            .perform(authorized, &open, Input::UnwrapKey(transport))?
            .into_secret()
            .map_err(|error| error.with_key(&blob.key_id))?;
        key_transport::unwrap(&transport, wrapped).map_err(|_| failed())
    }
}
