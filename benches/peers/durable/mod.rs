//! Durable inserts of one record, into vaults and into the engines beneath this and other stores.
//!
//! All are in one directory below the target directory, on a file system that has to be a real one, and every insert is
//! on the disk when it returns, but for the bare `flush` of the vault's engine, which leaves that to the kernel. Keys come
//! in random order, and a record is as long as what a vault seals.

mod stores;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stores::{Store, mixed};

use crate::contest::{micros, quartile};

const THREADS: u64 = 32;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The least that a durable insert can be.
    Disk,
    Vault,
    /// The engine of the vault, without it.
    OwnEngine,
    OtherEngine,
}

/// What inserts took.
#[derive(Clone, Debug)]
pub(crate) struct Inserts {
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
    /// Microseconds for one insert, one thread.
    pub(crate) median: f64,
    pub(crate) fast: f64,
    /// Bytes handed to the kernel for one insert.
    pub(crate) written: Option<f64>,
    /// Inserts in a second, 32 threads.
    pub(crate) rate: Option<f64>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) least: usize,
    pub(crate) time: Duration,
    pub(crate) rounds_of_threads: usize,
    pub(crate) each: u64,
}

pub(crate) fn measure(directory: &Path, effort: Effort) -> Vec<Inserts> {
    let vaults = stores::vaults(directory);
    let stores = stores::all(directory, &vaults);
    let next = AtomicU64::new(1);
    for store in &stores {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (store.insert)(number);
        assert!((store.holds)(number), "{} has it", store.label);
    }
    let alone = one_thread(&stores, &next, effort);
    let rates = many_threads(&stores, &next, effort);
    let taken = alone.into_iter().zip(rates);
    let inserts = stores
        .iter()
        .zip(taken)
        .map(|(store, (alone, rate))| Inserts {
            label: store.label,
            kind: store.kind,
            median: quartile(alone.times.clone(), 2),
            fast: quartile(alone.times, 1),
            written: mean(&alone.written),
            rate,
        });
    let inserts = inserts.collect();
    drop(stores);
    for vault in vaults {
        vault.close().expect("closed");
    }
    inserts
}

/// Each in turn, one insert at a time, in another order each round: what one leaves behind for the disk to do does not
/// always meet the same other.
fn one_thread(stores: &[Store<'_>], next: &AtomicU64, effort: Effort) -> Vec<Alone> {
    eprintln!("durable inserts, one thread ...");
    let mut taken = vec![Alone::default(); stores.len()];
    let mut order: Vec<usize> = (0..stores.len()).collect();
    let deadline = Instant::now() + effort.time;
    let mut round = 0;
    while round < effort.least || (Instant::now() < deadline && round < 10_000) {
        order.sort_by_key(|place| mixed((round * stores.len() + place) as u64));
        for &turn in &order {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let before = written();
            let start = Instant::now();
            (stores[turn].insert)(number);
            taken[turn].times.push(micros(start.elapsed()));
            taken[turn]
                .written
                .extend(written().zip(before).map(|(after, before)| after - before));
        }
        round += 1;
    }
    taken
}

/// What one thread measured.
#[derive(Clone, Debug, Default)]
struct Alone {
    times: Vec<f64>,
    written: Vec<f64>,
}

/// Bytes that this process has handed to the kernel, by its account.
fn written() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar:"));
    line?.trim().parse().ok()
}

fn many_threads(stores: &[Store<'_>], next: &AtomicU64, effort: Effort) -> Vec<Option<f64>> {
    eprintln!("durable inserts, {THREADS} threads ...");
    let mut rates = vec![Vec::new(); stores.len()];
    for _ in 0..effort.rounds_of_threads {
        for (store, rates) in stores.iter().zip(&mut rates) {
            if !store.in_threads {
                continue;
            }
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        for _ in 0..effort.each {
                            (store.insert)(next.fetch_add(1, Ordering::Relaxed));
                        }
                    });
                }
            });
            rates.push((THREADS * effort.each) as f64 / start.elapsed().as_secs_f64());
        }
    }
    let median = |rates: Vec<f64>| (!rates.is_empty()).then(|| quartile(rates, 2));
    rates.into_iter().map(median).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
