//! Two processes want the same vault at the same moment, again and again: one gets it, the other is told that it is
//! in use. Who comes while the process that has it is killed is told so, or gets it. And who closes a vault can open it
//! again at once, whatever else the process does.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom::ErrorKind;

use super::disk::{Random, scratch};
use super::{Layout, child, job, mark, open, open_marks, require_sound, seed};
use crate::programme::{Defect, Figures, Wrong, cases};

const TEST: &str = "crash::lock::of_two_processes_exactly_one_gets_the_vault";
fn races() -> usize {
    cases(1_000, 10_000)
}

const PATIENCE: Duration = Duration::from_secs(60);

fn wait_for(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(
            Instant::now() < deadline,
            "{} does not come",
            path.display()
        );
        std::hint::spin_loop();
    }
}

fn race(base: &Path, own: usize) {
    let layout = Layout::new(base);
    for round in 0..races() {
        let result = |process: usize| base.join(format!("result-{round}-{process}"));
        fs::write(base.join(format!("ready-{round}-{own}")), b"").unwrap();
        wait_for(&base.join(format!("go-{round}")));
        let opened = open(&layout.vault());
        let outcome = match &opened {
            Ok(_) => "Ok".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        };
        let new = base.join(format!("new-{own}"));
        fs::write(&new, outcome).unwrap();
        fs::rename(&new, result(own)).unwrap();
        // The winner keeps the vault until the other has tried.
        wait_for(&result(1 - own));
        if let Ok(vault) = opened {
            vault.close().unwrap();
        }
    }
}

#[test]
fn of_two_processes_exactly_one_gets_the_vault() {
    if let Some(job) = job() {
        let (own, base) = job.split_once(' ').unwrap();
        return race(base.as_ref(), own.parse().unwrap());
    }
    let place = scratch();
    let layout = Layout::new(place.path());
    layout.prepare();
    let mut children: Vec<Child> = (0..2)
        .map(|own| {
            child(TEST, &format!("{own} {}", place.path().display()))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let figures = Figures::begin("races of two processes for a vault");
    let mut wins = [0, 0];
    for round in 0..races() {
        for own in 0..2 {
            wait_for(&place.path().join(format!("ready-{round}-{own}")));
        }
        fs::write(place.path().join(format!("go-{round}")), b"").unwrap();
        let outcomes = [0, 1].map(|own| {
            let path = place.path().join(format!("result-{round}-{own}"));
            wait_for(&path);
            fs::read_to_string(path).unwrap()
        });
        let winner = outcomes.iter().position(|outcome| outcome == "Ok");
        let loser = outcomes.iter().position(|outcome| outcome == "VaultInUse");
        figures.case(format!("race {round}"), || match (winner, loser) {
            (Some(winner), Some(_)) => {
                wins[winner] += 1;
                Ok(())
            }
            _ => Err(Wrong::new(Defect::Other, format!("{outcomes:?}"))),
        });
        for own in 0..2 {
            for what in [
                format!("ready-{round}-{own}"),
                format!("result-{round}-{own}"),
            ] {
                // The loser may still be waiting for the winner's.
                if round > 1 {
                    let old = what.replacen(&format!("-{round}-"), &format!("-{}-", round - 2), 1);
                    fs::remove_file(place.path().join(old)).unwrap();
                }
            }
        }
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    eprintln!("won {wins:?} times");
    figures.finish();
}

#[test]
fn a_vault_reopens_at_once_while_another_thread_starts_processes() {
    let place = scratch();
    let layout = Layout::new(place.path());
    layout.prepare();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                assert!(Command::new("true").status().unwrap().success());
            }
        });
        let outcome = (0..150).try_for_each(|_| open(&layout.vault())?.close());
        done.store(true, Ordering::SeqCst);
        starter.join().unwrap();
        outcome.unwrap();
    });
}

const DYING_TEST: &str = "crash::lock::who_comes_while_the_owner_dies_waits_or_gets_a_whole_vault";

#[test]
fn who_comes_while_the_owner_dies_waits_or_gets_a_whole_vault() {
    if let Some(base) = job() {
        let layout = Layout::new(base.as_ref());
        let vault = open(&layout.vault()).unwrap();
        let mut marks = open_marks(&layout);
        mark(&mut marks, "opened");
        loop {
            let key = "key".parse::<strongroom::KeyName>().unwrap();
            let options = strongroom::CreateKeyOptions::ec(strongroom::Curve::P256);
            vault.create_key(&key, options).unwrap();
            mark(&mut marks, "made");
            vault.delete_key(&key).unwrap();
            vault.purge_deleted_key(&key).unwrap();
        }
    }
    let figures = Figures::begin("opens while the owner is killed");
    let mut random = Random::new(seed());
    let mut refusals = 0;
    let place = scratch();
    let layout = Layout::new(place.path());
    layout.prepare();
    for round in 0..cases(100, 1_000) {
        fs::write(layout.marks(), b"").unwrap();
        let mut owner = child(DYING_TEST, &place.path().display().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !layout.read_marks().contains("opened") {
            assert!(Instant::now() < deadline, "the owner does not open");
            std::thread::sleep(Duration::from_micros(300));
        }
        figures.case(format!("round {round}"), || {
            std::thread::scope(|scope| {
                let pause = Duration::from_micros(random.next() % 20_000);
                let owner = &mut owner;
                scope.spawn(move || {
                    std::thread::sleep(pause);
                    owner.kill().unwrap();
                });
                let vault = loop {
                    match open(&layout.vault()) {
                        Ok(vault) => break vault,
                        Err(error) if error.kind() == ErrorKind::VaultInUse => refusals += 1,
                        Err(error) => return Err(Wrong::open(error.kind(), error)),
                    }
                    if Instant::now() > deadline {
                        let story = "the lock of a dead process stays";
                        return Err(Wrong::new(Defect::Hang, story));
                    }
                };
                require_sound(&vault, &layout.vault())?;
                Ok(())
            })
        });
        owner.wait().unwrap();
    }
    eprintln!("{refusals} times it was in use");
    figures.finish();
    assert!(refusals > 0);
}
