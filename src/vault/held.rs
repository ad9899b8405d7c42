//! Secrets that a vault can let go of while others still hold the vault.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::gate::locked;
use crate::error::Result;

/// A value that is there until the vault is locked or closed. It is wiped when the last operation that uses it
/// ends.
pub(super) struct Held<T> {
    value: RwLock<Option<Arc<T>>>,
}

impl<T> Held<T> {
    pub(super) fn new(value: Arc<T>) -> Self {
        Self {
            value: RwLock::new(Some(value)),
        }
    }

    /// Errors: `VaultLocked`.
    pub(super) fn get(&self) -> Result<Arc<T>> {
        self.value
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(locked)
    }

    pub(super) fn let_go(&self) {
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<T> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}
