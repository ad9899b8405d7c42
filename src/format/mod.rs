//! Bytes to structs and back: pure, bounded, and byte for byte as the format document says.

pub(crate) mod anchor;
pub(crate) mod backup;
pub(crate) mod bucket;
pub(crate) mod fields;
pub(crate) mod gcm_counter;
pub(crate) mod header;
pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod slot;
pub(crate) mod state;

#[cfg(test)]
mod tests;
