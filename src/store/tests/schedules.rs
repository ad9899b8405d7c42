//! The overlay and the queue under thousands of orders in which readers, writers and the committer can meet. Who saw the
//! same number before and after, of the whole or of the bucket it read from, saw all of a group, or nothing of it, and who saw it once does not see the time before it
//! again. What the queue took is answered, also when it is closed meanwhile or the committer goes, and in its order; and the
//! committer does not end while a group is to be applied. Of callers who tell each other that their requests are done
//! everybody hears of his own.

use std::collections::BTreeMap;
use std::sync::Arc;

use shuttle::sync::Mutex;

use super::programme::{Figures, cases};
use super::{key_object, record, version};
use crate::format::record::{IndexKey, SealedRecord};

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../overlay.rs"]
mod overlay;

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../queue.rs"]
mod queue;

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the model uses a part of it, made of other locks"
)]
#[path = "../answers.rs"]
mod answers;

/// Where they look for them.
use crate::store::{Change, CommitOptions, engine};
mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(super) use shuttle::sync::mpsc;
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock};
}

type Engine = Mutex<BTreeMap<IndexKey, SealedRecord>>;

/// As a view reads: the overlay first, then the engine.
fn read(engine: &Engine, overlay: &overlay::Overlay, index: &IndexKey) -> Option<SealedRecord> {
    match overlay.get(index) {
        Some(image) => image,
        None => engine.lock().unwrap().get(index).cloned(),
    }
}

/// Both records of one state, or nothing when there was no quiet moment.
fn read_both(engine: &Engine, overlay: &overlay::Overlay, keys: &[IndexKey; 2]) -> Option<usize> {
    let bucket = keys[0].bucket_number();
    let number = || match keys[1].bucket_number() == bucket {
        true => overlay.bucket_number(bucket),
        false => overlay.number(),
    };
    let before = number();
    let found = keys.map(|key| read(engine, overlay, &key));
    if number() != before {
        return None;
    }
    let lengths = found.map(|record| record.map_or(0, |record| record.as_bytes().len()));
    assert_eq!(lengths[0], lengths[1], "half a group");
    Some(lengths[0])
}

fn meet(keys: [IndexKey; 2], states: &[[SealedRecord; 2]]) {
    let engine = Arc::new(Engine::default());
    let overlay = Arc::new(overlay::Overlay::default());
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (engine, overlay) = (Arc::clone(&engine), Arc::clone(&overlay));
            shuttle::thread::spawn(move || {
                let mut last = 0;
                for _ in 0..3 {
                    if let Some(seen) = read_both(&engine, &overlay, &keys) {
                        assert!(seen >= last, "an older state after a newer one");
                        last = seen;
                    }
                }
            })
        })
        .collect();
    for state in states {
        let mut images = overlay::Images::new();
        for (key, record) in keys.iter().zip(state) {
            images.insert(*key.as_bytes(), Some(record.clone()));
        }
        overlay.publish(images);
        for (key, record) in keys.iter().zip(state) {
            engine.lock().unwrap().insert(*key, record.clone());
        }
        overlay.clear();
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_reader_sees_whole_groups_in_every_order() {
    let figures = Figures::begin("orders of readers and the committer at the overlay");
    let count = cases(5_000, 500_000);
    // Of two buckets, and of one.
    for second in [key_object(2), version(1, 1)] {
        let keys = [key_object(1), second];
        // Longer from one state to the next.
        let states: Vec<_> = (1..=2)
            .map(|state| keys.map(|key| record(&key, 100 * state)))
            .collect();
        let own = states.clone();
        shuttle::check_random(move || meet(keys, &own), count);
        shuttle::check_pct(move || meet(keys, &states), count, 3);
        figures.count(2 * count);
    }
    figures.finish();
}

/// How the work at the queue ends.
#[derive(Clone, Copy)]
enum End {
    /// Closed when all writers are done.
    Late,
    /// Closed while they write.
    Early,
    /// The committer goes by itself.
    Gone,
}

/// What was carried out, in its order. Only who has the turn gets hold of it.
type Done = Mutex<Vec<IndexKey>>;

fn carry_out(done: &Done, group: Vec<queue::Request>) {
    assert!(!group.is_empty());
    let mut done = done.try_lock().expect("two have the turn");
    let mut callers = Vec::new();
    for request in group {
        done.push(*request.changes[0].index());
        shuttle::thread::yield_now();
        callers.push(request.caller);
    }
    answers::tell(callers, &Ok(()), 1);
}

/// Two writers, one with both of its requests together, a committer, and somebody who closes. `quiet` is a time before,
/// in which so many groups had one caller.
fn queue_up(requests: [[Change; 2]; 2], end: End, quiet: usize) {
    let queue = Arc::new(queue::Queue::default());
    let done = Arc::new(Done::default());
    // How many groups the engine does not have; whoever takes the commit lock gives it all of them.
    let unapplied = Arc::new(Mutex::new(0));
    for _ in 0..quiet {
        let (caller, _answered) = answers::expected();
        let request = queue::Request {
            changes: Vec::new(),
            options: CommitOptions::default(),
            caller,
        };
        assert!(matches!(queue.push(vec![request]), queue::Pushed::Waiting));
        assert!(matches!(queue.next(None), queue::Work::Group(_)));
        queue.pass_on(queue::Left::default());
    }
    let committer = {
        let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
        let unapplied = Arc::clone(&unapplied);
        shuttle::thread::spawn(move || {
            let mut groups = 0;
            loop {
                match queue.next(None) {
                    queue::Work::Done => break,
                    queue::Work::Anchor => {}
                    queue::Work::Apply => {
                        *unapplied.lock().unwrap() = 0;
                        continue;
                    }
                    queue::Work::Group(group) => {
                        groups += 1;
                        carry_out(&done, group);
                        *unapplied.lock().unwrap() = 0;
                    }
                }
                if matches!(end, End::Gone) && groups == 2 {
                    break;
                }
                queue.pass_on(queue::Left::default());
            }
            queue.leave();
        })
    };
    let writers: Vec<_> = requests
        .into_iter()
        .zip([2, 1])
        .map(|(changes, at_once)| {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            let unapplied = Arc::clone(&unapplied);
            shuttle::thread::spawn(move || {
                let mut taken = Vec::new();
                let mut requests: Vec<_> = changes.into_iter().collect();
                while !requests.is_empty() {
                    let (pushed, answers): (Vec<_>, Vec<_>) = requests
                        .drain(..at_once)
                        .map(|change| {
                            let place = *change.index();
                            let (caller, answered) = answers::expected();
                            let request = queue::Request {
                                changes: vec![change],
                                options: CommitOptions::default(),
                                caller,
                            };
                            (request, (place, answered))
                        })
                        .unzip();
                    // All of them or none.
                    match queue.push(pushed) {
                        queue::Pushed::Refused => break,
                        queue::Pushed::Waiting => {}
                        queue::Pushed::Turn(group) => {
                            carry_out(&done, group);
                            *unapplied.lock().unwrap() = 1;
                            queue.pass_on(queue::Left {
                                unsynced: true,
                                unapplied: true,
                            });
                        }
                    }
                    taken.extend(answers);
                }
                // To wait for ever would be found as such.
                let heard = taken
                    .into_iter()
                    .map(|(place, answered)| (place, answered.wait()));
                heard.collect::<Vec<_>>()
            })
        })
        .collect();
    if matches!(end, End::Early) {
        queue.close();
    }
    let taken: Vec<_> = writers
        .into_iter()
        .map(|writer| writer.join().unwrap())
        .collect();
    queue.close();
    committer.join().unwrap();
    if !matches!(end, End::Gone) {
        assert_eq!(*unapplied.lock().unwrap(), 0, "the engine lacks a group");
    }
    let places = done.lock().unwrap();
    for own in taken {
        let mut last = 0;
        for (place, answer) in own {
            // Nothing is answered that was not done.
            match answer {
                Some(answer) => {
                    answer.unwrap();
                    let position = places.iter().position(|done| *done == place).unwrap();
                    assert!(position >= last, "not in its order");
                    last = position;
                }
                None => assert!(matches!(end, End::Gone), "taken and not answered"),
            }
        }
    }
    let (caller, _answered) = answers::expected();
    let late = queue::Request {
        changes: Vec::new(),
        options: CommitOptions::default(),
        caller,
    };
    assert!(
        matches!(queue.push(vec![late]), queue::Pushed::Refused),
        "a closed queue takes nothing"
    );
    assert_eq!(queue::closed().kind(), crate::ErrorKind::VaultFailed);
}

#[test]
fn what_the_queue_took_is_answered_in_every_order() {
    let figures = Figures::begin("orders of writers and the committer at the queue");
    let count = cases(5_000, 500_000);
    let records = [[1, 2], [3, 4]].map(|numbers| {
        numbers.map(|number| {
            let key = key_object(number);
            // Two of them do not fit into one group.
            (key, record(&key, 40_000))
        })
    });
    for (end, quiet) in [End::Late, End::Early, End::Gone]
        .into_iter()
        .flat_map(|end| [(end, 0), (end, 3)])
    {
        let records = records.clone();
        let meet = move || {
            let changes = records.clone();
            queue_up(
                changes.map(|own| own.map(|(key, record)| Change::Put(key, record))),
                end,
                quiet,
            );
        };
        shuttle::check_random(meet.clone(), count / 6);
        shuttle::check_pct(meet, count / 6, 3);
        figures.count(2 * (count / 6));
    }
    figures.finish();
}

/// Callers with several requests each, which lie in groups as they came. `leaves` are requests that nobody waits for.
fn hear(callers: usize, each: usize, at_once: usize, leaves: bool) {
    let queue = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..callers)
        .map(|caller| {
            let queue = Arc::clone(&queue);
            shuttle::thread::spawn(move || {
                let mut own = Vec::new();
                for request in 0..each {
                    let (told, answered) = answers::expected();
                    queue.lock().unwrap().push(told);
                    if leaves && (caller + request) % 3 == 0 {
                        drop(answered);
                    } else {
                        own.push(answered);
                    }
                }
                for answered in own {
                    answered.wait().expect("an answer").expect("a good one");
                }
            })
        })
        .collect();
    let mut told = 0;
    while told < callers * each {
        let group = std::mem::take(&mut *queue.lock().unwrap());
        told += group.len();
        answers::tell(group, &Ok(()), at_once);
        shuttle::thread::yield_now();
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn everybody_hears_of_his_group_in_every_order() {
    let figures = Figures::begin("orders of callers who tell each other that they are done");
    let count = cases(3_000, 300_000);
    for (at_once, leaves) in [(1, false), (2, false), (3, false), (1, true), (2, true)] {
        let meet = move || hear(3, 3, at_once, leaves);
        shuttle::check_random(meet, count / 5);
        shuttle::check_pct(meet, count / 5, 3);
        figures.count(2 * (count / 5));
    }
    figures.finish();
}
