//! sled erases segments while it opens, before the snapshot that no longer needs them is durable. A replayed
//! power cut showed it: the old snapshot lay beside an erased segment, and sled dropped the whole log.
//!
//! And it takes a read that fails for the end of its log, erases what comes behind and makes a new snapshot. A library
//! that lets every read of sled fail in turn showed that, although the same bytes could be read a moment before.

use std::os::unix::fs::FileExt;

use super::*;
use crate::store::files::{Access, VaultFile};
use crate::store::sled_log::{SEGMENT_SIZE, SegmentHeader};
use crate::store::spare_segments::{SPARE_FILE, restore, save, undo};

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
fn a_copy_of_a_vault_that_has_gone_on_is_not_used() {
    let place = store_of_three_segments();
    save_spare(&place);
    let stale = std::fs::read(place.path.join(SPARE_FILE)).unwrap();
    let store = place.open();
    for number in 0..2 * KEYS {
        store.commit(vec![put(key_object(number), 1_500)]).unwrap();
    }
    drop(store);
    std::fs::write(place.path.join(SPARE_FILE), &stale).unwrap();
    let (dir, data) = files(&place);
    assert!(!restore(dir.files().as_ref(), data.as_ref()).unwrap());
    drop((dir, data));
    require_whole(&place);
    assert!(
        get(&place.open(), &key_object(2 * KEYS - 1))
            .unwrap()
            .is_some()
    );
}

/// What sled leaves when it took the first read of a segment for the end of its log.
fn cut_the_log(place: &Place) {
    let mut headers = headers(place);
    headers.sort_by_key(|header| header.position);
    let db = place.path.join("db");
    let file = std::fs::OpenOptions::new().write(true).open(db).unwrap();
    for header in &headers[headers.len() - 2..] {
        let erased = vec![0xff; SEGMENT_SIZE];
        file.write_all_at(&erased, header.offset).unwrap();
    }
    // Whatever is written next begins a segment with a position of the lost ones, and a snapshot covers it.
    let other = store_of_three_segments();
    let mut others = self::headers(&other);
    others.sort_by_key(|header| header.position);
    let begun = others[others.len() - 1];
    let bytes = std::fs::read(other.path.join("db")).unwrap();
    let start = usize::try_from(begun.offset).unwrap();
    let segment = &bytes[start..bytes.len().min(start + SEGMENT_SIZE)];
    let behind = headers.iter().map(|header| header.offset).max().unwrap();
    file.write_all_at(segment, behind + SEGMENT_SIZE as u64)
        .unwrap();
    for snapshot in snapshots(place) {
        std::fs::remove_file(place.path.join(snapshot)).unwrap();
    }
    let snapshot = snapshots(&other).pop().unwrap();
    let made = format!("snap.{:016X}", headers[headers.len() - 2].position + 20);
    std::fs::copy(other.path.join(snapshot), place.path.join(made)).unwrap();
}

fn snapshots(place: &Place) -> Vec<String> {
    let names = std::fs::read_dir(&place.path).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("snap."))
        .collect();
    names.sort();
    names
}

#[test]
fn a_log_that_was_cut_comes_back_with_its_snapshot() {
    let place = store_of_three_segments();
    let before = (headers(&place), snapshots(&place));
    save_spare(&place);
    cut_the_log(&place);
    assert_ne!(snapshots(&place), before.1);
    {
        let (dir, data) = files(&place);
        assert!(undo(dir.files().as_ref()).unwrap());
        drop(data);
    }
    assert_eq!((headers(&place), snapshots(&place)), before);
    assert!(!place.path.join(SPARE_FILE).exists());
    require_whole(&place);

    // A process that died before it could do so leaves that to the next opening.
    let place = store_of_three_segments();
    save_spare(&place);
    cut_the_log(&place);
    require_whole(&place);

    // Without the copy the records are lost, and the vault says so.
    let place = store_of_three_segments();
    cut_the_log(&place);
    place.refusal();
}

#[test]
fn of_a_long_log_the_stretch_without_gaps_is_copied() {
    let place = Place::new();
    let store = place.open();
    for number in 0..700 {
        store.commit(vec![put(key_object(number), 30_000)]).unwrap();
    }
    assert!(headers(&place).len() > 36);
    drop(store);
    save_spare(&place);
    let length = std::fs::metadata(place.path.join(SPARE_FILE))
        .unwrap()
        .len();
    assert!((SEGMENT_SIZE as u64..4 << 20).contains(&length), "{length}");

    // With a newer snapshot it is not used: the recovery ended well.
    let copy = std::fs::read(place.path.join(SPARE_FILE)).unwrap();
    let mut forged = copy.clone();
    forged[15] ^= 1;
    let checksum = crc32fast::hash(&forged[..64]).to_be_bytes();
    forged[64..68].copy_from_slice(&checksum);
    std::fs::write(place.path.join(SPARE_FILE), &forged).unwrap();
    {
        let (dir, data) = files(&place);
        assert!(!restore(dir.files().as_ref(), data.as_ref()).unwrap());
    }

    std::fs::write(place.path.join(SPARE_FILE), &copy).unwrap();
    erase_the_segment_before_the_last(&place);
    require_whole(&place);
}
