//! The operating system's keyring opens a vault: it keeps the secret of a slot.
//!
//! | system | keyring | kept |
//! | --- | --- | --- |
//! | Linux | the kernel's (keyutils), of the user and the session | **until the system restarts,** or the kernel expires it: some days after the last use |
//! | macOS | the login keychain | until it is deleted |
//! | any | whichever store the application has made the default of the crate `keyring-core`, version 1 | as that store says |
//!
//! An application that sets a default store, with `keyring_core::set_default_store`, has it used here, on every system:
//! the Secret Service of a desktop for example, which keeps entries across restarts.
//!
//! # Examples
//!
//! ```no_run
//! use strongroom::backend::keyring::KeyringUnlock;
//! use strongroom::{Passphrase, Unlock, VaultOptions};
//!
//! let keyring = KeyringUnlock::new("example.org/notes", "vault of alice");
//! let passphrase = Passphrase::new("correct horse battery staple")?;
//! let vault = VaultOptions::new().create("/home/alice/notes", Unlock::passphrase(&passphrase))?;
//! vault.add_unlock_slot(Unlock::passphrase(&passphrase), Unlock::from(&keyring))?;
//! vault.close()?;
//!
//! // Asks nobody, as long as the entry is there.
//! let vault = VaultOptions::new().open("/home/alice/notes", Unlock::from(&keyring))?;
//! # Ok::<(), strongroom::Error>(())
//! ```

use std::fmt;
use std::sync::Arc;

use keyring_core::{CredentialStore, Entry, Error as KeyringError};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{BackendError, BackendErrorKind, BackendResult};
use crate::crypto::hash::Hasher;
use crate::env::Entropy;
use crate::error::Result;
use crate::format::slot::SlotKind;
use crate::model::algorithm::HashAlgorithm;
use crate::seal::slot::{KeptSecret, Provided, ProvidedSlot, SlotProvider, Unlock};
use crate::secret::{Key32, SecretBytes};

/// Unlocks a vault with an entry of the keyring: `Unlock::from(&keyring)`.
///
/// The entry holds the 32 random bytes of one slot, so each vault needs an entry of its own. Whoever can read the
/// user's keyring and the vault's directory can unlock the vault; mostly that is every program of this user.
///
/// **On Linux the entry is lost when the system restarts.** Other keyrings lose entries too: with the
/// account, the device, a reset password. So the vault insists on another slot, but for
/// [`VaultOptions::allow_sole_device_slot`](crate::VaultOptions::allow_sole_device_slot), and a vault whose only slot is
/// in the kernel's keyring is lost at the next start. When an entry is gone, unlock the vault by the other slot and
/// [replace](crate::Vault::replace_unlock_slot) this one.
///
/// An entry that exists is never overwritten. Removing the slot from the vault leaves its entry, which is of use to
/// who has an old copy of the vault's header; [`KeyringUnlock::delete_entry`] deletes it.
///
/// # Errors of opening
///
/// [`BackendUnavailable`](crate::ErrorKind::BackendUnavailable) when the system gives no access to the keyring, or the
/// entry is gone; [`WrongKey`](crate::ErrorKind::WrongKey) when no slot of the vault belongs to this entry, or entry or
/// slot were altered.
#[derive(Clone)]
pub struct KeyringUnlock {
    service: Box<str>,
    user: Box<str>,
    /// Otherwise the application's, or the system's.
    store: Option<Arc<CredentialStore>>,
}

impl KeyringUnlock {
    /// With the entry of this name: `service` is the application's, `user` tells its entries apart. Nothing is asked of
    /// the keyring yet.
    #[must_use]
    pub fn new(service: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            service: service.into().into_boxed_str(),
            user: user.into().into_boxed_str(),
            store: None,
        }
    }

    /// Deletes the entry. The slot of the vault that it opened is then of no use; remove it first.
    ///
    /// It succeeds when there is no entry.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the system gives no access to the keyring.
    pub fn delete_entry(&self) -> BackendResult<()> {
        match self.entry()?.delete_credential() {
            Ok(()) | Err(KeyringError::NoEntry) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn entry(&self) -> BackendResult<Entry> {
        let store = match &self.store {
            Some(store) => Some(Arc::clone(store)),
            None => keyring_core::get_default_store(),
        };
        let store = match store {
            Some(store) => store,
            None => system_store().map_err(|error| self.failed(error))?,
        };
        store
            .build(&self.service, &self.user, None)
            .map_err(|error| self.failed(error))
    }

    /// What the entry holds; `None` when there is none.
    fn read(&self, entry: &Entry) -> BackendResult<Option<SecretBytes>> {
        match entry.get_secret() {
            Ok(secret) => Ok(Some(SecretBytes::from(secret))),
            Err(KeyringError::NoEntry) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn write(&self, secret: &Key32) -> BackendResult<()> {
        let entry = self.entry()?;
        if self.read(&entry)?.is_some() {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!(
                    "the keyring has {self} already, and it may be all that opens another slot; choose another name, or \
                     delete it with KeyringUnlock::delete_entry"
                ),
            ));
        }
        entry
            .set_secret(secret.expose())
            .map_err(|error| self.failed(error))?;
        // By a look of its own, as opening will.
        match self.read(&self.entry()?)? {
            Some(kept) if is_same(&kept, secret) => Ok(()),
            _ => Err(BackendError::new(
                BackendErrorKind::Device,
                format!(
                    "the keyring did not keep {self} as it was written; use another way to unlock"
                ),
            )),
        }
    }

    /// The error without what some of them carry: the bytes of the entry.
    fn failed(&self, error: KeyringError) -> BackendError {
        let (kind, cause) = match error {
            KeyringError::BadEncoding(mut bytes) | KeyringError::BadDataFormat(mut bytes, _) => {
                bytes.zeroize();
                let cause = "it is kept in a form that the keyring's library does not know";
                (BackendErrorKind::Rejected, cause.to_owned())
            }
            KeyringError::Invalid(..) | KeyringError::TooLong(..) => {
                (BackendErrorKind::InvalidInput, error.to_string())
            }
            KeyringError::Ambiguous(_) => {
                let cause =
                    "there are several entries of this name; delete those that are not wanted";
                (BackendErrorKind::Rejected, cause.to_owned())
            }
            KeyringError::NotSupportedByStore(_) => {
                (BackendErrorKind::Unsupported, error.to_string())
            }
            _ => (BackendErrorKind::Unavailable, error.to_string()),
        };
        BackendError::new(
            kind,
            format!(
                "the operating system's keyring does not give {self}: {cause}; use another way to unlock, or make the \
                 keyring available"
            ),
        )
    }

    /// Tells entries apart without naming them.
    fn tag(&self) -> [u8; 16] {
        let mut hasher = Hasher::new(HashAlgorithm::Sha512);
        hasher.update(b"strongroom/v1/keyring\0");
        hasher.update(&(self.service.len() as u64).to_be_bytes());
        hasher.update(self.service.as_bytes());
        hasher.update(self.user.as_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&hasher.finish()[..16]);
        tag
    }

    fn secret_of(&self, slot: &ProvidedSlot<'_>) -> BackendResult<Provided> {
        if *slot.tag != self.tag() {
            return Ok(Provided::Foreign(format!(
                "the vault's slot for a keyring does not belong to {self}; name the right one, or use another way to \
                 unlock"
            )));
        }
        let Some(kept) = self.read(&self.entry()?)? else {
            return Err(BackendError::new(
                BackendErrorKind::Unavailable,
                format!(
                    "the operating system's keyring has {self} no more; Linux's loses entries when the system restarts. \
                     Unlock the vault another way, and replace the slot"
                ),
            ));
        };
        Ok(Key32::copied_from(kept.expose()).map_or(Provided::Refused, Provided::Secret))
    }
}

#[cfg(target_os = "linux")]
fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(linux_keyutils_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Err(KeyringError::NoDefaultStore)
}

fn is_same(kept: &SecretBytes, secret: &Key32) -> bool {
    kept.expose().ct_eq(secret.expose().as_slice()).into()
}

impl SlotProvider for KeyringUnlock {
    fn keep(&self, secret: &Key32, _: &[u8; 32], _: &dyn Entropy) -> Result<KeptSecret> {
        self.write(secret)?;
        Ok(KeptSecret {
            kind: SlotKind::OsKeyring,
            tag: self.tag(),
            kept: Vec::new(),
        })
    }

    fn serves(&self, kind: SlotKind) -> bool {
        kind == SlotKind::OsKeyring
    }

    fn open(&self, slot: &ProvidedSlot<'_>) -> Result<Provided> {
        Ok(self.secret_of(slot)?)
    }
}

impl<'a> From<&'a KeyringUnlock> for Unlock<'a> {
    fn from(keyring: &'a KeyringUnlock) -> Self {
        Self::provider(keyring)
    }
}

/// As a part of a sentence.
impl fmt::Display for KeyringUnlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the entry of {:?} for {:?}", self.service, self.user)
    }
}

impl fmt::Debug for KeyringUnlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringUnlock")
            .field("service", &self.service)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
