//! What the overlay, the queue and the answers are made of. A test compiles them once more with other ones, which try the
//! orders in which threads can meet.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::mpsc;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, RwLock};
