//! What a vault says of itself, and its end.

use std::path::Path;

use super::{Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::choose;
use crate::seal::hash32;
use crate::seal::header::{OpenLimits, open_first};
use crate::seal::slot::Unlock;
use crate::store::vault_dir::HEADER_FILE;
use crate::store::{VaultDir, header_file};

/// What a vault says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultStatus {
    vault_id: [u8; 16],
    fingerprint: [u8; 32],
    generation: u64,
    key_count: u64,
    record_count: u64,
    kek_term: u32,
    kek_rotation_pending: bool,
    shred_pending: bool,
}

impl VaultStatus {
    /// The random id of the vault.
    #[must_use]
    pub fn vault_id(&self) -> &[u8; 16] {
        &self.vault_id
    }

    /// The public fingerprint of the vault's root key; it stays the same for the life of the root.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Counts the groups of changes since the vault was created.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many keys there are, deleted ones included.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.key_count
    }

    /// How many records the keys have, with their versions and counters.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// The number of the current key encryption key, counted from 1.
    #[must_use]
    pub fn kek_term(&self) -> u32 {
        self.kek_term
    }

    /// Whether an interrupted [`Vault::rotate_kek`] left the key before the current one in use;
    /// [`Vault::maintain`] and `rotate_kek` finish it.
    #[must_use]
    pub fn kek_rotation_pending(&self) -> bool {
        self.kek_rotation_pending
    }

    /// Whether something that was purged can still be opened in the vault's files, until [`Vault::maintain`] or
    /// [`Vault::rotate_kek`] has replaced the key encryption key.
    #[must_use]
    pub fn shred_pending(&self) -> bool {
        self.shred_pending
    }
}

impl Vault {
    /// Ids and counts.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a restricted handle.
    pub fn status(&self) -> Result<VaultStatus> {
        self.act(Operation::Status, Subject::Vault, |act| {
            let inner = act.inner();
            let state = inner.store.state();
            let kek = inner.header.rings().kek;
            Ok(VaultStatus {
                vault_id: *inner.hierarchy.vault_id(),
                fingerprint: inner.hierarchy.fingerprint(),
                generation: state.generation,
                key_count: state.key_count,
                record_count: state.record_count,
                kek_term: kek.current_term,
                kek_rotation_pending: kek.previous.is_some(),
                shred_pending: inner.shred_pending(),
            })
        })
    }

    /// Removes the vault at `path` for ever, after `unlock` has opened its header.
    ///
    /// The header goes first, so that what an interruption leaves cannot be opened. Copies elsewhere, and
    /// blocks that the disk keeps, are out of reach.
    ///
    /// # Errors
    ///
    /// [`VaultNotFound`](ErrorKind::VaultNotFound), [`VaultInUse`](ErrorKind::VaultInUse),
    /// [`WrongKey`](ErrorKind::WrongKey), [`Corrupt`](ErrorKind::Corrupt),
    /// [`Tampered`](ErrorKind::Tampered), [`ReadOnly`](ErrorKind::ReadOnly), [`Io`](ErrorKind::Io).
    pub fn destroy(path: impl AsRef<Path>, unlock: Unlock<'_>) -> Result<()> {
        let path = path.as_ref();
        let destroy = || {
            let dir = VaultDir::open(path)?;
            let [copy_a, copy_b] = header_file::read(&dir)?;
            let candidates = choose(&copy_a, &copy_b, hash32)?;
            open_first(candidates, unlock, OpenLimits::default())?;
            header_file::erase(&dir)?;
            let io = |error: std::io::Error| {
                Error::new(
                    ErrorKind::Io,
                    format!("{} cannot be removed completely", path.display()),
                )
                .with_source(error)
            };
            std::fs::remove_file(path.join(HEADER_FILE)).map_err(io)?;
            std::fs::remove_dir_all(path).map_err(io)
        };
        destroy().map_err(|error: Error| error.with_operation("destroy"))
    }
}
