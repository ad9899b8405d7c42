//! The vault against a model of the rules: 256 runs of 100 random operations on a vault in real files, with
//! a clock that is moved, processes that die, and handles that lack a permission; fewer where keys are in tokens. After each operation its outcome and what can be seen of the keys must be as the
//! model says; at the end everything is listed, read and checked.
//!
//! The model ([`world`], [`rules`]) is written from the rules and shares only plain values with the library. A failing
//! run is printed with its seed and shrunk; `PROPTEST_RNG_SEED=<seed>` repeats it, and `PROPTEST_CASES=<n>`
//! sets the number of runs.

mod choose;
mod compare;
mod convert;
mod rules;
mod steps;
mod system;
mod tables;
mod transitions;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use system::System;
use world::World;

use crate::make::{self, Home};
use crate::programme::{Defect, Figures, Wrong, cases};
use crate::support::variable;

const RUNS: u32 = 256;

fn operations() -> usize {
    make::at_most(100, 60)
}

/// How often each operation had each outcome, to see that the runs go everywhere.
static TALLY: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// The outcomes without which the runs would prove little.
const EXPECTED: &[&str] = &[
    "create ok",
    "create BadParameter",
    "create KeyDeleted",
    "create ClockJump",
    "import ok",
    "import BadParameter",
    "rotate ok",
    "rotate KeyNotFound",
    "rotate BadParameter",
    "update ok",
    "update BadParameter",
    "update KeyNotFound",
    "get ok",
    "get KeyNotFound",
    "get_deleted ok",
    "get_deleted DeletedKeyNotFound",
    "delete ok",
    "delete KeyNotFound",
    "recover ok",
    "recover DeletedKeyNotFound",
    "purge ok",
    "purge DeletedKeyNotFound",
    "purge PurgeRefused",
    "backup ok",
    "backup KeyNotFound",
    "restore ok",
    "restore previously purged",
    "restore KeyExists",
    "restore KeyDeleted",
    "restore InvalidBackup",
    "sign ok",
    "sign KeyNotFound",
    "sign KeyDisabled",
    "sign KeyExpired",
    "sign KeyNotYetValid",
    "sign OperationNotPermitted",
    "sign AlgorithmMismatch",
    "sign AlgorithmRefused",
    "verify ok",
    "verify InvalidSignature",
    "encrypt ok",
    "encrypt KeyExpired",
    "decrypt ok",
    "decrypt DecryptFailed",
    "wrap ok",
    "wrap KeyNotYetValid",
    "unwrap ok",
    "unwrap DecryptFailed",
    "maintain ok",
    "maintain purges",
    "maintain announces",
    "maintain ClockJump",
    "protect ok",
    "protect BadParameter",
    "reopen ok",
    "crash ok",
    "rotate_kek ok",
    "create Forbidden",
    "sign Forbidden",
];

/// The outcomes that a few runs have already.
const USUAL: &[&str] = &[
    "create ok",
    "import ok",
    "rotate ok",
    "update ok",
    "delete ok",
    "recover ok",
    "purge ok",
    "backup ok",
    "sign ok",
    "verify ok",
    "encrypt ok",
    "wrap ok",
    "reopen ok",
];

/// How many those are; also the number of runs where keys are in tokens.
const FEW_RUNS: u32 = 24;

/// Runs wait for the disk most of the time, so several are under way at once.
const WORKERS: u32 = 4;

#[test]
fn the_vault_does_what_the_model_says() {
    let defaults = Config::default();
    let (first_seed, workers) = match defaults.rng_seed {
        // The seed of one worker, to be repeated alone.
        RngSeed::Fixed(seed) => (seed, 1),
        RngSeed::Random => {
            let mut seed = [0; 4];
            strongroom::Entropy::fill(&strongroom::OsEntropy::default(), &mut seed).unwrap();
            (u64::from(u32::from_le_bytes(seed)) << 4, WORKERS)
        }
    };
    let runs = match variable("PROPTEST_CASES") {
        Some(_) => defaults.cases,
        None => {
            let runs = make::at_most(cases(RUNS as usize, 10_000), cases(FEW_RUNS as usize, 240));
            u32::try_from(runs).unwrap()
        }
    };
    if Home::with_backups().is_none() {
        return;
    }
    let figures = Figures::begin("runs against the model");
    let cases = runs.div_ceil(WORKERS);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..u64::from(workers))
            .map(|number| scope.spawn(move || run(first_seed + number, cases)))
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().unwrap().err())
            .collect()
    });
    figures.count((cases * workers) as usize);
    for failure in failures {
        figures.note(Wrong::new(Defect::Other, failure));
    }
    figures.finish();
    let tally = TALLY.lock().unwrap();
    let needed = match cases * workers {
        RUNS.. => EXPECTED,
        FEW_RUNS.. => USUAL,
        _ => &[],
    };
    for outcome in needed {
        assert!(tally.contains_key(*outcome), "never: {outcome}; {tally:#?}");
    }
    println!("{workers} x {cases} runs from seed {first_seed}: {tally:#?}");
}

/// Some runs from one seed; a text that says how to repeat a failure.
fn run(seed: u64, cases: u32) -> Result<(), String> {
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        // A run is repeated by its seed; nothing is written beside the sources.
        failure_persistence: None,
        max_shrink_iters: u32::try_from(make::at_most(2_000, 100)).unwrap(),
        ..Config::default()
    };
    let strategy = World::sequential_strategy(operations()..=operations());
    let outcome = TestRunner::new(config.clone()).run(&strategy, |(world, steps, seen)| {
        System::test_sequential(config.clone(), world, steps, seen);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, (world, steps, _))) => {
            let steps: Vec<String> = steps.iter().map(|step| format!("  {step:?}")).collect();
            Err(format!(
                "PROPTEST_RNG_SEED={seed} repeats this\n{reason}\nfrom {world:?}\n{}",
                steps.join("\n")
            ))
        }
        Err(other) => Err(format!("PROPTEST_RNG_SEED={seed}: {other}")),
    }
}

#[test]
fn a_seed_gives_the_same_run() {
    let run = || {
        let config = Config {
            rng_seed: RngSeed::Fixed(7),
            failure_persistence: None,
            ..Config::default()
        };
        let strategy = World::sequential_strategy(operations()..=operations());
        let tree = strategy.new_tree(&mut TestRunner::new(config)).unwrap();
        let (world, steps, _) = proptest::strategy::ValueTree::current(&tree);
        format!("{world:?} {steps:?}")
    };
    assert_eq!(run(), run());
}
