//! A vault whose bytes are altered from outside while it is closed: what opening, checking and using it then gives.
//!
//! The promise under test: a typed error, or a repair that is reported, or no effect at all; never other
//! data, a panic, or a call that does not return.

mod files;
mod journal;
mod random;
mod records;
mod subject;
