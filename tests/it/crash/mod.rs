//! Ends without warning: killed processes, power cuts, full and failing disks, torn leftovers, and two
//! processes at once. What was acknowledged is there afterwards, nothing is there by half, the vault opens, and
//! no alarm is false.
//!
//! The process that comes to grief is this test binary once more, told by an environment variable what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::{ErrorKind, Unlock, Vault, VaultOptions};

use crate::support::master_key;

mod batches;
mod compaction;
#[path = "../../../src/store/tests/disk/mod.rs"]
mod disk;
mod engine_faults;
mod faults;
mod header_changes;
mod kill;
mod lock;
mod power_cuts;
mod restores;
mod root_rotation;
mod salvage;
mod workload;

pub(crate) use disk::Random;

/// What a child process is to do.
const CHILD: &str = "STRONGROOM_CRASH_CHILD";

/// This binary, to run `test` with a job.
fn child(test: &str, job: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, job);
    command
}

fn job() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// The same choices in every run; `STRONGROOM_SEED` makes others. How threads meet is left to the system.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("STRONGROOM_SEED").map_or(1, |text| text.parse().unwrap());
    eprintln!("STRONGROOM_SEED={seed}");
    seed
}

fn create(path: &Path) -> Vault {
    VaultOptions::new()
        .storage_cache(16 << 20)
        .create(path, Unlock::raw_key(&master_key()))
        .unwrap()
}

fn open(path: &Path) -> strongroom::Result<Vault> {
    VaultOptions::new()
        .storage_cache(16 << 20)
        .open(path, Unlock::raw_key(&master_key()))
}

/// `check` finds nothing that is lost, and no value has left the log.
fn require_sound(vault: &Vault, path: &Path) -> Result<(), String> {
    let report = vault.check().map_err(|error| format!("check: {error:?}"))?;
    if !report.is_sound() {
        return Err(format!("check found {:?}", report.findings()));
    }
    match fs::read_dir(path.join("blobs")).map_or(0, Iterator::count) {
        0 => Ok(()),
        count => Err(format!("{count} files in `blobs`")),
    }
}

/// The paths of a test: what is recorded, and the file of marks beside it.
#[derive(Debug)]
struct Layout {
    base: PathBuf,
}

impl Layout {
    fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
        }
    }

    /// Makes a vault, closed, and an empty file of marks.
    fn prepare(&self) {
        fs::create_dir(self.disk()).unwrap();
        fs::write(self.marks(), b"").unwrap();
        create(&self.vault()).close().unwrap();
    }

    fn disk(&self) -> PathBuf {
        self.base.join("disk")
    }

    fn vault(&self) -> PathBuf {
        self.disk().join("vault")
    }

    fn marks(&self) -> PathBuf {
        self.base.join("marks")
    }

    fn read_marks(&self) -> String {
        fs::read_to_string(self.marks()).unwrap()
    }
}

/// Appends a line; a kill afterwards does not take it away.
fn mark(marks: &mut fs::File, line: &str) {
    use std::io::Write as _;
    marks.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn open_marks(layout: &Layout) -> fs::File {
    fs::OpenOptions::new()
        .append(true)
        .open(layout.marks())
        .unwrap()
}

fn kind_named(name: &str) -> Option<ErrorKind> {
    [
        ErrorKind::StorageFull,
        ErrorKind::Io,
        ErrorKind::ReadOnly,
        ErrorKind::VaultFailed,
        ErrorKind::VaultInUse,
    ]
    .into_iter()
    .find(|kind| format!("{kind:?}") == name)
}
