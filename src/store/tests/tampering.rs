//! Files and records that are not those that the store wrote last.

use super::*;
use crate::store::parts::part_key;

fn raw(index: &IndexKey) -> [u8; 35] {
    part_key(index, 0)
}

/// Five key objects with a version each, all in different buckets.
fn filled() -> Place {
    let mut initial = Vec::new();
    for number in 0..5 {
        initial.push(put(key_object(number), 100));
        initial.push(put(version(number, 1), 100));
    }
    initial.push(put(IndexKey::settings(1), 50));
    Place::with(initial)
}

/// The store opens; the keys of this number's bucket are refused, all others work.
fn only_this_key_is_refused(place: &Place, bad: u64) {
    let store = place.open();
    for index in [key_object(bad), version(bad, 1)] {
        assert_eq!(get(&store, &index).unwrap_err().kind(), ErrorKind::Tampered);
    }
    let absent = store.read(|view| view.versions(n(bad))).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Tampered);
    let written = store.commit(vec![put(key_object(bad), 10)]).unwrap_err();
    assert_eq!(written.kind(), ErrorKind::Tampered);
    let listed = store.read(|view| view.key_objects(None, 100)).unwrap_err();
    assert_eq!(listed.kind(), ErrorKind::Tampered);
    let findings = store.check().unwrap().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].kind, ErrorKind::Tampered);
    let good = (bad + 1) % 5;
    assert!(get(&store, &version(good, 1)).unwrap().is_some());
    store.commit(vec![put(key_object(good), 10)]).unwrap();
    assert_eq!(
        get(&store, &key_object(bad)).unwrap_err().kind(),
        ErrorKind::Tampered
    );
}

#[test]
fn a_removed_record_is_missed() {
    for index in [key_object(2), version(2, 1)] {
        let place = filled();
        place.with_tree(|tree| tree.remove(raw(&index)).unwrap().unwrap());
        only_this_key_is_refused(&place, 2);
    }
}

#[test]
fn a_replayed_record_is_noticed() {
    let place = filled();
    let old = place.with_tree(|tree| tree.get(raw(&key_object(2))).unwrap().unwrap());
    let store = place.open();
    store.commit(vec![put(key_object(2), 100)]).unwrap();
    store.close().unwrap();
    place.with_tree(|tree| tree.insert(raw(&key_object(2)), old).unwrap());
    only_this_key_is_refused(&place, 2);
}

/// What a store would answer that does not hold records against the digest of their bucket: its engine's word.
fn unverified(store: &Store, index: &IndexKey) -> Option<SealedRecord> {
    store.shared.engine.get(index).unwrap()
}

/// T2. What these attacks leave opens in its place, with the right key: what refuses it is the digest of its bucket,
/// alone. The control is the same read past the digest, where each attack does its harm.
#[test]
fn t2_what_was_replayed_removed_or_brought_back_is_refused_by_its_digest_alone() {
    let opened = |place: &Place, index: &IndexKey, record: &SealedRecord| {
        let hierarchy = &place.config.hierarchy;
        hierarchy
            .open_record(&hierarchy.meta_key().unwrap(), index, record)
            .map(|plaintext| plaintext.to_vec())
    };
    let stored = |place: &Place, index: &IndexKey| {
        let value = place.with_tree(|tree| tree.get(raw(index)).unwrap().unwrap());
        SealedRecord::parse(value.to_vec()).unwrap()
    };
    let commit = |place: &Place, change: Change| {
        let store = place.open();
        store.commit(vec![change]).unwrap();
        store.close().unwrap();
    };

    // An older record of the same place.
    let place = filled();
    let index = key_object(2);
    let old = stored(&place, &index);
    commit(&place, put(index, 100));
    let new = stored(&place, &index);
    place.with_tree(|tree| tree.insert(raw(&index), old.as_bytes()).unwrap());
    let given = unverified(&place.open(), &index).unwrap();
    assert_eq!(
        opened(&place, &index, &given).unwrap(),
        opened(&place, &index, &old).unwrap(),
        "control: the old contents"
    );
    assert_ne!(
        opened(&place, &index, &given).unwrap(),
        opened(&place, &index, &new).unwrap()
    );
    only_this_key_is_refused(&place, 2);

    // A record taken away.
    let place = filled();
    place.with_tree(|tree| tree.remove(raw(&index)).unwrap().unwrap());
    assert_eq!(
        unverified(&place.open(), &index),
        None,
        "control: as if the key had never been"
    );
    only_this_key_is_refused(&place, 2);

    // A record that was removed.
    let place = filled();
    let index = version(2, 1);
    let old = stored(&place, &index);
    commit(&place, Change::Remove(index));
    assert_eq!(unverified(&place.open(), &index), None);
    place.with_tree(|tree| tree.insert(raw(&index), old.as_bytes()).unwrap());
    let given = unverified(&place.open(), &index).unwrap();
    opened(&place, &index, &given).expect("control: it is back");
    only_this_key_is_refused(&place, 2);

    // A record of another place: here the digest is the second wall, and the seal the first. Without the place in
    // what is sealed, the record would open: it does in its own.
    let place = filled();
    let (from, to) = (version(1, 1), version(2, 1));
    let moved = stored(&place, &from);
    place.with_tree(|tree| tree.insert(raw(&to), moved.as_bytes()).unwrap());
    let given = unverified(&place.open(), &to).unwrap();
    assert_eq!(
        opened(&place, &to, &given).unwrap_err().kind(),
        ErrorKind::Tampered
    );
    opened(&place, &from, &given).expect("control: the place is all that is wrong");
    only_this_key_is_refused(&place, 2);
}

#[test]
fn a_record_brought_back_after_its_removal_is_noticed() {
    let place = filled();
    let old = place.with_tree(|tree| tree.get(raw(&version(2, 1))).unwrap().unwrap());
    let store = place.open();
    store.commit(vec![Change::Remove(version(2, 1))]).unwrap();
    store.close().unwrap();
    place.with_tree(|tree| tree.insert(raw(&version(2, 1)), old).unwrap());
    only_this_key_is_refused(&place, 2);
}

#[test]
fn swapped_records_are_noticed() {
    let place = filled();
    place.with_tree(|tree| {
        let first = tree.get(raw(&key_object(1))).unwrap().unwrap();
        let second = tree.get(raw(&key_object(2))).unwrap().unwrap();
        tree.insert(raw(&key_object(1)), second).unwrap();
        tree.insert(raw(&key_object(2)), first).unwrap();
    });
    let store = place.open();
    for number in 0..5 {
        let outcome = get(&store, &key_object(number));
        assert_eq!(outcome.is_err(), number == 1 || number == 2);
    }
}

#[test]
fn an_added_record_is_noticed() {
    let place = filled();
    let index = version(3, 9);
    let added = record(&index, 20);
    place.with_tree(|tree| tree.insert(raw(&index), added.as_bytes()).unwrap());
    only_this_key_is_refused(&place, 3);
    // In a bucket that never had a record, too.
    let place = filled();
    let index = key_object(40);
    let added = record(&index, 20);
    place.with_tree(|tree| tree.insert(raw(&index), added.as_bytes()).unwrap());
    let store = place.open();
    assert_eq!(get(&store, &index).unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(
        get(&store, &version(40, 1)).unwrap_err().kind(),
        ErrorKind::Tampered
    );
}

#[test]
fn records_of_the_store_itself_are_checked_at_open() {
    let bucket = IndexKey::bucket(key_object(2).bucket_number());
    for index in [bucket, IndexKey::settings(1), IndexKey::state()] {
        let place = filled();
        let old = place.with_tree(|tree| tree.remove(raw(&index)).unwrap().unwrap());
        assert_eq!(place.refusal(), ErrorKind::Tampered, "without {index:?}");
        place.with_tree(|tree| tree.insert(raw(&index), &old).unwrap());
        let store = place.open();
        store
            .commit(vec![
                put(key_object(2), 100),
                put(IndexKey::settings(1), 60),
            ])
            .unwrap();
        store.close().unwrap();
        place.with_tree(|tree| tree.insert(raw(&index), &old).unwrap());
        // An old STATE with a newer redo record is a half-applied group, but its anchor knows better.
        if index == IndexKey::state() {
            let (store, report) = place.try_open().unwrap();
            assert!(report.redone);
            assert_eq!(store.check().unwrap().findings, []);
        } else {
            assert_eq!(
                place.refusal(),
                ErrorKind::Tampered,
                "with an old {index:?}"
            );
        }
    }
    let place = filled();
    let stray = IndexKey::settings(9);
    let added = record(&stray, 20);
    place.with_tree(|tree| tree.insert(raw(&stray), added.as_bytes()).unwrap());
    assert_eq!(place.refusal(), ErrorKind::Tampered);
}

#[test]
fn stray_values_are_reported() {
    let place = filled();
    place.with_tree(|tree| {
        tree.insert(part_key(&version(1, 1), 1), b"beyond the last part")
            .unwrap();
        tree.insert(part_key(&version(30, 1), 2), b"no part 0")
            .unwrap();
    });
    let store = place.open();
    let findings = store.check().unwrap().findings;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(
        findings
            .iter()
            .all(|finding| finding.kind == ErrorKind::Corrupt)
    );
    // The records themselves are as they were written.
    assert!(get(&store, &version(1, 1)).unwrap().is_some());
    assert_eq!(get(&store, &version(30, 1)).unwrap(), None);
}

#[test]
fn a_missing_part_refuses_its_bucket() {
    let place = Place::with(vec![
        put(version(2, 1), 20_000),
        put(key_object(2), 20),
        put(key_object(3), 20),
        put(version(3, 1), 20),
    ]);
    place.with_tree(|tree| tree.remove(part_key(&version(2, 1), 1)).unwrap().unwrap());
    let store = place.open();
    assert_eq!(
        get(&store, &key_object(2)).unwrap_err().kind(),
        ErrorKind::Tampered
    );
    assert!(get(&store, &key_object(3)).unwrap().is_some());
}

#[test]
fn without_an_anchor_the_store_opens_only_on_demand() {
    for damage in [
        (|path| std::fs::remove_file(path).unwrap()) as fn(&Path),
        |path| std::fs::write(path, [0; 8_192]).unwrap(),
        |path| std::fs::write(path, b"SRMANC01").unwrap(),
    ] {
        let place = filled();
        damage(&place.path.join("vault.anchor"));
        assert_eq!(place.refusal(), ErrorKind::AnchorMissing);
        let mode = OpenMode {
            rebuild_anchor: true,
            ..OpenMode::default()
        };
        let dir = VaultDir::open(&place.path).unwrap();
        let (store, report) = Store::open_with(dir, place.config.clone(), mode).unwrap();
        assert!(report.anchor_rebuilt);
        store.commit(vec![put(key_object(1), 10)]).unwrap();
        drop(store);
        assert_eq!(place.open().check().unwrap().findings, []);
    }
}

/// Puts everything but the anchor back to how it was.
fn put_back(copy: &Path, place: &Place) {
    let anchor = std::fs::read(place.path.join("vault.anchor")).unwrap();
    std::fs::remove_dir_all(&place.path).unwrap();
    copy_directory(copy, &place.path);
    std::fs::write(place.path.join("vault.anchor"), anchor).unwrap();
}

#[test]
fn older_records_put_back_are_a_rollback() {
    let place = filled();
    let copy = place.path.with_file_name("copy");
    copy_directory(&place.path, &copy);
    let store = place.open();
    store.commit(vec![put(key_object(1), 10)]).unwrap();
    store.close().unwrap();
    put_back(&copy, &place);
    assert_eq!(place.refusal(), ErrorKind::RolledBack);
}

#[test]
fn another_history_of_the_same_length_is_a_rollback() {
    let place = filled();
    let copy = place.path.with_file_name("copy");
    copy_directory(&place.path, &copy);
    place.open().commit(vec![put(key_object(1), 10)]).unwrap();
    let mut anchors = vec![std::fs::read(place.path.join("vault.anchor")).unwrap()];
    std::fs::remove_dir_all(&place.path).unwrap();
    copy_directory(&copy, &place.path);
    place.open().commit(vec![put(key_object(1), 10)]).unwrap();
    anchors.push(std::fs::read(place.path.join("vault.anchor")).unwrap());
    assert_ne!(anchors[0], anchors[1]);
    drop(place.open());
    std::fs::write(place.path.join("vault.anchor"), &anchors[0]).unwrap();
    assert_eq!(place.refusal(), ErrorKind::RolledBack);
    std::fs::write(place.path.join("vault.anchor"), &anchors[1]).unwrap();
    drop(place.open());
}

#[test]
fn an_anchor_that_lags_is_brought_up() {
    let place = filled();
    let old = std::fs::read(place.path.join("vault.anchor")).unwrap();
    let store = place.open();
    store.commit(vec![put(key_object(1), 10)]).unwrap();
    store.close().unwrap();
    std::fs::write(place.path.join("vault.anchor"), old).unwrap();
    let (store, report) = place.try_open().unwrap();
    assert!(report.anchor_advanced);
    drop(store);
    assert!(!place.try_open().unwrap().1.anchor_advanced);
}

#[test]
fn a_header_is_accepted_only_if_it_is_the_same_or_the_next() {
    let mut place = filled();
    let known = place.config.header.clone();
    for (seq, mac, kind) in [
        (0, 5, ErrorKind::HeaderReplayed),
        (1, 6, ErrorKind::HeaderReplayed),
        (3, 5, ErrorKind::RolledBack),
    ] {
        place.config.header = HeaderFacts {
            seq,
            mac: [mac; 32],
            ..known
        };
        assert_eq!(place.refusal(), kind);
    }
    place.config.header = HeaderFacts {
        seq: 2,
        mac: [8; 32],
        kek_term: 2,
    };
    let (store, report) = place.try_open().unwrap();
    assert!(report.header_accepted);
    assert_eq!(store.state().header_seq, 2);
    assert_eq!(store.state().kek_term, 2);
    drop(store);
    assert!(!place.try_open().unwrap().1.header_accepted);
    place.config.header = known;
    assert_eq!(place.refusal(), ErrorKind::HeaderReplayed);
}

#[test]
fn a_database_that_went_away_is_not_replaced_by_an_empty_one() {
    let place = filled();
    std::fs::remove_file(place.path.join("db")).unwrap();
    assert_eq!(place.refusal(), ErrorKind::Corrupt);
    assert!(!place.path.join("db").exists());
    std::fs::write(place.path.join("db"), b"").unwrap();
    assert!(place.try_open().is_err());
}

#[test]
fn another_vaults_key_opens_nothing() {
    let mut place = filled();
    let root = Key32::copied_from(&[8; 32]).unwrap();
    place.config.hierarchy = Arc::new(Hierarchy::derive(&root, [9; 16], Suite::Aes256Gcm));
    assert_eq!(place.refusal(), ErrorKind::Tampered);
}

/// Whatever a damaged byte does to the engine, it is an error or has no effect: nothing is lost in silence.
#[test]
fn damaged_bytes_of_the_engines_files_are_never_silent() {
    let mut initial = Vec::new();
    for number in 0..40 {
        initial.push(put(key_object(number), 300));
        initial.push(put(version(number, 1), 1_200));
    }
    let place = Place::with(initial.clone());
    let image = place.path.with_file_name("image");
    let written = std::fs::read(place.path.join("db")).unwrap();
    let used = written.iter().rposition(|byte| *byte != 0).unwrap();
    let mut harmless = 0;
    let cases = 60;
    for case in 0..cases {
        let offset = case * used / cases + case % 7;
        copy_directory(&place.path, &image);
        let mut damaged = written.clone();
        damaged[offset] ^= 1 << (case % 8);
        std::fs::write(image.join("db"), damaged).unwrap();
        let opened = VaultDir::open(&image).and_then(|dir| Store::open(dir, place.config.clone()));
        if let Ok((store, _)) = opened {
            let sound = store.check().is_ok_and(|report| report.findings.is_empty());
            for change in &initial {
                match get(&store, change.index()) {
                    Ok(record) => assert_eq!(record, Some(of(change)), "silent loss at {offset}"),
                    Err(_) => assert!(!sound),
                }
            }
            harmless += u32::from(sound);
        }
        std::fs::remove_dir_all(&image).unwrap();
    }
    assert!((harmless as usize) < cases, "no damage was noticed");
}
