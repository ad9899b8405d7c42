//! Calls that sled makes, and fail: the n-th open, read, write, sync, truncation, rename or removal below the vault's
//! directory, for every n, once or from then on, with an error of the disk, without room, interrupted, or done by
//! half. What was acknowledged is there afterwards, the change that met it as a whole or not at all.
//!
//! sled takes a read that fails for the torn end of its log, and overwrites what it could not read. So strongroom reads
//! everything that sled is about to read, opens nothing when that fails (`src/store/recovery_reads.rs`), and keeps a copy
//! of it until the newest state was found (`src/store/spare_segments.rs`). For a long time the copy was not there, and a
//! read that failed right after it had succeeded made the vault say for ever that its records were rolled back.
//!
//! A library under the C library, which `shim.c` is, makes them fail: sled calls through that. strongroom itself does
//! not; its own calls meet theirs in `src/store/tests/fire`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strongroom::{ErrorKind, Unlock, VaultOptions};

use super::disk::scratch;
use super::workload::{Bulk, acknowledged, compare, run};
use super::{Layout, child, job, open, require_sound};
use crate::programme::{Defect, Figures, Wrong, factor};
use crate::support::master_key;

const TEST: &str = "crash::engine_faults::a_call_of_the_engine_that_fails_loses_nothing";
const CHANGES: u64 = 8;
const LANES: usize = 2;

/// As the shim numbers them.
const CALLS: [&str; 8] = [
    "open",
    "read",
    "write",
    "sync",
    "sync_file_range",
    "truncate",
    "rename",
    "unlink",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Io,
    Full,
    Interrupted,
    Short,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Io, Self::Full, Self::Interrupted, Self::Short];

    fn errno(self) -> i32 {
        match self {
            Self::Io | Self::Short => 5,
            Self::Full => 28,
            Self::Interrupted => 4,
        }
    }
}

/// Tells the shim what to let fail below a directory; no kind lets nothing fail.
fn plan(kind: i32, when: usize, fault: Fault, persists: bool, directory: &Path) {
    let path = format!(
        "/strongroom-fault/{kind}/{when}/{}/{}/{}{}",
        fault.errno(),
        u8::from(persists),
        u8::from(fault == Fault::Short),
        directory.display()
    );
    fs::File::open(path).unwrap_err();
}

/// Whether the planned fault has struck.
fn struck() -> bool {
    let error = fs::File::open("/strongroom-struck").unwrap_err();
    error.kind() == std::io::ErrorKind::AlreadyExists
}

fn shim(place: &Path) -> PathBuf {
    let library = place.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/crash/shim.c");
    let built = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status()
        .expect("the shim is built by gcc: install it");
    assert!(built.success());
    library
}

/// The workload: changes, a rotation of the key encryption key, a close, a compaction, an open.
fn work(layout: &Layout) -> strongroom::Result<()> {
    let vault = open(&layout.vault())?;
    let worked = run(&vault, layout, (7, 0), 0..CHANGES, Bulk::Sometimes)
        .and_then(|()| vault.rotate_kek().map(drop));
    let closed = vault.close();
    worked.and(closed)?;
    let options = VaultOptions::new().storage_cache(16 << 20);
    let (vault, _) = options.compact(layout.vault(), Unlock::raw_key(&master_key()))?;
    let worked = run(
        &vault,
        layout,
        (7, 0),
        CHANGES..CHANGES + 2,
        Bulk::Sometimes,
    );
    let closed = vault.close();
    worked.and(closed)?;
    open(&layout.vault())?.close()
}

fn prepare(original: &Layout, layout: &Layout) {
    fs::create_dir(&layout.base).unwrap();
    crate::copies::copy_directory(&original.disk(), &layout.disk());
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(layout.vault(), private).unwrap();
    fs::write(layout.marks(), b"").unwrap();
}

/// Whether the fault struck, and with what the workload ended.
fn meet(
    original: &Layout,
    layout: &Layout,
    (kind_number, when, fault, persists): (usize, usize, Fault, bool),
) -> Result<(bool, Option<ErrorKind>), Wrong> {
    prepare(original, layout);
    plan(
        i32::try_from(kind_number).unwrap(),
        when,
        fault,
        persists,
        &layout.vault(),
    );
    let outcome = work(layout);
    let hit = struck();
    plan(-1, 0, fault, false, &layout.vault());
    let ended = outcome.err().map(|error| error.kind());
    let told = match (fault, ended) {
        (_, None | Some(ErrorKind::VaultFailed | ErrorKind::Io | ErrorKind::Corrupt)) => true,
        (Fault::Full, Some(kind)) => kind == ErrorKind::StorageFull,
        _ => false,
    };
    if !told || (ended.is_some() && !hit) {
        return Err(Wrong::new(
            Defect::Other,
            format!("{ended:?}, struck: {hit}"),
        ));
    }
    let vault = match open(&layout.vault()) {
        Ok(vault) => vault,
        Err(error) => return Err(Wrong::open(error.kind(), error)),
    };
    compare(&vault, 7, &acknowledged(&layout.read_marks(), 1))?;
    require_sound(&vault, &layout.vault())?;
    let closed = vault.close();
    closed.map_err(|error| Wrong::new(Defect::Other, format!("close: {error:?}")))?;
    fs::remove_dir_all(&layout.base).unwrap();
    Ok((hit, ended))
}

/// One of the processes that share the cases.
fn lane(base: &Path, lane: usize) {
    let figures = Figures::begin("faults in every call of the engine");
    let original = Layout::new(&base.join("original"));
    let layout = Layout::new(&base.join(format!("case-{lane}")));
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut reached = [0; CALLS.len()];
    for (kind, call) in CALLS.into_iter().enumerate() {
        for when in 1.. {
            let mut hit = false;
            for (turn, fault) in Fault::ALL.into_iter().enumerate() {
                for persists in [false, true] {
                    let short = matches!(call, "read" | "write");
                    let endless = fault == Fault::Interrupted || fault == Fault::Short;
                    if (fault == Fault::Short && !short) || (persists && endless) {
                        continue;
                    }
                    // In a short run, one kind of fault at each of the calls; the first of them meet all.
                    let chosen = (when + turn + usize::from(persists)).is_multiple_of(12);
                    if factor().is_none() && when > 2 && !chosen {
                        hit |= when < 400 && reached[kind] + 12 > when;
                        continue;
                    }
                    if when % LANES != lane {
                        hit |= reached[kind] + 2 * LANES + 12 > when;
                        continue;
                    }
                    let story = format!("{call} {when}, {fault:?}, persists: {persists}");
                    let outcome = figures.case(&story, || {
                        meet(&original, &layout, (kind, when, fault, persists))
                    });
                    match outcome {
                        Some((struck, ended)) => {
                            if struck {
                                hit = true;
                                reached[kind] = when;
                            }
                            let text = format!("{call} {ended:?}");
                            *outcomes.entry(text).or_default() += usize::from(struck);
                        }
                        None => {
                            hit = true;
                            reached[kind] = when;
                            let kept = base.join(format!("kept-{lane}-{}", figures.cases()));
                            let _ = fs::rename(&layout.base, kept);
                        }
                    }
                }
            }
            if !hit || figures.is_hopeless() {
                break;
            }
        }
    }
    eprintln!("lane {lane}: up to {reached:?} calls; {outcomes:?}");
    assert!(
        reached[2] > 10 && reached[0] > 3,
        "{reached:?}: the shim does not work"
    );
    figures.finish();
}

#[test]
fn a_call_of_the_engine_that_fails_loses_nothing() {
    if let Some(job) = job() {
        let (number, base) = job.split_once(' ').unwrap();
        return lane(base.as_ref(), number.parse().unwrap());
    }
    let place = scratch();
    let library = shim(place.path());
    let original = Layout::new(&place.path().join("original"));
    fs::create_dir(&original.base).unwrap();
    original.prepare();
    let lanes: Vec<_> = (0..LANES)
        .map(|number| {
            let errors = place.path().join(format!("errors-{number}"));
            let running = child(TEST, &format!("{number} {}", place.path().display()))
                .env("LD_PRELOAD", &library)
                .stdout(Stdio::null())
                .stderr(fs::File::create(&errors).unwrap())
                .spawn()
                .unwrap();
            (running, errors)
        })
        .collect();
    for (mut running, errors) in lanes {
        let status = running.wait().unwrap();
        let text = fs::read_to_string(errors).unwrap();
        let told = text
            .lines()
            .filter(|line| line.contains("lane") || line.contains('{'));
        told.for_each(|line| eprintln!("{line}"));
        assert!(status.success(), "{status}: {text}");
    }
}
