//! What a journal gives back: whole entries that follow one another, and nothing else, whatever is in the file.

use super::super::engine::{Storage, write_through};
use super::super::files::Files;
use super::super::journal::{Entry, JOURNAL_FILE, Journal, LENGTH};
use super::*;

const PAGE: usize = 4_096;

fn entry(generation: u64, length: usize) -> Entry {
    let index = IndexKey::redo(0);
    Entry {
        generation,
        pieces: vec![record(&index, length)],
    }
}

/// The journal of a directory of its own.
struct Written {
    _scratch: tempfile::TempDir,
    dir: VaultDir,
    journal: Journal,
}

impl Written {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dir = VaultDir::create(&scratch.path().join("vault")).unwrap();
        let (journal, found) = Journal::open(dir.files().as_ref(), false).unwrap();
        assert_eq!(found, []);
        Self {
            _scratch: scratch,
            dir,
            journal,
        }
    }

    fn with(entries: &[Entry]) -> Self {
        let mut written = Self::new();
        for entry in entries {
            written.write(entry).unwrap();
        }
        written
    }

    fn files(&self) -> &dyn Files {
        self.dir.files().as_ref()
    }

    fn write(&mut self, entry: &Entry) -> Result<()> {
        self.journal.write(self.dir.files().as_ref(), entry)?;
        self.journal.sync()
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join(JOURNAL_FILE)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    fn found(&self) -> Result<Vec<Entry>> {
        Journal::open(self.files(), false).map(|(_, found)| found)
    }

    fn found_in(&self, bytes: &[u8]) -> Result<Vec<Entry>> {
        std::fs::write(self.path(), bytes).unwrap();
        self.found()
    }
}

#[test]
fn entries_come_back_in_their_order_and_the_file_keeps_its_length() {
    let entries = [entry(7, 100), entry(8, 10_000), entry(9, 60_000)];
    let written = Written::with(&entries);
    assert_eq!(written.found().unwrap(), entries);
    assert_eq!(written.bytes().len(), LENGTH);
    assert_eq!(LENGTH, 262_144);
    // One page, three, fifteen.
    assert_eq!(written.journal.used(), 19 * PAGE);
    let of_two = Entry {
        generation: 1,
        pieces: vec![
            record(&IndexKey::redo(0), 60_000),
            record(&IndexKey::redo(1), 200),
        ],
    };
    assert_eq!(
        Written::with(std::slice::from_ref(&of_two))
            .found()
            .unwrap(),
        [of_two]
    );
}

#[test]
fn an_entry_that_has_no_room_is_refused_and_nothing_is_written() {
    let mut written = Written::new();
    for generation in 1..=4 {
        let next = entry(generation, 57_000);
        assert!(next.fits() && written.journal.has_room_for(&next));
        written.write(&next).unwrap();
    }
    // Of 64 pages.
    assert_eq!(written.journal.used(), 4 * 14 * PAGE);
    let exact = entry(5, 8 * PAGE - 300);
    assert!(written.journal.has_room_for(&exact));
    let more = entry(5, 8 * PAGE);
    assert!(!written.journal.has_room_for(&more));
    let before = written.bytes();
    assert_eq!(
        written.write(&more).unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(written.bytes(), before);
    written.write(&exact).unwrap();
    assert_eq!(written.found().unwrap().len(), 5);
    let too_large = Entry {
        generation: 1,
        pieces: vec![record(&IndexKey::redo(0), 60_000); 5],
    };
    assert!(!too_large.fits());
}

#[test]
fn after_a_restart_old_entries_behind_the_new_ones_are_none() {
    let [first, second, third, fourth, fifth] = [1, 2, 3, 4, 5].map(|n| entry(n, 100));
    let mut written = Written::with(&[first, second, third]);
    written.journal.restart();
    written.write(&fourth).unwrap();
    assert_eq!(written.found().unwrap(), std::slice::from_ref(&fourth));
    written.write(&fifth).unwrap();
    // Behind it lies the third one.
    assert_eq!(written.found().unwrap(), [fourth, fifth]);
}

#[test]
fn an_entry_with_any_bit_changed_ends_the_journal_before_it() {
    let entries = [entry(1, 100), entry(2, 300), entry(3, 100)];
    let written = Written::with(&entries);
    let bytes = written.bytes();
    // The head, the piece with its length, and nothing behind it.
    let end = 56 + 4 + entries[1].pieces[0].as_bytes().len();
    for place in (0..end).chain([end, PAGE - 1]) {
        for bit in [0, 3, 7] {
            let mut altered = bytes.clone();
            altered[PAGE + place] ^= 1 << bit;
            let expected = if place < end {
                &entries[..1]
            } else {
                &entries[..]
            };
            assert_eq!(
                written.found_in(&altered).unwrap(),
                expected,
                "{place}, {bit}"
            );
        }
    }
}

#[test]
fn a_torn_entry_is_none() {
    let first = entry(1, 100);
    let written = Written::with(&[first.clone(), entry(2, 12_000)]);
    let bytes = written.bytes();
    for torn in 1..3 {
        // Sectors that did not arrive hold what was there before.
        let mut image = bytes.clone();
        image[(1 + torn) * PAGE..(2 + torn) * PAGE].fill(0);
        assert_eq!(
            written.found_in(&image).unwrap(),
            std::slice::from_ref(&first)
        );
    }
    let mut image = bytes;
    image[PAGE..2 * PAGE].fill(0);
    assert_eq!(
        written.found_in(&image).unwrap(),
        std::slice::from_ref(&first)
    );
}

#[test]
fn a_file_of_any_length_and_contents_is_read_and_made_whole() {
    let written = Written::with(&[entry(1, 100), entry(2, 9_000)]);
    let bytes = written.bytes();
    for length in [0, 1, 55, 56, 300, PAGE, PAGE + 1, 3 * PAGE, LENGTH - 1] {
        let found = written.found_in(&bytes[..length]).unwrap();
        assert!(found.len() <= 2, "{length}");
        // The first needs 56 bytes, 4, and its piece; the second all of three pages but the zeros at their end.
        assert_eq!(
            found.len(),
            usize::from(length >= 300) + usize::from(length > 3 * PAGE),
            "{length}"
        );
        assert_eq!(written.bytes().len(), LENGTH, "{length}");
    }
    let mut longer = bytes.clone();
    longer.extend_from_slice(&bytes);
    assert_eq!(written.found_in(&longer).unwrap().len(), 2);
    for byte in [0x00, 0x53, 0xff] {
        assert_eq!(written.found_in(&vec![byte; LENGTH]).unwrap(), []);
    }
    // Lengths and counts that no file could hold.
    for place in [16, 17, 20, 21, 22, 23, 56, 57] {
        let mut huge = bytes.clone();
        huge[place] ^= 0xff;
        assert_eq!(written.found_in(&huge).unwrap(), [], "{place}");
    }
}

#[test]
fn a_journal_of_another_format_is_refused() {
    let written = Written::with(&[entry(1, 100)]);
    let mut bytes = written.bytes();
    bytes[7] = b'2';
    assert_eq!(
        written.found_in(&bytes).unwrap_err().kind(),
        ErrorKind::NewerFormat
    );
    // Behind the first entry it could be anything that was there before.
    let written = Written::with(&[entry(1, 100), entry(2, 100)]);
    let mut bytes = written.bytes();
    bytes[PAGE + 7] = b'2';
    assert_eq!(written.found_in(&bytes).unwrap().len(), 1);
}

/// As crashes leave them, the files after each change of many hold it, and all before it: small ones that are in the
/// journal alone, others that are written at once, and journals that were begun again.
#[test]
fn every_acknowledged_change_is_in_a_copy_of_the_files() {
    let place = Place::new();
    let store = place.open();
    let copy = place.path.with_file_name("copy");
    let lengths = [100, 3_000, 12_000, 300, 60_000, 200, 30_000];
    let mut redone = 0;
    for (number, length) in (0..60_u64).zip(lengths.into_iter().cycle()) {
        let mut changes = vec![put(version(number, 1), length)];
        if number % 20 == 19 {
            // Too large for the journal.
            changes.extend((2..6).map(|n| put(version(number, n), 60_000)));
        }
        store.commit(changes.clone()).unwrap();
        if number % 7 < 3 || number % 20 >= 18 || number % 20 == 0 {
            copy_of_one_moment(&place.path, &copy);
            let dir = VaultDir::open(&copy).unwrap();
            let (other, report) = Store::open(dir, place.config.clone()).unwrap();
            redone += usize::from(report.redone);
            assert_eq!(
                other.state().generation,
                store.state().generation,
                "{number}, {report:?}"
            );
            let findings = other.check().unwrap().findings;
            assert!(findings.iter().all(|own| own.harmless), "{findings:?}");
            for change in &changes {
                assert_eq!(get(&other, change.index()).unwrap(), Some(of(change)));
            }
            assert!(get(&other, &version(number / 2, 1)).unwrap().is_some());
            drop(other);
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
    assert!((5..40).contains(&redone), "{redone}");
    store.close().unwrap();
    let (_, report) = place.try_open().unwrap();
    assert!(
        !report.redone,
        "a closed vault has everything in its records"
    );
}

/// What an older journal holds is not put into records that have gone on, and what is missing is noticed.
#[test]
fn a_journal_that_does_not_belong_to_the_records_changes_nothing() {
    let place = Place::new();
    let journal = place.path.join(JOURNAL_FILE);
    let store = place.open();
    store.commit(vec![put(key_object(1), 100)]).unwrap();
    let old = std::fs::read(&journal).unwrap();
    store.commit(vec![put(key_object(1), 200)]).unwrap();
    let kept = put(key_object(2), 300);
    store.commit(vec![kept.clone()]).unwrap();
    store.close().unwrap();
    let with = |bytes: &[u8]| {
        std::fs::write(&journal, bytes).unwrap();
        let (store, report) = place.try_open().unwrap();
        assert!(!report.redone);
        assert_eq!(get(&store, kept.index()).unwrap(), Some(of(&kept)));
        store.close().unwrap();
    };
    with(&old);
    with(&[]);
    // That of another vault with the same history.
    let other = Place::new();
    let store = other.open();
    for number in 1..=9 {
        store.commit(vec![put(key_object(number), 100)]).unwrap();
    }
    with(&std::fs::read(other.path.join(JOURNAL_FILE)).unwrap());
    store.close().unwrap();

    // Without the journal of an open vault its last changes are missing, which the anchor knows.
    let store = place.open();
    store.commit(vec![put(key_object(3), 100)]).unwrap();
    let copy = place.path.with_file_name("copy");
    copy_of_one_moment(&place.path, &copy);
    std::fs::remove_file(copy.join(JOURNAL_FILE)).unwrap();
    let dir = VaultDir::open(&copy).unwrap();
    let refused = Store::open(dir, place.config.clone()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RolledBack);
    drop(store);
}

/// A vault of which the journal was never made, as an older build leaves it, gets one with the next change.
#[test]
fn a_missing_journal_is_made_with_the_next_change() {
    let place = Place::new();
    let journal = place.path.join(JOURNAL_FILE);
    std::fs::remove_file(&journal).unwrap();
    let store = place.open();
    assert!(!journal.exists());
    store.commit(vec![put(key_object(1), 100)]).unwrap();
    assert_eq!(std::fs::metadata(&journal).unwrap().len(), LENGTH as u64);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&journal).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    store.close().unwrap();
    assert!(get(&place.open(), &key_object(1)).unwrap().is_some());
}

/// Only a change that has a redo record goes there.
#[test]
fn writes_without_a_redo_record_make_no_journal() {
    let place = Place::new();
    std::fs::remove_file(place.path.join(JOURNAL_FILE)).unwrap();
    let store = place.open();
    let index = IndexKey::redo(0);
    let writes = vec![super::super::engine::Write::Put(index, record(&index, 100))];
    let engine: &dyn Storage = store.shared.engine.as_ref();
    write_through(engine, writes).unwrap();
    assert!(engine.get(&index).unwrap().is_some());
    assert!(!place.path.join(JOURNAL_FILE).exists());
}
