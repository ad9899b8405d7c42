//! How replacing the key encryption key of a large vault is felt: four threads sign and create keys, first alone,
//! then while the key is replaced, in one run.
//!
//!     cargo bench --bench rotation            # 100,000 keys
//!     cargo bench --bench rotation -- 10000
//!
//! It ends with an error when any operation fails.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a benchmark"
)]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use strongroom::{
    CreateKeyOptions, Curve, KeyName, MasterKey, OctKeySize, SignatureAlgorithm, Unlock, Vault,
    VaultOptions,
};

const THREADS: u64 = 4;
const SIGNERS: u64 = 64;
const FILLERS: u64 = 32;

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// Kilobytes of memory that the process has in use.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn fill(vault: &Vault, keys: u64) {
    let next = AtomicU64::new(SIGNERS);
    thread::scope(|scope| {
        for _ in 0..FILLERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= keys {
                        break;
                    }
                    vault
                        .create_key(
                            &name(&format!("filler-{number}")),
                            CreateKeyOptions::oct(OctKeySize::Bits256),
                        )
                        .unwrap();
                }
            });
        }
    });
    for number in 0..SIGNERS {
        vault
            .create_key(
                &name(&format!("signer-{number}")),
                CreateKeyOptions::ec(Curve::P256),
            )
            .unwrap();
    }
}

/// What four threads saw while `until` ran.
struct Felt {
    signs: Vec<Duration>,
    creates: u64,
    most_memory: u64,
    took: Duration,
}

fn four_threads(vault: &Vault, round: &str, until: impl FnOnce()) -> Felt {
    let stop = Arc::new(AtomicBool::new(false));
    let signs = Mutex::new(Vec::new());
    let creates = AtomicU64::new(0);
    let most_memory = AtomicU64::new(resident());
    let mut took = Duration::ZERO;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stop, signs, creates) = (Arc::clone(&stop), &signs, &creates);
            scope.spawn(move || {
                let mut own = Vec::new();
                let mut count = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let signer = name(&format!("signer-{}", (count * 7 + thread) % SIGNERS));
                    let begun = Instant::now();
                    vault
                        .sign_data(&signer, SignatureAlgorithm::Es256, b"text")
                        .unwrap();
                    own.push(begun.elapsed());
                    if count.is_multiple_of(16) {
                        vault
                            .create_key(
                                &name(&format!("{round}-{thread}-{count}")),
                                CreateKeyOptions::oct(OctKeySize::Bits256),
                            )
                            .unwrap();
                        creates.fetch_add(1, Ordering::Relaxed);
                    }
                    count += 1;
                }
                signs.lock().unwrap().extend(own);
            });
        }
        let watch = Arc::clone(&stop);
        let most_memory = &most_memory;
        scope.spawn(move || {
            while !watch.load(Ordering::Relaxed) {
                most_memory.fetch_max(resident(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        until();
        took = begun.elapsed();
        stop.store(true, Ordering::Relaxed);
    });
    let mut signs = signs.into_inner().unwrap();
    signs.sort_unstable();
    Felt {
        signs,
        creates: creates.into_inner(),
        most_memory: most_memory.into_inner(),
        took,
    }
}

fn at(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[place].as_secs_f64() * 1e6
}

fn main() {
    let keys: u64 = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(100_000);
    let directory = tempfile::tempdir().unwrap();
    let master = MasterKey::generate().unwrap();
    let vault = VaultOptions::new()
        .create(directory.path().join("vault"), Unlock::raw_key(&master))
        .unwrap();
    let begun = Instant::now();
    fill(&vault, keys);
    println!("{keys} keys made in {:.1?}", begun.elapsed());

    // Opens every signer once, so that both rounds find them.
    drop(four_threads(&vault, "warm", || {
        thread::sleep(Duration::from_secs(1))
    }));
    let before = resident();
    let mut resealed = 0;
    let rotated = four_threads(&vault, "rotated", || {
        resealed = vault.rotate_kek().unwrap().resealed();
    });
    let alone = four_threads(&vault, "alone", || thread::sleep(rotated.took));
    println!(
        "rotation: {:.2?}, {resealed} key objects sealed anew",
        rotated.took
    );
    println!(
        "memory: {} MiB before, at most {} MiB during the rotation, {} MiB without",
        before / 1024,
        rotated.most_memory / 1024,
        alone.most_memory / 1024
    );
    for (what, felt) in [("with", &rotated), ("without", &alone)] {
        println!(
            "{what:>8} rotation: {} signatures, {} keys made; sign p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs",
            felt.signs.len(),
            felt.creates,
            at(&felt.signs, 0.5),
            at(&felt.signs, 0.99),
            at(&felt.signs, 0.999)
        );
    }
    println!(
        "p99 with / without: {:.2}",
        at(&rotated.signs, 0.99) / at(&alone.signs, 0.99)
    );
    let report = vault.check().unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
    assert_eq!(report.previous_kek_keys(), 0);
}
