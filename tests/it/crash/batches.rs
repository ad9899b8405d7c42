//! Processes that make keys in batches are killed: every batch that was acknowledged is there as a whole; of the one that
//! was under way some keys are, each whole, and of a batch of new keys those are the first.

use std::thread;
use std::time::{Duration, Instant};

use strongroom::{
    CreateKeyOptions, ErrorKind, ImportKeyOptions, KeyName, OctKeySize, Vault, WrapAlgorithm,
};

use super::disk::{Random, scratch};
use super::{Layout, child, job, mark, open, open_marks, require_sound, seed};
use crate::programme::{Defect, Figures, Wrong, cases};
use crate::support::{fixed_oct, name};

/// Kills of processes that work on one vault.
const CYCLES: usize = 20;
/// More than one round and some groups.
const ITEMS: usize = 200;
const TEST: &str = "crash::batches::what_a_killed_process_left_of_a_batch_are_whole_keys";

/// Batches are made and imported by turns.
fn is_imported(batch: usize) -> bool {
    batch % 2 == 1
}

fn names(batch: usize) -> impl Iterator<Item = KeyName> {
    (0..ITEMS).map(move |item| name(&format!("batch-{batch}-{item}")))
}

fn work(layout: &Layout, from: usize) {
    let mut marks = open_marks(layout);
    let vault = open(&layout.vault()).unwrap();
    mark(&mut marks, "working");
    for batch in from.. {
        let outcomes = if is_imported(batch) {
            let options = || ImportKeyOptions::new(fixed_oct(32));
            vault.import_many(names(batch).map(|key| (key, options())).collect())
        } else {
            let options = || CreateKeyOptions::oct(OctKeySize::Bits256);
            vault.create_many(names(batch).map(|key| (key, options())).collect())
        };
        for outcome in outcomes.unwrap() {
            outcome.unwrap();
        }
        mark(&mut marks, &format!("done {batch}"));
    }
}

#[test]
fn what_a_killed_process_left_of_a_batch_are_whole_keys() {
    if let Some(job) = job() {
        let (from, base) = job.split_once(' ').unwrap();
        return work(&Layout::new(base.as_ref()), from.parse().unwrap());
    }
    let seed = seed();
    let figures = Figures::begin("kill -9, batches");
    let wanted = cases(40, 2_000);
    let mut parts = 0;
    for round in 0..wanted.div_ceil(CYCLES) {
        let mut random = Random::new(seed.wrapping_add((round as u64) << 32));
        // Every other one on a disk: there the syncs take their time, and kills meet them.
        let place = match round % 2 {
            0 => tempfile::tempdir().unwrap(),
            _ => scratch(),
        };
        let layout = Layout::new(place.path());
        layout.prepare();
        let mut next = 0;
        for cycle in 0..CYCLES {
            let story = format!("seed {seed}, round {round}, cycle {cycle}");
            let Some((reached, partly)) =
                figures.case(&story, || kill_once(&layout, next, &mut random))
            else {
                break;
            };
            next = reached;
            parts += usize::from(partly);
        }
    }
    eprintln!("{parts} batches were there in part");
    figures.finish();
    assert!(parts > 0, "no kill met a batch in the middle");
}

/// The first batch that nothing is there of, and whether the one before is there in part.
fn kill_once(layout: &Layout, from: usize, random: &mut Random) -> Result<(usize, bool), Wrong> {
    let length = layout.read_marks().len();
    let marks = || layout.read_marks()[length..].to_owned();
    let errors = layout.base.join("errors");
    let mut process = child(TEST, &format!("{from} {}", layout.base.display()))
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(120);
    while !marks().contains("working") {
        if process.try_wait().unwrap().is_some() || Instant::now() > patience {
            let _ = process.kill();
            let _ = process.wait();
            let errors = std::fs::read_to_string(&errors).unwrap();
            return Err(Wrong::new(Defect::FailedOpen, errors));
        }
        thread::sleep(Duration::from_micros(300));
    }
    // The anchor is written after each group: so many of them are awaited, however long they take, and a moment.
    let anchor = || std::fs::read(layout.vault().join("vault.anchor")).unwrap();
    for _ in 0..1 + random.below(9) {
        let before = anchor();
        while anchor() == before && Instant::now() < patience {
            thread::sleep(Duration::from_micros(100));
        }
    }
    thread::sleep(Duration::from_micros(random.next() % 3_000));
    process.kill().unwrap();
    let status = process.wait().unwrap();
    if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) {
        let errors = std::fs::read_to_string(&errors).unwrap();
        return Err(Wrong::new(Defect::Panic, format!("{status}: {errors}")));
    }
    let done = from + marks().matches("done").count();
    let vault = open(&layout.vault()).map_err(|error| Wrong::open(error.kind(), error))?;
    require_sound(&vault, &layout.vault())?;
    for batch in from..done {
        let present = present(&vault, batch)?;
        if present.contains(&false) {
            let what = format!("of batch {batch} some are missing: {present:?}");
            return Err(Wrong::new(Defect::Loss, what));
        }
    }
    let under_way = present(&vault, done)?;
    let count = under_way.iter().filter(|present| **present).count();
    let is_beginning = under_way[..count].iter().all(|present| *present);
    if !is_imported(done) && !is_beginning {
        let what = format!("batch {done} is not there from its beginning on: {under_way:?}");
        return Err(Wrong::new(Defect::Half, what));
    }
    if present(&vault, done + 1)?.contains(&true) {
        let what = format!("batch {} was never begun", done + 1);
        return Err(Wrong::new(Defect::Other, what));
    }
    let reached = done + usize::from(count > 0);
    Ok((reached, (1..ITEMS).contains(&count)))
}

/// Which keys of a batch are there; those that are do their work.
fn present(vault: &Vault, batch: usize) -> Result<Vec<bool>, Wrong> {
    names(batch)
        .map(|key| {
            let failed = |error: strongroom::Error| {
                Wrong::new(Defect::Half, format!("{key} does not work: {error:?}"))
            };
            match vault.wrap_key(&key, WrapAlgorithm::A256Kw, &[7; 32]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::KeyNotFound => return Ok(false),
                Err(error) => return Err(failed(error)),
            }
            let versions = vault.list_key_properties_versions(&key).map_err(failed)?;
            if versions.count() != 1 {
                return Err(Wrong::new(
                    Defect::Half,
                    format!("{key} has other versions"),
                ));
            }
            Ok(true)
        })
        .collect()
}
