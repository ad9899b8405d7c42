//! Power cuts, replayed: nothing acknowledged is lost, no group is there by half, no false alarm, whatever the
//! disk made of the writes that nothing had synced; again when the power goes during the recovery. The records
//! are of all sizes up to 64 KiB, the groups of one step and of several.
//!
//! A child process works on a store while its file operations are recorded; see `disk/mod.rs` for what a cut makes
//! of them.
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_in_result,
    clippy::disallowed_methods,
    reason = "small numbers and the environment of a test, which fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use super::disk::{Cut, Random, Recording, scratch};
use super::programme::{Defect, Figures, Wrong, cases};
use super::*;
use crate::format::record::MAX_RECORD_PLAINTEXT;

const CHILD: &str = "STRONGROOM_STORE_CHILD";
const THREADS: u64 = 2;
/// Changes of one thread, over the sessions of a run.
const OPERATIONS: u64 = 24;
const SESSIONS: u64 = 3;
const OBJECTS: u64 = 3;
const VERSIONS: u64 = 7;

/// What a slot holds: which operation wrote it, and its length.
type Contents = BTreeMap<[u8; IndexKey::LENGTH], (u64, usize)>;

/// The places that one thread writes to.
fn slots(thread: u64) -> Vec<IndexKey> {
    let object = |number| thread * 100 + number;
    (0..OBJECTS)
        .map(|number| key_object(object(number)))
        .chain((0..VERSIONS).map(|number| version(object(number % OBJECTS), number)))
        .chain([IndexKey::settings(10 + thread)])
        .collect()
}

/// The changes of one operation: slot and length; no length to remove it.
fn operation(seed: u64, thread: u64, number: u64) -> Vec<(IndexKey, Option<usize>)> {
    let mut random = Random::new(seed ^ (thread << 40) ^ (number << 20) ^ 0xC0FF_EE00);
    let slots = slots(thread);
    let count = match random.below(12) {
        // Several steps between syncs.
        0 => 5,
        _ => 1 + random.below(3),
    };
    let mut changes: Vec<(IndexKey, Option<usize>)> = Vec::new();
    while changes.len() < count {
        let index = slots[random.below(slots.len())];
        if changes.iter().any(|(other, _)| *other == index) {
            continue;
        }
        let length = match (count, random.below(8)) {
            (5, _) => 30_000 + random.below(MAX_RECORD_PLAINTEXT - 30_000),
            (_, 0) => {
                changes.push((index, None));
                continue;
            }
            (_, 1) => 8 + random.below(MAX_RECORD_PLAINTEXT - 8),
            (_, 2) => MAX_RECORD_PLAINTEXT - 1 - random.below(100),
            (_, 3) => 5_900 + random.below(500),
            _ => 8 + random.below(4_000),
        };
        changes.push((index, Some(length)));
    }
    changes
}

fn plaintext(thread: u64, number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![(thread * 131 + number) as u8; length];
    bytes[..8].copy_from_slice(&((thread << 32) | number).to_be_bytes());
    bytes
}

/// The same bytes for the same seed, so that both processes seal the same records.
#[derive(Debug)]
struct Repeated(Mutex<Random>);

impl Entropy for Repeated {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        let mut random = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.next().to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

fn seal(seed: u64, thread: u64, number: u64, index: &IndexKey, length: usize) -> SealedRecord {
    let hierarchy = config().hierarchy;
    let term = u32::from(index.class() == crate::format::record::Class::KeyObject);
    let place = hash_of(index);
    let entropy = Repeated(Mutex::new(Random::new(
        seed ^ place ^ (thread << 56) ^ (number << 32),
    )));
    let plaintext = plaintext(thread, number, length);
    hierarchy
        .seal_record(
            &hierarchy.meta_key().unwrap(),
            index,
            term,
            &plaintext,
            &entropy,
        )
        .unwrap()
}

fn hash_of(index: &IndexKey) -> u64 {
    let hash = crate::seal::hash32(index.as_bytes());
    u64::from_be_bytes(hash[..8].try_into().unwrap())
}

/// What the slots of the threads hold after each number of operations.
struct Expected {
    histories: Vec<Vec<Contents>>,
    /// The records by thread and what `Contents` says of them, sealed when first needed.
    sealed: BTreeMap<(u64, u64, [u8; IndexKey::LENGTH]), SealedRecord>,
    seed: u64,
}

impl Expected {
    fn new(seed: u64) -> Self {
        Self {
            histories: (0..THREADS).map(|thread| history(seed, thread)).collect(),
            sealed: BTreeMap::new(),
            seed,
        }
    }

    /// Whether these are the records of a thread after so many operations.
    fn fits(&mut self, thread: u64, done: usize, found: &[(IndexKey, SealedRecord)]) -> bool {
        let Some(contents) = self.histories[thread as usize].get(done) else {
            return false;
        };
        if contents.len() != found.len() {
            return false;
        }
        for (index, record) in found {
            let Some((number, length)) = contents.get(index.as_bytes()) else {
                return false;
            };
            let expected = self
                .sealed
                .entry((thread, *number, *index.as_bytes()))
                .or_insert_with(|| seal(self.seed, thread, *number, index, *length));
            if expected != record {
                return false;
            }
        }
        true
    }
}

fn history(seed: u64, thread: u64) -> Vec<Contents> {
    let mut contents = Contents::new();
    let mut history = vec![contents.clone()];
    for number in 0..OPERATIONS {
        for (index, length) in operation(seed, thread, number) {
            match length {
                Some(length) => contents.insert(*index.as_bytes(), (number, length)),
                None => contents.remove(index.as_bytes()),
            };
        }
        history.push(contents.clone());
    }
    history
}

/// The recorded process: several sessions with several threads, each change marked once it is acknowledged.
fn work(place: &Path, seed: u64) {
    let marks = std::fs::OpenOptions::new()
        .append(true)
        .open(place.join("marks"))
        .unwrap();
    let path = place.join("disk/vault");
    for session in 0..SESSIONS {
        let dir = VaultDir::open(&path).unwrap();
        let (store, _) = Store::open(dir, config()).unwrap();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, mut marks) = (&store, &marks);
                scope.spawn(move || {
                    let share = OPERATIONS / SESSIONS;
                    for number in session * share..(session + 1) * share {
                        let changes = operation(seed, thread, number)
                            .into_iter()
                            .map(|(index, length)| match length {
                                Some(length) => {
                                    Change::Put(index, seal(seed, thread, number, &index, length))
                                }
                                None => Change::Remove(index),
                            })
                            .collect();
                        store.commit(changes).unwrap();
                        marks
                            .write_all(format!("{thread} {number}\n").as_bytes())
                            .unwrap();
                    }
                });
            }
        });
        if session == 1 {
            store.sync_anchor().unwrap();
        }
        store.close().unwrap();
    }
}

/// How many operations each thread had acknowledged.
fn acknowledged(marks: &str) -> Vec<usize> {
    let mut done = vec![0; THREADS as usize];
    for line in marks.lines() {
        let (thread, number) = line.split_once(' ').unwrap();
        let (thread, number): (usize, usize) = (thread.parse().unwrap(), number.parse().unwrap());
        assert_eq!(done[thread], number);
        done[thread] = number + 1;
    }
    done
}

/// Opens what a cut left, and compares. `Err` tells what is wrong.
fn verify(
    path: &Path,
    expected: &mut Expected,
    acknowledged: &[usize],
) -> std::result::Result<OpenReport, Wrong> {
    let open = || Store::open(VaultDir::open(path)?, config());
    let (store, report) = open().map_err(|error| Wrong::open(error.kind(), error))?;
    for thread in 0..THREADS {
        let mut found = Vec::new();
        for index in slots(thread) {
            let record = get(&store, &index).map_err(|error| format!("reading: {error:?}"))?;
            found.extend(record.map(|record| (index, record)));
        }
        let done = acknowledged[thread as usize];
        if !expected.fits(thread, done, &found) && !expected.fits(thread, done + 1, &found) {
            let earlier = (0..done).any(|done| expected.fits(thread, done, &found));
            let defect = if earlier { Defect::Loss } else { Defect::Half };
            let story = format!(
                "thread {thread}: after {done} acknowledged changes neither they alone nor one more are there"
            );
            return Err(Wrong::new(defect, story));
        }
    }
    let findings = store
        .check()
        .map_err(|error| format!("check: {error:?}"))?
        .findings;
    if let Some(finding) = findings.iter().find(|finding| !finding.harmless) {
        return Err(format!("check found {finding:?}").into());
    }
    store
        .commit(vec![put(key_object(999), 300)])
        .map_err(|error| format!("a new change: {error:?}"))?;
    let blobs = std::fs::read_dir(path.join("blobs")).map_or(0, Iterator::count);
    if blobs != 0 {
        return Err(format!("{blobs} files in `blobs`").into());
    }
    store
        .close()
        .map_err(|error| Wrong::new(Defect::Other, format!("close: {error:?}")))?;
    Ok(report)
}

/// A new store in `disk/vault`.
fn prepare(place: &Path) {
    std::fs::create_dir(place.join("disk")).unwrap();
    std::fs::write(place.join("marks"), b"").unwrap();
    let building = place.join("disk/vault.new-1");
    let dir = VaultDir::create(&building).unwrap();
    header_file::write(&dir, &[1; 20_480]).unwrap();
    Store::create(&dir, config(), Vec::new()).unwrap();
    dir.publish(&place.join("disk/vault")).unwrap();
}

fn record_run(test: &str, place: &Path, job: &str) -> Recording {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{job} {}", place.display()));
    Recording::of(&mut child, &place.join("disk"), &place.join("marks"))
}

/// Does what the parent wants, if this process is a child.
fn is_child() -> bool {
    let Ok(job) = std::env::var(CHILD) else {
        return false;
    };
    let (what, place) = job.split_once(' ').unwrap();
    let place = Path::new(place);
    if what == "recover" {
        let dir = VaultDir::open(&place.join("disk/vault")).unwrap();
        let (store, _) = Store::open(dir, config()).unwrap();
        store.commit(vec![put(key_object(999), 300)]).unwrap();
        store.close().unwrap();
    } else {
        work(place, what.parse().unwrap());
    }
    true
}

/// The same choices in every run; `STRONGROOM_SEED` makes others. How threads meet is left to the system.
fn seed() -> u64 {
    let seed = std::env::var("STRONGROOM_SEED").map_or(1, |text| text.parse().unwrap());
    eprintln!("STRONGROOM_SEED={seed}");
    seed
}

#[derive(Debug, Default)]
struct Tally {
    during_recovery: AtomicUsize,
    unsynced: AtomicUsize,
    redone: AtomicUsize,
    anchors: AtomicUsize,
    bytes_recorded: AtomicUsize,
}

impl Tally {
    fn note(&self, report: OpenReport, unsynced: bool, again: bool) {
        let add = |count: &AtomicUsize, yes: bool| count.fetch_add(yes.into(), Ordering::Relaxed);
        add(&self.during_recovery, again);
        add(&self.unsynced, unsynced);
        add(&self.redone, report.redone);
        add(&self.anchors, report.anchor_advanced);
    }
}

/// What is written at a change.
const WRITTEN: [&str; 2] = ["vault/db", "vault/vault.journal"];
const MOMENTS: usize = 66;
/// In each run, so many images are recovered under record, and the power goes again.
const RECOVERIES: usize = 3;
const MOMENTS_OF_RECOVERY: usize = 8;
/// Images of one recorded run.
const IMAGES: usize = (MOMENTS + RECOVERIES * MOMENTS_OF_RECOVERY) * Cut::ALL.len();

#[test]
fn no_power_cut_loses_or_halves_a_change() {
    if is_child() {
        return;
    }
    let seed = seed();
    let figures = Figures::begin("power cuts, the store");
    let tally = Tally::default();
    let runs = cases(4_950, 110_000).div_ceil(IMAGES);
    figures.spread(runs, |run| {
        cut_one_run(seed.wrapping_add((run as u64) << 32), &figures, &tally);
    });
    eprintln!("{tally:?}");
    let images = figures.cases();
    figures.finish();
    assert_eq!(images, runs * IMAGES);
    // The replay is worth something only if cuts fell where it hurts.
    assert!(tally.unsynced.load(Ordering::Relaxed) > images / 2);
    assert!(tally.redone.load(Ordering::Relaxed) > images / 50);
    assert!(tally.anchors.load(Ordering::Relaxed) > images / 50);
}

const TEST: &str = "store::tests::power_cuts::no_power_cut_loses_or_halves_a_change";

fn cut_one_run(seed: u64, figures: &Figures, tally: &Tally) {
    let scratch = scratch();
    let place = scratch.path();
    prepare(place);
    let recording = record_run(TEST, place, &seed.to_string());
    tally
        .bytes_recorded
        .fetch_add(recording.bytes_written(), Ordering::Relaxed);
    let mut random = Random::new(seed);
    let mut expected = Expected::new(seed);
    let moments = recording.moments(MOMENTS, &WRITTEN, &mut random);
    let mut recovered = 0;
    recording.visit(&moments, |moment, disk, marks| {
        let done = acknowledged(marks);
        for cut in Cut::ALL {
            let image = disk.after(cut, &mut random);
            let story = format!("run {seed}, {cut:?} at {moment} of {}", recording.len());
            let tried = figures.case(&story, || try_image(&image, place, &mut expected, &done));
            if let Some(report) = tried {
                tally.note(
                    report,
                    WRITTEN.iter().any(|path| disk.is_unsynced(path)),
                    false,
                );
            }
            let last = moments.len() - moments.iter().filter(|other| **other > moment).count();
            if recovered < RECOVERIES
                && last * RECOVERIES > recovered * moments.len()
                && cut == Cut::ALL[(moment + recovered) % 5]
            {
                recovered += 1;
                cut_recovery(
                    &image,
                    place,
                    &mut expected,
                    &done,
                    &mut random,
                    (figures, tally),
                    &story,
                );
            }
        }
    });

    // What would be found if the syncs did nothing: or else this test could not fail.
    let deaf = recording.without_syncs();
    deaf.visit(&[deaf.len() - 1], |_, disk, marks| {
        let image = disk.after(Cut::Dropped, &mut random);
        let target = place.join("control");
        image.write(&target);
        verify(&target.join("vault"), &mut expected, &acknowledged(marks)).unwrap_err();
    });
}

/// Recovers an image, and cuts the power during that.
fn cut_recovery(
    image: &super::disk::Image,
    place: &Path,
    expected: &mut Expected,
    done: &[usize],
    random: &mut Random,
    (figures, tally): (&Figures, &Tally),
    story: &str,
) {
    let second = place.join("second");
    std::fs::create_dir(&second).unwrap();
    std::fs::write(second.join("marks"), b"").unwrap();
    image.write(&second.join("disk"));
    let recording = record_run(TEST, &second, "recover");
    let moments = recording.moments(MOMENTS_OF_RECOVERY, &WRITTEN, random);
    recording.visit(&moments, |moment, disk, _| {
        for cut in Cut::ALL {
            let image = disk.after(cut, random);
            let story = format!("{story}, then {cut:?} at {moment} of {}", recording.len());
            let tried = figures.case(&story, || try_image(&image, place, expected, done));
            if let Some(report) = tried {
                tally.note(
                    report,
                    WRITTEN.iter().any(|path| disk.is_unsynced(path)),
                    true,
                );
            }
        }
    });
    std::fs::remove_dir_all(&second).unwrap();
}

fn try_image(
    image: &super::disk::Image,
    place: &Path,
    expected: &mut Expected,
    done: &[usize],
) -> std::result::Result<OpenReport, Wrong> {
    let target = place.join("image");
    image.write(&target);
    let outcome = verify(&target.join("vault"), expected, done).map_err(|mut wrong| {
        wrong.story = format!("after {done:?}: {} ({})", wrong.story, image.summary());
        wrong
    });
    std::fs::remove_dir_all(&target).unwrap();
    outcome
}
