//! Keys in PKCS#11 tokens: the `-HSM` types.
//!
//! A [`Pkcs11Backend`] keeps keys in one token of one module (a shared library of the device's vendor, or of
//! SoftHSM2). What the token can do is measured, not believed: when it is first used, known-answer tests
//! on objects of a session show for each kind of key and operation whether the token does it alone, with the
//! library's help, or not at all; [`KeyBackend::capabilities`] lists it.
//!
//! # Backups
//!
//! A key leaves its token only if it was made with `.backup_allowed()`, and only wrapped by the token under its
//! *domain key* ([`Pkcs11Backend::create_domain_key`]). It is restored in a token that has the same domain key: the
//! same one, or another that got it in a ceremony ([`provision_domain`]). Which domain key wrapped a key is compared
//! before a token unwraps anything.
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

#[cfg(feature = "testing")]
pub(crate) mod answers;
mod attachment;
mod attributes;
mod buffers;
mod ceremony;
mod connection;
mod custody;
mod domain;
mod error;
mod export;
mod fingerprint;
mod gate;
mod handles;
mod holding;
mod kek;
mod kept_object;
mod key;
mod known_answers;
mod lease;
mod making;
mod mechanism;
mod module;
mod objects;
mod operations;
mod options;
mod own_keys;
mod pin;
mod pool;
mod probe;
mod probe_asymmetric;
mod probe_symmetric;
mod profile;
mod provisioning;
mod raw;
mod return_codes;
mod rollback_guard;
mod routes;
mod seats;
mod selection;
mod self_test;
mod sync;
mod template;
mod token;
mod token_info;
mod transport;
mod trials;
mod unlock;
mod unwrapped;
mod wrapped;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use self::connection::Connection;
pub use self::domain::DomainKey;
pub use self::fingerprint::TransportFingerprint;
use self::key::TokenKeyHandle;
pub use self::making::KeyKeeping;
pub use self::options::Pkcs11Options;
pub use self::pin::PinSource;
pub use self::provisioning::{DomainDestination, provision_domain};
pub use self::rollback_guard::Pkcs11RollbackGuard;
pub use self::selection::TokenSelector;
use self::token::Retry;
pub use self::transport::TransportKey;
pub use self::unlock::TokenUnlock;
use super::{
    Abandoned, BackendError, BackendErrorKind, BackendId, BackendInstance, BackendResult,
    Capabilities, HeldKey, KeyBackend, KeyBlob, KeyCustody, KeyHandle, KeyReference, KeyRequest,
    KeyTag, NewKey, VaultLabel,
};
use crate::format::token_key::{Keeping, TokenKey};
use crate::model::material::KeyMaterial;
use crate::model::operation::KeyOperations;
use crate::secret::Pin;

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
        Self {
            id: options.id.clone(),
            keeping: options.keeping,
            verify_after_sign: options.verify_after_sign,
            connection: options.into_connection(),
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

    /// The token's domain key, if it has one: what keys in backups are wrapped under.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Authentication`; `Rejected` when the token has several.
    pub fn domain_key(&self) -> BackendResult<Option<DomainKey>> {
        Ok(domain::describe(&self.connection)?)
    }

    /// Makes a domain key in the token, so that keys with `.backup_allowed()` can be backed up and restored. It
    /// stays open, which means that [`provision_domain`] can bring it into other tokens, until that has
    /// closed it.
    ///
    /// The key is AES-256 and does nothing but wrap and unwrap keys. The security officer trusts it (CKA_TRUSTED) where
    /// the token permits that, and while it is open it leaves the token only under a transport key that the officer
    /// trusts too. `security_officer` is tried once.
    ///
    /// What a domain key does not do: who has the user's PIN of a token with one can have it wrap a key with
    /// `.backup_allowed()`, and unwrap that as an object that can be read. Keys without it never leave the token.
    ///
    /// **Blocking, and alone:** the security officer's login counts for the whole process, so meanwhile nobody else in
    /// the process uses the module.
    ///
    /// # Errors
    ///
    /// `Rejected` when the token has a domain key already, `Authentication` when it refuses the PIN, `Unsupported` when it
    /// cannot hold such a key, and what it says besides.
    pub fn create_domain_key(&self, security_officer: &Pin) -> BackendResult<DomainKey> {
        domain::create(&self.connection, security_officer)
    }

    /// The first step of bringing a domain key into this token: makes an RSA key whose private half never leaves it.
    /// Its fingerprint is compared by another way, then [`provision_domain`] does the rest. A key that an earlier
    /// call made is destroyed, so the last fingerprint is the one that counts.
    ///
    /// # Errors
    ///
    /// `Rejected` when the token has a domain key already, and what the token says.
    pub fn begin_provisioning(&self) -> BackendResult<TransportKey> {
        transport::begin(&self.connection)
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
        self.connection.settled_profile()?;
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

    /// By the serial number, as keys are: manufacturer and model are names, which firmware changes.
    fn instance(&self) -> BackendResult<Option<BackendInstance>> {
        Ok(token_info::instance(self.connection.serial()?))
    }

    fn instance_of(&self, blob: &KeyBlob) -> Option<BackendInstance> {
        token_info::instance(&TokenKey::decode(blob.expose())?.serial)
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

    fn custody(&self, key: &KeyReference<'_>) -> BackendResult<KeyCustody> {
        custody::custody(self.connection.token(), key, &Self::blob(key.blob)?)
    }

    fn export(&self, key: &KeyReference<'_>) -> BackendResult<KeyBlob> {
        export::export(&self.connection, key, Self::blob(key.blob)?)
    }

    fn restore(&self, request: &KeyRequest<'_>, blob: &KeyBlob) -> BackendResult<NewKey> {
        let (request, restored) = export::restore(&self.connection, self.keeping, request, blob)?;
        self_test::run(self, &request, restored)
    }

    fn random(&self, bytes: &mut [u8]) -> BackendResult<()> {
        Ok(self
            .connection
            .token()
            .run(Retry::Safe, |lease| lease.random(bytes))?)
    }
}
