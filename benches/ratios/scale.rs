//! A vault of many keys: reading, opening, the size of its files, and its memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use strongroom::{
    CreateKeyOptions, Curve, KeyName, MasterKey, OctKeySize, PageSize, Unlock, Vault, VaultOptions,
};

use crate::engine::{BareEngine, bare_copy};
use crate::operations::name;
use crate::table::{Line, Twice};
use crate::{Size, master_key, progress, quartiles};

/// The argument that makes this program the child whose memory is measured.
pub(crate) const CHILD: &str = "--resident-memory-of";

pub(crate) fn lines(size: &Size, directory: &Path, master: &MasterKey, lines: &mut Vec<Line>) {
    let (path, keys) = (directory.join("filled"), size.keys);
    let ec = || CreateKeyOptions::ec(Curve::P256).tag("team", "billing");
    fill(&path, master, keys, ec);
    lines.push(opening(size, &path, master, keys, 0.25));
    reading(size, &path, master, keys, lines);
    lines.push(resident_memory(&path, keys));

    progress("compact");
    let payload = payload(&path);
    let (vault, report) = VaultOptions::new()
        .compact(&path, Unlock::raw_key(master))
        .expect("compacted");
    vault.close().expect("closed");
    let sizes = [
        ("random creates", report.bytes_before(), 2.3),
        ("after compact()", report.bytes_after(), 1.7),
    ];
    for (when, bytes, bound) in sizes {
        let ratio = bytes as f64 / payload as f64;
        lines.push(Line::ratio(
            format!("file / payload, {when}"),
            megabytes(bytes),
            megabytes(payload),
            Twice {
                median: ratio,
                fast: ratio,
            },
            bound,
        ));
    }
    if size.million {
        let (path, keys) = (directory.join("million"), 1_000_000);
        fill(&path, master, keys, || {
            CreateKeyOptions::oct(OctKeySize::Bits256)
        });
        lines.push(opening(size, &path, master, keys, 2.5));
    }
}

/// Made in batches; the names hash to all places of the store alike.
fn fill(
    path: &Path,
    master: &MasterKey,
    keys: usize,
    options: impl Fn() -> CreateKeyOptions + Sync,
) {
    progress(&format!("a vault of {keys} keys"));
    let vault = VaultOptions::new()
        .create(path, Unlock::raw_key(master))
        .expect("a vault");
    let next = AtomicUsize::new(0);
    const BATCH: usize = 512;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(BATCH, Ordering::Relaxed);
                    if from >= keys {
                        break;
                    }
                    let items = (from..keys.min(from + BATCH))
                        .map(|number| (nth(number), options()))
                        .collect();
                    for made in vault.create_many(items).expect("a batch") {
                        made.expect("a key");
                    }
                }
            });
        }
    });
    vault.close().expect("closed");
}

fn nth(number: usize) -> KeyName {
    name(&format!("key-{number}"))
}

fn open(path: &Path, master: &MasterKey) -> Vault {
    VaultOptions::new()
        .open(path, Unlock::raw_key(master))
        .expect("the vault opens")
}

/// With a raw key and the files in the page cache; closing is not counted.
fn opening(size: &Size, path: &Path, master: &MasterKey, keys: usize, bound: f64) -> Line {
    progress("open");
    // Once without counting, so that the files are in the page cache.
    open(path, master).close().expect("closed");
    let seconds = (0..size.samples(7)).map(|_| {
        let start = Instant::now();
        let vault = open(path, master);
        let elapsed = start.elapsed().as_secs_f64();
        vault.close().expect("closed");
        elapsed
    });
    let seconds = quartiles(seconds.collect());
    Line::quantity(
        format!("open at {keys} keys"),
        Twice {
            median: seconds.median,
            fast: seconds.lower,
        },
        bound,
        "s",
    )
}

fn reading(size: &Size, path: &Path, master: &MasterKey, keys: usize, lines: &mut Vec<Line>) {
    progress("get_key, and pages");
    let vault = VaultOptions::new()
        .key_cache(0)
        .open(path, Unlock::raw_key(master))
        .expect("the vault opens");
    // A stride that is prime to the counts of keys that are used here, so that each key has its turn once before any
    // comes again.
    let mut at = 0;
    let mut next = || {
        at = (at + 7_919) % keys;
        nth(at)
    };
    for _ in 0..keys {
        vault.get_key(&next()).expect("the key");
    }
    let micros = (0..size.samples(40_000)).map(|_| {
        let key = next();
        let start = Instant::now();
        vault.get_key(&key).expect("the key");
        start.elapsed().as_secs_f64() * 1e6
    });
    let micros = quartiles(micros.collect());
    lines.push(Line::quantity(
        format!("get_key uncached at {keys} keys"),
        Twice {
            median: micros.median,
            fast: micros.lower,
        },
        40.0,
        "us",
    ));
    let mut token = None;
    let millis = (0..size.samples(2_000)).map(|_| {
        let start = Instant::now();
        let page = vault
            .list_key_properties_page(token.as_ref(), PageSize::new(25).expect("a size"))
            .expect("a page");
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        token = page.continuation().cloned();
        elapsed
    });
    let millis = quartiles(millis.collect());
    lines.push(Line::quantity(
        format!("page of 25 at {keys} keys"),
        Twice {
            median: millis.median,
            fast: millis.lower,
        },
        0.5,
        "ms",
    ));
    vault.close().expect("closed");
}

/// Bytes of keys and values in the storage engine, counted on a copy: it writes when it opens.
fn payload(path: &Path) -> u64 {
    let copy = bare_copy(path);
    let engine = BareEngine::open(&copy);
    let lengths = engine.tree.iter().map(|item| {
        let (key, value) = item.expect("the engine reads");
        (key.len() + value.len()) as u64
    });
    let payload = lengths.sum();
    drop(engine);
    std::fs::remove_dir_all(copy).expect("removed");
    payload
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// In a process of its own, which holds nothing but the vault.
fn resident_memory(path: &Path, keys: usize) -> Line {
    progress("resident memory");
    let own = std::env::current_exe().expect("this program");
    let output = Command::new(own)
        .arg(CHILD)
        .arg(path)
        .arg(keys.to_string())
        .output()
        .expect("the child runs");
    assert!(output.status.success(), "the child failed: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let kib: f64 = text.trim().parse().expect("a number");
    let megabytes = kib * 1_024.0 / 1e6;
    Line::quantity(
        format!("RSS with {keys} EC keys, all read"),
        Twice {
            median: megabytes,
            fast: megabytes,
        },
        220.0,
        "MB",
    )
}

/// The child: opens the vault, reads every key, and says how much memory it has then.
pub(crate) fn child(mut arguments: impl Iterator<Item = String>) {
    let path = PathBuf::from(arguments.next().expect("a path"));
    let keys: usize = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .expect("a count of keys");
    let vault = open(&path, &master_key());
    for number in 0..keys {
        vault.get_key(&nth(number)).expect("the key");
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("what the system knows");
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .expect("VmRSS");
    println!("{kib}");
}
