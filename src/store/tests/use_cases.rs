//! Both engines, one suite.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;

/// Runs a property on both engines.
fn on_both(property: impl Fn(&Store)) {
    let memory = Store::in_memory(config(), Vec::new()).unwrap();
    property(&memory);
    assert_eq!(memory.check().unwrap().findings, []);

    let place = Place::new();
    let store = place.open();
    property(&store);
    assert_eq!(store.check().unwrap().findings, []);
    let before = store.state();
    store.close().unwrap();
    let (store, report) = place.try_open().unwrap();
    assert_eq!(report, OpenReport::default());
    assert_eq!(store.state(), before);
    assert_eq!(store.check().unwrap().findings, []);
}

#[test]
fn a_committed_record_is_read_back_and_a_removed_one_is_gone() {
    on_both(|store| {
        let change = put(key_object(1), 100);
        assert_eq!(get(store, &key_object(1)).unwrap(), None);
        store.commit(vec![change.clone()]).unwrap();
        assert_eq!(get(store, &key_object(1)).unwrap(), Some(of(&change)));
        assert_eq!(store.state().key_count, 1);
        let again = put(key_object(1), 200);
        store.commit(vec![again.clone()]).unwrap();
        assert_eq!(get(store, &key_object(1)).unwrap(), Some(of(&again)));
        assert_eq!(store.state().key_count, 1);
        store.commit(vec![Change::Remove(key_object(1))]).unwrap();
        assert_eq!(get(store, &key_object(1)).unwrap(), None);
        assert_eq!(store.state().record_count, 0);
    });
}

#[test]
fn what_changes_nothing_makes_no_generation() {
    on_both(|store| {
        let before = store.state();
        store.commit(Vec::new()).unwrap();
        store.commit(vec![Change::Remove(key_object(3))]).unwrap();
        store
            .commit(vec![put(key_object(4), 50), Change::Remove(key_object(4))])
            .unwrap();
        assert_eq!(store.state(), before);
    });
}

#[test]
fn records_of_all_sizes_survive_a_reopening() {
    let sizes = [
        8, 300, 6_000, 6_200, 8_192, 16_000, 30_000, 32_600, 40_000, 65_535,
    ];
    let place = Place::new();
    let store = place.open();
    let mut written = Vec::new();
    for (number, size) in (0..).zip(sizes) {
        let change = put(version(number, 1), size);
        store.commit(vec![change.clone()]).unwrap();
        written.push(change);
    }
    // Longer to shorter and back, so that surplus parts come and go.
    for ((number, change), size) in (0..).zip(&mut written).zip(sizes.iter().rev()) {
        *change = put(version(number, 1), *size);
        store.commit(vec![change.clone()]).unwrap();
    }
    assert_eq!(store.check().unwrap().findings, []);
    store.close().unwrap();
    let store = place.open();
    for change in &written {
        assert_eq!(get(&store, change.index()).unwrap(), Some(of(change)));
    }
    assert_eq!(store.check().unwrap().findings, []);
    assert_eq!(
        std::fs::read_dir(place.path.join("blobs")).unwrap().count(),
        0
    );
}

#[test]
fn a_large_request_is_one_group() {
    on_both(|store| {
        let before = store.state().generation;
        let changes: Vec<Change> = (0..40)
            .map(|number| put(version(number, 1), 20_000))
            .collect();
        store.commit(changes.clone()).unwrap();
        assert_eq!(store.state().generation, before + 1);
        for change in &changes {
            assert_eq!(get(store, change.index()).unwrap(), Some(of(change)));
        }
        let left = store.shared.engine.get(&IndexKey::redo(0)).unwrap();
        assert!(left.is_none(), "the redo record goes when it is done");
        store.commit(vec![put(key_object(1), 50)]).unwrap();
    });
}

#[test]
fn initial_records_are_there() {
    let changes: Vec<Change> = (0..5).map(|number| put(key_object(number), 100)).collect();
    let settings = put(IndexKey::settings(1), 100);
    let mut initial = changes.clone();
    initial.push(settings.clone());
    let place = Place::with(initial);
    let store = place.open();
    assert_eq!(store.state().generation, 1);
    assert_eq!(store.state().key_count, 5);
    for change in &changes {
        assert_eq!(get(&store, change.index()).unwrap(), Some(of(change)));
    }
    let found = store.read(|view| view.settings(1)).unwrap();
    assert_eq!(found, Some(of(&settings)));
}

#[test]
fn key_objects_come_in_order_page_by_page_whatever_else_the_keys_have() {
    on_both(|store| {
        let mut changes = Vec::new();
        let mut expected = Vec::new();
        for number in 0..30 {
            let change = put(key_object(number), 100);
            expected.push((n(number), of(&change)));
            changes.push(change);
            for v in 0..number % 25 {
                changes.push(put(version(number, v), 50));
                changes.push(put(
                    IndexKey::gcm_counter(n(number), version(number, v).v()),
                    64,
                ));
            }
        }
        expected.sort_by_key(|(n, _)| *n);
        store.commit(changes).unwrap();
        for limit in [1, 7, 30, 100] {
            let mut found = Vec::new();
            loop {
                let after = found.last().map(|(n, _): &([u8; 16], SealedRecord)| *n);
                let page = store.read(|view| view.key_objects(after, limit)).unwrap();
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            assert_eq!(found, expected);
        }
        let versions = store.read(|view| view.versions(n(24))).unwrap();
        assert_eq!(versions.len(), 24);
        assert!(versions.is_sorted_by_key(|(index, _)| *index));
        assert_eq!(store.read(|view| view.gcm_counters(n(3))).unwrap().len(), 3);
        assert_eq!(store.read(|view| view.versions(n(99))).unwrap(), []);
    });
}

#[test]
fn a_reseal_happens_only_while_the_record_is_the_old_one() {
    on_both(|store| {
        let index = key_object(1);
        let first = record(&index, 100);
        store
            .commit(vec![Change::Put(index, first.clone())])
            .unwrap();
        let mut old_salt = [0; 24];
        old_salt.copy_from_slice(&first.salt_and_commitment()[..24]);
        let second = record(&index, 100);
        let reseal = |record: &SealedRecord| Change::Reseal {
            index,
            old_salt,
            record: record.clone(),
        };
        store.commit(vec![reseal(&second)]).unwrap();
        assert_eq!(get(store, &index).unwrap().as_ref(), Some(&second));
        store.commit(vec![reseal(&first)]).unwrap();
        assert_eq!(get(store, &index).unwrap().as_ref(), Some(&second));
        store.commit(vec![Change::Remove(index)]).unwrap();
        store.commit(vec![reseal(&first)]).unwrap();
        assert_eq!(get(store, &index).unwrap(), None);
    });
}

#[test]
fn key_objects_of_earlier_terms_are_counted() {
    let place = Place::new();
    for store in [
        Store::in_memory(config(), Vec::new()).unwrap(),
        place.open(),
    ] {
        let changes = (0..20).map(|number| put(key_object(number), 100)).collect();
        store.commit(changes).unwrap();
        assert_eq!(store.previous_term_keys().unwrap(), 0);
        let options = CommitOptions {
            header: Some(HeaderFacts {
                seq: 1,
                mac: [5; 32],
                kek_term: 2,
            }),
            raise_shred_term: true,
            ..CommitOptions::default()
        };
        store.commit_with(Vec::new(), options).unwrap();
        assert_eq!(store.state().shred_term, 2);
        assert_eq!(store.state().kek_term, 2);
        assert_eq!(store.previous_term_keys().unwrap(), 20);
        for number in 0..10 {
            let index = key_object(number);
            let change = Change::Put(index, record_in_term(&index, 100, 2));
            store.commit(vec![change]).unwrap();
        }
        assert_eq!(store.previous_term_keys().unwrap(), 10);
        store
            .commit(
                (5..15)
                    .map(|number| Change::Remove(key_object(number)))
                    .collect(),
            )
            .unwrap();
        assert_eq!(store.previous_term_keys().unwrap(), 5);
        assert_eq!(store.check().unwrap().findings, []);
        // Terms only rise.
        let options = CommitOptions {
            header: Some(config().header),
            ..CommitOptions::default()
        };
        let refused = store.commit_with(Vec::new(), options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Internal);
        assert_eq!(store.previous_term_keys().unwrap(), 5);
    }
}

#[test]
fn records_out_of_place_are_refused_and_harm_nothing() {
    on_both(|store| {
        let elsewhere = record(&version(1, 1), 50);
        for change in [
            Change::Put(key_object(1), elsewhere.clone()),
            Change::Remove(IndexKey::state()),
            Change::Remove(IndexKey::bucket(4)),
            Change::Remove(IndexKey::redo(0)),
        ] {
            assert_eq!(
                store.commit(vec![change]).unwrap_err().kind(),
                ErrorKind::Internal
            );
        }
        store.commit(vec![put(key_object(1), 50)]).unwrap();
    });
}

#[test]
fn readers_see_whole_groups_only() {
    let place = Place::new();
    for store in [
        Store::in_memory(config(), Vec::new()).unwrap(),
        place.open(),
    ] {
        let pair = [version(1, 1), version(2, 1)];
        let both = || {
            let mut plain = vec![0; 7_000];
            OsEntropy.fill(&mut plain[..8]).unwrap();
            let config = config();
            let seal = |index: &IndexKey| {
                let key = &config.hierarchy.meta_key().unwrap();
                config
                    .hierarchy
                    .seal_record(key, index, 0, &plain, &OsEntropy)
                    .unwrap()
            };
            pair.map(|index| Change::Put(index, seal(&index))).to_vec()
        };
        let open = |record: &SealedRecord, index: &IndexKey| {
            let config = config();
            config
                .hierarchy
                .open_record(&config.hierarchy.meta_key().unwrap(), index, record)
                .unwrap()
                .to_vec()
        };
        store.commit(both()).unwrap();
        let done = AtomicBool::new(false);
        let reads = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        let seen = store
                            .read(|view| Ok((view.record(&pair[0])?, view.versions(pair[1].n())?)))
                            .unwrap();
                        let first = open(seen.0.as_ref().unwrap(), &pair[0]);
                        assert_eq!(seen.1.len(), 1);
                        let second = open(&seen.1[0].1, &pair[1]);
                        assert_eq!(first, second, "half of a group was seen");
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..100 {
                let changes = both();
                let expected = of(&changes[0]);
                store.commit(changes).unwrap();
                assert_eq!(get(&store, &pair[0]).unwrap(), Some(expected));
            }
            thread::sleep(Duration::from_millis(20));
            done.store(true, Ordering::SeqCst);
        });
        assert!(reads.load(Ordering::SeqCst) > 20);
    }
}

#[test]
fn many_writers_share_groups_and_each_keeps_its_changes() {
    let place = Place::new();
    let store = place.open();
    let before = store.state().generation;
    thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..20 {
                    let changes = vec![put(key_object(writer * 100 + number), 100)];
                    store.commit(changes).unwrap();
                    assert!(
                        get(store, &key_object(writer * 100 + number))
                            .unwrap()
                            .is_some()
                    );
                }
            });
        }
    });
    assert_eq!(store.state().key_count, 160);
    assert!(store.state().generation - before <= 160);
    assert_eq!(store.check().unwrap().findings, []);
}

#[test]
fn a_closed_store_answers_nothing() {
    let place = Place::new();
    let store = place.open();
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(
        get(&store, &key_object(1)).unwrap_err().kind(),
        ErrorKind::VaultFailed
    );
    let refused = store.commit(vec![put(key_object(1), 10)]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::VaultFailed);
    assert_eq!(store.check().unwrap_err().kind(), ErrorKind::VaultFailed);
}

#[test]
fn a_read_that_always_meets_changes_shuts_the_committer_out() {
    on_both(|store| {
        store.commit(vec![put(key_object(1), 50)]).unwrap();
        let mut calls = 0;
        let seen = store
            .read(|view| {
                calls += 1;
                let seen = view.record(&key_object(1))?;
                if calls <= READ_ATTEMPTS {
                    // Allowed here only because these attempts hold no lock.
                    store.commit(vec![put(key_object(1), 50)])?;
                }
                // A bucket that nobody has verified yet.
                assert_eq!(view.record(&key_object(500 + calls as u64))?, None);
                assert_eq!(view.key_objects(None, 5)?.len(), 1);
                Ok(seen)
            })
            .unwrap();
        assert_eq!(calls, READ_ATTEMPTS + 1);
        assert_eq!(get(store, &key_object(1)).unwrap(), seen);
    });
}

#[test]
fn versions_come_page_by_page() {
    on_both(|store| {
        let changes = (1..=10).map(|v| put(version(1, v), 7_000)).collect();
        store.commit(changes).unwrap();
        let all = store.read(|view| view.versions(n(1))).unwrap();
        let mut found = Vec::new();
        let mut previous = [0; 16];
        loop {
            let page = store
                .read(|view| view.versions_after(n(1), previous, 3))
                .unwrap();
            let Some((last, _)) = page.last() else { break };
            previous = last.v();
            found.extend(page);
        }
        assert_eq!(found, all);
    });
}

#[test]
fn requests_that_come_together_share_syncs_and_succeed_or_fail_each_for_itself() {
    let place = Place::new();
    let syncs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = std::sync::Arc::clone(&syncs);
    crate::store::points::install(Some(std::sync::Arc::new(move |point| {
        let synced = usize::from(point == "file: sync");
        counting.fetch_add(synced, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    })));
    let store = place.open();
    crate::store::points::install(None);
    let counted = |work: &dyn Fn()| {
        let before = syncs.load(std::sync::atomic::Ordering::SeqCst);
        work();
        syncs.load(std::sync::atomic::Ordering::SeqCst) - before
    };
    // A record of this class may not be written by anybody outside the store.
    let forbidden = || put(IndexKey::state(), 100);
    let single = counted(&|| {
        for number in 0..20 {
            store.commit(vec![put(key_object(number), 500)]).unwrap();
        }
    });
    assert!(single >= 20, "{single} syncs");
    let together = counted(&|| {
        let requests = (100..140)
            .map(|number| {
                let mut changes = vec![put(key_object(number), 500)];
                if number % 4 == 1 {
                    changes.push(forbidden());
                }
                (changes, CommitOptions::default())
            })
            .chain([(Vec::new(), CommitOptions::default())])
            .collect();
        let outcomes = store.commit_each(requests);
        assert_eq!(outcomes.len(), 41);
        for (number, outcome) in (100..).zip(&outcomes) {
            let refused = number % 4 == 1 && number < 140;
            assert_eq!(outcome.is_err(), refused, "{number}: {outcome:?}");
        }
    });
    // The anchor's sync may fall into it.
    assert!(together <= 2, "{together} syncs");
    store.close().unwrap();
    let outcomes = store.commit_each(vec![(
        vec![put(key_object(200), 500)],
        CommitOptions::default(),
    )]);
    let [Err(error)] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(error.kind(), ErrorKind::VaultFailed);
    let store = place.open();
    for number in 100..140 {
        let present = get(&store, &key_object(number)).unwrap().is_some();
        assert_eq!(present, number % 4 != 1, "{number}");
    }
}
