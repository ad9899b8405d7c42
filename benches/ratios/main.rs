//! The numbers to hold: one table of what the vault costs, each line beside what it is measured against and its bound.
//!
//!     cargo bench --bench ratios --features aws-lc
//!     cargo bench --bench ratios -- --million          # opens a vault of 1,000,000 keys too
//!     cargo bench --bench ratios -- --keys 10000      # for trying out: the bounds are for 100,000
//!     cargo bench --bench ratios -- --only changes    # or cached, readers, scale
//!
//! It takes some minutes and ends with an error when a bound is not held. What is compared is measured in alternation,
//! so that other load meets both; each value stands there twice, from the medians and from the fast quartiles, and a bound
//! counts as held when both hold: what syncs wants a quiet disk. A bound that asks for more than the processors had to
//! give in this run is said to be out of reach, and is no error. The line for keys in tokens is in
//! `hsm-softhsm-tests/benches/pkcs11.rs`. Without `--bench`, as `cargo test --benches` runs it, it only shows that it works.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark"
)]

#[cfg(feature = "aws-lc")]
#[path = "../aws_lc/mod.rs"]
mod aws_lc;
mod cached;
mod changes;
#[allow(dead_code, reason = "another benchmark uses the rest")]
#[path = "../engine/mod.rs"]
mod engine;
#[path = "../operations/mod.rs"]
mod operations;
#[path = "../pairs/mod.rs"]
mod pairs;
mod readers;
mod scale;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use strongroom::MasterKey;

/// How much is done.
pub(crate) struct Size {
    /// Keys of the large vault.
    keys: usize,
    million: bool,
    quick: bool,
    /// One part of the table.
    only: Option<String>,
}

impl Size {
    fn of(arguments: &[String]) -> Self {
        let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
        let quick = !has("--bench") || has("--test") || has("--list");
        let after = |wanted: &str| {
            let place = arguments.iter().position(|argument| argument == wanted)?;
            arguments.get(place + 1)
        };
        let keys = after("--keys").and_then(|text| text.parse().ok());
        Self {
            only: after("--only").cloned(),
            keys: keys.unwrap_or(if quick { 64 } else { 100_000 }),
            million: has("--million") && !quick,
            quick,
        }
    }

    fn includes(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }

    pub(crate) fn samples(&self, samples: usize) -> usize {
        if self.quick { 1 } else { samples }
    }

    pub(crate) fn time(&self, time: Duration) -> Duration {
        if self.quick {
            Duration::from_millis(5)
        } else {
            time
        }
    }
}

/// The quarters of what was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quartiles {
    lower: f64,
    median: f64,
    upper: f64,
}

pub(crate) fn quartiles(mut values: Vec<f64>) -> Quartiles {
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() * part / 4).min(values.len() - 1)];
    Quartiles {
        lower: at(1),
        median: at(2),
        upper: at(3),
    }
}

pub(crate) fn progress(what: &str) {
    eprintln!("{what} ...");
}

/// The same in the child.
pub(crate) fn master_key() -> MasterKey {
    let bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
    MasterKey::from_bytes(&bytes).expect("a key")
}

/// How busy the machine is, as the system says.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == scale::CHILD) {
        scale::child(arguments.into_iter().skip(1));
        return ExitCode::SUCCESS;
    }
    let size = Size::of(&arguments);
    let begun = Instant::now();
    let load_before = load();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let master = master_key();
    let mut lines = Vec::new();
    if size.includes("cached") {
        cached::lines(&size, &mut lines);
    }
    if size.includes("changes") {
        changes::lines(&size, scratch.path(), &master, &mut lines);
    }
    if size.includes("readers") {
        lines.push(readers::line(&size, scratch.path(), &master));
    }
    if size.includes("scale") {
        scale::lines(&size, scratch.path(), &master, &mut lines);
    }

    let held = table::print(&lines);
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{:.0} s on {processors} processors; load {load_before} before, {} after.",
        begun.elapsed().as_secs_f64(),
        load(),
    );
    if held || size.quick {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
