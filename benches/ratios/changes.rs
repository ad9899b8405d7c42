//! Durable changes: one thread against the disk, and many threads against one.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::{CreateKeyOptions, Curve, MasterKey, Unlock, Vault, VaultOptions};

use crate::operations::name;
use crate::pairs::Pair;
use crate::table::{Line, Twice};
use crate::{Size, progress, quartiles};

const THREADS: u64 = 32;
/// So many rounds of each kind, in alternation.
const ROUNDS: usize = 9;

pub(crate) fn lines(size: &Size, directory: &Path, master: &MasterKey, lines: &mut Vec<Line>) {
    let vault = VaultOptions::new()
        .create(directory.join("growing"), Unlock::raw_key(master))
        .expect("a vault");
    lines.push(one_thread(size, "create_ec_durably", &vault, directory));
    #[cfg(feature = "aws-lc")]
    {
        let vault = VaultOptions::new()
            .crypto_engine(strongroom::CryptoEngine::AwsLc)
            .create(directory.join("growing-aws-lc"), Unlock::raw_key(master))
            .expect("a vault");
        let what = "create_ec_durably, aws-lc";
        lines.push(one_thread(size, what, &vault, directory).without_bound());
    }
    lines.push(many_threads(size, &vault));
    vault.close().expect("closed");
}

fn create(vault: &Vault, number: u64) {
    let options = CreateKeyOptions::ec(Curve::P256).tag("team", "billing");
    vault
        .create_key(&name(&format!("key-{number}")), options)
        .expect("the key is made");
}

/// A durable key, and 1.5 KiB appended and synced in the same directory.
fn one_thread(size: &Size, what: &'static str, vault: &Vault, directory: &Path) -> Line {
    progress(what);
    let mut number = 0;
    let mut log = File::create(directory.join("log")).expect("a file");
    let mut pair = Pair::new(
        what,
        || {
            number += 1;
            create(vault, number);
        },
        || {
            log.write_all(&[0x44; 1_536]).expect("written");
            log.sync_data().expect("synced");
        },
    );
    let measured = pair.measure(size.samples(501), size.time(Duration::from_secs(6)));
    Line::ratio(
        what,
        format!("{:.0} us", measured.vault_median),
        format!("{:.0} us, append + sync", measured.bare_median),
        Twice {
            median: measured.median_ratio(),
            fast: measured.fast_ratio(),
        },
        2.0,
    )
}

fn many_threads(size: &Size, vault: &Vault) -> Line {
    progress("create_ec_durably, 32 threads");
    let next = AtomicU64::new(1 << 32);
    let rate = |threads: u64, each: u64| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..each {
                        create(vault, next.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        (threads * each) as f64 / start.elapsed().as_secs_f64()
    };
    let each = size.keys.min(1_600) as u64;
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..size.samples(ROUNDS) {
        one.push(rate(1, each / 4));
        many.push(rate(THREADS, each / THREADS));
    }
    let (one, many) = (quartiles(one), quartiles(many));
    Line::gain(
        "create_ec_durably, 32 threads",
        format!("{:.0}/s", many.median),
        format!("{:.0}/s, 1 thread", one.median),
        Twice {
            median: many.median / one.median,
            fast: many.upper / one.upper,
        },
        4.0,
    )
}
