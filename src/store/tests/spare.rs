//! sled erases segments while it opens, before the snapshot that no longer needs them is durable. A replayed
//! power cut showed it: the old snapshot lay beside an erased segment, and sled dropped the whole log.

use std::os::unix::fs::FileExt;

use super::*;
use crate::store::files::{Access, VaultFile};
use crate::store::sled_log::{SEGMENT_SIZE, SegmentHeader};
use crate::store::spare_segments::{SPARE_FILE, restore, save};

const KEYS: u64 = 40;

/// A closed store with a log of at least three segments and the snapshot of its beginning.
fn store_of_three_segments() -> Place {
    let place = Place::new();
    let store = place.open();
    for round in 0.. {
        for number in 0..KEYS {
            store.commit(vec![put(key_object(number), 1_500)]).unwrap();
        }
        if headers(&place).len() >= 3 && round > 1 {
            break;
        }
    }
    drop(store);
    place
}

fn headers(place: &Place) -> Vec<SegmentHeader> {
    let bytes = std::fs::read(place.path.join("db")).unwrap();
    (0..bytes.len())
        .step_by(SEGMENT_SIZE)
        .filter_map(|offset| {
            let end = bytes.len().min(offset + SegmentHeader::LENGTH);
            SegmentHeader::parse(&bytes[offset..end], offset as u64)
        })
        .collect()
}

fn files(place: &Place) -> (VaultDir, Box<dyn VaultFile>) {
    let dir = VaultDir::open(&place.path).unwrap();
    let data = dir.files().open("db", Access::ReadWrite);
    let data = data.unwrap().unwrap();
    (dir, data)
}

fn save_spare(place: &Place) {
    let (dir, data) = files(place);
    let headers = sled_log::segment_headers(data.as_ref()).unwrap();
    save(dir.files().as_ref(), data.as_ref(), &headers).unwrap();
}

/// What sled does to a segment in which no page lives.
fn erase_the_segment_before_the_last(place: &Place) -> u64 {
    let mut headers = headers(place);
    headers.sort_by_key(|header| header.position);
    let erased = headers[headers.len() - 2];
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(place.path.join("db"))
        .unwrap();
    file.write_all_at(&vec![0; SEGMENT_SIZE], erased.offset)
        .unwrap();
    erased.offset
}

fn require_whole(place: &Place) {
    let store = place.open();
    for number in 0..KEYS {
        assert!(get(&store, &key_object(number)).unwrap().is_some());
    }
    assert!(store.check().unwrap().findings.is_empty());
    drop(store);
    assert!(!place.path.join(SPARE_FILE).exists());
}

#[test]
fn an_opening_that_was_cut_after_it_erased_a_segment_is_begun_again() {
    let place = store_of_three_segments();
    save_spare(&place);
    erase_the_segment_before_the_last(&place);
    require_whole(&place);

    // Without the copy the records are lost to sled, and the vault says so.
    let place = store_of_three_segments();
    erase_the_segment_before_the_last(&place);
    assert_eq!(place.refusal(), ErrorKind::Corrupt);
}

#[test]
fn a_copy_that_was_half_written_is_not_used() {
    let place = store_of_three_segments();
    save_spare(&place);
    let whole = std::fs::read(place.path.join(SPARE_FILE)).unwrap();
    let db = std::fs::read(place.path.join("db")).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 20) {
        let mut torn = whole[..length].to_vec();
        std::fs::write(place.path.join(SPARE_FILE), &torn).unwrap();
        let (dir, data) = files(&place);
        restore(dir.files().as_ref(), data.as_ref()).unwrap();
        torn.resize(whole.len(), 0);
        std::fs::write(place.path.join(SPARE_FILE), &torn).unwrap();
        restore(dir.files().as_ref(), data.as_ref()).unwrap();
        assert!(std::fs::read(place.path.join("db")).unwrap() == db);
    }
    require_whole(&place);
}

#[test]
fn a_copy_from_before_a_newer_snapshot_or_segment_is_not_used() {
    let place = store_of_three_segments();
    save_spare(&place);
    let stale = std::fs::read(place.path.join(SPARE_FILE)).unwrap();
    // Opening makes a snapshot, and the log goes on until every segment was written anew.
    let before: Vec<_> = headers(&place).iter().map(|h| h.position).collect();
    let store = place.open();
    while headers(&place).iter().any(|h| before.contains(&h.position)) {
        for number in 0..KEYS {
            store.commit(vec![put(key_object(number), 1_500)]).unwrap();
        }
    }
    drop(store);
    std::fs::write(place.path.join(SPARE_FILE), &stale).unwrap();
    require_whole(&place);

    // As if the snapshot were the same: a segment with another valid header is left alone.
    let snapshot = sled_log::newest_snapshot(files(&place).0.files().as_ref()).unwrap();
    let mut forged = stale;
    forged[8..16].copy_from_slice(&snapshot.to_be_bytes());
    let body = forged.len() - 32;
    let checksum = crate::seal::hash32(&forged[..body]);
    forged[body..].copy_from_slice(&checksum);
    std::fs::write(place.path.join(SPARE_FILE), &forged).unwrap();
    require_whole(&place);
}
