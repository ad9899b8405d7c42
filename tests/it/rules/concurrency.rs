//! 32 threads work on overlapping names: what they saw can be explained by one order of their calls, key by
//! key, in which each call takes effect between its begin and its end. The search for that order is the one
//! of Wing and Gong, with a memory of what was tried.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use strongroom::{
    Curve, ErrorKind, KeyVersion, SignatureAlgorithm, SoftDelete, UpdateKeyOptions, Vault,
};

use super::DIGEST;
use crate::make;
use crate::programme::{Figures, cases};
use crate::support::{Place, name};

const THREADS: usize = 32;
const KEYS: usize = 12;

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

impl Event {
    /// Whether it changed nothing, whatever the state was.
    fn changes_nothing(&self) -> bool {
        matches!(self.answer, Answer::Refused(_))
            || matches!(
                self.call,
                Call::Get | Call::Sign | Call::SignExact(_) | Call::Versions
            )
    }
}

/// A key as the rules describe it: its versions, with whether they are enabled, and the newest of them. The
/// order of the others is left to [`orders_agree`]: with it the search would have too many states.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Key {
    versions: BTreeMap<KeyVersion, bool>,
    newest: Option<KeyVersion>,
    deleted: bool,
}

impl Key {
    fn active(&self) -> bool {
        self.newest.is_some() && !self.deleted
    }

    /// The key after the call, if the call may have had this answer.
    fn after(&self, call: &Call, answer: &Answer, soft_delete: bool) -> Option<Self> {
        let refuse = |kind| (*answer == Answer::Refused(kind)).then(|| self.clone());
        match call {
            Call::Create if self.deleted => return refuse(ErrorKind::KeyDeleted),
            Call::Purge if !soft_delete => return refuse(ErrorKind::PurgeRefused),
            Call::Recover | Call::Purge if !self.deleted => {
                return refuse(ErrorKind::DeletedKeyNotFound);
            }
            Call::Create | Call::Recover | Call::Purge => {}
            _ if !self.active() => return refuse(ErrorKind::KeyNotFound),
            _ => {}
        }
        let mut next = self.clone();
        let signs = |version: &KeyVersion| match self.versions.get(version) {
            Some(true) => Answer::Version(*version),
            Some(false) => Answer::Refused(ErrorKind::KeyDisabled),
            None => Answer::Refused(ErrorKind::KeyNotFound),
        };
        let fits = match (call, answer) {
            (Call::Create | Call::Rotate, Answer::Version(version)) => {
                next.newest = Some(*version);
                next.versions.insert(*version, true).is_none()
            }
            (Call::Sign, answer) => {
                self.newest.map(|newest| signs(&newest)).as_ref() == Some(answer)
            }
            (Call::SignExact(version), answer) => *answer == signs(version),
            (Call::Versions, Answer::Versions(versions)) => {
                versions.last() == self.newest.as_ref()
                    && versions.len() == self.versions.len()
                    && versions
                        .iter()
                        .all(|version| self.versions.contains_key(version))
            }
            (Call::Purge, Answer::Done) => {
                next = Self::default();
                true
            }
            (call, Answer::Version(version)) => {
                match call {
                    Call::Enable(enabled) => {
                        next.versions.insert(*version, *enabled);
                    }
                    Call::Delete if soft_delete => next.deleted = true,
                    Call::Delete => next = Self::default(),
                    Call::Recover => next.deleted = false,
                    _ => {}
                }
                self.newest == Some(*version)
            }
            _ => false,
        };
        fits.then_some(next)
    }
}

/// Whether all listings of a key show its versions in one order, which is that of the calls that made them.
fn orders_agree(events: &[Event]) -> bool {
    let mut before = BTreeSet::new();
    for event in events {
        if let Answer::Versions(versions) = &event.answer {
            for (at, late) in versions.iter().enumerate() {
                before.extend(versions[..at].iter().map(|early| (*early, *late)));
            }
        }
    }
    let made: BTreeMap<KeyVersion, &Event> = events
        .iter()
        .filter(|event| matches!(event.call, Call::Create | Call::Rotate))
        .filter_map(|event| match event.answer {
            Answer::Version(version) => Some((version, event)),
            _ => None,
        })
        .collect();
    before.iter().all(|(early, late)| {
        !before.contains(&(*late, *early)) && made[early].begin < made[late].end
    })
}

/// Whether the events of one key have an order that the rules explain.
fn is_linearizable(events: &[Event], soft_delete: bool) -> bool {
    let mut tried: HashSet<(Vec<bool>, Key)> = HashSet::new();
    let mut open = vec![(vec![false; events.len()], Key::default())];
    while let Some((mut done, key)) = open.pop() {
        // A call that never changes anything may come as soon as it fits: nothing else is hindered by that.
        let candidates = loop {
            let first_end = events
                .iter()
                .zip(&done)
                .filter(|(_, done)| !**done)
                .map(|(event, _)| event.end)
                .min();
            let Some(first_end) = first_end else {
                return true;
            };
            let mut candidates: Vec<usize> = (0..events.len())
                .filter(|at| !done[*at] && events[*at].begin <= first_end)
                .collect();
            // What ended first is tried first, being last: calls mostly take effect in the order of their ends. In any
            // other order the search had no end when a busy machine let many calls overlap.
            candidates.sort_by_key(|at| std::cmp::Reverse(events[*at].end));
            let idle = candidates.iter().find(|at| {
                let event = &events[**at];
                event.changes_nothing()
                    && key.after(&event.call, &event.answer, soft_delete).is_some()
            });
            match idle {
                Some(at) => done[*at] = true,
                None => break candidates,
            }
        };
        assert!(tried.len() < 1_000_000, "the search is too long to tell");
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

/// One line for each event, in the order of their begins.
fn told(events: &[Event]) -> String {
    let mut events = events.to_vec();
    events.sort_by_key(|event| event.begin);
    let line = |event: &Event| {
        let Event {
            begin,
            end,
            call,
            answer,
        } = event;
        format!("{begin:4}..{end:4} {call:?} -> {answer:?}\n")
    };
    events.iter().map(line).collect()
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
            .create_key(&key, make::ec(Curve::P256))
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
        Call::Purge => vault.purge_deleted_key(&key).map(|_| Answer::Done),
    };
    outcome.unwrap_or_else(|error| {
        // No order explains it: a token has failed, and only the error tells how.
        if error.kind() == ErrorKind::BackendRejected {
            eprintln!("{call:?} of {key}: {error:?}");
        }
        Answer::Refused(error.kind())
    })
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
            is_linearizable(&events, soft_delete) && orders_agree(&events),
            "key-{at}, seed {seed:#x}:\n{}",
            told(&events)
        );
    }
    assert!(
        successes * 4 > THREADS * calls,
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
    let figures = Figures::begin("histories of 32 threads");
    for seed in 1..=cases(6, 2_000) as u64 {
        figures.count(1);
        let vault = make::vault_options().create_in_memory().unwrap();
        check(&vault, 20, seed, true);
    }
    figures.finish();
}

#[test]
fn the_same_holds_without_soft_delete() {
    let figures = Figures::begin("histories of 32 threads, no soft delete");
    for seed in 11..11 + cases(6, 2_000) as u64 {
        figures.count(1);
        let vault = make::vault_options()
            .soft_delete(SoftDelete::OFF)
            .create_in_memory()
            .unwrap();
        check(&vault, 20, seed, false);
    }
    figures.finish();
}

#[test]
fn the_same_holds_on_disk_and_after_reopening() {
    let place = Place::new();
    let vault = place.create();
    check(&vault, 20, 21, true);
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
    let vault = make::vault_options().create_in_memory().unwrap();
    let key = name("k");
    vault.create_key(&key, make::ec(Curve::P256)).unwrap();
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
    let vault = make::vault_options().create_in_memory().unwrap();
    let key = name("k");
    let both = KeyOperations::from([KeyOperation::Sign, KeyOperation::Verify]);
    let verify = KeyOperations::from([KeyOperation::Verify]);
    for _ in 0..50 {
        vault
            .create_key(&key, make::ec(Curve::P256).operations(both))
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
