//! The fuzz targets without a fuzzer: every committed seed, the seeds of the encoders and our vectors go through the
//! doors of `strongroom::fuzzing`, and so does a fixed number of mutations of them, the same in every run. A door
//! panics when something does not hold; what it must hold says each door. How many inputs were accepted is printed, to
//! see that the parsers are reached.
//!
//! `STRONGROOM_FUZZ_FACTOR=<n>` runs n times as many mutations, of which the first are those of every run. Coverage
//! guides `cargo +nightly fuzz run <target>`, see `fuzz/README.md`; `STRONGROOM_WRITE_SEEDS=1` writes the seeds to
//! `fuzz/corpus` for it.

mod mutator;
mod vectors;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use strongroom::fuzzing::{TARGETS, Target, target};

use self::mutator::{Mutator, Random};
use crate::support::variable;

/// A target's inputs to begin with, by name.
type Inputs = Vec<(String, Vec<u8>)>;

/// Where an input that a door does not stand is kept.
fn kept(target: &str) -> PathBuf {
    std::env::temp_dir().join(format!("strongroom-fuzz-{target}-{}", std::process::id()))
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(directory: &Path) -> Inputs {
    let mut files: Inputs = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Everything that there is to begin with.
fn inputs(target: &Target) -> Inputs {
    let mut inputs = files(&fuzz().join("seeds").join(target.name));
    inputs.extend(vectors::of(target.name));
    let made = (target.seeds)();
    inputs.extend(
        made.into_iter()
            .map(|(name, bytes)| (name.to_owned(), bytes)),
    );
    inputs
}

/// Whether the door accepts the input; when it does not hold, the input is kept.
fn passes(target: &Target, what: &str, input: &[u8]) -> bool {
    match catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        Ok(accepted) => accepted,
        Err(panic) => {
            let path = kept(target.name);
            std::fs::write(&path, input).unwrap();
            eprintln!("{}: {what} is in {}", target.name, path.display());
            resume_unwind(panic)
        }
    }
}

/// Mutations of a target in a run without optimisation, which take a few seconds.
fn share(target: &str) -> usize {
    match target {
        "operations" => 60,
        "state" => 500,
        "stream" => 800,
        "header" | "slots" => 3_000,
        "audit" | "backup" => 6_000,
        "pkcs11" => 10_000,
        "record" | "identifiers" => 60_000,
        _ => 20_000,
    }
}

fn run(name: &str) {
    let target = target(name);
    let inputs = inputs(&target);
    if variable("STRONGROOM_WRITE_SEEDS").is_some() {
        write(name, &inputs);
    }
    let accepted = inputs
        .iter()
        .filter(|(what, input)| passes(&target, what, input))
        .count();
    assert!(
        accepted >= 3 && 5 * accepted >= inputs.len(),
        "{accepted} of {} seeds of {name} are accepted: they do not reach the parsers",
        inputs.len()
    );
    let factor = variable("STRONGROOM_FUZZ_FACTOR")
        .map_or(1, |text| text.to_str().unwrap().parse::<usize>().unwrap());
    let optimised = if cfg!(debug_assertions) { 1 } else { 5 };
    let start = std::time::Instant::now();
    let cases = share(name) * factor * optimised;
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator::new(name, inputs);
    let mut survived = 0;
    for case in 0..cases {
        let input = mutator.next();
        let passed = passes(&target, &format!("mutation {case}"), &input);
        survived += usize::from(passed);
        mutator.learn(input, passed);
    }
    println!(
        "{name}: {} seeds, {accepted} accepted; {cases} mutations, {survived} accepted, in {:.1} s",
        mutator.seeds(),
        start.elapsed().as_secs_f64()
    );
}

/// For the fuzzer, which reads files only.
fn write(name: &str, inputs: &Inputs) {
    let folder = fuzz().join("corpus").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (number, (_, input)) in inputs.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:03}")), input).unwrap();
    }
}

macro_rules! targets {
    ($($(#[$cfg:meta])* $name:ident)*) => {
        const TESTED: &[&str] = &[$($(#[$cfg])* stringify!($name),)*];

        $(
            $(#[$cfg])*
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*
    };
}

targets! {
    audit
    backup
    containers
    header
    identifiers
    jwk
    operations
    #[cfg(feature = "pkcs11")]
    pkcs11
    record
    slots
    state
    stream
}

/// Each door has a test here, a target for the fuzzer, and seeds.
#[test]
fn every_door_is_used() {
    let doors: BTreeSet<String> = TARGETS.iter().map(|door| door.name.to_owned()).collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(tested, doors);
    let of = |folder: &str| -> BTreeSet<String> {
        std::fs::read_dir(fuzz().join(folder))
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                path.file_stem().unwrap().to_str().unwrap().to_owned()
            })
            .filter(|name| cfg!(feature = "pkcs11") || name != "pkcs11")
            .collect()
    };
    assert_eq!(of("fuzz_targets"), doors);
    assert!(of("seeds").is_subset(&doors));
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for door in &doors {
        assert!(manifest.contains(&format!("fuzz_targets/{door}.rs")));
    }
    let committed: usize = TARGETS
        .iter()
        .flat_map(|door| files(&fuzz().join("seeds").join(door.name)))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(committed < 2 << 20, "{committed} bytes of seeds");
}

/// A parser with the defects that such parsers have. What the mutator must find is at the comments.
fn defective(input: &[u8]) -> Option<usize> {
    let (magic, rest) = input.split_at_checked(4)?;
    if magic != b"SRTX" {
        return None;
    }
    let count = usize::from(*rest.first()?);
    let mut rest = &rest[1..];
    let mut total = 0;
    for _ in 0..count {
        let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        // A length that is believed.
        let (field, after) = rest[2..].split_at(length);
        total += field.len();
        rest = after;
    }
    Some(total)
}

#[test]
fn the_mutations_find_a_planted_defect() {
    let good = b"SRTX\x02\x00\x03abc\x00\x01d".to_vec();
    assert_eq!(defective(&good), Some(4));
    let mut mutator = Mutator::new("planted", vec![good]);
    // The planted panics are not to be read in the log.
    let found = (0..20_000).position(|_| {
        let input = mutator.next();
        let beyond = believed_length(&input).is_some_and(|length| length > input.len());
        assert!(!beyond || catch_quietly(&input));
        let passed = !beyond && defective_is_ok(&input);
        mutator.learn(input, passed);
        beyond
    });
    assert!(found.is_some_and(|at| at < 5_000), "{found:?}");
}

/// Where the first believed length ends.
fn believed_length(input: &[u8]) -> Option<usize> {
    let fields = input.strip_prefix(b"SRTX")?;
    (*fields.first()? > 0).then_some(())?;
    let length = u16::from_be_bytes([*fields.get(1)?, *fields.get(2)?]);
    Some(7 + usize::from(length))
}

fn catch_quietly(input: &[u8]) -> bool {
    std::thread::scope(|scope| {
        let input = input.to_vec();
        let thread = std::thread::Builder::new().name("planted".to_owned());
        thread
            .spawn_scoped(scope, move || defective(&input))
            .unwrap()
            .join()
            .is_err()
    })
}

fn defective_is_ok(input: &[u8]) -> bool {
    catch_unwind(|| defective(input)).is_ok_and(|parsed| parsed.is_some())
}

#[test]
fn the_same_seed_gives_the_same_mutations() {
    let run = || {
        let mut mutator = Mutator::new("same", vec![b"one".to_vec(), b"another".to_vec()]);
        (0..100).map(|_| mutator.next()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
    let mut random = Random::new("same");
    assert_ne!(
        random.below(u32::MAX as usize),
        random.below(u32::MAX as usize)
    );
}
