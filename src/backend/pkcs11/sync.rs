//! What the gate and the pool are made of. A test compiles them once more with other ones, which try the orders in which
//! threads can meet.

pub(super) use std::sync::atomic::{AtomicUsize, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
