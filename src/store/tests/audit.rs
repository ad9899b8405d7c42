//! T11: whoever has the files of a vault and not its key edits, removes, reorders, exchanges or puts back entries
//! of the audit log. The control: what the sealing of the records alone shows, without the chain.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::format::audit::{Event, EventFields, EventSubject, MAX_ENTRIES_PER_RECORD};
use crate::store::audit::opens_everywhere;
use crate::store::parts::part_key;

fn event(number: u32) -> Event {
    Event::new(&EventFields {
        time_ms: 1_780_000_000_000,
        count: number,
        operation: "KeySign",
        error: "",
        subject: EventSubject::Vault,
        version: None,
        actor: None,
    })
    .unwrap()
}

fn with_events(numbers: std::ops::Range<u32>) -> CommitOptions {
    CommitOptions {
        events: numbers.map(event).collect(),
        ..CommitOptions::default()
    }
}

fn raw(first: u64) -> [u8; 35] {
    part_key(&IndexKey::audit(first), 0)
}

/// Ten records of one entry each.
fn filled() -> Place {
    let place = Place::new();
    let store = place.open();
    for number in 0..10 {
        store
            .commit_with(Vec::new(), with_events(number..number + 1))
            .unwrap();
    }
    store.close().unwrap();
    place
}

/// The entries 4 to 9 of a copy of the vault that went its own way: genuine records for the same places.
fn stored_by_a_copy() -> (Place, Vec<Vec<u8>>) {
    let place = Place::new();
    let store = place.open();
    store.commit_with(Vec::new(), with_events(0..1)).unwrap();
    store.close().unwrap();
    let copy = place.path.with_file_name("copy");
    copy_directory(&place.path, &copy);
    for (path, offset) in [(&place.path, 0), (&copy, 100)] {
        let dir = VaultDir::open(path).unwrap();
        let (store, _) = Store::open(dir, place.config.clone()).unwrap();
        for number in 1..10 {
            store
                .commit_with(
                    Vec::new(),
                    with_events(offset + number..offset + number + 1),
                )
                .unwrap();
        }
        store.close().unwrap();
    }
    let aside = place.path.with_file_name("aside");
    std::fs::rename(&place.path, &aside).unwrap();
    std::fs::rename(&copy, &place.path).unwrap();
    let records = place.with_tree(|tree| {
        (0..10)
            .map(|number| tree.get(raw(number)).unwrap().unwrap().to_vec())
            .collect()
    });
    std::fs::remove_dir_all(&place.path).unwrap();
    std::fs::rename(&aside, &place.path).unwrap();
    (place, records)
}

/// The verification finds something, and so does the check of everything.
fn is_found(place: &Place, what: &str) -> bool {
    let store = place.open();
    let verdict = store.verify_audit(None).unwrap();
    let found = !verdict.findings.is_empty();
    assert_eq!(
        store.check().unwrap().findings,
        verdict.findings,
        "{what}: the check of everything says the same"
    );
    for finding in &verdict.findings {
        assert!(!finding.harmless, "{what}");
    }
    found
}

#[test]
fn t11_a_log_that_was_altered_without_the_key_is_found_by_the_chain_and_by_nothing_else() {
    let sealing_alone_is_content = |place: &Place| {
        let store = place.open();
        let content = opens_everywhere(&store.shared).unwrap();
        drop(store);
        content
    };
    let untouched = filled();
    assert!(!is_found(&untouched, "untouched"));

    // Each alteration leaves records that open: only the chain tells.
    type Alter = Box<dyn Fn(&sled::Tree)>;
    let remove = |numbers: Vec<u64>| -> Alter {
        Box::new(move |tree| {
            for number in &numbers {
                tree.remove(raw(*number)).unwrap().unwrap();
            }
        })
    };
    let alterations: Vec<(&str, Alter)> = vec![
        ("one removed in the middle", remove(vec![5])),
        ("the first removed", remove(vec![0])),
        ("truncated: the newest removed", remove(vec![9])),
        ("truncated: the three newest removed", remove(vec![7, 8, 9])),
        ("all removed", remove((0..10).collect())),
    ];
    for (what, alter) in alterations {
        let place = filled();
        place.with_tree(|tree| alter(tree));
        assert!(is_found(&place, what), "{what}");
        assert!(sealing_alone_is_content(&place), "control: {what}");
    }

    // Edited to what a copy of the vault wrote at the same place: a genuine record with other contents.
    for number in [1_usize, 5, 9] {
        let (place, others) = stored_by_a_copy();
        place.with_tree(|tree| {
            tree.insert(raw(number as u64), others[number].as_slice())
                .unwrap()
                .unwrap()
        });
        let what = format!("entry {number} exchanged for the one of a copy");
        assert!(is_found(&place, &what), "{what}");
        assert!(sealing_alone_is_content(&place), "control: {what}");
    }
    // The whole tail of the copy.
    let (place, others) = stored_by_a_copy();
    place.with_tree(|tree| {
        for (number, other) in others.iter().enumerate() {
            tree.insert(raw(number as u64), other.as_slice()).unwrap();
        }
    });
    assert!(is_found(&place, "the log of a copy"));
    assert!(
        sealing_alone_is_content(&place),
        "control: the log of a copy"
    );

    // Reordered, or edited bit by bit: the sealing finds that already, because it binds the place.
    let place = filled();
    place.with_tree(|tree| {
        let [one, two] = [3, 4].map(|number| tree.get(raw(number)).unwrap().unwrap());
        tree.insert(raw(3), two).unwrap();
        tree.insert(raw(4), one).unwrap();
    });
    assert!(is_found(&place, "two exchanged"));
    for at in [20, 60, 200] {
        let place = filled();
        place.with_tree(|tree| {
            let mut bytes = tree.get(raw(3)).unwrap().unwrap().to_vec();
            bytes[at] ^= 1;
            tree.insert(raw(3), bytes).unwrap();
        });
        assert!(is_found(&place, "a bit changed"), "byte {at}");
    }
}

#[test]
fn entries_that_were_cut_off_and_put_back_are_found() {
    let place = filled();
    let old = place.with_tree(|tree| tree.get(raw(2)).unwrap().unwrap());
    let store = place.open();
    let plan = store
        .plan_audit_cut(100, |entry| entry.seq() < 4)
        .unwrap()
        .unwrap();
    assert_eq!((plan.records.len(), plan.entries), (4, 4));
    let options = CommitOptions {
        audit_cut: Some(plan.cut),
        ..CommitOptions::default()
    };
    let removals = plan.records.into_iter().map(Change::Remove).collect();
    store.commit_with(removals, options).unwrap();
    let verdict = store.verify_audit(Some(4)).unwrap();
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.chain.first, verdict.entries), (4, 6));
    assert_eq!(verdict.head_at, Some(verdict.chain.cut_head));
    store.close().unwrap();
    assert!(!is_found(&place, "cut"));
    place.with_tree(|tree| tree.insert(raw(2), old).unwrap());
    assert!(is_found(&place, "put back"));
}

#[test]
fn entries_that_wait_go_with_the_next_group_and_with_the_end() {
    let place = Place::new();
    let store = place.open();
    for number in 0..300 {
        store.note_event(event(number));
    }
    assert_eq!(store.event_counts(), (300, 0));
    // A refused request takes nothing along.
    let refused = store.commit(vec![put(IndexKey::state(), 10)]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(store.event_counts(), (300, 0));
    store
        .commit_with(vec![put(key_object(1), 10)], with_events(300..301))
        .unwrap();
    assert_eq!(store.event_counts(), (0, 0));
    let generation = store.state().generation;
    let flush = || CommitOptions {
        flush_events: true,
        ..CommitOptions::default()
    };
    store.commit_with(Vec::new(), flush()).unwrap();
    assert_eq!(store.state().generation, generation, "nothing waited");
    store.note_event(event(301));
    store.commit_with(Vec::new(), flush()).unwrap();
    for number in 302..1_400 {
        store.note_event(event(number));
    }
    assert_eq!(store.event_counts(), (1_024, 74));
    store.close().unwrap();

    let store = place.open();
    let mut counts = Vec::new();
    let mut next = 0;
    loop {
        let entries = store.audit_entries(next).unwrap();
        let Some(last) = entries.last() else { break };
        next = last.seq() + 1;
        for entry in entries {
            assert_eq!(entry.seq(), counts.len() as u64);
            counts.push((entry.operation().to_owned(), entry.count()));
        }
    }
    let (lost, rest) = counts.split_last().unwrap();
    assert_eq!(*lost, ("AuditEntriesLost".to_owned(), 74));
    let kept: Vec<u32> = rest.iter().map(|(_, count)| *count).collect();
    assert_eq!(kept, (0..302 + 1_024).collect::<Vec<u32>>());
    // From every number on, also inside a record.
    for from in [0, 1, 127, 128, 129, 299, 300, 301, 302, 1_326] {
        let entries = store.audit_entries(from).unwrap();
        assert_eq!(entries[0].seq(), from);
    }
    assert_eq!(store.audit_entries(1_327).unwrap(), []);
    assert_eq!(store.check().unwrap().findings, []);
    assert!(store.state().audit.next > MAX_ENTRIES_PER_RECORD as u64);
}

#[test]
fn groups_of_many_threads_make_one_chain() {
    for store in [
        Store::in_memory(config(), Vec::new()).unwrap(),
        Place::new().open(),
    ] {
        thread::scope(|scope| {
            for worker in 0..16_u32 {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..20 {
                        let own = worker * 1_000 + number * 2;
                        store
                            .commit_with(
                                vec![put(key_object(u64::from(own)), 10)],
                                with_events(own..own + 2),
                            )
                            .unwrap();
                    }
                });
            }
        });
        let mut entries = Vec::new();
        loop {
            let page = store.audit_entries(entries.len() as u64).unwrap();
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        let numbers: Vec<u32> = entries.iter().map(|entry| entry.count()).collect();
        for worker in 0..16 {
            let own: Vec<u32> = numbers
                .iter()
                .copied()
                .filter(|number| number / 1_000 == worker)
                .collect();
            let wanted: Vec<u32> = (0..40).map(|number| worker * 1_000 + number).collect();
            assert_eq!(own, wanted, "each once, in the order of its commits");
        }
        assert_eq!(entries.len(), 640);
        assert_eq!(store.verify_audit(None).unwrap().findings, []);
    }
}

#[test]
fn a_store_that_has_failed_writes_nothing_more_though_entries_wait() {
    let place = Place::with(vec![put(key_object(1), 10)]);
    let failing = Arc::new(AtomicBool::new(false));
    let reached = Arc::new(AtomicUsize::new(0));
    let (own_failing, own_reached) = (Arc::clone(&failing), Arc::clone(&reached));
    let store = place.open_with(OpenMode {
        points: Points::calling(move |point| {
            own_reached.fetch_add(1, Ordering::SeqCst);
            match own_failing.load(Ordering::SeqCst) {
                true => Err(Error::new(ErrorKind::Io, format!("injected at {point}"))),
                false => Ok(()),
            }
        }),
        ..OpenMode::default()
    });
    failing.store(true, Ordering::SeqCst);
    let refused = store.commit(vec![put(key_object(2), 10)]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Io);
    failing.store(false, Ordering::SeqCst);
    store.note_event(event(1));
    assert_eq!(store.event_counts(), (1, 0));
    let steps = reached.load(Ordering::SeqCst);
    assert!(steps > 0);
    assert_eq!(store.close().unwrap_err().kind(), ErrorKind::VaultFailed);
    assert_eq!(
        reached.load(Ordering::SeqCst),
        steps,
        "a step of a group after the failure"
    );
    assert_eq!(store.event_counts(), (1, 0));
    drop(store);
    let store = place.open();
    assert_eq!(store.audit_entries(0).unwrap(), []);
}
