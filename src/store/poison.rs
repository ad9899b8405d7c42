//! The state of a handle that can no longer be trusted.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};

/// Set once, by the first failure after which the contents of the engine are unknown, or by closing.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    cause: OnceLock<Cause>,
}

#[derive(Debug)]
enum Cause {
    Failed(String),
    Closed,
}

impl Poison {
    /// Errors: `VaultFailed`.
    pub(crate) fn check(&self) -> Result<()> {
        match self.cause.get() {
            None => Ok(()),
            Some(Cause::Closed) => Err(Error::new(
                ErrorKind::VaultFailed,
                "this vault was closed; open it again",
            )),
            Some(Cause::Failed(what)) => Err(Error::new(
                ErrorKind::VaultFailed,
                format!(
                    "an earlier error left this vault's handle unusable; reopen the vault ({what})"
                ),
            )),
        }
    }

    pub(crate) fn fail(&self, error: &Error) {
        let _ = self.cause.set(Cause::Failed(error.to_string()));
    }

    pub(crate) fn close(&self) {
        let _ = self.cause.set(Cause::Closed);
    }
}
