//! The fuzz targets without a fuzzer: every committed seed, the seeds of the encoders, our vectors and the minimised
//! corpus of the fuzzer go through the doors of `strongroom::fuzzing`, and so does a fixed number of mutations of them, the same in every run. A door
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

/// What fuzzing has found to lead somewhere else, minimised, in one file: length u16 ‖ bytes, again and again.
fn packed(target: &str) -> PathBuf {
    fuzz().join("packed").join(target)
}

fn unpacked(target: &str) -> Inputs {
    let bytes = std::fs::read(packed(target)).unwrap_or_default();
    let mut rest = &bytes[..];
    let mut inputs = Inputs::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (input, after) = after.split_at(u16::from_be_bytes(*length).into());
        inputs.push((format!("packed {}", inputs.len()), input.to_vec()));
        rest = after;
    }
    inputs
}

/// Makes the packed file of a directory of inputs.
fn pack(target: &str, directory: &Path) {
    let mut bytes = Vec::new();
    for (_, input) in files(directory) {
        let length = u16::try_from(input.len()).unwrap();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&input);
    }
    std::fs::create_dir_all(packed(target).parent().unwrap()).unwrap();
    std::fs::write(packed(target), bytes).unwrap();
}

/// What there is to begin with, for readers.
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
    if let Some(corpus) = variable("STRONGROOM_PACK_CORPUS") {
        pack(name, &Path::new(&corpus).join(name));
    }
    let corpus = unpacked(name);
    if variable("STRONGROOM_WRITE_SEEDS").is_some() {
        write(name, inputs.iter().chain(&corpus));
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
    for (what, input) in &corpus {
        passes(&target, what, input);
    }
    let (seeds, found) = (inputs.len(), corpus.len());
    let factor = variable("STRONGROOM_FUZZ_FACTOR")
        .map_or(1, |text| text.to_str().unwrap().parse::<usize>().unwrap());
    let optimised = if cfg!(debug_assertions) { 1 } else { 5 };
    let start = std::time::Instant::now();
    let cases = share(name) * factor * optimised;
    let nameless = |inputs: Inputs| inputs.into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator::new(name, nameless(inputs), nameless(corpus));
    let mut survived = 0;
    for case in 0..cases {
        let input = mutator.next();
        let passed = passes(&target, &format!("mutation {case}"), &input);
        survived += usize::from(passed);
        mutator.learn(input, passed);
    }
    println!(
        "{name}: {seeds} seeds, {accepted} accepted; {found} from fuzzing; {cases} mutations, {survived} accepted, \
         in {:.1} s",
        start.elapsed().as_secs_f64()
    );
}

/// For the fuzzer, which reads files only.
fn write<'i>(name: &str, inputs: impl Iterator<Item = &'i (String, Vec<u8>)>) {
    let folder = fuzz().join("corpus").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (number, (_, input)) in inputs.enumerate() {
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
    policies
    record
    #[cfg(feature = "rest")]
    rest
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
            .filter(|name| cfg!(feature = "rest") || name != "rest")
            .collect()
    };
    assert_eq!(of("fuzz_targets"), doors);
    assert!(of("seeds").is_subset(&doors));
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for door in &doors {
        assert!(manifest.contains(&format!("fuzz_targets/{door}.rs")));
    }
    let folders = TARGETS
        .iter()
        .map(|door| fuzz().join("seeds").join(door.name));
    let committed: usize = folders
        .chain([fuzz().join("packed")])
        .flat_map(|folder| files(&folder))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(committed < 2 << 20, "{committed} bytes of seeds");
}

/// What becomes of an input.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Parsed,
    /// A length was believed that leads beyond the input: where a parser would panic.
    Beyond,
}

/// A parser that believes its lengths.
fn believing(input: &[u8]) -> Outcome {
    let parse = || {
        let rest = input.strip_prefix(b"SRTX")?;
        let (count, mut rest) = rest.split_first()?;
        for _ in 0..*count {
            let (length, after) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            match after.split_at_checked(length) {
                Some((_, after)) => rest = after,
                None => return Some(Outcome::Beyond),
            }
        }
        rest.is_empty().then_some(Outcome::Parsed)
    };
    parse().unwrap_or(Outcome::Refused)
}

#[test]
fn the_mutations_find_a_planted_defect() {
    let good = b"SRTX\x02\x00\x03abc\x00\x01d".to_vec();
    assert_eq!(believing(&good), Outcome::Parsed);
    let mut mutator = Mutator::new("planted", vec![good], Vec::new());
    let mut outcomes = (0..5_000).map(|_| {
        let input = mutator.next();
        let outcome = believing(&input);
        mutator.learn(input, outcome == Outcome::Parsed);
        outcome
    });
    let found = outcomes.position(|outcome| outcome == Outcome::Beyond);
    assert!(found.is_some_and(|at| at < 500), "{found:?}");
    assert!(outcomes.any(|outcome| outcome == Outcome::Parsed));
}

#[test]
fn the_same_seed_gives_the_same_mutations() {
    let run = || {
        let mut mutator = Mutator::new(
            "same",
            vec![b"one".to_vec(), b"another".to_vec()],
            Vec::new(),
        );
        (0..100).map(|_| mutator.next()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
    let mut random = Random::new("same");
    assert_ne!(
        random.below(u32::MAX as usize),
        random.below(u32::MAX as usize)
    );
}
