//! strongroom's numbers beside those of others.
//!
//!     cargo bench --manifest-path benches/peers/Cargo.toml
//!     cargo bench --manifest-path benches/peers/Cargo.toml -- table       # without criterion's report
//!     cargo bench --manifest-path benches/peers/Cargo.toml -- "sign ES"   # only that report, of some operations
//!
//! A run ends by printing the section "Beside others" of `src/manual/benchmarks.md` and drawing its plots into
//! `src/manual/plots`. What is compared is measured in alternation, as in the other benchmarks. It needs a C compiler,
//! make and Perl, since OpenSSL and SQLite are built from their sources.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark"
)]

mod contest;
mod durable;
mod keysets;
mod operations;
mod plots;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let quick = !has("--bench") || has("--test") || has("--list");
    // Anything else that was asked for is criterion's.
    let only_report = arguments
        .iter()
        .any(|argument| argument != "--bench" && argument != "table");
    let begun = Instant::now();
    let load = load();

    let vaults = operations::Vaults::new();
    let mut operations = operations::all(&vaults);
    if !has("table") {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(1_000))
            // The default takes longer than what is measured.
            .nresamples(5_000)
            .configure_from_args();
        for operation in &mut operations {
            operation.report(&mut criterion);
        }
        criterion.final_summary();
    }
    if only_report && !quick {
        return;
    }

    let (least, time) = if quick {
        (1, Duration::ZERO)
    } else {
        (101, Duration::from_secs(5))
    };
    let mut outcomes = Vec::new();
    for operation in &mut operations {
        eprintln!("{} ...", operation.name);
        outcomes.push(operation.measure(least, time));
    }
    let effort = durable::Effort {
        least: if quick { 1 } else { 301 },
        time: if quick {
            Duration::ZERO
        } else {
            Duration::from_secs(40)
        },
        rounds_of_threads: if quick { 1 } else { 7 },
        each: if quick { 1 } else { 16 },
    };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let inserts = durable::measure(scratch.path(), effort);

    let run = report::Run {
        load: &load,
        elapsed: begun.elapsed(),
    };
    println!("\n{}", report::section(&outcomes, &inserts, run));
    let (peers, durable) = (plots::operations(&outcomes), plots::inserts(&inserts));
    if !quick {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/manual/plots");
        plots::write(&directory, "peers", &peers);
        plots::write(&directory, "durable", &durable);
    }
}

/// How busy the machine is, as the system says.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}
