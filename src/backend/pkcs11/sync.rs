//! What the gate, the pool, its seats and the room for an object are made of. A test compiles them once more with other ones, which
//! try the orders in which threads can meet.

pub(super) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};

pub(super) use crate::env::thread_number;
