//! Several operations in one call, with a result for each.

use super::crypto_ops::require_no_iv;
use super::making_many::Order;
use super::operate::IvSource;
use super::{Operation, Vault};
use crate::crypto::validation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::{EncryptItem, SignItem, WrapItem};
use crate::model::name::KeyName;
use crate::model::options::{CreateKeyOptions, ImportKeyOptions};
use crate::model::results::{EncryptResult, KeyBundle, SignResult, WrapResult};

impl Vault {
    /// The most items of one batch.
    pub const MAX_BATCH_ITEMS: usize = 1_000;

    /// The most bytes that the items of one batch have together: digests, plaintexts with their additional data, keys to
    /// wrap. As many as one encryption may have.
    pub const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

    /// Makes keys, each as [`Vault::create_key`] does; the results are in the order of the items.
    ///
    /// Each item succeeds or fails for itself, and whatever becomes of it is what [`Vault::create_key`] would have made of
    /// it: permissions, errors and the entry in the audit log are those of the single call. The exception are items with the same name (names are
    /// compared without regard to case): each of them is refused, because which one would be the newest version would be
    /// an accident.
    ///
    /// **Durability:** when this returns, every key whose result is `Ok` survives a power cut. Items share writes to disk,
    /// dozens of them one. If the process dies in between, some of the keys are there and others are not, the earlier ones
    /// first; each of them is whole. **Blocking:** key generation, one key after another in the calling thread, and the
    /// writes. Changes of the same keys wait meanwhile, and with up to 128 names at a time some changes of other keys;
    /// reading and using keys does not.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](ErrorKind::TooLarge) for more than [`MAX_BATCH_ITEMS`](Self::MAX_BATCH_ITEMS): nothing was made. Of an
    /// item those of [`Vault::create_key`], and [`BadParameter`](ErrorKind::BadParameter) for a name that another item has.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// let items = (1..=3)
    ///     .map(|tenant| Ok((format!("tenant-{tenant}").parse()?, CreateKeyOptions::ec(Curve::P256))))
    ///     .collect::<Result<Vec<_>>>()?;
    /// for made in vault.create_many(items)? {
    ///     println!("{}", made?.id());
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn create_many(
        &self,
        items: Vec<(KeyName, CreateKeyOptions)>,
    ) -> Result<Vec<Result<KeyBundle>>> {
        let operation = Operation::CreateMany;
        require_size(operation, items.len(), 0)?;
        let made = self.make_many(operation, items, Order::AsGiven, |inner, name, options| {
            let CreateKeyOptions {
                spec,
                public_exponent,
                common,
            } = options;
            inner.draft_generated(name, spec, public_exponent, common)
        });
        Ok(made)
    }

    /// Stores keys that exist already, each as [`Vault::import_key`] does; the results are in the order of the items.
    ///
    /// Everything that [`Vault::create_many`] says holds here too, but one thing: the keys are written in the order in
    /// which their records stand in the store, which is none that anybody else knows. So if the process dies in between,
    /// *any* of the keys may be there, each whole. To go on, ask for each name, or import all of them again: those that are there get a second
    /// version then.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](ErrorKind::TooLarge) for more than [`MAX_BATCH_ITEMS`](Self::MAX_BATCH_ITEMS): nothing was stored. Of an
    /// item those of [`Vault::import_key`], and [`BadParameter`](ErrorKind::BadParameter) for a name that another item has.
    pub fn import_many(
        &self,
        items: Vec<(KeyName, ImportKeyOptions)>,
    ) -> Result<Vec<Result<KeyBundle>>> {
        let operation = Operation::ImportMany;
        require_size(operation, items.len(), 0)?;
        let made = self.make_many(
            operation,
            items,
            Order::OfTheIndex,
            |inner, name, options| {
                let ImportKeyOptions { key, common } = options;
                let material = validation::validate(key, &*inner.entropy)?;
                inner.draft_imported(name, material, common)
            },
        );
        Ok(made)
    }

    /// Signs digests, each as [`Vault::sign`] does, one after another; the results are in the order of the items. Each
    /// item succeeds or fails for itself, with the permission, the error and the entry in the audit log of the single call.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](ErrorKind::TooLarge) for more than [`MAX_BATCH_ITEMS`](Self::MAX_BATCH_ITEMS) or
    /// [`MAX_BATCH_BYTES`](Self::MAX_BATCH_BYTES): nothing was signed. Of an item those of [`Vault::sign`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// # let name = KeyName::from_static("signer");
    /// # vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let digests = [[1; 32], [2; 32]];
    /// let items = digests.each_ref().map(|digest| SignItem::new(&name, SignatureAlgorithm::Es256, digest));
    /// for signed in vault.sign_many(&items)? {
    ///     println!("{} bytes", signed?.signature().len());
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sign_many(&self, items: &[SignItem<'_>]) -> Result<Vec<Result<SignResult>>> {
        let operation = Operation::SignMany;
        let bytes = items.iter().map(|item| item.digest.len());
        require_size(operation, items.len(), total(bytes))?;
        let sign = |item: &SignItem<'_>| {
            let SignItem {
                key,
                algorithm,
                digest,
            } = *item;
            self.act(operation, key, |act| {
                act.inner().sign(act, key, algorithm, digest, false)
            })
        };
        Ok(items.iter().map(sign).collect())
    }

    /// Encrypts blocks of data, each as [`Vault::encrypt`] does, one after another; the results are in the order of the
    /// items. Each item succeeds or fails for itself, with the permission, the error and the entry in the audit log of the
    /// single call; AES-GCM is counted for each.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](ErrorKind::TooLarge) for more than [`MAX_BATCH_ITEMS`](Self::MAX_BATCH_ITEMS) or
    /// [`MAX_BATCH_BYTES`](Self::MAX_BATCH_BYTES): nothing was encrypted. Of an item those of [`Vault::encrypt`].
    pub fn encrypt_many(&self, items: &[EncryptItem<'_>]) -> Result<Vec<Result<EncryptResult>>> {
        let operation = Operation::EncryptMany;
        let bytes = items
            .iter()
            .map(|item| item.plaintext.len().saturating_add(item.options.aad.len()));
        require_size(operation, items.len(), total(bytes))?;
        let encrypt = |item: &EncryptItem<'_>| {
            let EncryptItem {
                key,
                algorithm,
                plaintext,
                options,
            } = *item;
            self.act(operation, key, |act| {
                require_no_iv(algorithm, &options)?;
                let source = IvSource::Policy;
                act.inner()
                    .encrypt(act, key, algorithm, plaintext, options, source)
            })
        };
        Ok(items.iter().map(encrypt).collect())
    }

    /// Wraps other keys, each as [`Vault::wrap_key`] does, one after another; the results are in the order of the items.
    /// Each item succeeds or fails for itself, with the permission, the error and the entry in the audit log of the single
    /// call.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](ErrorKind::TooLarge) for more than [`MAX_BATCH_ITEMS`](Self::MAX_BATCH_ITEMS) or
    /// [`MAX_BATCH_BYTES`](Self::MAX_BATCH_BYTES): nothing was wrapped. Of an item those of [`Vault::wrap_key`].
    pub fn wrap_many(&self, items: &[WrapItem<'_>]) -> Result<Vec<Result<WrapResult>>> {
        let operation = Operation::WrapMany;
        let bytes = items.iter().map(|item| item.key_to_wrap.len());
        require_size(operation, items.len(), total(bytes))?;
        let wrap = |item: &WrapItem<'_>| {
            let WrapItem {
                key,
                algorithm,
                key_to_wrap,
            } = *item;
            self.act(operation, key, |act| {
                act.inner().wrap(act, key, algorithm, key_to_wrap)
            })
        };
        Ok(items.iter().map(wrap).collect())
    }
}

fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.fold(0, usize::saturating_add)
}

/// Errors: `TooLarge`, of the batch and of no item.
fn require_size(operation: Operation, items: usize, bytes: usize) -> Result<()> {
    let (max_items, max_bytes) = (Vault::MAX_BATCH_ITEMS, Vault::MAX_BATCH_BYTES);
    let message = if items > max_items {
        format!("a batch has at most {max_items} items, and this one has {items}: split it")
    } else if bytes > max_bytes {
        format!("a batch has at most {max_bytes} bytes, and this one has {bytes}: split it")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::TooLarge, message).with_operation(operation.method()))
}
