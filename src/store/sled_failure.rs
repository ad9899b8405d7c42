//! Errors of sled, as errors of the vault.

use std::any::Any;

use crate::error::{Error, ErrorKind};

/// A failure of the engine, which poisons, or of one record, which does not.
pub(super) enum Failure {
    Engine(Error),
    Record(Error),
}

impl From<sled::Error> for Failure {
    fn from(error: sled::Error) -> Self {
        Self::Engine(engine_error(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Record(error)
    }
}

/// sled panics on data that it cannot have written, and on some calls of the system that fail: those it shows in its
/// message.
pub(super) fn panicked(payload: &(dyn Any + Send)) -> Error {
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    if message.contains("Os { code:") || message.contains("Io(") {
        return Error::new(
            ErrorKind::Io,
            "a call of the system failed inside the storage engine; check the disk and open the vault again",
        );
    }
    Error::new(
        ErrorKind::Corrupt,
        "the storage engine met data that it cannot have written; check the disk and restore the vault",
    )
}

pub(super) fn engine_error(error: sled::Error) -> Error {
    let (kind, message) = match &error {
        sled::Error::Io(io) => match io.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => (
                ErrorKind::StorageFull,
                "no space is left for the vault's records",
            ),
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                (ErrorKind::ReadOnly, "the vault's records cannot be written")
            }
            _ => (
                ErrorKind::Io,
                "the vault's records could not be read or written",
            ),
        },
        sled::Error::Unsupported(_)
        | sled::Error::Corruption { .. }
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_) => {
            (ErrorKind::Corrupt, "the vault's records are damaged")
        }
    };
    Error::new(kind, message).with_source(error)
}
