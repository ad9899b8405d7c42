//! Copying the files of a closed vault without changing anything about them.

use std::path::Path;

use super::files::{Access, Files, VaultFile};
use super::sled_engine::BLOBS;
use super::switch::{self, BUILDING, READY};
use super::vault_dir::{ANCHOR_FILE, LOCK_FILE, VaultDir};
use crate::error::Result;

const STEP: usize = 1 << 20;

/// Copies every file of the vault at `from`; nobody may have it open meanwhile.
///
/// Errors: those of [`VaultDir::open`], and of writing to `to`.
pub(crate) fn copy_files(from: &Path, to: &VaultDir) -> Result<()> {
    let source = VaultDir::open_unwritten(from)?;
    let mut buffer = vec![0; STEP];
    for name in source.files().list(None)?.unwrap_or_default() {
        // sled's directory for large values is empty in every vault.
        if name == BLOBS || name == LOCK_FILE || name == BUILDING {
            continue;
        }
        if name == READY {
            // A compaction that the next opening brings to its end: here the opening of the copy.
            if let Some(ready) = source.files().subdirectory(READY)? {
                to.files().make_directory(READY)?;
                copy_ready(ready.as_ref(), to, &mut buffer)?;
            }
            continue;
        }
        copy_file(
            source.files().as_ref(),
            to.files().as_ref(),
            &name,
            &mut buffer,
        )?;
    }
    to.set_clean_mark(source.closed_cleanly())
}

fn copy_ready(ready: &dyn Files, to: &VaultDir, buffer: &mut [u8]) -> Result<()> {
    let Some(target) = to.files().subdirectory(READY)? else {
        return Ok(());
    };
    for name in ready.list(None)?.unwrap_or_default() {
        if switch::is_of_the_engine(&name) || name == ANCHOR_FILE {
            copy_file(ready, target.as_ref(), &name, buffer)?;
        }
    }
    Ok(())
}

fn copy_file(from: &dyn Files, to: &dyn Files, name: &str, buffer: &mut [u8]) -> Result<()> {
    let Some(source) = from.open(name, Access::Read)? else {
        return Ok(());
    };
    let Some(target) = to.open(name, Access::Create)? else {
        return Ok(());
    };
    copy_bytes(source.as_ref(), target.as_ref(), buffer)
}

fn copy_bytes(source: &dyn VaultFile, target: &dyn VaultFile, buffer: &mut [u8]) -> Result<()> {
    let mut offset = 0;
    loop {
        let read = source.read_at(buffer, offset)?;
        if read == 0 {
            return Ok(());
        }
        target.write_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
}
