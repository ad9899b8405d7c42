//! Keys in PKCS#11 tokens: the `-HSM` types.
//!
//! A [`Pkcs11Backend`] keeps keys in one token of one module (a shared library of the device's vendor, or of
//! SoftHSM2). What the token can do is measured, not believed: when it is first used, known-answer tests
//! on objects of a session show for each kind of key and operation whether the token does it alone, with the
//! library's help, or not at all; [`KeyBackend::capabilities`] lists it.
//!
//! # Examples
//!
//! ```no_run
//! use std::sync::Arc;
//! use strongroom::backend::pkcs11::{Pkcs11Backend, Pkcs11Options, PinSource, TokenSelector};
//! use strongroom::{CreateKeyOptions, Curve, KeyName, MasterKey, Pin, Unlock, VaultOptions};
//!
//! let pin = Pin::new("1234-5678")?;
//! let token = Pkcs11Backend::new(Pkcs11Options::new(
//!     "/usr/lib/softhsm/libsofthsm2.so",
//!     TokenSelector::Label("signing".to_owned()),
//!     PinSource::value(pin),
//! ));
//! # let master = MasterKey::generate()?;
//! let vault = VaultOptions::new()
//!     .backend(Arc::new(token))
//!     .open("/var/lib/app/vault", Unlock::raw_key(&master))?;
//! let name = KeyName::from_static("invoice-signer");
//! vault.create_key(&name, CreateKeyOptions::ec(Curve::P256).hsm())?;
//! # Ok::<(), strongroom::Error>(())
//! ```

mod attributes;
mod buffers;
mod connection;
mod error;
mod gate;
mod handles;
mod holding;
mod kek;
mod key;
mod known_answers;
mod lease;
mod making;
mod mechanism;
mod module;
mod objects;
mod operations;
mod options;
mod pin;
mod pool;
mod profile;
mod raw;
mod return_codes;
mod routes;
mod self_test;
mod template;
mod token;
mod token_info;
mod unwrapped;
mod wrapped;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use self::connection::Connection;
use self::key::TokenKeyHandle;
pub use self::making::KeyKeeping;
pub use self::options::Pkcs11Options;
pub use self::pin::PinSource;
pub use self::token::TokenSelector;
use self::token::{Retry, Token};
use super::{
    Abandoned, BackendError, BackendErrorKind, BackendId, BackendResult, Capabilities, HeldKey,
    KeyBackend, KeyBlob, KeyHandle, KeyReference, KeyRequest, KeyTag, NewKey, VaultLabel,
};
use crate::format::token_key::{Keeping, TokenKey};
use crate::model::material::KeyMaterial;
use crate::model::operation::KeyOperations;

/// Keys in a token.
///
/// Making the backend touches neither module nor token: both are reached when they are first needed, so a vault
/// opens while its token is away, and what needs public keys only goes on working.
///
/// **Blocking.** Every private or secret operation is a call of the module, and may wait for a free session.
/// The first one measures the token: some dozens of operations.
///
/// **PINs** are asked for at logins only. A PIN that the token refused is never tried again.
///
/// **Forks.** After a fork the child cannot use the module; it says so.
pub struct Pkcs11Backend {
    id: BackendId,
    keeping: KeyKeeping,
    verify_after_sign: bool,
    connection: Arc<Connection>,
}

impl Pkcs11Backend {
    /// A backend for one token.
    #[must_use]
    pub fn new(options: Pkcs11Options) -> Self {
        let Pkcs11Options {
            id,
            token,
            keeping,
            fallbacks,
            verify_after_sign,
            unwrapped_keys,
        } = options;
        Self {
            id,
            keeping,
            verify_after_sign,
            connection: Arc::new(Connection::new(
                Token::new(token),
                fallbacks,
                unwrapped_keys,
            )),
        }
    }

    /// The serial number of the token; it connects when needed.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Authentication`.
    pub fn serial(&self) -> BackendResult<String> {
        Ok(self.connection.serial()?.to_owned())
    }

    /// The label of the token; it connects when needed.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Authentication`.
    pub fn label(&self) -> BackendResult<String> {
        let token = self.connection.token();
        Ok(token.run(Retry::Safe, |lease| Ok(lease.info().label.clone()))?)
    }

    /// Whether the token says of itself that nothing can be written to it: keys that it holds can be used, and
    /// new ones only kept [wrapped](KeyKeeping::Wrapped).
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Authentication`.
    pub fn is_write_protected(&self) -> BackendResult<bool> {
        let token = self.connection.token();
        let info = token.run(Retry::Safe, |lease| lease.token_info())?;
        Ok(info.write_protected)
    }

    /// How many wrapped keys are unwrapped in the token at present.
    #[must_use]
    pub fn unwrapped_keys(&self) -> usize {
        self.connection.unwrapped().count()
    }

    fn blob(blob: &KeyBlob) -> BackendResult<TokenKey> {
        TokenKey::decode(blob.expose()).ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::InvalidInput,
                "the record of the key was not written by a PKCS#11 backend",
            )
        })
    }
}

impl fmt::Debug for Pkcs11Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Backend")
            .field("id", &self.id)
            .field("keeping", &self.keeping)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl KeyBackend for Pkcs11Backend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    /// Empty while the token cannot be reached; [`KeyBackend::check`] says why.
    fn capabilities(&self) -> Arc<Capabilities> {
        self.connection
            .profile()
            .map(|profile| Arc::clone(&profile.capabilities))
            .unwrap_or_default()
    }

    fn check(&self) -> BackendResult<()> {
        self.connection.token().check()?;
        self.connection.profile()?;
        Ok(())
    }

    fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey> {
        let made = making::generate(&self.connection, self.keeping, request)?;
        self_test::run(self, request, made)
    }

    fn import(&self, request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey> {
        let taken = making::import(&self.connection, self.keeping, request, material)?;
        self_test::run(self, request, taken)
    }

    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        let handle = TokenKeyHandle::open(&self.connection, key, self.verify_after_sign)?;
        Ok(Arc::new(handle))
    }

    fn destroy(&self, tag: KeyTag, blob: Option<&KeyBlob>) -> BackendResult<()> {
        if let Some(blob) = blob {
            let blob = Self::blob(blob)?;
            if blob.keeping != Keeping::Resident {
                // The record was all there is.
                return Ok(());
            }
            self.connection.require_serial(&blob.serial)?;
        }
        Ok(holding::destroy(self.connection.token(), tag)?)
    }

    fn is_hardware(&self) -> bool {
        true
    }

    fn holds_keys(&self, blob: Option<&KeyBlob>) -> bool {
        match blob {
            None => self.keeping == KeyKeeping::Resident,
            // A record that cannot be read is better asked about than forgotten.
            Some(blob) => {
                TokenKey::decode(blob.expose()).is_none_or(|key| key.keeping == Keeping::Resident)
            }
        }
    }

    fn confirm(&self, tags: &[KeyTag]) -> BackendResult<()> {
        Ok(holding::confirm(self.connection.token(), tags)?)
    }

    fn abandon(&self, tag: KeyTag) -> BackendResult<Abandoned> {
        Ok(holding::abandon(self.connection.token(), tag)?)
    }

    fn inventory(&self, label: &VaultLabel) -> BackendResult<Vec<HeldKey>> {
        Ok(holding::inventory(self.connection.token(), label)?)
    }

    fn permit(&self, key: &KeyReference<'_>, operations: KeyOperations) -> BackendResult<()> {
        let blob = Self::blob(key.blob)?;
        match operations
            .iter()
            .find(|operation| !blob.usage.contains(*operation))
        {
            None => Ok(()),
            Some(operation) => Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!(
                    "the key was made in the token without the operation {}, which it cannot be given later; make a \
                     new version with it",
                    operation.as_str()
                ),
            )),
        }
    }

    fn random(&self, bytes: &mut [u8]) -> BackendResult<()> {
        Ok(self
            .connection
            .token()
            .run(Retry::Safe, |lease| lease.random(bytes))?)
    }
}
