//! Bytes to structs and back: pure, bounded, and byte for byte as the format document says.

pub(crate) mod anchor;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod backup_payload;
pub(crate) mod bucket;
pub(crate) mod domain_file;
pub(crate) mod fields;
pub(crate) mod gcm_counter;
pub(crate) mod header;
pub(crate) mod intent;
pub(crate) mod key_object;
pub(crate) mod key_version;
mod layout;
pub(crate) mod material;
pub(crate) mod record;
pub(crate) mod ring;
mod rotation_policy;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod state;
#[cfg(any(test, feature = "pkcs11"))]
pub(crate) mod token_key;
#[cfg(any(test, feature = "pkcs11"))]
pub(crate) mod token_key_backup;
pub(crate) mod vault_stream;

#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod material_tests;
#[cfg(test)]
mod record_tests;
#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod version_tests;
