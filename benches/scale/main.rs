//! How strongroom grows with what it holds: vaults of 1,000 to 1,000,000 keys, and keys of 100 to 10,000 versions.
//!
//!     cargo bench --bench scale                          # up to 100,000 keys, some two minutes
//!     cargo bench --bench scale -- 1000000 --plots       # all of it, and draws src/manual/plots/scale_*.svg
//!     STRONGROOM_SCALE=1000000 cargo bench --bench scale
//!     cargo bench --bench scale -- --only versions       # or keys
//!
//! Each kind of work is done by a process of its own, in which this program runs itself, so that its memory is that of
//! this work alone. What is printed on the standard output is the section "Scale" of the manual; what is going on stands on
//! the other one. It ends with an error when a bound is not held. Without `--bench`, as `cargo test --benches` runs
//! it, it only shows that it works.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark"
)]

mod changes;
mod child;
mod files;
mod fill;
mod keys;
mod plot;
mod section;
mod table;
mod versions;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use strongroom::MasterKey;

use table::Measured;

/// How much is done.
pub(crate) struct Size {
    keys: Vec<usize>,
    versions: Vec<usize>,
    plots: bool,
    quick: bool,
}

impl Size {
    fn of(arguments: &[String]) -> Self {
        let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
        let quick = !has("--bench") || has("--test") || has("--list");
        let given = arguments.iter().find_map(|text| text.parse().ok());
        let of_environment = || std::env::var("STRONGROOM_SCALE").ok()?.parse().ok();
        let most = given.or_else(of_environment).unwrap_or(100_000);
        let (keys, versions) = if quick {
            (vec![8, 64], vec![2, 16])
        } else {
            let keys = [1_000, 10_000, 100_000, 1_000_000];
            let keys = keys.into_iter().filter(|keys| *keys <= most).collect();
            (keys, vec![100, 500, 1_000, 10_000])
        };
        let only = arguments.iter().position(|argument| argument == "--only");
        let only = only.and_then(|place| arguments.get(place + 1));
        let part = |part: &str, sizes: Vec<usize>| match only {
            Some(only) if only != part => Vec::new(),
            _ => sizes,
        };
        Self {
            keys: part("keys", keys),
            versions: part("versions", versions),
            plots: has("--plots") && !quick,
            quick,
        }
    }
}

pub(crate) fn progress(what: &str) {
    eprintln!("{what} ...");
}

/// The same in every process.
pub(crate) fn master_key() -> MasterKey {
    let bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
    MasterKey::from_bytes(&bytes).expect("a key")
}

/// Has `work` done on a vault by a process of its own, and takes what it measured.
fn measure(work: &str, path: &Path, count: usize, quick: bool, measured: &mut Measured) {
    progress(&format!("{count}: {work}"));
    let own = std::env::current_exe().expect("this program");
    let begun = Instant::now();
    let output = Command::new(own)
        .arg(child::CHILD)
        .arg(work)
        .arg(path)
        .arg(count.to_string())
        .arg(if quick { "quick" } else { "full" })
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("the child runs");
    assert!(output.status.success(), "the child failed: {work}");
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (what, value) = line.split_once('\t').expect("a name and a value");
        measured.note(what, count, value.parse().expect("a number"));
    }
    eprintln!("    {:.1} s", begun.elapsed().as_secs_f64());
}

fn directory_of(scratch: &Path, what: &str, count: usize) -> PathBuf {
    scratch.join(format!("{what}-{count}"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::CHILD) {
        let (work, task) = child::Task::of(&arguments[1..]);
        if !keys::work(work, &task) && !versions::work(work, &task) {
            panic!("no such work: {work}");
        }
        return ExitCode::SUCCESS;
    }
    let size = Size::of(&arguments);
    let begun = Instant::now();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");

    let mut keys = Measured::default();
    for &count in &size.keys {
        let path = directory_of(scratch.path(), "keys", count);
        for work in keys::WORK {
            measure(work, &path, count, size.quick, &mut keys);
        }
        std::fs::remove_dir_all(path).expect("removed");
    }
    let mut versions = Measured::default();
    for &count in &size.versions {
        let path = directory_of(scratch.path(), "versions", count);
        for work in versions::WORK {
            measure(work, &path, count, size.quick, &mut versions);
        }
        std::fs::remove_dir_all(path).expect("removed");
    }

    let held = section::print(&size, &keys, &versions, begun.elapsed());
    if size.plots {
        let plots = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/plots");
        plot::draw(&plots, &size.keys, &keys);
    }
    if held || size.quick {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
