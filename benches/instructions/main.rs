//! A guard of the hot path: the instructions of an operation through the vault, and of the bare call of the same crates.
//!
//!     cargo bench --bench instructions
//!     cargo bench --bench instructions -- --write    # makes what is counted the baseline of this compiler
//!
//! This program runs itself under valgrind for each operation, and holds what is counted against
//! `baselines/rustc-<version>-<target>.txt`. It ends with an error when a count has grown, or when there is no baseline for this
//! compiler and target. Other load on the machine does not matter. Without `--bench`, as `cargo test --benches` runs it, it
//! only shows that it works, without valgrind.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark"
)]

mod baseline;
mod callgrind;
mod calls;
#[allow(dead_code, reason = "another benchmark uses the rest")]
#[path = "../operations/mod.rs"]
mod operations;
#[allow(dead_code, reason = "another benchmark uses the rest")]
#[path = "../pairs/mod.rs"]
mod pairs;
mod setting;
mod table;

use std::process::ExitCode;

use baseline::Baseline;
use setting::Setting;

/// Instructions of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) vault: u64,
    /// `None` where no bare call does the same.
    pub(crate) bare: Option<u64>,
    /// Those of the vault's that keep other processors out: changes of atomics, and thus locks, of which each has two.
    pub(crate) locked: u64,
}

impl Counts {
    /// The vault's own work; less than nothing where the compiler made less of the same call in the vault.
    pub(crate) fn difference(self) -> Option<i64> {
        Some(self.vault.cast_signed() - self.bare?.cast_signed())
    }
}

/// Whether nothing has grown.
fn guard(write: bool) -> Result<bool, String> {
    let setting = Setting::here()?;
    let path = baseline::path(&setting);
    let baseline = if write {
        None
    } else {
        Some(Baseline::read(&path, &setting)?)
    };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .map_err(|error| format!("no directory for what valgrind writes: {error}"))?;
    let mut counted = Vec::new();
    for &name in calls::NAMES {
        eprintln!("{name} ...");
        counted.push((name, callgrind::count(name, scratch.path())?));
    }
    let Some(baseline) = baseline else {
        baseline::write(&path, &setting, &counted)?;
        println!("The baseline is written: {}", path.display());
        return Ok(true);
    };
    let held = table::print(&counted, &baseline);
    for difference in baseline.differences(&setting) {
        println!("{difference}");
    }
    Ok(held)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if let [first, name] = &arguments[..]
        && first == calls::CHILD
    {
        calls::make_counted(name);
        return ExitCode::SUCCESS;
    }
    if !has("--bench") || has("--test") || has("--list") {
        for name in calls::NAMES {
            calls::make(name, 1);
        }
        return ExitCode::SUCCESS;
    }
    match guard(has("--write")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
