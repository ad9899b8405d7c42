//! Bytes to structs and back: pure, bounded, and byte for byte as the format document says.

pub(crate) mod record;
pub(crate) mod ring;
