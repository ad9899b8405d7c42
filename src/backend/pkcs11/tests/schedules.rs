//! The gate under thousands of orders in which threads can meet: nobody is inside with somebody who excludes others, and
//! nobody waits for ever. A scheduler picks the orders, and finds it when all threads wait.

use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::atomic::{AtomicUsize, Ordering};

use crate::store::tests::programme::{Figures, cases};

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../gate.rs"]
mod gate;

/// Where the gate looks for them.
use crate::backend::pkcs11::error;
mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicUsize, Ordering};
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

/// Nobody waits so long: who gives up has waited for nothing.
const PATIENCE: Duration = Duration::from_secs(3_600);

fn meet() {
    let gate = Arc::new(gate::Gate::default());
    let inside = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for _ in 0..3 {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        threads.push(shuttle::thread::spawn(move || {
            for _ in 0..2 {
                let permit = gate.enter(PATIENCE).unwrap();
                inside.fetch_add(1, Ordering::SeqCst);
                shuttle::thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            }
        }));
    }
    for _ in 0..2 {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        threads.push(shuttle::thread::spawn(move || {
            let alone = gate.exclude(PATIENCE).unwrap();
            assert_eq!(inside.fetch_add(100, Ordering::SeqCst), 0, "not alone");
            shuttle::thread::yield_now();
            assert_eq!(inside.fetch_sub(100, Ordering::SeqCst), 100, "not alone");
            drop(alone);
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    // Nothing is left over.
    drop(gate.exclude(PATIENCE).unwrap());
}

#[test]
fn whoever_excludes_others_is_alone_in_every_order() {
    let figures = Figures::begin("orders of threads at the token's gate");
    let count = cases(5_000, 500_000);
    shuttle::check_random(meet, count);
    shuttle::check_pct(meet, count, 3);
    figures.count(2 * count);
    figures.finish();
}
