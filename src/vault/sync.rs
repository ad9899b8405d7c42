//! What the cache is made of. A test compiles the cache once more with other ones, which try the orders in which threads
//! can meet.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(super) use std::thread_local;
