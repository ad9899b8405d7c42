//! A token together with what was found out about it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::error::TokenResult;
use super::profile::{Fallbacks, Profile};
use super::token::Token;
use super::unwrapped::UnwrappedKeys;
use crate::backend::{BackendError, BackendErrorKind, BackendResult};

/// What all keys of a backend share.
pub(super) struct Connection {
    token: Arc<Token>,
    fallbacks: Fallbacks,
    profile: OnceLock<Profile>,
    serial: OnceLock<String>,
    unwrapped: UnwrappedKeys,
}

impl Connection {
    pub(super) fn new(token: Arc<Token>, fallbacks: Fallbacks, unwrapped: usize) -> Self {
        Self {
            token,
            fallbacks,
            profile: OnceLock::new(),
            serial: OnceLock::new(),
            unwrapped: UnwrappedKeys::new(unwrapped),
        }
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    pub(super) fn unwrapped(&self) -> &UnwrappedKeys {
        &self.unwrapped
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
