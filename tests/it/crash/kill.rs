//! 200 times, a process with three threads that change a vault is killed (SIGKILL): while it works, or while it
//! opens the vault. Every change that it had acknowledged is there, one more per thread may be there as a whole,
//! every version opens, and the next process goes on with the same vault. Some find a torn snapshot, as a
//! process leaves it that dies while sled opens.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{Random, scratch};
use super::workload::{Bulk, acknowledged, adopt, compare, run};
use super::{Layout, child, job, mark, open, open_marks, require_sound, seed};

const CYCLES: usize = 200;
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

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    if let Some(job) = job() {
        let (seed, base) = job.split_once(' ').unwrap();
        return work(&Layout::new(base.as_ref()), seed.parse().unwrap());
    }
    let begun = Instant::now();
    let seed = seed();
    let mut random = Random::new(seed);
    // On a disk rather than in memory: the syncs take their time, and kills meet them.
    let place = tempfile::tempdir().unwrap();
    let layout = Layout::new(place.path());
    layout.prepare();
    let (mut opening, mut planted, mut unacknowledged) = (0, 0, 0);
    for cycle in 0..CYCLES {
        if cycle % 5 == 0 {
            plant_torn_snapshots(&layout, &mut random);
            planted += 1;
        }
        let length = fs::metadata(layout.marks()).unwrap().len();
        let mut process = child(TEST, &format!("{seed} {}", place.path().display()))
            .stdout(std::process::Stdio::null())
            .stderr(fs::File::create(place.path().join("errors")).unwrap())
            .spawn()
            .unwrap();
        let during_open = random.below(100) < 15;
        let wanted = if during_open { "started" } else { "working" };
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            let marks = layout.read_marks();
            if marks[usize::try_from(length).unwrap()..].contains(wanted) {
                break;
            }
            let ended = process.try_wait().unwrap();
            if ended.is_some() || Instant::now() > patience {
                let errors = fs::read_to_string(place.path().join("errors")).unwrap();
                panic!("cycle {cycle}: no open, {ended:?}: {errors}");
            }
            thread::sleep(Duration::from_micros(300));
        }
        let limit = if during_open { 15_000 } else { 30_000 };
        thread::sleep(Duration::from_micros(random.next() % limit));
        opening += usize::from(
            !layout.read_marks()[usize::try_from(length).unwrap()..].contains("opened"),
        );
        process.kill().unwrap();
        let status = process.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9),
            "cycle {cycle}: {}",
            fs::read_to_string(place.path().join("errors")).unwrap()
        );
        // In the other half of the cycles the next child meets what this one left.
        if cycle % 2 == 1 || cycle + 1 == CYCLES {
            let found = acknowledged(&layout.read_marks(), THREADS);
            let vault = open(&layout.vault())
                .unwrap_or_else(|error| panic!("cycle {cycle}: it does not open: {error:?}"));
            let reached = compare(&vault, seed, &found)
                .unwrap_or_else(|what| panic!("cycle {cycle}: {what}"));
            require_sound(&vault, &layout.vault())
                .unwrap_or_else(|what| panic!("cycle {cycle}: {what}"));
            unacknowledged += reached
                .iter()
                .zip(&found.done)
                .filter(|(a, b)| a > b)
                .count();
            adopt(&mut open_marks(&layout), &found, &reached);
            if random.one_in(2) {
                vault.close().unwrap();
            }
        }
    }
    let changes: u64 = acknowledged(&layout.read_marks(), THREADS)
        .done
        .iter()
        .sum();
    eprintln!(
        "{CYCLES} kills, {opening} of them before the vault was open; {changes} changes acknowledged; \
         {unacknowledged} found whole without it; {planted} torn snapshots; {:?}",
        begun.elapsed()
    );
    assert!(opening >= CYCLES / 30, "{opening} kills during an open");
    assert!(changes > CYCLES as u64 / 4, "{changes} changes");
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
