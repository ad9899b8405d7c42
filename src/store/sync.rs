//! What the overlay is made of. A test compiles the overlay once more with other ones, which try the orders in which
//! threads can meet.

pub(super) use std::sync::RwLock;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
