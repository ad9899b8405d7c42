//! The state of a handle that can no longer be trusted.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Set once, by the first failure after which the contents of the engine are unknown, or by closing.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    cause: OnceLock<Cause>,
    /// A failure behind the answer to a change, until somebody hears of it.
    untold: Mutex<Option<Error>>,
}

#[derive(Debug)]
enum Cause {
    Failed(String),
    Closed,
}

impl Cause {
    #[cold]
    fn error(&self) -> Error {
        match self {
            Self::Closed => Error::new(
                ErrorKind::VaultFailed,
                "this vault was closed; open it again",
            ),
            Self::Failed(what) => Error::new(
                ErrorKind::VaultFailed,
                format!(
                    "an earlier error left this vault's handle unusable; reopen the vault ({what})"
                ),
            ),
        }
    }
}

impl Poison {
    /// Errors: `VaultFailed`.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        match self.cause.get() {
            None => Ok(()),
            Some(cause) => Err(cause.error()),
        }
    }

    pub(crate) fn fail(&self, error: &Error) {
        let _ = self.cause.set(Cause::Failed(error.to_string()));
    }

    /// Where a failure goes that nobody waits for. Held while it can come.
    pub(super) fn untold(&self) -> MutexGuard<'_, Option<Error>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failure that nobody was told of yet, in place of an error that only says that there was one.
    pub(crate) fn tell(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::VaultFailed => self.untold().take().unwrap_or(error),
            _ => error,
        }
    }

    pub(crate) fn close(&self) {
        let _ = self.cause.set(Cause::Closed);
    }
}
