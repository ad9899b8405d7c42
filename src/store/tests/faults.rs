//! Failures in the middle of a commit.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::store::files::{Access, FileFacts, Files, VaultFile};

/// Fails at the point with this number, counted over all points while armed.
fn failing_at(number: usize) -> (Points, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let armed = Arc::new(AtomicBool::new(false));
    let reached = Arc::new(AtomicUsize::new(0));
    let (own_armed, own_reached) = (Arc::clone(&armed), Arc::clone(&reached));
    let points = Points::calling(move |point| {
        if own_armed.load(Ordering::SeqCst) && own_reached.fetch_add(1, Ordering::SeqCst) == number
        {
            return Err(Error::new(ErrorKind::Io, format!("injected at {point}")));
        }
        Ok(())
    });
    (points, armed, reached)
}

/// Waits until the engine has what was acknowledged: the commit lock is held until then.
fn wait_for_the_engine(store: &Store) {
    drop(store.shared.lock_ledger());
}

/// A group that fails after each of its steps is afterwards there as a whole or not at all; and once
/// its redo record and one change can be there, it is there as a whole, as it is when it was acknowledged.
fn survives_a_failure_at_every_step(initial: &[Change], group: &[Change]) {
    let (mut outcomes, mut early) = (Vec::new(), 0);
    for number in 0.. {
        let place = Place::with(initial.to_vec());
        let (points, armed, reached) = failing_at(number);
        let store = place.open_with(OpenMode {
            points,
            ..OpenMode::default()
        });
        armed.store(true, Ordering::SeqCst);
        let acknowledged = store.commit(group.to_vec()).is_ok();
        wait_for_the_engine(&store);
        armed.store(false, Ordering::SeqCst);
        let complete = reached.load(Ordering::SeqCst) <= number;
        assert!(acknowledged || !complete);
        if !complete {
            let key = initial[0].index();
            assert_eq!(get(&store, key).unwrap_err().kind(), ErrorKind::VaultFailed);
            assert_eq!(
                store.commit(Vec::new()).unwrap_err().kind(),
                ErrorKind::VaultFailed
            );
            assert_eq!(store.close().unwrap_err().kind(), ErrorKind::VaultFailed);
        }
        drop(store);

        let (store, report) = place.try_open().unwrap();
        let findings = store.check().unwrap().findings;
        assert!(
            findings.iter().all(|finding| finding.harmless),
            "step {number}: {findings:?}"
        );
        let new = store.state().generation == 2;
        assert!(new || !(report.redone || acknowledged));
        early += usize::from(acknowledged && !complete);
        for change in group {
            let before = initial
                .iter()
                .find(|old| old.index() == change.index())
                .map(of);
            let expected = if new {
                change.record().cloned()
            } else {
                before
            };
            assert_eq!(
                get(&store, change.index()).unwrap(),
                expected,
                "step {number}"
            );
        }
        outcomes.push((new, report.redone));
        // The store is of use again.
        store.commit(vec![put(key_object(77), 100)]).unwrap();
        assert_eq!(store.check().unwrap().findings, [], "step {number}");
        if complete {
            break;
        }
    }
    assert!(
        outcomes.is_sorted_by_key(|(new, _)| *new),
        "once a group is there, later failures keep it: {outcomes:?}"
    );
    let redone = outcomes.iter().filter(|(_, redone)| *redone).count();
    assert!(redone >= group.len(), "{outcomes:?}");
    assert!(early >= group.len(), "{early}");
    assert!(outcomes.iter().any(|(new, _)| !new));
}

#[test]
fn a_small_group_that_fails_at_any_step_is_whole_or_absent() {
    let initial = [
        put(key_object(1), 100),
        put(version(1, 1), 14_000),
        put(key_object(2), 50),
    ];
    let group = [
        put(key_object(1), 300),
        put(version(1, 1), 3_000),
        put(version(1, 2), 7_000),
        Change::Remove(key_object(2)),
        put(IndexKey::settings(1), 20),
    ];
    survives_a_failure_at_every_step(&initial, &group);
}

#[test]
fn a_group_in_several_steps_that_fails_at_any_step_is_whole_or_absent() {
    let initial = [put(key_object(1), 100), put(version(1, 1), 60_000)];
    let group = [
        put(key_object(1), 300),
        put(version(1, 2), 60_000),
        put(version(1, 1), 65_000),
        put(version(2, 1), 40_000),
    ];
    survives_a_failure_at_every_step(&initial, &group);
}

/// At each step of a group the files are copied, as a kill would leave them: what sled still holds in
/// memory is lost. Each copy opens with the whole group or without it, and with it once it is acknowledged.
fn survives_a_kill_at_every_step(initial: Vec<Change>, group: &[Change]) {
    let place = Place::with(initial.clone());
    let images = place.path.with_file_name("images");
    std::fs::create_dir(&images).unwrap();
    let (from, to) = (place.path.clone(), images.clone());
    let count = Arc::new(AtomicUsize::new(0));
    let armed = Arc::new(AtomicBool::new(false));
    let (own_count, own_armed) = (Arc::clone(&count), Arc::clone(&armed));
    let points = Points::calling(move |_| {
        if own_armed.load(Ordering::SeqCst) {
            let number = own_count.fetch_add(1, Ordering::SeqCst);
            copy_directory(&from, &to.join(number.to_string()));
        }
        Ok(())
    });
    let store = place.open_with(OpenMode {
        points,
        ..OpenMode::default()
    });
    armed.store(true, Ordering::SeqCst);
    store.commit(group.to_vec()).unwrap();
    wait_for_the_engine(&store);
    armed.store(false, Ordering::SeqCst);
    let count = count.load(Ordering::SeqCst);
    copy_directory(&place.path, &images.join(count.to_string()));

    let mut outcomes = Vec::new();
    for number in 0..=count {
        let dir = VaultDir::open(&images.join(number.to_string())).unwrap();
        let (store, report) = Store::open(dir, place.config.clone()).unwrap();
        assert!(report.unclean);
        let findings = store.check().unwrap().findings;
        assert!(
            findings.iter().all(|finding| finding.harmless),
            "step {number}: {findings:?}"
        );
        let new = store.state().generation == 2;
        for change in group {
            let before = initial
                .iter()
                .find(|old| old.index() == change.index())
                .map(of);
            let expected = if new {
                change.record().cloned()
            } else {
                before
            };
            assert_eq!(
                get(&store, change.index()).unwrap(),
                expected,
                "step {number}"
            );
        }
        store.commit(vec![put(key_object(77), 100)]).unwrap();
        outcomes.push(new);
    }
    assert!(outcomes.is_sorted(), "{outcomes:?}");
    // Synced, then written to the anchor, published, answered: all of these keep the group.
    assert!(
        outcomes[outcomes.len() - 3..].iter().all(|new| *new),
        "{outcomes:?}"
    );
    assert!(!outcomes[0]);
}

#[test]
fn a_kill_at_any_step_leaves_whole_groups() {
    let initial = vec![
        put(key_object(1), 100),
        put(version(1, 1), 60_000),
        put(key_object(2), 50),
    ];
    let small = [
        put(key_object(1), 300),
        put(version(1, 1), 10_000),
        Change::Remove(key_object(2)),
    ];
    survives_a_kill_at_every_step(initial.clone(), &small);
    let large = [
        put(key_object(1), 300),
        put(version(1, 2), 60_000),
        put(version(1, 1), 65_000),
        put(version(2, 1), 40_000),
    ];
    survives_a_kill_at_every_step(initial, &large);
}

#[test]
fn a_group_is_visible_as_a_whole_once_it_is_durable_and_not_before() {
    let place = Place::with(vec![put(key_object(1), 100), put(key_object(2), 100)]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let slot: Arc<Mutex<Option<std::sync::Weak<Shared>>>> = Arc::default();
    let (own_slot, own_seen) = (Arc::clone(&slot), Arc::clone(&seen));
    let points = Points::calling(move |point| {
        let shared = own_slot
            .lock()
            .unwrap()
            .as_ref()
            .and_then(std::sync::Weak::upgrade);
        if let Some(shared) = shared.filter(|_| point != "verify bucket") {
            let view = View::new(&shared);
            let state = (
                view.record(&key_object(1))?,
                view.record(&key_object(2))?,
                view.record(&key_object(3))?,
                view.key_objects(None, 10)?.len(),
                view.versions(n(1))?.len(),
            );
            own_seen.lock().unwrap().push((point, state));
        }
        Ok(())
    });
    let store = place.open_with(OpenMode {
        points,
        ..OpenMode::default()
    });
    let before = (
        get(&store, &key_object(1)).unwrap(),
        get(&store, &key_object(2)).unwrap(),
        None,
        2,
        0,
    );
    *slot.lock().unwrap() = Some(Arc::downgrade(&store.shared));
    store
        .commit(vec![
            put(key_object(1), 9_000),
            Change::Remove(key_object(2)),
            put(key_object(3), 100),
            put(version(1, 1), 100),
        ])
        .unwrap();
    wait_for_the_engine(&store);
    *slot.lock().unwrap() = None;
    let after = (
        get(&store, &key_object(1)).unwrap(),
        None,
        get(&store, &key_object(3)).unwrap(),
        2,
        1,
    );
    assert_ne!(after.0, before.0);
    assert_eq!(get(&store, &key_object(2)).unwrap(), None);
    let seen = seen.lock().unwrap();
    let published = seen.iter().position(|(point, _)| *point == "publish");
    let (hidden, shown) = seen.split_at(published.unwrap() + 1);
    assert_eq!(hidden.len(), 4, "{hidden:?}");
    assert!(shown.len() > 8, "{}", shown.len());
    for (point, state) in hidden {
        assert_eq!(state, &before, "at {point}");
    }
    for (point, state) in shown {
        assert_eq!(state, &after, "at {point}");
    }
}

#[test]
fn a_panic_in_a_storage_call_poisons_and_does_not_escape() {
    let place = Place::with(vec![put(key_object(1), 100)]);
    let armed = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&armed);
    let points = Points::calling(move |point| {
        assert!(
            !(own.load(Ordering::SeqCst) && point == "sync journal"),
            "injected panic"
        );
        Ok(())
    });
    let store = place.open_with(OpenMode {
        points,
        ..OpenMode::default()
    });
    armed.store(true, Ordering::SeqCst);
    let failed = store.commit(vec![put(key_object(2), 100)]).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Corrupt);
    armed.store(false, Ordering::SeqCst);
    assert_eq!(
        get(&store, &key_object(1)).unwrap_err().kind(),
        ErrorKind::VaultFailed
    );
    drop(store);
    let store = place.open();
    assert_eq!(store.check().unwrap().findings, []);
}

#[test]
fn a_random_generator_that_fails_refuses_the_change_only() {
    #[derive(Debug)]
    struct Dry(AtomicBool);
    impl Entropy for Dry {
        fn fill(&self, bytes: &mut [u8]) -> Result<()> {
            if self.0.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::RandomUnavailable, "dry"));
            }
            OsEntropy.fill(bytes)
        }
    }
    let entropy = Arc::new(Dry(AtomicBool::new(false)));
    let config = StoreConfig {
        entropy: Arc::clone(&entropy) as Arc<dyn Entropy>,
        ..config()
    };
    let store = Store::in_memory(config, Vec::new()).unwrap();
    entropy.0.store(true, Ordering::SeqCst);
    let refused = store.commit(vec![put(key_object(1), 10)]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RandomUnavailable);
    entropy.0.store(false, Ordering::SeqCst);
    assert_eq!(get(&store, &key_object(1)).unwrap(), None);
    store.commit(vec![put(key_object(1), 10)]).unwrap();
}

/// Counts the operations of the store on its own files, and fails one.
#[derive(Debug)]
struct CountingFiles {
    files: Arc<dyn Files>,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    operations: Mutex<Vec<String>>,
    fail: Mutex<Option<String>>,
}

impl Log {
    fn note(&self, operation: &str, name: &str) -> Result<()> {
        let entry = format!("{operation} {name}");
        let fails = self
            .fail
            .lock()
            .is_ok_and(|fail| fail.as_ref() == Some(&entry));
        if let Ok(mut operations) = self.operations.lock() {
            operations.push(entry);
        }
        if fails {
            return Err(Error::new(ErrorKind::StorageFull, "injected"));
        }
        Ok(())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.operations.lock().unwrap())
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Box<dyn VaultFile>,
    name: String,
    log: Arc<Log>,
}

impl Files for CountingFiles {
    fn open(&self, name: &str, access: Access) -> Result<Option<Box<dyn VaultFile>>> {
        let (name, log) = (name.to_owned(), Arc::clone(&self.log));
        Ok(self
            .files
            .open(&name, access)?
            .map(|file| Box::new(CountingFile { file, name, log }) as Box<dyn VaultFile>))
    }
    fn list(&self, within: Option<&str>) -> Result<Option<Vec<String>>> {
        self.files.list(within)
    }
    fn remove(&self, name: &str) -> Result<bool> {
        self.log.note("remove", name)?;
        self.files.remove(name)
    }
    fn set_mode(&self, name: &str, mode: u32) -> Result<()> {
        self.files.set_mode(name, mode)
    }
    fn sync_directory(&self, within: Option<&str>) -> Result<()> {
        self.files.sync_directory(within)
    }
    fn subdirectory(&self, name: &str) -> Result<Option<Arc<dyn Files>>> {
        let (within, log) = (self.files.subdirectory(name)?, &self.log);
        Ok(within.map(|files| {
            Arc::new(Self {
                files,
                log: Arc::clone(log),
            }) as Arc<dyn Files>
        }))
    }
    fn make_directory(&self, name: &str) -> Result<()> {
        self.log.note("make", name)?;
        self.files.make_directory(name)
    }
    fn remove_directory(&self, name: &str) -> Result<bool> {
        self.log.note("remove", name)?;
        self.files.remove_directory(name)
    }
    fn rename(&self, within: Option<&str>, from: &str, to: &str) -> Result<()> {
        self.log.note("rename", from)?;
        self.files.rename(within, from, to)
    }
}

impl VaultFile for CountingFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        if self.name == "db" {
            self.log
                .note(&format!("read{offset}+{}", bytes.len()), &self.name)?;
        }
        self.file.read_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.log.note(&format!("write{offset}"), &self.name)?;
        self.file.write_at(bytes, offset)
    }
    fn sync_data(&self) -> Result<()> {
        self.log.note("sync", &self.name)?;
        self.file.sync_data()
    }
    fn forget_cached(&self) -> Result<()> {
        self.file.forget_cached()
    }
    fn try_lock(&self) -> Result<bool> {
        self.file.try_lock()
    }
    fn unlock(&self) -> Result<()> {
        self.file.unlock()
    }
    fn facts(&self) -> Result<FileFacts> {
        self.file.facts()
    }
}

fn open_counting(place: &Place) -> (Store, Arc<Log>) {
    let log = Arc::new(Log::default());
    let own = Arc::clone(&log);
    let dir = VaultDir::open(&place.path)
        .unwrap()
        .map_files(|files| Arc::new(CountingFiles { files, log: own }));
    let (store, _) = Store::open(dir, place.config.clone()).unwrap();
    log.take();
    (store, log)
}

#[test]
fn a_group_costs_one_sync_and_the_anchor_alternates_only_over_syncs() {
    let place = Place::new();
    let (store, log) = open_counting(&place);
    store.commit(vec![put(key_object(1), 100)]).unwrap();
    let first = log.take();
    assert_eq!(first.len(), 3, "{first:?}");
    assert_eq!(first[..2], ["write0 vault.journal", "sync vault.journal"]);
    assert!(
        first[2].starts_with("write") && first[2].ends_with("vault.anchor"),
        "{first:?}"
    );
    store.commit(vec![put(key_object(2), 9_000)]).unwrap();
    let second = log.take();
    assert_eq!(second[0], "write4096 vault.journal", "behind the first");
    assert_eq!(second[1..], first[1..], "the same slot until a sync");
    thread::sleep(std::time::Duration::from_millis(1_300));
    assert_eq!(
        log.take(),
        ["sync vault.anchor"],
        "within a second, without a further change"
    );
    store.commit(vec![put(key_object(3), 100)]).unwrap();
    let other = log.take();
    assert_eq!(other[1], "sync vault.journal");
    assert_ne!(other[2], first[2], "the other slot after a sync");
    store.close().unwrap();
    assert_eq!(log.take(), ["sync vault.anchor", "sync db"]);
}

#[test]
fn a_file_operation_that_fails_poisons_and_loses_nothing_that_was_acknowledged() {
    for fails in [
        "write0 vault.journal",
        "sync vault.journal",
        "write0 vault.anchor",
        "write4096 vault.anchor",
        "sync vault.anchor",
    ] {
        let place = Place::new();
        let (store, log) = open_counting(&place);
        let kept = put(key_object(1), 100);
        *log.fail.lock().unwrap() = Some(fails.to_owned());
        let mut acknowledged = store.commit(vec![kept.clone()]).is_ok();
        if acknowledged {
            acknowledged &= store.sync_anchor().is_ok() || fails == "sync vault.anchor";
            let _ = store.commit(vec![put(key_object(2), 100)]);
        }
        *log.fail.lock().unwrap() = None;
        let refused = store.commit(vec![put(key_object(3), 100)]).unwrap_err();
        assert_eq!(
            refused.kind(),
            ErrorKind::VaultFailed,
            "after a failed {fails}"
        );
        assert_eq!(
            get(&store, &key_object(1)).unwrap_err().kind(),
            ErrorKind::VaultFailed
        );
        assert!(store.close().is_err());
        let (store, report) = place.try_open().unwrap();
        assert!(report.unclean);
        assert_eq!(store.check().unwrap().findings, []);
        if acknowledged {
            assert_eq!(get(&store, &key_object(1)).unwrap(), Some(of(&kept)));
        }
        assert_eq!(get(&store, &key_object(3)).unwrap(), None);
    }
}

/// The records are synced when enough of them is in the journal alone. Whoever was answered before loses nothing when
/// that fails, and the vault is of no more use.
#[test]
fn a_later_sync_of_the_records_that_fails_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let (store, log) = open_counting(&place);
    let changes: Vec<Change> = (0..40)
        .map(|number| put(version(number, 1), 3_000))
        .collect();
    for change in &changes {
        store.commit(vec![change.clone()]).unwrap();
    }
    let operations = log.take();
    let syncs = |name: &str| operations.iter().filter(|own| *own == name).count();
    assert_eq!(syncs("sync vault.journal"), 40);
    assert!((2..=4).contains(&syncs("sync db")), "{operations:?}");

    *log.fail.lock().unwrap() = Some("sync db".to_owned());
    let mut acknowledged = Vec::new();
    for number in 0..40 {
        let change = put(version(number, 2), 3_000);
        match store.commit(vec![change.clone()]) {
            Ok(()) => acknowledged.push(change),
            Err(refused) => {
                assert!(matches!(
                    refused.kind(),
                    ErrorKind::VaultFailed | ErrorKind::StorageFull
                ));
                break;
            }
        }
    }
    assert!((1..=16).contains(&acknowledged.len()));
    assert!(store.close().is_err());
    let (store, report) = place.try_open().unwrap();
    assert!(report.unclean);
    assert_eq!(store.check().unwrap().findings, []);
    for change in changes.iter().chain(&acknowledged) {
        assert_eq!(get(&store, change.index()).unwrap(), Some(of(change)));
    }
}

#[test]
fn records_that_cannot_be_read_stop_an_open_and_are_left_alone() {
    let place = Place::new();
    let (store, _) = open_counting(&place);
    let kept: Vec<Change> = (0..12)
        .map(|number| put(version(number, 1), 60_000))
        .collect();
    for change in &kept {
        store.commit(vec![change.clone()]).unwrap();
    }
    drop(store);
    let attempt = |fails: Option<String>| {
        // A copy each, since an open writes and the next one then reads elsewhere.
        let copy = place.path.with_file_name("copy");
        copy_directory(&place.path, &copy);
        let before = std::fs::read(copy.join("db")).unwrap();
        let log = Arc::new(Log::default());
        *log.fail.lock().unwrap() = fails;
        let own = Arc::clone(&log);
        let dir = VaultDir::open(&copy)
            .unwrap()
            .map_files(|files| Arc::new(CountingFiles { files, log: own }));
        let outcome = Store::open(dir, place.config.clone()).map(drop);
        let untouched = std::fs::read(copy.join("db")).unwrap() == before;
        std::fs::remove_dir_all(&copy).unwrap();
        (outcome, log.take(), untouched)
    };
    let (opened, operations, _) = attempt(None);
    opened.unwrap();
    let reads: Vec<String> = operations
        .into_iter()
        .filter(|operation| operation.starts_with("read"))
        .collect();
    let length = std::fs::metadata(place.path.join("db")).unwrap().len();
    let headers = reads.iter().filter(|read| read.ends_with("+20 db"));
    let headers = headers.count();
    assert_eq!(headers as u64, length.div_ceil(512 * 1024), "{reads:?}");
    assert!(reads.len() > headers, "{reads:?}");
    for read in reads {
        let (refused, _, untouched) = attempt(Some(read.clone()));
        assert_eq!(
            refused.unwrap_err().kind(),
            ErrorKind::StorageFull,
            "{read}"
        );
        assert!(untouched, "{read}");
    }
    let store = place.open();
    for change in &kept {
        assert_eq!(get(&store, change.index()).unwrap(), Some(of(change)));
    }
}
