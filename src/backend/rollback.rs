//! Where the newest state of a vault is remembered outside its directory.

use std::fmt::Debug;

use super::BackendResult;
use crate::model::pin::VaultPin;

/// Remembers how far a vault has got, in a place that whoever puts back an old copy of the vault's directory does
/// not reach: another disk, a token, a server.
///
/// A vault asks it when it is opened, tells it at most once a second while it changes, and once more when it is
/// closed. So an older directory is refused, but for the last second before a crash.
pub trait RollbackGuard: Debug + Send + Sync {
    /// What was remembered last about the vault with this id; `None` when it never was.
    ///
    /// # Errors
    ///
    /// The place cannot be reached, or holds what is no pin: the vault is not opened.
    fn recall(&self, vault_id: &[u8; 16]) -> BackendResult<Option<VaultPin>>;

    /// Remembers `pin` in place of every earlier one of the same vault, durably. Blocking is fine: no change of a
    /// key waits for it.
    ///
    /// # Errors
    ///
    /// The place cannot be reached: it is tried again a second later.
    fn remember(&self, pin: &VaultPin) -> BackendResult<()>;
}
