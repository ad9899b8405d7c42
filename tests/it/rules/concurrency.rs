//! 32 threads work on overlapping names: what they saw can be explained by one order of their calls, key by
//! key, in which each call takes effect between its begin and its end. The search for that order is the one
//! of Wing and Gong, with a memory of what was tried.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, KeyVersion, SignatureAlgorithm, SoftDelete,
    UpdateKeyOptions, Vault, VaultOptions,
};

use super::DIGEST;
use crate::support::{Place, name};

const THREADS: usize = 32;
const KEYS: usize = 8;

#[derive(Clone, Debug)]
enum Call {
    Create,
    Rotate,
    Get,
    Sign,
    SignExact(KeyVersion),
    Versions,
    Enable(bool),
    Delete,
    Recover,
    Purge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Version(KeyVersion),
    Versions(Vec<KeyVersion>),
    Refused(ErrorKind),
}

#[derive(Clone, Debug)]
struct Event {
    begin: u64,
    end: u64,
    call: Call,
    answer: Answer,
}

/// A key as the rules describe it: its versions, oldest first, with whether they are enabled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Key {
    versions: Vec<(KeyVersion, bool)>,
    deleted: bool,
}

impl Key {
    fn active(&self) -> bool {
        !self.versions.is_empty() && !self.deleted
    }

    /// The key after the call, if the call may have had this answer.
    fn after(&self, call: &Call, answer: &Answer, soft_delete: bool) -> Option<Self> {
        let refuse = |kind| (*answer == Answer::Refused(kind)).then(|| self.clone());
        let mut next = self.clone();
        let newest = self.versions.last().copied();
        match call {
            Call::Create if self.deleted => return refuse(ErrorKind::KeyDeleted),
            Call::Recover | Call::Purge if !soft_delete => {
                return match (call, answer) {
                    (Call::Purge, Answer::Refused(ErrorKind::PurgeRefused))
                    | (Call::Recover, Answer::Refused(ErrorKind::DeletedKeyNotFound)) => Some(next),
                    _ => None,
                };
            }
            Call::Recover | Call::Purge if !self.deleted => {
                return refuse(ErrorKind::DeletedKeyNotFound);
            }
            Call::Create | Call::Recover | Call::Purge => {}
            _ if !self.active() => return refuse(ErrorKind::KeyNotFound),
            _ => {}
        }
        match (call, answer) {
            (Call::Create | Call::Rotate, Answer::Version(version)) => {
                next.versions.push((*version, true));
            }
            (Call::Get, Answer::Version(version)) => {
                if newest?.0 != *version {
                    return None;
                }
            }
            (Call::Sign, answer) => {
                let expected = match newest? {
                    (version, true) => Answer::Version(version),
                    (_, false) => Answer::Refused(ErrorKind::KeyDisabled),
                };
                if *answer != expected {
                    return None;
                }
            }
            (Call::SignExact(version), answer) => {
                let found = self.versions.iter().find(|known| known.0 == *version);
                let expected = match found {
                    Some((version, true)) => Answer::Version(*version),
                    Some((_, false)) => Answer::Refused(ErrorKind::KeyDisabled),
                    None => Answer::Refused(ErrorKind::KeyNotFound),
                };
                if *answer != expected {
                    return None;
                }
            }
            (Call::Versions, Answer::Versions(versions)) => {
                if !self
                    .versions
                    .iter()
                    .map(|known| known.0)
                    .eq(versions.iter().copied())
                {
                    return None;
                }
            }
            (Call::Enable(enabled), Answer::Version(version)) => {
                let last = next.versions.last_mut()?;
                if last.0 != *version {
                    return None;
                }
                last.1 = *enabled;
            }
            (Call::Delete, Answer::Version(version)) => {
                if newest?.0 != *version {
                    return None;
                }
                if soft_delete {
                    next.deleted = true;
                } else {
                    next.versions.clear();
                }
            }
            (Call::Recover, Answer::Version(version)) => {
                if newest?.0 != *version {
                    return None;
                }
                next.deleted = false;
            }
            (Call::Purge, Answer::Done) => next = Self::default(),
            _ => return None,
        }
        Some(next)
    }
}

/// Whether the events of one key have an order that the rules explain.
fn is_linearizable(events: &[Event], soft_delete: bool) -> bool {
    let mut events = events.to_vec();
    events.sort_by_key(|event| event.begin);
    let mut tried: HashSet<(Vec<bool>, Key)> = HashSet::new();
    let mut open = vec![(vec![false; events.len()], Key::default())];
    while let Some((done, key)) = open.pop() {
        let first_end = events
            .iter()
            .zip(&done)
            .filter(|(_, done)| !**done)
            .map(|(event, _)| event.end)
            .min();
        let Some(first_end) = first_end else {
            return true;
        };
        assert!(tried.len() < 3_000_000, "the search is too long to tell");
        // Who ends first goes on the stack last, to be tried first.
        let mut candidates: Vec<usize> = (0..events.len())
            .filter(|at| !done[*at] && events[*at].begin <= first_end)
            .collect();
        candidates.sort_by_key(|at| std::cmp::Reverse(events[*at].end));
        for at in candidates {
            let event = &events[at];
            if let Some(next) = key.after(&event.call, &event.answer, soft_delete) {
                let mut done = done.clone();
                done[at] = true;
                if tried.insert((done.clone(), next.clone())) {
                    open.push((done, next));
                }
            }
        }
    }
    false
}

/// A small generator, so that the choice of calls is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

fn perform(vault: &Vault, key: &str, call: &Call) -> Answer {
    let key = name(key);
    let es256 = SignatureAlgorithm::Es256;
    let outcome = match call {
        Call::Create => vault
            .create_key(&key, CreateKeyOptions::ec(Curve::P256))
            .map(|made| Answer::Version(made.id().version())),
        Call::Rotate => vault
            .rotate_key(&key)
            .map(|made| Answer::Version(made.id().version())),
        Call::Get => vault
            .get_key(&key)
            .map(|found| Answer::Version(found.id().version())),
        Call::Sign => vault
            .sign(&key, es256, &DIGEST)
            .map(|signed| Answer::Version(signed.key_id().version())),
        Call::SignExact(version) => vault
            .sign((&key, *version), es256, &DIGEST)
            .map(|signed| Answer::Version(signed.key_id().version())),
        Call::Versions => vault.list_key_properties_versions(&key).map(|versions| {
            let mut versions: Vec<_> = versions.map(|version| version.version()).collect();
            versions.reverse();
            Answer::Versions(versions)
        }),
        Call::Enable(enabled) => vault
            .update_key_properties(&key, UpdateKeyOptions::new().enabled(*enabled))
            .map(|updated| Answer::Version(updated.id().version())),
        Call::Delete => vault
            .delete_key(&key)
            .map(|deleted| Answer::Version(deleted.properties().version())),
        Call::Recover => vault
            .recover_deleted_key(&key)
            .map(|recovered| Answer::Version(recovered.id().version())),
        Call::Purge => vault.purge_deleted_key(&key).map(|()| Answer::Done),
    };
    outcome.unwrap_or_else(|error| Answer::Refused(error.kind()))
}

/// Lets the threads work and gives the events of each key.
fn history(vault: &Vault, calls: usize, seed: u64) -> Vec<Vec<Event>> {
    let ticks = Arc::new(AtomicU64::new(0));
    let begin = Arc::new(Barrier::new(THREADS));
    let (send, receive) = mpsc::channel();
    for thread in 0..THREADS {
        let (vault, ticks, begin, send) = (
            vault.clone(),
            Arc::clone(&ticks),
            Arc::clone(&begin),
            send.clone(),
        );
        std::thread::spawn(move || {
            let mut dice = Dice(seed ^ (thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut known: Vec<Option<KeyVersion>> = vec![None; KEYS];
            let mut events = Vec::new();
            begin.wait();
            for _ in 0..calls {
                let at = usize::try_from(dice.roll(KEYS as u64)).unwrap();
                let call = match dice.roll(20) {
                    0..=3 => Call::Create,
                    4..=5 => Call::Rotate,
                    6..=7 => Call::Get,
                    8..=9 => Call::Sign,
                    10..=11 => known[at].map_or(Call::Sign, Call::SignExact),
                    12 => Call::Versions,
                    13..=14 => Call::Enable(dice.roll(2) == 0),
                    15..=16 => Call::Delete,
                    17..=18 => Call::Recover,
                    _ => Call::Purge,
                };
                let begin = ticks.fetch_add(1, Ordering::SeqCst);
                let answer = perform(&vault, &format!("key-{at}"), &call);
                let end = ticks.fetch_add(1, Ordering::SeqCst);
                if let Answer::Version(version) = answer {
                    known[at] = Some(version);
                }
                let event = Event {
                    begin,
                    end,
                    call,
                    answer,
                };
                events.push((at, event));
            }
            send.send(events).unwrap();
        });
    }
    drop(send);
    let mut keys = vec![Vec::new(); KEYS];
    for _ in 0..THREADS {
        let events = receive
            .recv_timeout(Duration::from_secs(300))
            .expect("every thread comes to its end");
        for (at, event) in events {
            keys[at].push(event);
        }
    }
    keys
}

fn check(vault: &Vault, calls: usize, seed: u64, soft_delete: bool) {
    let mut successes = 0;
    for (at, mut events) in history(vault, calls, seed).into_iter().enumerate() {
        successes += events
            .iter()
            .filter(|event| !matches!(event.answer, Answer::Refused(_)))
            .count();
        // What is there afterwards belongs to the history.
        for call in [Call::Versions, Call::Sign, Call::Recover] {
            let last = events.iter().map(|event| event.end).max().unwrap();
            let answer = perform(vault, &format!("key-{at}"), &call);
            events.push(Event {
                begin: last + 1,
                end: last + 2,
                call,
                answer,
            });
        }
        assert!(
            is_linearizable(&events, soft_delete),
            "key-{at}, seed {seed:#x}: {events:#?}"
        );
    }
    assert!(
        successes * 3 > THREADS * calls,
        "{successes} calls did something"
    );
    let report = vault.check().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn the_search_tells_histories_apart() {
    let version = |digit: &str| digit.repeat(32).parse::<KeyVersion>().unwrap();
    let (a, b) = (version("a"), version("b"));
    let event = |begin, end, call, answer| Event {
        begin,
        end,
        call,
        answer,
    };
    let create = event(0, 1, Call::Create, Answer::Version(a));
    let rotate = |begin, end| event(begin, end, Call::Rotate, Answer::Version(b));
    let get = |begin, end, version| event(begin, end, Call::Get, Answer::Version(version));
    // Overlapping: both orders are possible.
    for seen in [a, b] {
        let events = [create.clone(), rotate(2, 5), get(3, 4, seen)];
        assert!(is_linearizable(&events, true));
    }
    // One after the other: only one is.
    assert!(is_linearizable(
        &[create.clone(), rotate(2, 3), get(4, 5, b)],
        true
    ));
    assert!(!is_linearizable(
        &[create.clone(), rotate(2, 3), get(4, 5, a)],
        true
    ));
    // Two readers that see a change in opposite orders.
    assert!(!is_linearizable(
        &[create.clone(), rotate(2, 9), get(3, 4, b), get(5, 6, a)],
        true
    ));
    // A rotation that brings a key back.
    let delete = event(2, 3, Call::Delete, Answer::Version(a));
    assert!(!is_linearizable(
        &[create.clone(), delete.clone(), rotate(4, 5)],
        false
    ));
    let late = [create, delete, rotate(2, 5), get(6, 7, b)];
    assert!(!is_linearizable(&late, false));
}

#[test]
fn calls_on_overlapping_names_take_effect_one_after_the_other() {
    for seed in 1..=6 {
        let vault = VaultOptions::new().create_in_memory().unwrap();
        check(&vault, 16, seed, true);
    }
}

#[test]
fn the_same_holds_without_soft_delete() {
    for seed in 11..=16 {
        let vault = VaultOptions::new()
            .soft_delete(SoftDelete::OFF)
            .create_in_memory()
            .unwrap();
        check(&vault, 16, seed, false);
    }
}

#[test]
fn the_same_holds_on_disk_and_after_reopening() {
    let place = Place::new();
    let vault = place.create();
    check(&vault, 12, 21, true);
    let listed = |vault: &Vault| {
        let mut names: Vec<_> = vault
            .list_key_properties()
            .map(|item| item.unwrap().id().to_string())
            .collect();
        names.sort();
        names
    };
    let before = listed(&vault);
    vault.close().unwrap();
    drop(vault);
    let vault = place.open().unwrap();
    assert_eq!(listed(&vault), before);
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn rotations_of_one_key_do_not_lose_each_other() {
    let vault = VaultOptions::new().create_in_memory().unwrap();
    let key = name("k");
    vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let made: HashSet<KeyVersion> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| -> Vec<KeyVersion> {
                    (0..8)
                        .map(|_| vault.rotate_key(&key).unwrap().id().version())
                        .collect()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(made.len(), THREADS * 8);
    assert_eq!(
        vault.list_key_properties_versions(&key).unwrap().count(),
        THREADS * 8 + 1
    );
}

#[test]
fn a_rotation_keeps_the_key_ops_of_an_update_that_came_before_it() {
    use strongroom::{KeyOperation, KeyOperations};
    let vault = VaultOptions::new().create_in_memory().unwrap();
    let key = name("k");
    let both = KeyOperations::from([KeyOperation::Sign, KeyOperation::Verify]);
    let verify = KeyOperations::from([KeyOperation::Verify]);
    for _ in 0..50 {
        vault
            .create_key(&key, CreateKeyOptions::ec(Curve::P256).operations(both))
            .unwrap();
        let start = Barrier::new(2);
        let (updated, rotated) = std::thread::scope(|scope| {
            let update = scope.spawn(|| {
                start.wait();
                vault
                    .update_key_properties(&key, UpdateKeyOptions::new().operations(verify))
                    .unwrap()
            });
            start.wait();
            let rotated = vault.rotate_key(&key).unwrap();
            (update.join().unwrap(), rotated)
        });
        // Either the update came first, and the rotation took it over, or it met the new version.
        let newest = vault.get_key(&key).unwrap();
        assert_eq!(newest.id(), rotated.id());
        assert_eq!(
            newest.key().key_ops(),
            verify,
            "the update of {} was lost",
            updated.id()
        );
    }
}
