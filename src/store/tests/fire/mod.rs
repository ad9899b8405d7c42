//! A workload with every kind of change meets every kind of trouble at every point: each named point of the store
//! and each operation on a file of strongroom's own fails, with an error once or from then on, with a panic, or with
//! the end of the process (SIGKILL). What was acknowledged is there afterwards, the step that met the trouble is
//! there as a whole or not at all, and the vault opens.
//!
//! The calls that sled makes meet theirs in `tests/it/crash/faults.rs`.
#![allow(
    clippy::unwrap_in_result,
    clippy::disallowed_methods,
    reason = "the environment of a test, which fails by panicking"
)]

mod files;
mod script;

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) use files::watched;
use script::{Player, STEPS, open, portrait};

use super::copy_directory;
use super::disk::scratch;
use super::programme::{Defect, Figures, Wrong, factor};
use crate::error::{Error, ErrorKind, Result};
use crate::store::points::{Hook, install};

const TEST: &str = "store::tests::fire::trouble_at_any_point_loses_nothing";
const CHILD: &str = "STRONGROOM_FIRE_CHILD";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    ErrorOnce,
    ErrorFromThenOn,
    FullOnce,
    FullFromThenOn,
    Panic,
    Kill,
}

const TROUBLES: [Trouble; 6] = [
    Trouble::ErrorOnce,
    Trouble::ErrorFromThenOn,
    Trouble::FullOnce,
    Trouble::FullFromThenOn,
    Trouble::Panic,
    Trouble::Kill,
];

/// Makes trouble at the point with this number.
fn trouble_at(number: usize, trouble: Trouble) -> Hook {
    let reached = AtomicUsize::new(0);
    Arc::new(move |point| {
        let here = reached.fetch_add(1, Ordering::SeqCst);
        let persists = matches!(trouble, Trouble::ErrorFromThenOn | Trouble::FullFromThenOn);
        if here != number && !(persists && here > number) {
            return Ok(());
        }
        let failed = |kind| Err(Error::new(kind, format!("trouble at {point}")));
        match trouble {
            Trouble::ErrorOnce | Trouble::ErrorFromThenOn => failed(ErrorKind::Io),
            Trouble::FullOnce | Trouble::FullFromThenOn => failed(ErrorKind::StorageFull),
            // Without a backtrace for each of them.
            Trouble::Panic => std::panic::resume_unwind(Box::new(format!("trouble at {point}"))),
            Trouble::Kill => {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
                loop {
                    std::thread::park();
                }
            }
        }
    })
}

/// What a run of the script came to: the steps that were acknowledged, and what ended it.
fn play(path: &Path, mut acknowledged: impl FnMut(usize)) -> Result<()> {
    let mut player = Player::begin(path)?;
    for (number, step) in STEPS.into_iter().enumerate() {
        player.take(step)?;
        acknowledged(number + 1);
    }
    assert!(player.vault().is_none());
    Ok(())
}

/// The points of a run without trouble, and the portrait before each step and after the last.
fn rehearse(original: &Path) -> (Vec<&'static str>, Vec<String>) {
    let place = scratch();
    let path = place.path().join("vault");
    copy_directory(original, &path);
    let points = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&points);
    install(Some(Arc::new(move |point| {
        seen.lock().unwrap().push(point);
        Ok(())
    })));
    play(&path, |_| {}).unwrap();
    install(None);
    std::fs::remove_dir_all(&path).unwrap();

    copy_directory(original, &path);
    let mut portraits = Vec::new();
    let mut player = Player::begin(&path).unwrap();
    for step in STEPS {
        let last = portraits.last().cloned().unwrap_or_default();
        let now = player.vault().map(|vault| portrait(vault).unwrap());
        portraits.push(now.unwrap_or(last));
        player.take(step).unwrap();
    }
    portraits.push(portraits.last().unwrap().clone());
    let points = std::mem::take(&mut *points.lock().unwrap());
    (points, portraits)
}

/// `check` goes through thousands of buckets in a row: the first ones and some of the others stand for all.
fn stands_out(points: &[&str], number: usize) -> bool {
    let before = points[..number].iter().rev();
    let in_a_row = before.take_while(|point| **point == points[number]).count();
    in_a_row < 16 || in_a_row.is_multiple_of(512)
}

#[test]
fn trouble_at_any_point_loses_nothing() {
    if let Ok(job) = std::env::var(CHILD) {
        let (number, path) = job.split_once(' ').unwrap();
        install(Some(trouble_at(number.parse().unwrap(), Trouble::Kill)));
        // One byte for each step: the end may come from another thread, and between two calls.
        let marks = Path::new(path).with_file_name("marks");
        let mut marks = std::fs::File::create(marks).unwrap();
        play(path.as_ref(), |_| marks.write_all(b".").unwrap()).unwrap();
        return;
    }
    let figures = Figures::begin("trouble at every point of the store");
    let place = scratch();
    let original = place.path().join("original");
    script::found(&original);
    let (points, portraits) = rehearse(&original);
    // In a short run each point meets two kinds of trouble, and other points the others.
    let cases: Vec<(usize, Trouble)> = (0..points.len())
        .filter(|number| stands_out(&points, *number))
        .flat_map(|number| TROUBLES.map(|trouble| (number, trouble)))
        .filter(|(number, trouble)| {
            factor().is_some() || (number + *trouble as usize).is_multiple_of(3)
        })
        // The calls of the system do not panic.
        .filter(|(number, trouble)| {
            *trouble != Trouble::Panic || !points[*number].starts_with("file: ")
        })
        .collect();
    let tally: Mutex<BTreeMap<(&str, Trouble), usize>> = Mutex::default();
    figures.spread(cases.len(), |at| {
        let (number, trouble) = cases[at];
        let story = format!("{trouble:?} at {number} ({})", points[number]);
        let met = figures.case(story, || meet(&original, number, trouble, &portraits));
        if met == Some(true) {
            let mut tally = tally.lock().unwrap();
            *tally.entry((points[number], trouble)).or_default() += 1;
        }
    });
    let tally = tally.into_inner().unwrap();
    eprintln!("{} points; the script was ended by {tally:?}", points.len());
    figures.finish();
    assert!(points.len() > 150, "{points:?}");
    for trouble in TROUBLES {
        assert!(tally.keys().any(|(_, met)| *met == trouble), "{trouble:?}");
    }
}

/// Whether the trouble ended the script.
fn meet(
    original: &Path,
    number: usize,
    trouble: Trouble,
    portraits: &[String],
) -> std::result::Result<bool, Wrong> {
    let place = scratch();
    let path = place.path().join("vault");
    copy_directory(original, &path);
    let (done, ended) = if trouble == Trouble::Kill {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{number} {}", path.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = child.status().unwrap();
        let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
        if !killed && !status.success() {
            return Err(Wrong::new(Defect::Panic, format!("{status}")));
        }
        let marks = std::fs::read(place.path().join("marks"));
        (marks.map_or(0, |marks| marks.len()), killed)
    } else {
        let mut done = 0;
        install(Some(trouble_at(number, trouble)));
        let outcome = catch_unwind(AssertUnwindSafe(|| play(&path, |now| done = now)));
        install(None);
        match &outcome {
            Ok(Err(error)) if !is_told(error.kind(), trouble) => {
                let story = format!("after {done} steps: {error:?}");
                return Err(Wrong::new(Defect::Other, story));
            }
            Err(_) if trouble != Trouble::Panic => {
                return Err(Wrong::new(Defect::Panic, format!("after {done} steps")));
            }
            _ => {}
        }
        (done, !matches!(outcome, Ok(Ok(()))))
    };
    let vault = open(&path).map_err(|error| Wrong::open(error.kind(), error))?;
    let found = portrait(&vault).map_err(|error| format!("after {done} steps: {error:?}"))?;
    let next = (done + 1).min(portraits.len() - 1);
    if found != portraits[done] && found != portraits[next] {
        let earlier = portraits[..done].contains(&found);
        let defect = if earlier { Defect::Loss } else { Defect::Half };
        let story = format!(
            "after {done} steps ({:?} next) {found}; not {}, nor {}",
            STEPS.get(done),
            portraits[done],
            portraits[next]
        );
        return Err(Wrong::new(defect, story));
    }
    let report = vault.check().map_err(|error| format!("check: {error:?}"))?;
    if !report.is_sound() {
        return Err(format!("after {done} steps: {:?}", report.findings()).into());
    }
    vault
        .rotate_key(&"old".parse::<crate::KeyName>().unwrap())
        .and_then(|_| vault.close())
        .map_err(|error| Wrong::new(Defect::Other, format!("it is of no use: {error:?}")))?;
    Ok(ended)
}

/// Whether the error tells of the trouble.
fn is_told(kind: ErrorKind, trouble: Trouble) -> bool {
    let own = match trouble {
        Trouble::ErrorOnce | Trouble::ErrorFromThenOn => ErrorKind::Io,
        Trouble::FullOnce | Trouble::FullFromThenOn => ErrorKind::StorageFull,
        Trouble::Panic | Trouble::Kill => ErrorKind::Corrupt,
    };
    kind == own
        || kind == ErrorKind::VaultFailed
        || (trouble == Trouble::Panic && kind == ErrorKind::Internal)
}
