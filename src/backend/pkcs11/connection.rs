//! A token together with what was found out about it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use super::error::TokenResult;
use super::module::lock;
use super::profile::{Fallbacks, Profile};
use super::raw::ObjectHandle;
use super::token::Token;
use super::unwrapped::UnwrappedKeys;
use crate::backend::{BackendError, BackendErrorKind, BackendResult};
use crate::format::token_key_backup::CHECK_VALUE_LENGTH;

/// The domain key in one epoch of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain {
    pub(super) object: ObjectHandle,
    pub(super) check_value: [u8; CHECK_VALUE_LENGTH],
}

/// What all keys of a backend share.
pub(super) struct Connection {
    token: Arc<Token>,
    fallbacks: Fallbacks,
    profile: OnceLock<Profile>,
    serial: OnceLock<String>,
    unwrapped: UnwrappedKeys,
    /// The domain key, and the epoch in which it was found and its check value made.
    domain: Mutex<Option<(u64, Domain)>>,
    expected_domain: Option<[u8; CHECK_VALUE_LENGTH]>,
}

impl Connection {
    pub(super) fn new(
        token: Arc<Token>,
        fallbacks: Fallbacks,
        unwrapped: usize,
        expected_domain: Option<[u8; CHECK_VALUE_LENGTH]>,
    ) -> Self {
        Self {
            token,
            fallbacks,
            profile: OnceLock::new(),
            serial: OnceLock::new(),
            unwrapped: UnwrappedKeys::new(unwrapped),
            domain: Mutex::default(),
            expected_domain,
        }
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    pub(super) fn unwrapped(&self) -> &UnwrappedKeys {
        &self.unwrapped
    }

    pub(super) fn known_domain(&self, epoch: u64) -> Option<Domain> {
        let known = lock(&self.domain);
        known
            .filter(|(of, _)| *of == epoch)
            .map(|(_, domain)| domain)
    }

    /// Whether keys may be backed up and restored under this domain key.
    pub(super) fn accepts(&self, domain: &Domain) -> bool {
        self.expected_domain
            .is_none_or(|expected| expected == domain.check_value)
    }

    pub(super) fn remember_domain(&self, known: Option<(u64, Domain)>) {
        *lock(&self.domain) = known;
    }

    /// Measured when it is asked for first; then it stays.
    pub(super) fn profile(&self) -> TokenResult<&Profile> {
        if let Some(profile) = self.profile.get() {
            return Ok(profile);
        }
        let measured = Profile::measure(&self.token, self.fallbacks)?;
        Ok(self.profile.get_or_init(|| measured))
    }

    /// The serial number of the token that the backend is connected to.
    pub(super) fn serial(&self) -> TokenResult<&str> {
        if let Some(serial) = self.serial.get() {
            return Ok(serial);
        }
        let serial = self.token.serial()?;
        Ok(self.serial.get_or_init(|| serial))
    }

    /// Whether this is the token that a key lives in.
    pub(super) fn require_serial(&self, serial: &str) -> BackendResult<()> {
        let own = self.serial()?;
        if own == serial {
            return Ok(());
        }
        Err(BackendError::new(
            BackendErrorKind::Unavailable,
            format!(
                "the key lives in the token with serial number {serial}, but the backend is connected to {own}; \
                 open the vault with the right token"
            ),
        ))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
