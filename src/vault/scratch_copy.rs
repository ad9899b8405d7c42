//! A private copy of a vault's files, for those who must not change them.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::env::Entropy;
use crate::error::{Error, Result};
use crate::store::{VaultDir, copy_files};

/// A copy of a vault's files, removed with its last user. It holds what the vault's directory holds: sealed records.
pub(super) struct ScratchCopy {
    path: PathBuf,
}

impl ScratchCopy {
    /// Copies the files of the vault at `from` into a new directory `<beside>-<random>`; nobody may have it open.
    pub(super) fn of(from: &Path, beside: &Path, entropy: &dyn Entropy) -> Result<Self> {
        let mut random = [0; 8];
        entropy.fill(&mut random)?;
        let mut name = beside
            .file_name()
            .ok_or_else(|| Error::bad_parameter("the path names no directory"))?
            .to_owned();
        name.push(format!("-{:016x}", u64::from_be_bytes(random)));
        let path = beside.with_file_name(name);
        let to = VaultDir::create(&path)?;
        // From here on it is removed in any case.
        let copy = Self { path };
        copy_files(from, &to)?;
        Ok(copy)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchCopy {
    fn drop(&mut self) {
        // What stays behind is sealed, and nobody is left to tell.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl fmt::Debug for ScratchCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScratchCopy")
            .field("path", &self.path)
            .finish()
    }
}
