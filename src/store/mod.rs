//! The store.
pub(crate) mod engine;
pub(crate) mod files;
mod memory_engine;
mod parts;
mod points;
mod poison;
mod sled_engine;
pub(crate) mod vault_dir;
