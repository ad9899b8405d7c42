//! Opening a vault without writing anything into its directory: a private copy is opened in its place.

use std::path::Path;

use super::open::Opening;
use super::scratch_copy::ScratchCopy;
use super::{Vault, VaultOptions};
use crate::error::{Error, Result};
use crate::seal::slot::Unlock;
use crate::store::VaultDir;

impl VaultOptions {
    /// Opens the vault at `path` without writing anything there: for auditors and read-only disks.
    ///
    /// The storage engine writes whenever it opens its files. So they are copied into a new directory inside `scratch`,
    /// mode 0700, which needs as much room as the vault has, and the copy is opened; it is removed when the vault is
    /// closed, and holds nothing that the vault's directory does not hold. In the vault's own directory files are read,
    /// and `vault.lock` is locked while they are copied, no more.
    ///
    /// What opening would have mended is mended in the copy, and [`Vault::open_report`] tells of it. Every change is
    /// refused with [`ReadOnly`](crate::ErrorKind::ReadOnly), among them encryptions with AES-GCM, which are counted.
    /// Nothing in a backend is settled, and a rollback guard is asked but told nothing.
    ///
    /// # Errors
    ///
    /// As [`VaultOptions::open`]; what concerns writing concerns `scratch`.
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::{ErrorKind, KeyName, MasterKey, Unlock, VaultOptions};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("vault");
    /// # let scratch = tempfile::tempdir()?;
    /// let master = MasterKey::generate()?;
    /// VaultOptions::new().create(&path, Unlock::raw_key(&master))?.close()?;
    /// let unlock = Unlock::raw_key(&master);
    /// let vault = VaultOptions::new().open_read_only(&path, unlock, scratch.path())?;
    /// assert!(vault.is_read_only() && vault.check()?.is_clean());
    /// let refused = vault.rotate_kek().unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::ReadOnly);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read_only(
        self,
        path: impl AsRef<Path>,
        unlock: Unlock<'_>,
        scratch: impl AsRef<Path>,
    ) -> Result<Vault> {
        let open = || {
            self.check()?;
            let beside = scratch.as_ref().join("strongroom-read-only");
            let copy = ScratchCopy::of(path.as_ref(), &beside, self.random_source())?;
            let dir = VaultDir::open(copy.path())?;
            self.open_dir(dir, unlock, Opening::ReadOnly(copy))
        };
        open().map_err(|error: Error| error.with_operation("open_read_only"))
    }
}

impl Vault {
    /// Whether the vault was opened with [`VaultOptions::open_read_only`].
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        !self.inner.store.is_writable()
    }
}
