//! Two processes want the same vault at the same moment, 100 times: one gets it, the other is told that it is in
//! use. And who closes a vault can open it again at once, whatever else the process does.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::disk::scratch;
use super::{Layout, child, job, open};

const TEST: &str = "crash::lock::of_two_processes_exactly_one_gets_the_vault";
const RACES: usize = 100;
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
    for round in 0..RACES {
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
    let mut wins = [0, 0];
    for round in 0..RACES {
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
        match (winner, loser) {
            (Some(winner), Some(_)) => wins[winner] += 1,
            _ => panic!("race {round}: {outcomes:?}"),
        }
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    eprintln!("{RACES} races, won {wins:?} times");
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
