//! Compaction: the records stay what they are, whatever ends it and wherever.

use std::sync::Mutex;

use super::*;
use crate::store::switch::{BUILDING, READY};

const KEYS: u64 = 150;

/// A store with records of several lengths, of which many were replaced and some removed.
fn churned() -> (Place, Vec<(IndexKey, SealedRecord)>) {
    let place = Place::new();
    let store = place.open();
    for round in 0..4 {
        let changes = (0..KEYS).map(|number| put(key_object(number), 200 + (number as usize) * 7));
        store.commit(changes.collect()).unwrap();
        store
            .commit(vec![
                put(version(round, 1), 20_000),
                put(version(round, 2), 6_000),
            ])
            .unwrap();
    }
    let gone = (0..KEYS).step_by(3).map(key_object).map(Change::Remove);
    store.commit(gone.collect()).unwrap();
    let records = contents(&store);
    store.close().unwrap();
    (place, records)
}

fn places() -> impl Iterator<Item = IndexKey> {
    (0..KEYS)
        .map(key_object)
        .chain((0..4).flat_map(|key| [version(key, 1), version(key, 2)]))
}

fn contents(store: &Store) -> Vec<(IndexKey, SealedRecord)> {
    places()
        .filter_map(|index| get(store, &index).unwrap().map(|record| (index, record)))
        .collect()
}

fn compact(place: &Place, points: Points) -> Result<(StateFacts, Compacted)> {
    let mode = OpenMode {
        points,
        ..OpenMode::default()
    };
    let mut seen = None;
    let dir = VaultDir::open(&place.path)?;
    let (dir, compacted) = Store::compact(dir, &place.config, mode, |store| {
        seen = Some(store.state());
        Ok(())
    })?;
    drop(dir);
    Ok((seen.unwrap(), compacted))
}

/// A store in another directory, with the keys of this place.
fn at(place: &Place, path: &Path) -> Place {
    Place {
        _temporary: tempfile::tempdir().unwrap(),
        path: path.to_owned(),
        config: place.config.clone(),
    }
}

fn require_whole(place: &Place, records: &[(IndexKey, SealedRecord)], story: &str) -> OpenReport {
    let (store, report) = place
        .try_open()
        .unwrap_or_else(|error| panic!("{story}: {error:?}"));
    assert!(contents(&store) == records, "{story}: the records differ");
    let findings = store.check().unwrap().findings;
    assert!(
        findings.iter().all(|finding| finding.harmless),
        "{story}: {findings:?}"
    );
    for left in [BUILDING, READY] {
        assert!(!place.path.join(left).exists(), "{story}: {left}");
    }
    store.commit(vec![put(version(9, 9), 100)]).unwrap();
    store.close().unwrap();
    let (_, again) = place.try_open().unwrap();
    assert_eq!(again, OpenReport::default(), "{story}");
    report
}

#[test]
fn nothing_changes_but_the_length_of_the_files() {
    let (place, records) = churned();
    let before = place.open().state();
    let (seen, compacted) = compact(&place, Points::default()).unwrap();
    assert_eq!(seen, before);
    // STATE, the buckets, the keys' records; the test has no others.
    assert!(compacted.records > records.len() as u64, "{compacted:?}");
    assert_eq!(compacted.opened, OpenReport::default());
    assert!(
        compacted.bytes_after < compacted.bytes_before,
        "{compacted:?}"
    );
    assert_eq!(place.open().state(), before);
    let report = require_whole(&place, &records, "compacted");
    assert_eq!(report, OpenReport::default());
}

/// What every point of a compaction finds on the disk, which is what a kill there leaves.
fn images(place: &Place) -> Vec<(&'static str, PathBuf)> {
    let images = Arc::new(Mutex::new(Vec::new()));
    let (own, path) = (Arc::clone(&images), place.path.clone());
    let parts = AtomicUsize::new(0);
    let points = Points::calling(move |point| {
        // Of the many writes, some.
        if point == "part" && !parts.fetch_add(1, Ordering::SeqCst).is_multiple_of(23) {
            return Ok(());
        }
        let mut images = own.lock().unwrap();
        let image = path.with_file_name(format!("image-{}", images.len()));
        copy_directory(&path, &image);
        images.push((point, image));
        Ok(())
    });
    compact(place, points).unwrap();
    let images = images.lock().unwrap();
    images.clone()
}

#[test]
fn a_kill_at_any_point_leaves_all_records() {
    let (place, records) = churned();
    let (mut discarded, mut completed) = (0, 0);
    let images = images(&place);
    for (point, image) in &images {
        let report = require_whole(&at(&place, image), &records, point);
        match report.compaction {
            None => {}
            Some(Leftover::Discarded) => discarded += 1,
            Some(Leftover::Completed) => completed += 1,
        }
        assert!(report.unclean, "{point}");
    }
    let reached: std::collections::BTreeSet<_> = images.iter().map(|(point, _)| *point).collect();
    for point in [
        "part",
        "sync",
        "compact: begin",
        "compact: lay out",
        "compact: gather",
        "compact: copy",
        "compact: compare",
        "compact: sync",
        "compact: ready",
        "compact: named",
        "compact: old snapshots",
        "compact: db",
        "compact: the rest",
        "compact: moved",
        "compact: clear",
    ] {
        assert!(reached.contains(point), "{point} in {reached:?}");
    }
    eprintln!(
        "{} kills: {discarded} compactions discarded, {completed} completed",
        images.len()
    );
    assert!(discarded > 10 && completed >= 6, "{discarded}, {completed}");
}

#[test]
fn a_kill_while_a_killed_compaction_is_completed_leaves_all_records() {
    let (place, records) = churned();
    let images = images(&place);
    let (_, ready) = images
        .iter()
        .find(|(point, _)| *point == "compact: old snapshots")
        .unwrap();
    let mut kills = 0;
    for number in 0.. {
        let path = place.path.with_file_name(format!("again-{number}"));
        copy_directory(ready, &path);
        let again = at(&place, &path);
        let reached = AtomicUsize::new(0);
        let points = Points::calling(move |point| {
            if point.starts_with("compact:") && reached.fetch_add(1, Ordering::SeqCst) == number {
                return Err(Error::new(ErrorKind::Io, format!("injected at {point}")));
            }
            Ok(())
        });
        let mode = OpenMode {
            points,
            ..OpenMode::default()
        };
        let dir = VaultDir::open(&again.path).unwrap();
        let ended = Store::open_with(dir, again.config.clone(), mode).is_ok();
        let report = require_whole(&again, &records, &format!("step {number}"));
        if ended {
            assert_eq!(report.compaction, None);
            break;
        }
        assert_eq!(report.compaction, Some(Leftover::Completed));
        kills += 1;
    }
    assert!(kills >= 5, "{kills}");
}

#[test]
fn a_failure_at_any_point_loses_nothing() {
    let (place, records) = churned();
    let pristine = place.path.with_file_name("pristine");
    copy_directory(&place.path, &pristine);
    let (mut failures, mut completed) = (0, 0);
    for number in 0.. {
        let path = place.path.with_file_name(format!("failing-{number}"));
        copy_directory(&pristine, &path);
        let failing = at(&place, &path);
        let reached = AtomicUsize::new(0);
        let points = Points::calling(move |point| {
            if point.starts_with("compact:") && reached.fetch_add(1, Ordering::SeqCst) == number {
                return Err(Error::new(ErrorKind::StorageFull, "injected"));
            }
            Ok(())
        });
        let outcome = compact(&failing, points);
        let Err(error) = outcome else { break };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        failures += 1;
        // What was being built is removed at once.
        assert!(!failing.path.join(BUILDING).exists());
        let report = require_whole(&failing, &records, &format!("step {number}"));
        completed += usize::from(report.compaction == Some(Leftover::Completed));
        std::fs::remove_dir_all(&path).unwrap();
    }
    assert!(failures >= 10 && completed >= 5, "{failures}, {completed}");
}

#[test]
fn a_leftover_of_an_older_state_is_discarded() {
    let (place, _) = churned();
    let images = images(&place);
    let (_, ready) = images
        .iter()
        .find(|(point, _)| *point == "compact: old snapshots")
        .unwrap();
    let store = place.open();
    store.commit(vec![put(key_object(1), 300)]).unwrap();
    let newest = contents(&store);
    store.close().unwrap();
    copy_directory(&ready.join(READY), &place.path.join(READY));
    let report = require_whole(&place, &newest, "an old leftover");
    assert_eq!(report.compaction, Some(Leftover::Discarded));
}

#[test]
fn without_an_anchor_a_leftover_waits_for_somebody_to_decide() {
    let (place, records) = churned();
    let images = images(&place);
    let (_, ready) = images
        .iter()
        .find(|(point, _)| *point == "compact: old snapshots")
        .unwrap();
    let left = at(&place, ready);
    std::fs::remove_file(left.path.join("vault.anchor")).unwrap();
    assert_eq!(left.refusal(), ErrorKind::AnchorMissing);
    assert!(left.path.join(READY).join("db").exists());
    let mode = OpenMode {
        rebuild_anchor: true,
        ..OpenMode::default()
    };
    let dir = VaultDir::open(&left.path).unwrap();
    let (store, report) = Store::open_with(dir, left.config.clone(), mode).unwrap();
    assert_eq!(report.compaction, Some(Leftover::Completed));
    assert!(report.anchor_rebuilt);
    assert!(contents(&store) == records);
}

/// As whoever reads only, or salvages, meets it: at every stage of the moving.
#[test]
fn a_copy_of_what_a_kill_left_is_complete_and_the_original_is_untouched() {
    let (place, records) = churned();
    let images = images(&place);
    let switching = images
        .iter()
        .skip_while(|(point, _)| *point != "compact: ready");
    let mut stages = 0;
    for (point, image) in switching {
        let names = |path: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        let before = names(image);
        let beside = image.with_file_name(format!("beside-{stages}"));
        copy_files(image, &VaultDir::create(&beside).unwrap()).unwrap();
        let report = require_whole(&at(&place, &beside), &records, point);
        let ready = image.join(READY).exists();
        assert_eq!(report.compaction.is_some(), ready, "{point}");
        assert_eq!(names(image), before, "{point}");

        let wreck = image.with_file_name(format!("wreck-{stages}"));
        let dir = VaultDir::create(&wreck).unwrap();
        copy_files(image, &dir).unwrap();
        std::fs::write(wreck.join("vault.anchor"), "damaged").unwrap();
        let mut found = Vec::new();
        let complete = visit_records(&dir, &place.config.hierarchy, 16 << 20, |index, record| {
            if index.class().is_bucket_member() {
                found.push((index, record?));
            }
            Ok(())
        });
        assert!(complete.unwrap(), "{point}");
        assert_eq!(found.len(), records.len(), "{point}");
        assert!(records.iter().all(|record| found.contains(record)));
        stages += 1;
    }
    assert!(stages >= 7, "{stages}");
}

#[test]
fn what_is_not_ours_stays() {
    let (place, records) = churned();
    std::fs::create_dir(place.path.join(BUILDING)).unwrap();
    std::fs::write(place.path.join(BUILDING).join("letter"), "dear").unwrap();
    std::fs::write(place.path.join(BUILDING).join("db"), "half").unwrap();
    let (store, report) = place.try_open().unwrap();
    assert_eq!(report.compaction, Some(Leftover::Discarded));
    assert!(contents(&store) == records);
    assert!(!place.path.join(BUILDING).join("db").exists());
    assert!(place.path.join(BUILDING).join("letter").exists());
    store.close().unwrap();
    // And nothing is built on top of it.
    assert!(compact(&place, Points::default()).is_err());
    assert!(place.path.join(BUILDING).join("letter").exists());
    std::fs::remove_dir_all(place.path.join(BUILDING)).unwrap();
    compact(&place, Points::default()).unwrap();
    require_whole(&place, &records, "after all");
}

#[test]
fn a_damaged_store_is_left_as_it_is() {
    let (place, _) = churned();
    place.with_tree(|tree| {
        let mut key = key_object(1).as_bytes().to_vec();
        key.push(0);
        tree.remove(key).unwrap().unwrap();
    });
    let error = compact(&place, Points::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered);
    assert!(!place.path.join(BUILDING).exists());
    assert!(get(&place.open(), &key_object(2)).unwrap().is_some());
}

#[test]
fn whoever_refuses_the_state_stops_a_compaction() {
    let (place, records) = churned();
    let dir = VaultDir::open(&place.path).unwrap();
    let refuse = |_: &Store| Err(Error::new(ErrorKind::RolledBack, "older"));
    let error = Store::compact(dir, &place.config, OpenMode::default(), refuse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    let report = require_whole(&place, &records, "refused");
    assert_eq!(report.compaction, None);
}
