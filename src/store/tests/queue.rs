//! Which requests become a group, and who still gets an answer.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::answers::{self, Answered};
use super::super::queue::{Left, Pushed, Queue, Request, Work, closed};
use super::super::{Change, CommitOptions};
use crate::ErrorKind;
use crate::format::audit::{Event, EventFields, EventSubject};
use crate::format::record::{Class, IndexKey, SealedRecord, record_header};

/// What a group holds, unless one request alone is larger.
const GROUP_BYTES: usize = 65_536;

/// A sealed record of this length with its header.
fn record(length: usize) -> SealedRecord {
    let body = vec![7; length - 16];
    let length = u32::try_from(body.len()).unwrap();
    SealedRecord::from_parts(record_header(2, Class::KeyObject, 1, length), &body).unwrap()
}

fn event() -> Event {
    Event::new(&EventFields {
        time_ms: 1,
        count: 1,
        operation: &"x".repeat(64),
        error: "",
        subject: EventSubject::Vault,
        version: None,
        actor: None,
    })
    .unwrap()
}

fn request(changes: Vec<Change>, events: usize) -> (Request, Answered) {
    let (caller, answered) = answers::expected();
    let options = CommitOptions {
        events: vec![event(); events],
        ..CommitOptions::default()
    };
    let request = Request {
        changes,
        options,
        caller,
    };
    (request, answered)
}

fn put(length: usize) -> Change {
    Change::Put(IndexKey::key_object([1; 16]), record(length))
}

fn of(changes: Vec<Change>) -> Request {
    request(changes, 0).0
}

/// Whether they wait for the committer.
fn waits(queue: &Queue, requests: Vec<Request>) -> bool {
    matches!(queue.push(requests), Pushed::Waiting)
}

fn is_refused(queue: &Queue) -> bool {
    matches!(queue.push(vec![of(vec![put(88)])]), Pushed::Refused)
}

/// How many requests each group has, until the queue is empty and closed.
fn groups(requests: Vec<Request>) -> Vec<usize> {
    let queue = Queue::default();
    assert!(waits(&queue, requests));
    queue.close();
    let mut groups = Vec::new();
    while let Work::Group(group) = queue.next(None) {
        groups.push(group.len());
        queue.pass_on(NOTHING);
    }
    groups
}

#[test]
fn requests_join_a_group_up_to_its_bytes() {
    let half = GROUP_BYTES / 2;
    let three = |lengths: [usize; 3]| groups(lengths.map(|length| of(vec![put(length)])).into());
    assert_eq!(three([half, half, 88]), [2, 1]);
    assert_eq!(three([half, half + 1, 88]), [1, 2]);
    assert_eq!(three([half, half - 88, 88]), [3]);
    assert_eq!(three([88, 88, 88]), [3]);
    // A larger one is a group alone, wherever it stands.
    let larger = || of(vec![put(half), put(half), put(half)]);
    assert_eq!(groups(vec![larger()]), [1]);
    assert_eq!(groups(vec![larger(), of(vec![put(88)])]), [1, 1]);
    assert_eq!(groups(vec![of(vec![put(88)]), larger()]), [1, 1]);
    assert!(groups(Vec::new()).is_empty());
}

#[test]
fn records_and_events_count_and_removals_do_not() {
    let filled = || of(vec![put(GROUP_BYTES - 88)]);
    let index = IndexKey::key_object([1; 16]);
    let after = |second: Request| groups(vec![filled(), second]);
    let reseal = |length| Change::Reseal {
        index,
        old_salt: [0; 24],
        record: record(length),
    };
    assert_eq!(after(of(vec![reseal(88)])), [2]);
    assert_eq!(after(of(vec![reseal(89)])), [1, 1]);
    assert_eq!(after(of(vec![Change::Remove(index); 1_000])), [2]);
    let length = event().as_bytes().len();
    assert!((45..=88).contains(&length));
    assert_eq!(after(request(Vec::new(), 1).0), [2]);
    assert_eq!(after(request(Vec::new(), 2).0), [1, 1]);
    // Together they are a sum.
    let room = GROUP_BYTES - length;
    let with_event = || request(vec![put(room)], 1).0;
    assert_eq!(groups(vec![with_event(), of(Vec::new())]), [2]);
    assert_eq!(groups(vec![with_event(), request(Vec::new(), 1).0]), [1, 1]);
    let too_much = || request(vec![put(room + 1)], 1).0;
    assert_eq!(
        groups(vec![of(vec![Change::Remove(index)]), too_much()]),
        [1, 1]
    );
    assert_eq!(
        groups(vec![of(vec![Change::Remove(index)]), with_event()]),
        [2]
    );
}

#[test]
fn a_closed_queue_takes_nothing_but_gives_what_waits() {
    let queue = Queue::default();
    assert!(waits(&queue, vec![of(vec![put(88)])]));
    queue.close();
    assert!(is_refused(&queue));
    assert!(matches!(queue.next(None), Work::Group(group) if group.len() == 1));
    queue.pass_on(NOTHING);
    assert!(matches!(queue.next(None), Work::Done));
    assert_eq!(closed().kind(), ErrorKind::VaultFailed);
}

#[test]
fn who_waits_when_the_committer_goes_gets_no_answer_instead_of_none_ever() {
    let queue = Queue::default();
    let (waiting, answered) = request(vec![put(88)], 0);
    assert!(waits(&queue, vec![waiting]));
    queue.leave();
    assert!(answered.wait().is_none());
    assert!(is_refused(&queue));
}

#[test]
fn the_time_of_the_anchor_comes_only_when_nothing_waits() {
    let queue = Queue::default();
    let past = Instant::now();
    assert!(matches!(queue.next(Some(past)), Work::Anchor));
    queue.pass_on(NOTHING);
    assert!(waits(&queue, vec![of(vec![put(88)])]));
    assert!(matches!(queue.next(Some(past)), Work::Group(_)));
    queue.pass_on(NOTHING);
    let soon = Instant::now() + Duration::from_millis(5);
    assert!(matches!(queue.next(Some(soon)), Work::Anchor));
    queue.pass_on(NOTHING);
    let soon = Instant::now() + Duration::from_millis(5);
    assert!(matches!(queue.next(Some(soon)), Work::Anchor));
    assert!(Instant::now() >= soon);
}

const NOTHING: Left = Left {
    unsynced: false,
    unapplied: false,
};
const UNSYNCED: Left = Left {
    unsynced: true,
    ..NOTHING
};
const UNAPPLIED: Left = Left {
    unapplied: true,
    ..NOTHING
};

/// As three callers, one after the other, whose groups the committer took.
fn quiet_queue() -> Queue {
    let queue = Queue::default();
    for _ in 0..3 {
        assert!(waits(&queue, vec![of(vec![put(88)])]));
        assert!(matches!(queue.next(None), Work::Group(_)));
        queue.pass_on(NOTHING);
    }
    queue
}

fn turn(queue: &Queue, requests: Vec<Request>) -> usize {
    match queue.push(requests) {
        Pushed::Turn(group) => group.len(),
        _ => 0,
    }
}

#[test]
fn who_is_alone_for_a_while_gets_the_turn_and_nobody_else_meanwhile() {
    let queue = quiet_queue();
    assert_eq!(turn(&queue, vec![of(vec![put(88)])]), 1);
    assert!(waits(&queue, vec![of(vec![put(88)]), of(vec![put(88)])]));
    queue.pass_on(NOTHING);
    // What came meanwhile is the committer's, and goes before what comes now.
    assert!(waits(&queue, vec![of(vec![put(88)])]));
    assert!(matches!(queue.next(None), Work::Group(group) if group.len() == 3));
    queue.pass_on(NOTHING);
    // That were two callers at once: he is no longer alone.
    assert!(waits(&queue, vec![of(vec![put(88)])]));
}

#[test]
fn a_turn_is_for_one_group_and_the_committer_takes_the_rest() {
    let queue = quiet_queue();
    let half = || of(vec![put(GROUP_BYTES / 2)]);
    assert_eq!(turn(&queue, vec![half(), half(), half()]), 2);
    queue.pass_on(NOTHING);
    assert!(matches!(queue.next(None), Work::Group(group) if group.len() == 1));
}

/// The committer hears of the first anchor that is not synced, and then has a time of its own for it.
#[test]
fn the_committer_learns_of_an_anchor_once() {
    let queue = quiet_queue();
    assert_eq!(turn(&queue, vec![of(vec![put(88)])]), 1);
    queue.pass_on(UNSYNCED);
    // Before that nobody else gets the turn, and what waits goes first.
    assert!(waits(&queue, vec![of(vec![put(88)])]));
    assert!(matches!(queue.next(None), Work::Group(_)));
    queue.pass_on(NOTHING);
    assert!(matches!(queue.next(None), Work::Anchor));
    queue.pass_on(NOTHING);
    assert_eq!(turn(&queue, vec![of(vec![put(88)])]), 1);
    queue.pass_on(UNSYNCED);
    queue.close();
    assert!(matches!(queue.next(None), Work::Done));

    let queue = &quiet_queue();
    std::thread::scope(|scope| {
        let soon = Instant::now() + Duration::from_millis(200);
        let waiter = scope.spawn(move || {
            let work = queue.next(Some(soon));
            (matches!(work, Work::Anchor), Instant::now() >= soon)
        });
        // Long enough for the other thread to begin to wait; if it has not, nothing is shown and nothing fails.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(turn(queue, vec![of(vec![put(88)])]), 1);
        queue.pass_on(NOTHING);
        assert_eq!(waiter.join().unwrap(), (true, true));
    });
}

#[test]
fn the_committer_applies_what_a_turn_left_and_does_not_need_the_turn_for_it() {
    let queue = quiet_queue();
    for _ in 0..2 {
        assert_eq!(turn(&queue, vec![of(vec![put(88)])]), 1);
        queue.pass_on(UNAPPLIED);
        assert!(matches!(queue.next(None), Work::Apply));
        // Who comes while he applies has the turn at once; he has it only for what waits.
        assert_eq!(turn(&queue, vec![of(vec![put(88)])]), 1);
        queue.pass_on(NOTHING);
    }
    // What waits goes first: the commit lock does it then.
    assert_eq!(turn(&queue, vec![of(vec![put(88)])]), 1);
    assert!(waits(&queue, vec![of(vec![put(88)])]));
    queue.pass_on(UNAPPLIED);
    assert!(matches!(queue.next(None), Work::Group(_)));
    queue.pass_on(NOTHING);
    // Nothing is left when the committer goes.
    assert_eq!(turn(&quiet_queue(), vec![of(vec![put(88)])]), 1);
    let queue = quiet_queue();
    assert_eq!(turn(&queue, vec![of(vec![put(88)])]), 1);
    queue.close();
    queue.pass_on(UNAPPLIED);
    assert!(matches!(queue.next(None), Work::Apply));
    assert!(matches!(queue.next(None), Work::Done));
}

/// As the committer does: it waits in another thread.
#[test]
fn who_waits_is_woken_by_requests_and_by_the_closing() {
    let queue = Queue::default();
    std::thread::scope(|scope| {
        let (taken, seen) = mpsc::channel();
        let queue = &queue;
        let waiter = scope.spawn(move || {
            let mut groups = 0;
            while let Work::Group(_) = queue.next(None) {
                groups += 1;
                queue.pass_on(NOTHING);
                taken.send(()).unwrap();
            }
            groups
        });
        for _ in 0..3 {
            assert!(waits(queue, vec![of(vec![put(88)])]));
            seen.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        queue.close();
        assert_eq!(waiter.join().unwrap(), 3);
    });
}

/// Who of those has heard by now; the others still wait.
fn heard(waiting: &mut Vec<(usize, Answered)>) -> Vec<usize> {
    let mut places = Vec::new();
    for (place, answered) in std::mem::take(waiting) {
        match answered.heard() {
            Ok(outcome) => {
                assert!(outcome.is_ok());
                places.push(place);
            }
            Err(answered) => waiting.push((place, answered)),
        }
    }
    places
}

#[test]
fn each_caller_tells_the_next_one_and_nobody_tells_all() {
    let (callers, answered): (Vec<_>, Vec<_>) = (0..7).map(|_| answers::expected()).unzip();
    let mut waiting: Vec<_> = answered.into_iter().enumerate().collect();
    // Whoever is asked last first hears nothing from those who have not heard yet.
    waiting.reverse();
    answers::tell(callers, &Ok(()), 3);
    // 0, 1, 2 and 3, 4, 5 and 6: one of each at a time.
    assert_eq!(heard(&mut waiting), [6, 3, 0]);
    assert_eq!(heard(&mut waiting), [4, 1]);
    // One who has gone is passed over.
    waiting.retain(|(place, _)| *place != 5);
    assert_eq!(heard(&mut waiting), [2]);
    assert!(waiting.is_empty());
}

#[test]
fn a_failure_is_told_to_everybody_at_once() {
    let (callers, answered): (Vec<_>, Vec<_>) = (0..3).map(|_| answers::expected()).unzip();
    let failure = crate::Error::new(ErrorKind::StorageFull, "no room");
    answers::tell(callers, &Err(failure), 1);
    for answered in answered.into_iter().rev() {
        let error = answered.heard().expect("told").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(error.to_string(), "no room");
    }
}

#[test]
fn who_is_refused_hears_it_alone() {
    let (refused, hears) = answers::expected();
    let (other, waits) = answers::expected();
    refused.refuse(crate::Error::new(ErrorKind::TooLarge, "too much"));
    assert_eq!(
        hears.wait().unwrap().unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    let waits = waits.heard().unwrap_err();
    drop(other);
    assert!(waits.wait().is_none());
}
