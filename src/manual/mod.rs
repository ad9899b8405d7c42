//! The manual: what does not belong to any one item.
//!
//! - [`howto`]: recipes, from the first vault to a rotated key.
//! - [`defaults`]: every default and every limit.
//! - [`azure_differences`]: where Azure's documents leave something open, or this library does otherwise.
//! - [`permissions`]: restricted handles and access policies.
//! - [`audit`]: what the audit log records and what it proves.
//! - [`durability`]: what `Ok` promises and what a crash leaves.
//! - [`threat_model`]: against whom the files are protected, and against whom not.
//! - [`backends`]: how to write a backend.
//! - [`mod@format`]: the bytes on disk and in backups.
//! - [`testing`]: kills, power cuts, faults, damage and races: what was tried, and what came of it.
//! - [`benchmarks`]: what the vault costs on top of the bare primitive, and its numbers beside others.

#[doc = include_str!("howto.md")]
pub mod howto {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("azure_differences.md")]
pub mod azure_differences {}

#[doc = include_str!("permissions.md")]
pub mod permissions {}

#[doc = include_str!("audit.md")]
pub mod audit {}

#[doc = include_str!("durability.md")]
pub mod durability {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("backends.md")]
pub mod backends {}

#[doc = include_str!("format.md")]
pub mod format {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[cfg_attr(doc, doc = include_str!("plots/peers.md"))]
#[cfg_attr(doc, doc = include_str!("plots/durable.md"))]
#[cfg_attr(doc, doc = include_str!("plots/scale_time.md"))]
#[cfg_attr(doc, doc = include_str!("plots/scale_memory.md"))]
#[doc = include_str!("benchmarks.md")]
pub mod benchmarks {}
