//! Durable changes: one thread against the disk, and many threads against one.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::{
    CreateKeyOptions, Curve, KeyName, MasterKey, OctKeySize, Unlock, Vault, VaultOptions,
};

use crate::operations::name;
use crate::pairs::Pair;
use crate::table::{Line, Twice};
use crate::{Size, progress, quartiles};

const THREADS: u64 = 32;
/// What a slower disk needs besides, to show what does not depend on how fast this one is.
const LONGER: Duration = Duration::from_millis(1);
/// So many rounds of each kind, in alternation.
const ROUNDS: usize = 9;

pub(crate) fn lines(size: &Size, directory: &Path, master: &MasterKey, lines: &mut Vec<Line>) {
    let vault = VaultOptions::new()
        .create(directory.join("growing"), Unlock::raw_key(master))
        .expect("a vault");
    lines.push(one_thread(size, "create_ec_durably", &vault, directory));
    #[cfg(feature = "aws-lc")]
    let on_aws_lc = {
        let vault = VaultOptions::new()
            .crypto_engine(strongroom::CryptoEngine::AwsLc)
            .create(directory.join("growing-aws-lc"), Unlock::raw_key(master))
            .expect("a vault");
        let what = "create_ec_durably, aws-lc";
        lines.push(one_thread(size, what, &vault, directory).without_bound());
        vault
    };
    let next = AtomicU64::new(1 << 32);
    let [reached, most] = many_threads(size, "create_ec_durably, 32 threads", &vault, &next);
    lines.extend([reached.within(&most), most]);
    strongroom::lengthen_syncs(LONGER);
    let what = "  with 1 ms more for each sync";
    lines.extend(many_threads(size, what, &vault, &next));
    strongroom::lengthen_syncs(Duration::ZERO);
    #[cfg(feature = "aws-lc")]
    {
        let what = "create_ec_durably, aws-lc, 32 threads";
        let [reached, most] = many_threads(size, what, &on_aws_lc, &next);
        lines.extend([reached.without_bound(), most]);
        on_aws_lc.close().expect("closed");
    }
    lines.push(batches(size, &vault, "EC", || {
        CreateKeyOptions::ec(Curve::P256)
    }));
    lines.push(batches(size, &vault, "oct", || {
        CreateKeyOptions::oct(OctKeySize::Bits256)
    }));
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
            median: measured.median_ratio,
            fast: measured.fast_ratio(),
        },
        2.0,
    )
}

/// What many threads reach, and what they could: two processors have no more than two seconds in one. Both against what
/// one thread reached just before. `next` is the number of a key that there is not yet.
fn many_threads(size: &Size, what: &'static str, vault: &Vault, next: &AtomicU64) -> [Line; 2] {
    progress(what);
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
    let (mut one, mut many, mut possible) = (Vec::new(), Vec::new(), Vec::new());
    let (mut gains, mut most_gains) = (Vec::new(), Vec::new());
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    for _ in 0..size.samples(ROUNDS) {
        let alone = rate(1, each / 4);
        let before = processor_seconds();
        let reached = rate(THREADS, each / THREADS);
        let spent = (processor_seconds() - before) / (each / THREADS * THREADS) as f64;
        let most = processors / spent;
        gains.push(reached / alone);
        most_gains.push(most / alone);
        one.push(alone);
        many.push(reached);
        possible.push(most);
    }
    let (gains, most_gains) = (quartiles(gains), quartiles(most_gains));
    let (one, many, possible) = (quartiles(one), quartiles(many), quartiles(possible));
    let most = Line::gain(
        "  what the processors allow",
        format!("{:.0}/s", possible.median),
        format!(
            "{:.0} us of a processor",
            processors / possible.median * 1e6
        ),
        Twice {
            median: most_gains.median,
            fast: possible.upper / one.upper,
        },
        1.0,
    );
    let reached = Line::gain(
        what,
        format!("{:.0}/s", many.median),
        format!("{:.0}/s, 1 thread", one.median),
        Twice {
            median: gains.median,
            fast: many.upper / one.upper,
        },
        4.0,
    );
    [reached, most.without_bound()]
}

/// What all threads of this process have had of the processors.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Keys made in one call against as many made in single calls, on one thread.
fn batches(size: &Size, vault: &Vault, kind: &str, options: impl Fn() -> CreateKeyOptions) -> Line {
    let what = format!("create_many, {kind}, 1 thread");
    progress(&what);
    let mut number = 0;
    let each = size.keys.min(500);
    let mut names = || -> Vec<KeyName> {
        (0..each)
            .map(|_| {
                number += 1;
                name(&format!("{kind}-of-a-batch-{number}"))
            })
            .collect()
    };
    let (mut single, mut together) = (Vec::new(), Vec::new());
    for _ in 0..size.samples(5) {
        let keys = names();
        let start = Instant::now();
        for key in &keys {
            vault.create_key(key, options()).expect("the key is made");
        }
        single.push(each as f64 / start.elapsed().as_secs_f64());
        let items = names().into_iter().map(|key| (key, options())).collect();
        let start = Instant::now();
        for made in vault.create_many(items).expect("a batch") {
            made.expect("the key is made");
        }
        together.push(each as f64 / start.elapsed().as_secs_f64());
    }
    let (single, together) = (quartiles(single), quartiles(together));
    Line::gain(
        what,
        format!("{:.0}/s", together.median),
        format!("{:.0}/s, single calls", single.median),
        Twice {
            median: together.median / single.median,
            fast: together.upper / single.upper,
        },
        1.0,
    )
    .without_bound()
}
