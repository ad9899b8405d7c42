//! The process that does one kind of work on one vault and tells what it cost.

use std::path::{Path, PathBuf};
use std::time::Instant;

use strongroom::{Unlock, Vault, VaultOptions};

use crate::master_key;

/// The argument that makes this program such a process.
pub(crate) const CHILD: &str = "--work";

/// What a child is told.
pub(crate) struct Task {
    pub(crate) path: PathBuf,
    /// Keys, or versions.
    pub(crate) count: usize,
    quick: bool,
}

impl Task {
    /// The kind of work, and what it is done on.
    pub(crate) fn of(arguments: &[String]) -> (&str, Self) {
        let [work, path, count, pace] = arguments else {
            panic!("work, path, count, pace");
        };
        let task = Self {
            path: Path::new(path).to_owned(),
            count: count.parse().expect("a count"),
            quick: pace == "quick",
        };
        (work, task)
    }

    pub(crate) fn samples(&self, samples: usize) -> usize {
        if self.quick { samples.min(4) } else { samples }
    }

    pub(crate) fn open(&self) -> Vault {
        self.open_with(VaultOptions::new())
    }

    /// Without the keys that the vault would keep open.
    pub(crate) fn open_uncached(&self) -> Vault {
        self.open_with(VaultOptions::new().key_cache(0))
    }

    /// As [`Task::open_uncached`], with more room for records than any vault here needs.
    pub(crate) fn open_keeping_all(&self) -> Vault {
        self.open_with(VaultOptions::new().key_cache(0).storage_cache(4 << 30))
    }

    fn open_with(&self, options: VaultOptions) -> Vault {
        options
            .open(&self.path, Unlock::raw_key(&master_key()))
            .expect("the vault opens")
    }
}

/// Tells the parent.
pub(crate) fn tell(what: &str, value: f64) {
    println!("{what}\t{value}");
}

/// Seconds of one call.
pub(crate) fn seconds<T>(call: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let made = call();
    (made, start.elapsed().as_secs_f64())
}

/// Seconds of each of several calls, sorted.
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn of<T>(samples: usize, mut call: impl FnMut(usize) -> T) -> Self {
        Self::collect((0..samples).map(|number| {
            let (made, seconds) = seconds(|| call(number));
            drop(made);
            seconds
        }))
    }

    pub(crate) fn collect(times: impl Iterator<Item = f64>) -> Self {
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    pub(crate) fn median(&self) -> f64 {
        self.share(0.5)
    }

    pub(crate) fn share(&self, share: f64) -> f64 {
        let last = self.0.len() - 1;
        let place = (last as f64 * share).round();
        self.0[(place as usize).min(last)]
    }
}

/// What the system says of this process, in bytes: `VmRSS`, `VmHWM`.
pub(crate) fn memory(what: &str) -> f64 {
    kernel_number("/proc/self/status", what) * 1_024.0
}

/// Bytes that this process had the disk read.
pub(crate) fn bytes_read() -> f64 {
    kernel_number("/proc/self/io", "read_bytes")
}

fn kernel_number(file: &str, what: &str) -> f64 {
    let text = std::fs::read_to_string(file).expect("what the system knows");
    text.lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .expect("a number")
}
