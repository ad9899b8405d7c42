//! Power cuts while whole vaults are at work: made, changed by two threads, closed and opened again. The store's
//! own tests replay more of them, with artificial records; here the changes are those of users, with tags that
//! make records of 32 KiB and restores that make groups of several steps.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use strongroom::{MaintenanceOptions, Vault};

use super::disk::{Cut, Image, Random, Recording, scratch};
use super::workload::{Acknowledged, Bulk, acknowledged, compare, run};
use super::{Layout, child, create, job, mark, open, open_marks, require_sound, seed};
use crate::programme::{Defect, Figures, Wrong, cases};

const TEST: &str = "crash::power_cuts::no_power_cut_loses_or_halves_a_change_of_a_vault";
const THREADS: u64 = 2;
/// Images of one recorded run.
const IMAGES: usize = MOMENTS * Cut::ALL.len();
/// What is written at a change.
const WRITTEN: [&str; 2] = ["vault/db", "vault/vault.journal"];
const MOMENTS: usize = 40;
const CHANGES: u64 = 18;
const SESSIONS: u64 = 2;

fn work(layout: &Layout, seed: u64) {
    let mut marks = open_marks(layout);
    for session in 0..SESSIONS {
        let vault = if session == 0 {
            let vault = create(&layout.vault());
            mark(&mut marks, "created");
            vault
        } else {
            open(&layout.vault()).unwrap()
        };
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let vault = &vault;
                scope.spawn(move || {
                    let changes = session * CHANGES..(session + 1) * CHANGES;
                    run(vault, layout, (seed, thread), changes, Bulk::Sometimes).unwrap();
                });
            }
        });
        vault.close().unwrap();
    }
}

#[test]
fn no_power_cut_loses_or_halves_a_change_of_a_vault() {
    if let Some(job) = job() {
        let (seed, base) = job.split_once(' ').unwrap();
        return work(&Layout::new(base.as_ref()), seed.parse().unwrap());
    }
    let seed = seed();
    let figures = Figures::begin("power cuts, a vault at work");
    let tally = Tally::default();
    let runs = cases(3_000, 75_000).div_ceil(IMAGES);
    figures.spread(runs, |run| {
        cut_one_run(seed.wrapping_add((run as u64) << 32), &figures, &tally);
    });
    eprintln!("{tally:?}");
    let images = figures.cases();
    figures.finish();
    assert_eq!(images, runs * IMAGES);
    assert!(tally.absent.into_inner() < images / 2);
    assert!(tally.unsynced.into_inner() > images / 2);
}

/// T4. The control is the same run on a disk that does nothing for a sync: there the same look finds what is lost.
#[test]
fn t4_what_was_acknowledged_survives_a_power_cut_and_without_the_syncs_it_does_not() {
    const SEED: u64 = 4;
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    fs::create_dir(layout.disk()).unwrap();
    fs::write(layout.marks(), b"").unwrap();
    let mut process = child(TEST, &format!("{SEED} {}", scratch.path().display()));
    let recording = Recording::of(&mut process, &layout.disk(), &layout.marks());
    let harmed = |recording: &Recording| {
        let mut random = Random::new(SEED);
        let moments = recording.moments(MOMENTS / 4, &WRITTEN, &mut random);
        let mut harmed = 0;
        recording.visit(&moments, |_, disk, marks| {
            let done = acknowledged(marks, THREADS);
            for cut in Cut::ALL {
                let target = Layout::new(&scratch.path().join("image"));
                fs::create_dir(&target.base).unwrap();
                disk.after(cut, &mut random).write(&target.disk());
                // An image without what a vault needs may stop the look itself.
                let look = || verify(&target, SEED, &done).is_ok();
                let whole = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
                harmed += usize::from(marks.contains("created") && !whole.unwrap_or(false));
                fs::remove_dir_all(&target.base).unwrap();
            }
        });
        harmed
    };
    assert_eq!(harmed(&recording), 0);
    let deaf = harmed(&recording.without_syncs());
    assert!(deaf > 0, "no sync matters");
}

#[derive(Debug, Default)]
struct Tally {
    /// Cuts before there was a vault.
    absent: AtomicUsize,
    /// Cuts with records that were not synced.
    unsynced: AtomicUsize,
    bytes_recorded: AtomicUsize,
}

fn cut_one_run(seed: u64, figures: &Figures, tally: &Tally) {
    let scratch = scratch();
    let layout = Layout::new(scratch.path());
    fs::create_dir(layout.disk()).unwrap();
    fs::write(layout.marks(), b"").unwrap();
    let mut process = child(TEST, &format!("{seed} {}", scratch.path().display()));
    let recording = Recording::of(&mut process, &layout.disk(), &layout.marks());
    tally
        .bytes_recorded
        .fetch_add(recording.bytes_written(), Ordering::Relaxed);
    let mut random = Random::new(seed);
    let moments = recording.moments(MOMENTS, &WRITTEN, &mut random);
    recording.visit(&moments, |moment, disk, marks| {
        let created = marks.contains("created");
        let done = acknowledged(marks, THREADS);
        for cut in Cut::ALL {
            let image = disk.after(cut, &mut random);
            let story = format!("run {seed}, {cut:?} at {moment} of {}", recording.len());
            let unsynced = WRITTEN.iter().any(|path| disk.is_unsynced(path));
            tally.unsynced.fetch_add(unsynced.into(), Ordering::Relaxed);
            if !created && !image.contains("vault") {
                tally.absent.fetch_add(1, Ordering::Relaxed);
                figures.count(1);
                continue;
            }
            let target = Layout::new(&scratch.path().join("image"));
            fs::create_dir(&target.base).unwrap();
            image.write(&target.disk());
            let outcome = figures.case(&story, || verify(&target, seed, &done));
            if outcome.is_none() {
                let kept = keep(&image, &format!("{seed}-{moment}-{cut:?}"));
                eprintln!(
                    "{story}: {}, kept in {}",
                    Image::summary(&image),
                    kept.display()
                );
            }
            fs::remove_dir_all(&target.base).unwrap();
        }
    });
}

/// An image that is not as it should be is kept, to be looked at.
fn keep(image: &Image, name: &str) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-cut-{name}"));
    if !kept.exists() {
        image.write(&kept);
    }
    kept
}

/// What a purge left undone is done by maintenance, and nothing is left under the old key.
fn finish_purges(vault: &Vault) -> Result<(), String> {
    vault
        .maintain(MaintenanceOptions::new())
        .map_err(|error| format!("maintain: {error:?}"))?;
    let status = vault.status().unwrap();
    let left = vault
        .check()
        .map_err(|error| format!("check: {error:?}"))?
        .previous_kek_keys();
    if status.kek_rotation_pending() || status.shred_pending() || left > 0 {
        return Err(format!("{left} keys are under the old key: {status:?}"));
    }
    Ok(())
}

fn verify(layout: &Layout, seed: u64, done: &Acknowledged) -> Result<(), Wrong> {
    let path = layout.vault();
    let vault = open(&path).map_err(|error| Wrong::open(error.kind(), error))?;
    let reached = compare(&vault, seed, done)?;
    if vault.status().unwrap().kek_rotation_pending() || vault.status().unwrap().shred_pending() {
        finish_purges(&vault)?;
        if compare(&vault, seed, done)? != reached {
            let story = "finishing a purge changed something else";
            return Err(Wrong::new(Defect::Half, story));
        }
    }
    require_sound(&vault, &path)?;
    vault
        .close()
        .map_err(|error| Wrong::new(Defect::Other, format!("close: {error:?}")))
}
