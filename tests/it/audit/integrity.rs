//! The chain of the audit log: it holds under 16 threads, kills and retention, and tells of what was altered on the disk;
//! checkpoints tell of what was rewritten with the key.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use strongroom::{
    AuditCheckpoint, AuditOptions, AuditReads, CreateKeyOptions, ErrorKind, KeyName, KeyVersion,
    MaintenanceOptions, OctKeySize, verify_audit_checkpoint,
};

use super::{create, ec, entries, intact};
use crate::image::{read_image, write_image};
use crate::support::{Place, START_MS, name, refused, variable};

#[test]
fn changes_of_16_threads_make_one_chain_without_gaps() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on().reads(AuditReads::All));
    thread::scope(|scope| {
        for worker in 0..16 {
            let vault = &vault;
            scope.spawn(move || {
                for number in 0..12 {
                    let key = name(&format!("key-{worker}-{number}"));
                    let oct = CreateKeyOptions::oct(OctKeySize::Bits128);
                    vault.create_key(&key, oct).unwrap();
                    vault.get_key(&key).unwrap();
                }
            });
        }
    });
    vault.flush_audit().unwrap();
    let log = entries(&vault);
    for (number, entry) in log.iter().enumerate() {
        assert_eq!(entry.seq(), number as u64);
    }
    let mut counts = BTreeMap::<(String, &str), usize>::new();
    for entry in &log {
        if let Some(key) = entry.key() {
            *counts
                .entry((key.as_str().to_owned(), entry.operation()))
                .or_default() += 1;
        }
    }
    assert_eq!(counts.len(), 2 * 16 * 12);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    intact(&vault);
    // Commits were shared, or the test says nothing of groups.
    assert!(vault.metrics().unwrap().commits() < 16 * 12);
}

const KILLED: &str = "STRONGROOM_AUDIT_KILLED";

/// A process that makes keys is killed, again and again: each key that is there has its entry, each entry its key.
#[test]
fn a_kill_separates_no_entry_from_its_act() {
    if let Some(path) = variable(KILLED) {
        let vault = Place::at(path.into()).open().unwrap();
        println!("ready");
        thread::scope(|scope| {
            for worker in 0..3 {
                let vault = &vault;
                scope.spawn(move || {
                    for number in 0_u64.. {
                        let key = name(&format!("key-{worker}-{}-{number}", std::process::id()));
                        let oct = CreateKeyOptions::oct(OctKeySize::Bits128);
                        vault.create_key(&key, oct).unwrap();
                    }
                });
            }
        });
        return;
    }
    let place = Place::new();
    create(&place, AuditOptions::on()).close().unwrap();
    let mut made = 0;
    for cycle in 0..12 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "audit::integrity::a_kill_separates_no_entry_from_its_act",
                "--nocapture",
            ])
            .env(KILLED, &place.path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = process.stdout.take().unwrap();
        let mut text = String::new();
        while !text.contains("ready") {
            let mut byte = [0];
            assert_eq!(
                output.read(&mut byte).unwrap(),
                1,
                "the process ended: {text}"
            );
            text.push(char::from(byte[0]));
        }
        thread::sleep(Duration::from_millis(20 + 7 * cycle));
        process.kill().unwrap();
        process.wait().unwrap();

        let vault = place.open().unwrap();
        let mut versions: BTreeMap<KeyName, KeyVersion> = vault
            .list_key_properties()
            .map(|key| {
                let key = key.unwrap();
                (key.name().clone(), key.version())
            })
            .collect();
        made = versions.len();
        for entry in entries(&vault) {
            if entry.operation() == "KeyCreate" {
                let version = versions.remove(entry.key().unwrap());
                assert_eq!(
                    version,
                    entry.version(),
                    "an entry without its act: {entry:?}"
                );
            }
        }
        assert_eq!(versions, BTreeMap::new(), "acts without an entry");
        intact(&vault);
        vault.close().unwrap();
    }
    assert!(made > 12, "only {made} keys were made");
}

#[test]
fn retention_cuts_the_log_and_the_rest_still_verifies() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on().retain_entries(40).unwrap());
    let create_keys = |range: std::ops::Range<u32>| {
        for number in range {
            let oct = CreateKeyOptions::oct(OctKeySize::Bits128);
            vault
                .create_key(&name(&format!("key-{number}")), oct)
                .unwrap();
        }
    };
    create_keys(0..100);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert!(
        (59..=62).contains(&report.audit_entries_cut()),
        "{report:?}"
    );
    let log = entries(&vault);
    assert!(log.len() >= 40, "{}", log.len());
    assert_eq!(log[0].seq(), report.audit_entries_cut());
    let cut = log
        .iter()
        .find(|entry| entry.operation() == "VaultAuditCut")
        .unwrap();
    assert_eq!(u64::from(cut.count()), report.audit_entries_cut());
    let verified = vault.verify_audit().unwrap();
    assert!(verified.is_intact(), "{verified:?}");
    assert_eq!(verified.first_seq(), log[0].seq());
    vault.close().unwrap();

    // By age: a month later only what is new stays.
    let vault = place.open().unwrap();
    vault
        .set_audit_options(AuditOptions::on().retain_days(30).unwrap())
        .unwrap();
    place.clock.advance_days(20);
    vault.create_key(&name("younger"), ec()).unwrap();
    place.clock.advance_days(20);
    vault.maintain(MaintenanceOptions::new()).unwrap();
    let log = entries(&vault);
    assert!(
        log.iter()
            .all(|entry| entry.time_ms() >= START_MS + 20 * 86_400_000),
        "{log:?}"
    );
    assert!(
        log.iter()
            .any(|entry| entry.key() == Some(&name("younger")))
    );
    intact(&vault);
    assert!(vault.check().unwrap().is_clean());
    // A clock that is not believed destroys nothing.
    place.clock.advance_days(400);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!(report.audit_entries_cut(), 0);
    vault.close().unwrap();
    intact(&place.open().unwrap());
}

fn with_tree<T>(place: &Place, work: impl FnOnce(&sled::Tree) -> T) -> T {
    let database = loop {
        let opened = sled::Config::new()
            .path(&place.path)
            .segment_size(512 * 1024)
            .flush_every_ms(None)
            .open();
        match opened {
            Ok(database) => break database,
            // The vault's engine keeps its lock for moments after it was closed.
            Err(sled::Error::Io(_)) => thread::sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    };
    let tree = database.open_tree("r").unwrap();
    let outcome = work(&tree);
    tree.flush().unwrap();
    outcome
}

#[test]
fn t11_what_was_altered_on_the_disk_is_reported_by_verification_and_check() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on());
    for number in 0..8 {
        let oct = CreateKeyOptions::oct(OctKeySize::Bits128);
        vault
            .create_key(&name(&format!("key-{number}")), oct)
            .unwrap();
    }
    vault.close().unwrap();
    drop(vault);
    let whole = read_image(&place.path);
    let records: Vec<(Vec<u8>, Vec<u8>)> = with_tree(&place, |tree| {
        tree.iter()
            .map(|item| item.unwrap())
            .filter(|(key, _)| key[17] == b'A')
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect()
    });
    assert!(records.len() >= 9, "{}", records.len());
    let last = records.len() - 1;
    type Alteration = Vec<(usize, Option<Vec<u8>>)>;
    let flipped = |number: usize, at: usize| {
        let mut value = records[number].1.clone();
        value[at] ^= 0x10;
        (number, Some(value))
    };
    let alterations: Vec<(&str, Alteration)> = vec![
        ("a bit of the contents", vec![flipped(3, 120)]),
        ("a bit of the salt", vec![flipped(3, 20)]),
        ("a bit of the magic", vec![flipped(0, 1)]),
        ("one removed", vec![(3, None)]),
        ("the first removed", vec![(0, None)]),
        ("the last removed", vec![(last, None)]),
        (
            "two exchanged",
            vec![
                (3, Some(records[4].1.clone())),
                (4, Some(records[3].1.clone())),
            ],
        ),
        ("one doubled", vec![(3, Some(records[2].1.clone()))]),
        (
            "all removed",
            (0..=last).map(|number| (number, None)).collect(),
        ),
    ];
    for (what, alteration) in alterations {
        write_image(&place.path, &whole);
        with_tree(&place, |tree| {
            for (number, value) in &alteration {
                match value {
                    Some(value) => tree.insert(&records[*number].0, value.as_slice()).unwrap(),
                    None => tree.remove(&records[*number].0).unwrap(),
                };
            }
        });
        let vault = place.open().unwrap();
        let report = vault.verify_audit().unwrap();
        assert!(!report.is_intact(), "{what}");
        let check = vault.check().unwrap();
        assert!(!check.is_sound(), "{what}");
        let places: Vec<&str> = check
            .findings()
            .iter()
            .map(|finding| finding.place())
            .collect();
        assert!(
            places.iter().all(|place| place.starts_with("audit")),
            "{what}: {places:?}"
        );
        // The keys are no worse for it, and the log goes on.
        assert_eq!(
            vault
                .list_key_properties()
                .filter(|key| key.is_ok())
                .count(),
            8
        );
        vault.create_key(&name("afterwards"), ec()).unwrap();
        assert!(
            !vault.verify_audit().unwrap().is_intact(),
            "{what}: it does not heal"
        );
        drop(vault);
    }
    write_image(&place.path, &whole);
    intact(&place.open().unwrap());
}

#[test]
fn checkpoints_tell_of_a_log_that_was_rewritten_with_the_key() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on());
    vault.create_key(&name("one"), ec()).unwrap();
    let public = vault.identity_public_key().unwrap();
    vault.close().unwrap();
    drop(vault);
    let earlier = read_image(&place.path);

    let vault = place.open().unwrap();
    vault.create_key(&name("evil"), ec()).unwrap();
    let checkpoint = vault.audit_checkpoint().unwrap();
    assert_eq!(checkpoint.vault_id(), vault.status().unwrap().vault_id());
    assert_eq!(checkpoint.time_ms(), START_MS);
    assert_eq!(
        vault.identity_public_key().unwrap(),
        public,
        "it stays the same"
    );
    vault.create_key(&name("later"), ec()).unwrap();
    assert!(vault.verify_audit_since(&checkpoint).unwrap().is_intact());
    vault.close().unwrap();
    drop(vault);

    // Genuine, and only whole.
    let bytes = checkpoint.to_bytes();
    let read = AuditCheckpoint::from_bytes(&bytes).unwrap();
    assert_eq!(read, checkpoint);
    verify_audit_checkpoint(&read, &public).unwrap();
    for at in [8, 24, 40, 70, 72, 135] {
        let mut altered = bytes;
        altered[at] ^= 1;
        let altered = AuditCheckpoint::from_bytes(&altered).unwrap();
        let error = verify_audit_checkpoint(&altered, &public).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSignature, "byte {at}");
    }
    for wrong in [&bytes[1..], &bytes[..135], &[0; 136][..], &[][..]] {
        assert_eq!(
            refused(AuditCheckpoint::from_bytes(wrong)),
            ErrorKind::BadParameter
        );
    }
    let other = Place::new().create();
    assert_eq!(
        verify_audit_checkpoint(&checkpoint, &other.identity_public_key().unwrap())
            .unwrap_err()
            .kind(),
        ErrorKind::InvalidSignature
    );
    assert_eq!(
        refused(other.verify_audit_since(&checkpoint)),
        ErrorKind::BadParameter
    );

    // Whoever has the key goes back and writes another history, as long as the old one.
    write_image(&place.path, &earlier);
    let vault = place.open().unwrap();
    assert!(
        !vault.verify_audit_since(&checkpoint).unwrap().is_intact(),
        "cut short"
    );
    for number in 0..5 {
        vault
            .create_key(&name(&format!("innocent-{number}")), ec())
            .unwrap();
    }
    intact(&vault);
    let report = vault.verify_audit_since(&checkpoint).unwrap();
    assert!(!report.is_intact());
    assert_eq!(report.findings()[0].kind(), ErrorKind::Tampered);

    // After a cut by retention nothing can be said, and nothing is alleged.
    vault
        .set_audit_options(AuditOptions::on().retain_entries(1).unwrap())
        .unwrap();
    let old = vault.audit_checkpoint().unwrap();
    vault.create_key(&name("more"), ec()).unwrap();
    vault.create_key(&name("and-more"), ec()).unwrap();
    vault.maintain(MaintenanceOptions::new()).unwrap();
    let report = vault.verify_audit_since(&old).unwrap();
    assert!(report.is_intact());
    assert_eq!(report.findings().len(), 1);
}
