//! The parts of a whole vault's stream, each with its length before it.

use std::io::{Read, Write};

use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::{damaged, invalid};

/// Errors: `Io`.
pub(super) fn write(writer: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    writer.write_all(bytes).map_err(unwritten)
}

/// length u32 ‖ bytes.
///
/// Errors: `Io`.
pub(super) fn write_part(writer: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    let length = u32::try_from(bytes.len())
        .map_err(|_| Error::internal("a part of a stream is longer than its format allows"))?;
    write(writer, &length.to_be_bytes())?;
    write(writer, bytes)
}

/// Errors: `InvalidBackup` when the stream ends before, `Io`.
pub(super) fn read_exact(reader: &mut dyn Read, bytes: &mut [u8]) -> Result<()> {
    reader.read_exact(bytes).map_err(|error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            cut_off()
        } else {
            unread(error)
        }
    })
}

/// Memory grows with what arrives, not with what a length announces.
///
/// Errors: `InvalidBackup`, `Io`.
pub(super) fn read_part(reader: &mut dyn Read, limit: usize) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    read_exact(reader, &mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| damaged())?;
    if length > limit {
        return Err(damaged());
    }
    let mut bytes = Vec::new();
    let mut part = reader.take(length as u64);
    part.read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(cut_off())
    }
}

/// Errors: `InvalidBackup` when there is more, `Io`.
pub(super) fn require_end(reader: &mut dyn Read) -> Result<()> {
    match reader.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(invalid("something follows the end of the backup")),
        Err(error) => Err(unread(error)),
    }
}

fn cut_off() -> Error {
    invalid("the backup of the vault ends before its end; what was restored of it stays")
}

fn unread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "the backup could not be read").with_source(error)
}

pub(super) fn unwritten(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "the backup could not be written").with_source(error)
}
