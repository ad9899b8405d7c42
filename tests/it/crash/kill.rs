//! Again and again, a process with three threads that change a vault is killed (SIGKILL): while it works, or while
//! it opens the vault. Every change that it had acknowledged is there, one more per thread may be there as a whole,
//! every version opens, and the next process goes on with the same vault. Some find a torn snapshot, as a
//! process leaves it that dies while sled opens.
//!
//! At named points and single file operations, processes end in `src/store/tests/fire`.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{Random, scratch};
use super::workload::{Bulk, acknowledged, adopt, compare, run};
use super::{Layout, child, job, mark, open, open_marks, require_sound, seed};
use crate::programme::{Defect, Figures, Wrong, cases};

/// Kills of processes that work on one vault, before another vault takes its place: what was done grows, and
/// everything that was done is compared.
const CYCLES: usize = 50;
const THREADS: u64 = 3;
const TEST: &str = "crash::kill::a_killed_process_loses_nothing_that_it_acknowledged";

/// Opens the vault, compares it, and changes it until the end.
fn work(layout: &Layout, seed: u64) {
    let mut marks = open_marks(layout);
    mark(&mut marks, "started");
    let vault = open(&layout.vault()).unwrap();
    mark(&mut marks, "opened");
    let before = acknowledged(&layout.read_marks(), THREADS);
    let reached = compare(&vault, seed, &before).unwrap();
    adopt(&mut marks, &before, &reached);
    mark(&mut marks, "working");
    thread::scope(|scope| {
        for (thread, from) in (0..).zip(reached) {
            let vault = &vault;
            scope.spawn(move || {
                run(vault, layout, (seed, thread), from..u64::MAX, Bulk::Never).unwrap();
            });
        }
    });
}

#[derive(Debug, Default)]
struct Tally {
    opening: AtomicUsize,
    planted: AtomicUsize,
    unacknowledged: AtomicUsize,
    changes: AtomicUsize,
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    if let Some(job) = job() {
        let (seed, base) = job.split_once(' ').unwrap();
        return work(&Layout::new(base.as_ref()), seed.parse().unwrap());
    }
    let seed = seed();
    let figures = Figures::begin("kill -9, keys in software");
    let tally = Tally::default();
    let wanted = cases(1_000, 100_000);
    figures.spread(wanted.div_ceil(CYCLES), |round| {
        kill_on_one_vault(
            seed.wrapping_add((round as u64) << 32),
            round,
            &figures,
            &tally,
        );
    });
    eprintln!("{} kills, {tally:?}", figures.cases());
    figures.finish();
    let [opening, changes] = [tally.opening, tally.changes].map(AtomicUsize::into_inner);
    assert!(opening >= wanted / 30, "{opening} kills during an open");
    assert!(changes > wanted / 4, "{changes} changes");
}

fn kill_on_one_vault(seed: u64, round: usize, figures: &Figures, tally: &Tally) {
    let mut random = Random::new(seed);
    // A quarter on a disk rather than in memory: the syncs take their time, and kills meet them.
    let place = if round.is_multiple_of(4) {
        tempfile::tempdir().unwrap()
    } else {
        scratch()
    };
    let layout = Layout::new(place.path());
    layout.prepare();
    for cycle in 0..CYCLES {
        let story = format!("seed {seed}, cycle {cycle}");
        let outcome = figures.case(&story, || {
            kill_once(&layout, seed, cycle, &mut random, tally)
        });
        if outcome.is_none() {
            // What is wrong stays wrong.
            let kept = place.keep();
            eprintln!("{story}: kept in {}", kept.display());
            return;
        }
    }
    let done = acknowledged(&layout.read_marks(), THREADS).done;
    let done = usize::try_from(done.iter().sum::<u64>()).unwrap();
    tally.changes.fetch_add(done, Ordering::Relaxed);
}

fn kill_once(
    layout: &Layout,
    seed: u64,
    cycle: usize,
    random: &mut Random,
    tally: &Tally,
) -> Result<(), Wrong> {
    let errors = layout.base.join("errors");
    if cycle.is_multiple_of(5) {
        plant_torn_snapshots(layout, random);
        tally.planted.fetch_add(1, Ordering::Relaxed);
    }
    let length = fs::metadata(layout.marks()).unwrap().len();
    let marked =
        |what: &str| layout.read_marks()[usize::try_from(length).unwrap()..].contains(what);
    let mut process = child(TEST, &format!("{seed} {}", layout.base.display()))
        .stdout(std::process::Stdio::null())
        .stderr(fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let during_open = random.below(100) < 15;
    let wanted = if during_open { "started" } else { "working" };
    let patience = Instant::now() + Duration::from_secs(120);
    while !marked(wanted) {
        let ended = process.try_wait().unwrap();
        if ended.is_some() || Instant::now() > patience {
            let _ = process.kill();
            let _ = process.wait();
            let defect = if ended.is_some() {
                Defect::FailedOpen
            } else {
                Defect::Hang
            };
            let errors = fs::read_to_string(&errors).unwrap();
            return Err(Wrong::new(
                defect,
                format!("no {wanted}, {ended:?}: {errors}"),
            ));
        }
        thread::sleep(Duration::from_micros(300));
    }
    let limit = if during_open { 15_000 } else { 25_000 };
    thread::sleep(Duration::from_micros(random.next() % limit));
    let opening = !marked("opened");
    tally.opening.fetch_add(opening.into(), Ordering::Relaxed);
    process.kill().unwrap();
    let status = process.wait().unwrap();
    if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) {
        let errors = fs::read_to_string(&errors).unwrap();
        return Err(Wrong::new(Defect::Panic, format!("{status}: {errors}")));
    }
    // In the other half of the cycles the next child meets what this one left.
    if cycle % 2 == 1 || cycle + 1 == CYCLES {
        let found = acknowledged(&layout.read_marks(), THREADS);
        let vault = open(&layout.vault()).map_err(|error| Wrong::open(error.kind(), error))?;
        let reached = compare(&vault, seed, &found)?;
        require_sound(&vault, &layout.vault())?;
        let landed = reached.iter().zip(&found.done).filter(|(a, b)| a > b);
        tally
            .unacknowledged
            .fetch_add(landed.count(), Ordering::Relaxed);
        adopt(&mut open_marks(layout), &found, &reached);
        if random.one_in(2) {
            vault.close().unwrap();
        }
    }
    Ok(())
}

fn plant_torn_snapshots(layout: &Layout, random: &mut Random) {
    let garbage: Vec<u8> = (0..random.below(5_000))
        .map(|_| random.next() as u8)
        .collect();
    let whole = fs::read_dir(layout.vault())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("snap.")
        })
        .map_or(Vec::new(), |path| fs::read(path).unwrap());
    let torn = &whole[..random.below(whole.len())];
    for (name, bytes) in [
        ("snap.0000000000000000.generating", &b""[..]),
        ("snap.000000000000ABCD.generating", torn),
        ("snap.00FFFFFFFFFFFFFF.generating", &garbage),
    ] {
        fs::write(layout.vault().join(name), bytes).unwrap();
    }
}

#[test]
fn a_torn_snapshot_stops_no_open() {
    let place = scratch();
    let layout = Layout::new(place.path());
    layout.prepare();
    let mut random = Random::new(seed());
    for _ in 0..20 {
        plant_torn_snapshots(&layout, &mut random);
        let vault = open(&layout.vault()).unwrap();
        require_sound(&vault, &layout.vault()).unwrap();
        vault.close().unwrap();
        let left = fs::read_dir(layout.vault())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().ends_with(".generating")
            })
            .count();
        assert_eq!(left, 0);
    }
}
