//! What the vault costs on top of the bare primitive.
//!
//! `cargo bench --bench vault` measures every operation twice, through the vault and as the bare call of
//! the same crates with a parsed key, in one criterion group. Because the two halves of a group run one
//! after the other, a busy machine bends their quotient; so the program then runs each pair once more in
//! alternation and prints the ratio of the medians and of the fast quartiles. With the feature `aws-lc` there are pairs
//! of that engine, too.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod engine;
mod operations;
mod pairs;

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode};
use engine::{BareEngine, bare_copy};
use operations::{DIGEST, ec_pairs, name, rsa_pairs, symmetric_pairs};
use pairs::{Pair, print_ratios};
use strongroom::{
    CreateKeyOptions, Curve, KeyName, MasterKey, SignatureAlgorithm, Unlock, Vault, VaultOptions,
};

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test" || argument == "--list");
    let mut criterion = Criterion::default().configure_from_args();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let master = MasterKey::generate().expect("a key");
    let stored = VaultOptions::new()
        .create(scratch.path().join("growing"), Unlock::raw_key(&master))
        .expect("a vault");
    let vault = VaultOptions::new().create_in_memory().expect("a vault");
    #[cfg(feature = "aws-lc")]
    let on_aws_lc = VaultOptions::new()
        .crypto_engine(strongroom::CryptoEngine::AwsLc)
        .create_in_memory()
        .expect("a vault");
    let mut pairs = Vec::new();
    rsa_pairs(&vault, &mut pairs);
    ec_pairs(&vault, &mut pairs);
    symmetric_pairs(&vault, &mut pairs);
    #[cfg(feature = "aws-lc")]
    aws_lc::pairs(&on_aws_lc, &mut pairs);
    for pair in &mut pairs {
        pair.bench(&mut criterion);
    }

    let keys: u32 = if quick { 64 } else { 10_000 };
    let path = scratch.path().join("filled");
    fill(&path, &master, keys);
    reading(&mut criterion, &path, &master, keys);
    opening(&mut criterion, &path, &master, keys);
    creating_in_memory(&mut criterion);
    creating_in_threads(&mut criterion, &stored);
    let mut creating = creating(&stored, scratch.path());
    creating.bench(&mut criterion);
    pairs.push(creating);
    criterion.final_summary();

    if !quick {
        print_ratios(&mut pairs);
    }
}

/// A vault with this many EC keys, made by threads so that they share commits.
fn fill(path: &Path, master: &MasterKey, keys: u32) {
    let vault = VaultOptions::new()
        .create(path, Unlock::raw_key(master))
        .expect("a vault");
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= u64::from(keys) {
                        break;
                    }
                    vault
                        .create_key(&name(&format!("key-{number}")), options())
                        .expect("the key is made");
                }
            });
        }
    });
    vault.close().expect("closed");
}

fn options() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256).tag("team", "billing")
}

/// `get_key` reads and opens two records; `sign` without a key cache opens the key as well.
fn reading(criterion: &mut Criterion, path: &Path, master: &MasterKey, keys: u32) {
    // Copied while nobody has it open.
    bare_copy(path);
    let vault = VaultOptions::new()
        .key_cache(0)
        .open(path, Unlock::raw_key(master))
        .expect("the vault opens");
    let mut group = criterion.benchmark_group("get_key");
    let hot = name("key-0");
    group.bench_function("same_key", |bencher| {
        bencher.iter(|| vault.get_key(&hot).expect("the key"));
    });
    let names: Vec<KeyName> = (0..keys)
        .map(|number| name(&format!("key-{number}")))
        .collect();
    // A stride that is prime to every count of keys used here.
    let mut at = 0;
    let mut next = || {
        at = (at + 7_919) % names.len();
        &names[at]
    };
    group.bench_function(BenchmarkId::new("of_keys", keys), |bencher| {
        bencher.iter(|| vault.get_key(next()).expect("the key"));
    });
    let engine = BareEngine::open(&bare_copy(path));
    let records = engine.records_of_keys();
    let mut at = 0;
    group.bench_function(BenchmarkId::new("of_keys_bare", keys), |bencher| {
        bencher.iter(|| {
            at = (at + 7_919) % records.len();
            for key in &records[at] {
                black_box(engine.tree.get(key).expect("the engine reads"));
            }
        });
    });
    group.finish();
    drop(engine);
    let mut group = criterion.benchmark_group("sign_es256_without_key_cache");
    group.bench_function(BenchmarkId::new("of_keys", keys), |bencher| {
        bencher.iter(|| {
            vault
                .sign(next(), SignatureAlgorithm::Es256, &DIGEST[..32])
                .expect("a signature")
        });
    });
    group.finish();
    vault.close().expect("closed");
}

/// Opening with a raw key; closing is not counted.
fn opening(criterion: &mut Criterion, path: &Path, master: &MasterKey, keys: u32) {
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new("keys", keys), |bencher| {
        bencher.iter_custom(|count| {
            (0..count)
                .map(|_| {
                    let start = Instant::now();
                    let vault = VaultOptions::new()
                        .open(path, Unlock::raw_key(master))
                        .expect("the vault opens");
                    let elapsed = start.elapsed();
                    vault.close().expect("closed");
                    elapsed
                })
                .sum()
        });
    });
    let copy = bare_copy(path);
    group.bench_function(BenchmarkId::new("keys_bare", keys), |bencher| {
        bencher.iter_custom(|count| {
            (0..count)
                .map(|_| {
                    // The lock of the one before is gone once it can be opened; that wait is not counted.
                    drop(BareEngine::open(&copy));
                    std::thread::sleep(Duration::from_millis(100));
                    let start = Instant::now();
                    let engine = BareEngine::open(&copy);
                    let elapsed = start.elapsed();
                    drop(engine);
                    elapsed
                })
                .sum()
        });
    });
    group.finish();
}

/// A durable key, and 1.5 KiB appended and synced in the same directory.
fn creating<'a>(vault: &'a Vault, directory: &Path) -> Pair<'a> {
    let mut number = 0;
    let mut log = File::create(directory.join("log")).expect("a file");
    Pair::new(
        "create_ec_durably",
        move || {
            number += 1;
            vault
                .create_key(&name(&format!("one-{number}")), options())
                .expect("the key is made");
        },
        move || {
            log.write_all(&[0x44; 1_536]).expect("written");
            log.sync_data().expect("synced");
        },
    )
}

/// What creating costs without the disk: generation, its test, sealing and the way through the committing thread.
fn creating_in_memory(criterion: &mut Criterion) {
    let vault = VaultOptions::new().create_in_memory().expect("a vault");
    let mut number = 0;
    let mut group = criterion.benchmark_group("create_ec_in_memory");
    group.bench_function("vault", |bencher| {
        bencher.iter(|| {
            number += 1;
            vault
                .create_key(&name(&format!("one-{number}")), options())
                .expect("the key is made");
        });
    });
    group.finish();
}

/// Time per key when 32 threads create keys.
fn creating_in_threads(criterion: &mut Criterion, vault: &Vault) {
    const THREADS: u64 = 32;
    let next = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("create_ec_durably_32_threads");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("vault", |bencher| {
        bencher.iter_custom(|count| {
            let each = count.div_ceil(THREADS);
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        for _ in 0..each {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            vault
                                .create_key(&name(&format!("many-{number}")), options())
                                .expect("the key is made");
                        }
                    });
                }
            });
            // Scaled to the calls that were asked for.
            start
                .elapsed()
                .mul_f64(count as f64 / (each * THREADS) as f64)
        });
    });
    group.finish();
}
