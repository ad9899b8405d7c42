//! The header file: two identical copies, written one after the other.

use super::files::Access;
use super::sled_log::DB_FILE;
use super::vault_dir::{HEADER_FILE, VaultDir};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::HEADER_COPY_LENGTH;

/// The two copies as they stand in the file, shorter where the file ends before.
///
/// Errors: `VaultNotFound` when there is no header file; `Corrupt` when only it is missing.
pub(crate) fn read(dir: &VaultDir) -> Result<[Vec<u8>; 2]> {
    let file = dir
        .files()
        .open(HEADER_FILE, Access::Read)?
        .map_or_else(|| Err(missing(dir)), Ok)?;
    let mut copies = [(); 2].map(|()| vec![0; HEADER_COPY_LENGTH]);
    for (number, copy) in copies.iter_mut().enumerate() {
        let length = file.read_at(copy, (number * HEADER_COPY_LENGTH) as u64)?;
        copy.truncate(length);
    }
    Ok(copies)
}

/// Records without a header are what is left of a vault, not a place where there is none.
fn missing(dir: &VaultDir) -> Error {
    match dir.files().list(None) {
        Ok(Some(names)) if names.iter().any(|name| name == DB_FILE) => Error::new(
            ErrorKind::Corrupt,
            format!(
                "the file `vault.hdr` is missing from {}; restore it from a copy, without it the vault's \
                 records cannot be opened",
                dir.path().display()
            ),
        ),
        Ok(_) => Error::new(
            ErrorKind::VaultNotFound,
            format!("there is no vault at {}", dir.path().display()),
        ),
        Err(error) => error,
    }
}

/// Writes both copies, each durable before the next begins; makes the file when there is none.
pub(crate) fn write(dir: &VaultDir, copy: &[u8]) -> Result<()> {
    if copy.len() != HEADER_COPY_LENGTH {
        return Err(Error::internal("a header copy has a wrong length"));
    }
    let file = dir
        .files()
        .open(HEADER_FILE, Access::Create)?
        .ok_or_else(|| Error::internal("a created file does not exist"))?;
    for offset in [0, HEADER_COPY_LENGTH as u64] {
        file.write_at(copy, offset)?;
        file.sync_data()?;
    }
    dir.files().sync_directory(None)
}

/// Overwrites both copies with zeros, durably: without them nothing in the directory opens.
pub(crate) fn erase(dir: &VaultDir) -> Result<()> {
    write(dir, &[0; HEADER_COPY_LENGTH])
}

/// Rewrites a copy that differs from the verified one; whether there was any.
pub(crate) fn heal(dir: &VaultDir, verified: &[u8]) -> Result<bool> {
    let copies = read(dir)?;
    if copies.iter().all(|copy| copy == verified) {
        return Ok(false);
    }
    let file = dir
        .files()
        .open(HEADER_FILE, Access::ReadWrite)?
        .ok_or_else(|| Error::new(ErrorKind::Io, "`vault.hdr` went away while it was read"))?;
    for (number, copy) in copies.iter().enumerate() {
        if copy != verified {
            file.write_at(verified, (number * HEADER_COPY_LENGTH) as u64)?;
            file.sync_data()?;
        }
    }
    Ok(true)
}
