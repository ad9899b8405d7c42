//! The audit log through the public API: changes are recorded in the same commit as the act, reads by choice; the
//! chain holds under 16 threads, kills, and retention, and tells of what was altered on the disk; checkpoints tell of
//! what was rewritten with the key. And the counters.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use strongroom::{
    AuditCheckpoint, AuditEntry, AuditOptions, AuditReads, CreateKeyOptions, Curve, EncryptOptions,
    EncryptionAlgorithm, ErrorKind, KeyName, KeyVersion, MaintenanceOptions, OctKeySize, PageSize,
    Permission, Permissions, Principal, SignatureAlgorithm, UpdateKeyOptions, Vault, WrapAlgorithm,
    verify_audit_checkpoint,
};

use crate::image::{read_image, write_image};
use crate::support::{Place, START_MS, name, refused, variable};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;
const KW: WrapAlgorithm = WrapAlgorithm::A256Kw;

fn entries(vault: &Vault) -> Vec<AuditEntry> {
    vault
        .audit_entries(0)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn operations(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(AuditEntry::operation).collect()
}

fn create(place: &Place, options: AuditOptions) -> Vault {
    let vault = place.create();
    vault.set_audit_options(options).unwrap();
    vault
}

fn ec() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256)
}

#[track_caller]
fn intact(vault: &Vault) {
    let report = vault.verify_audit().unwrap();
    assert!(report.is_intact(), "{:?}", report.findings());
}

#[test]
fn every_change_is_recorded_with_its_act_and_who_did_it() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on());
    let who: Principal = "billing-service".parse().unwrap();
    vault.set_access_policy(&who, Permissions::all()).unwrap();
    let handle = vault.as_principal(&who).unwrap();
    let key = name("Signer");
    let made = handle
        .create_key(&key, ec().tag("owner", "VALUE-OF-A-TAG"))
        .unwrap();
    let version = made.properties().version();
    // Not recorded: reads are off.
    handle.get_key(&key).unwrap();
    handle
        .sign_data(&key, ES256, b"PLAINTEXT-OF-THE-TEST")
        .unwrap();
    let rotated = handle.rotate_key(&key).unwrap().properties().version();
    handle
        .update_key_properties((&key, version), UpdateKeyOptions::new().enabled(false))
        .unwrap();
    let backup = handle.backup_key(&key).unwrap();
    handle.delete_key(&key).unwrap();
    handle.recover_deleted_key(&key).unwrap();
    handle.delete_key(&key).unwrap();
    handle.purge_deleted_key(&key).unwrap();
    handle.restore_key(&backup).unwrap();
    vault.set_algorithm_rules(vault.algorithm_rules()).unwrap();
    vault.remove_access_policy(&who).unwrap();
    assert_eq!(refused(handle.get_key(&key)), ErrorKind::Forbidden);
    assert_eq!(
        refused(vault.delete_key(&name("no"))),
        ErrorKind::KeyNotFound
    );
    vault.flush_audit().unwrap();

    let log = entries(&vault);
    let key_of = |entry: &AuditEntry| entry.key().map(|key| key.as_str().to_owned());
    let told: Vec<_> = log
        .iter()
        .map(|entry| {
            (
                entry.operation(),
                key_of(entry),
                entry.version(),
                entry.actor().map(Principal::as_str),
                entry.error_kind(),
            )
        })
        .collect();
    let signer = || Some("Signer".to_owned());
    let by = Some("billing-service");
    let expected = [
        ("VaultAuditOptionsSet", None, None, None, None),
        ("VaultAccessPolicySet", None, None, None, None),
        ("KeyCreate", signer(), Some(version), by, None),
        ("KeyRotate", signer(), Some(rotated), by, None),
        ("KeyUpdate", signer(), Some(version), by, None),
        ("KeyBackup", signer(), None, by, None),
        ("KeyDelete", signer(), None, by, None),
        ("KeyRecover", signer(), None, by, None),
        ("KeyDelete", signer(), None, by, None),
        ("KeyPurge", signer(), None, by, None),
        ("KeyRestore", signer(), Some(rotated), by, None),
        ("VaultAlgorithmRulesSet", None, None, None, None),
        ("VaultAccessPolicyRemove", None, None, None, None),
        ("KeyGet", signer(), None, by, Some("Forbidden")),
        (
            "KeyDelete",
            Some("no".to_owned()),
            None,
            None,
            Some("KeyNotFound"),
        ),
    ];
    assert_eq!(told, expected);
    for (number, entry) in log.iter().enumerate() {
        assert_eq!(entry.seq(), number as u64);
        assert_eq!(entry.time_ms(), START_MS);
        assert_eq!(entry.count(), 1);
    }
    assert_eq!(log[1].principal(), Some(&who));
    assert_eq!(log[12].principal(), Some(&who));
    intact(&vault);

    let mut lines = Vec::new();
    assert_eq!(vault.export_audit(&mut lines).unwrap(), 15);
    let text = String::from_utf8(lines).unwrap();
    assert_eq!(
        text.lines().nth(2).unwrap(),
        format!(
            r#"{{"seq":2,"time_ms":{START_MS},"operation":"KeyCreate","key":"Signer","version":"{version}","actor":"billing-service","count":1}}"#
        )
    );
    for never in ["VALUE-OF-A-TAG", "owner", "PLAINTEXT-OF-THE-TEST"] {
        assert!(!text.contains(never), "{never}");
    }
    vault.close().unwrap();
    let vault = place.open().unwrap();
    let after = entries(&vault);
    assert_eq!(after[..15], log[..]);
    // What waited went with the close, and opening is recorded too, once something carries it.
    assert_eq!(operations(&after[15..]), ["VaultAuditExport", "VaultClose"]);
    vault.flush_audit().unwrap();
    assert_eq!(entries(&vault).last().unwrap().operation(), "VaultOpen");
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn without_being_told_a_vault_records_nothing_and_off_is_recorded_last() {
    let place = Place::new();
    let vault = place.create();
    vault.create_key(&name("one"), ec()).unwrap();
    vault.flush_audit().unwrap();
    assert_eq!(entries(&vault), []);
    assert!(!vault.audit_options().unwrap().is_on());
    let options = AuditOptions::on()
        .reads(AuditReads::Sampled(NonZeroU32::new(7).unwrap()))
        .retain_entries(500)
        .unwrap()
        .retain_days(30)
        .unwrap();
    vault.set_audit_options(options.clone()).unwrap();
    vault.close().unwrap();
    // The options are the vault's own: they need not be given again.
    let vault = place.open().unwrap();
    assert_eq!(vault.audit_options().unwrap(), options);
    vault.create_key(&name("two"), ec()).unwrap();
    vault.set_audit_options(AuditOptions::off()).unwrap();
    vault.create_key(&name("three"), ec()).unwrap();
    vault.flush_audit().unwrap();
    let log = entries(&vault);
    let keys: Vec<_> = log.iter().filter_map(AuditEntry::key).collect();
    assert_eq!(keys, [&name("two")]);
    assert_eq!(log.last().unwrap().operation(), "VaultAuditOptionsSet");
    vault.close().unwrap();
    // Given when opening, they are taken up and stored.
    let vault = place
        .options()
        .audit(AuditOptions::on())
        .open(
            &place.path,
            strongroom::Unlock::raw_key(&crate::support::master_key()),
        )
        .unwrap();
    vault.close().unwrap();
    let vault = place.open().unwrap();
    assert_eq!(vault.audit_options().unwrap(), AuditOptions::on());
    let log = entries(&vault);
    let ended = ["VaultAuditOptionsSet", "VaultOpen", "VaultClose"];
    assert!(operations(&log).ends_with(&ended), "{log:?}");
    for wrong in [0, AuditOptions::MAX_RETAINED_ENTRIES + 1] {
        assert_eq!(
            refused(AuditOptions::on().retain_entries(wrong)),
            ErrorKind::BadParameter
        );
    }
    assert_eq!(
        refused(AuditOptions::on().retain_days(0)),
        ErrorKind::BadParameter
    );
}

/// How many entries each use of a key makes, and under which name: exactly one, however the call is made up.
#[test]
fn each_operation_is_one_entry_when_all_are_recorded() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on());
    let (signer, aes) = (name("signer"), name("aes"));
    vault.create_key(&signer, ec()).unwrap();
    let kek = vault
        .create_key(&aes, CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    vault
        .set_audit_options(AuditOptions::on().reads(AuditReads::All))
        .unwrap();
    vault.flush_audit().unwrap();
    let mut seen = entries(&vault).len();
    let mut expect = |wanted: &[&str], act: &dyn Fn()| {
        act();
        vault.flush_audit().unwrap();
        let log = entries(&vault);
        let mut wanted = wanted.to_vec();
        // The looking itself is recorded as well.
        wanted.retain(|operation| !operation.is_empty());
        let new: Vec<_> = operations(&log[seen..])
            .into_iter()
            .filter(|operation| !["VaultAuditFlush", "VaultAuditEntriesGet"].contains(operation))
            .map(str::to_owned)
            .collect();
        assert_eq!(new, wanted);
        seen = log.len();
        log
    };
    let bound = vault.key(&signer).unwrap();
    expect(&["KeyGet"], &|| {});
    expect(&["KeySign"], &|| drop(bound.sign(ES256, &[7; 32]).unwrap()));
    expect(&["KeySign"], &|| {
        drop(bound.sign_data(ES256, b"a").unwrap())
    });
    expect(&["KeySign"], &|| {
        drop(strongroom::hazmat::sign_deterministic(&vault, &signer, ES256, &[7; 32]).unwrap());
    });
    expect(&["KeyVerify"], &|| {
        assert!(bound.verify(ES256, &[7; 32], &[7; 64]).is_err());
    });
    let wrapped = vault.wrap_key(&aes, KW, &[7; 32]).unwrap();
    expect(&["KeyWrap"], &|| {});
    let log = expect(&["KeyRewrap"], &|| {
        drop(
            vault
                .rewrap_key(&aes, KW, wrapped.wrapped_key(), &aes, KW)
                .unwrap(),
        );
    });
    let rewrap = log
        .iter()
        .rfind(|entry| entry.operation() == "KeyRewrap")
        .unwrap();
    assert_eq!(rewrap.key(), Some(&aes));
    assert_eq!(rewrap.version(), Some(kek.properties().version()));
    expect(&["KeyWrap"], &|| {
        drop(vault.generate_data_key(&aes, KW, 32).unwrap())
    });
    expect(&["KeyUnwrap"], &|| {
        drop(vault.unwrap_key(&aes, KW, wrapped.wrapped_key()).unwrap());
    });
    // The count of encryptions is committed on the way: still one entry.
    expect(&["KeyEncrypt"], &|| {
        let gcm = EncryptionAlgorithm::A256Gcm;
        drop(
            vault
                .encrypt(&aes, gcm, b"text", EncryptOptions::new())
                .unwrap(),
        );
    });
    expect(&["KeyList"], &|| {
        assert_eq!(vault.list_key_properties().count(), 2)
    });
    expect(&["KeyListVersions"], &|| {
        drop(
            vault
                .list_key_properties_versions_page(&aes, None, PageSize::MAX)
                .unwrap(),
        );
    });
    expect(&["KeyListDeleted"], &|| {
        assert_eq!(vault.list_deleted_key_properties().count(), 0)
    });
    expect(&["RandomBytesGet"], &|| {
        drop(vault.get_random_bytes(8).unwrap());
    });
    intact(&vault);
}

#[test]
fn a_sample_says_how_many_operations_it_stands_for() {
    let place = Place::new();
    let sampled = AuditReads::Sampled(NonZeroU32::new(10).unwrap());
    let vault = create(&place, AuditOptions::on().reads(sampled));
    vault.create_key(&name("signer"), ec()).unwrap();
    for _ in 0..100 {
        vault.sign(&name("signer"), ES256, &[7; 32]).unwrap();
    }
    // A refusal is not left to chance.
    let handle = vault.restricted(Permissions::from([Permission::Get]));
    for _ in 0..3 {
        assert_eq!(
            refused(handle.sign(&name("signer"), ES256, &[7; 32])),
            ErrorKind::Forbidden
        );
    }
    vault.maintain(MaintenanceOptions::new()).unwrap();
    let log = entries(&vault);
    let signed: Vec<u32> = log
        .iter()
        .filter(|entry| entry.operation() == "KeySign" && entry.error_kind().is_none())
        .map(AuditEntry::count)
        .collect();
    assert_eq!(signed, [10; 10]);
    let forbidden = log
        .iter()
        .filter(|entry| entry.error_kind() == Some("Forbidden"));
    assert_eq!(forbidden.count(), 3);
}

#[test]
fn what_finds_no_room_is_counted_and_reported_and_blocks_nothing() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on().reads(AuditReads::All));
    vault.create_key(&name("signer"), ec()).unwrap();
    for _ in 0..1_500 {
        vault.get_random_bytes(1).unwrap();
    }
    let metrics = vault.metrics().unwrap();
    assert_eq!(metrics.audit_entries_waiting(), 1_024);
    let lost = metrics.audit_entries_lost();
    assert!((476..500).contains(&lost), "{lost}");
    vault.create_key(&name("carries-them"), ec()).unwrap();
    let log = entries(&vault);
    let told = log
        .iter()
        .find(|entry| entry.operation() == "AuditEntriesLost")
        .unwrap();
    // Asking for the counters was an operation without room as well.
    assert_eq!(u64::from(told.count()), lost + 1);
    assert_eq!(log.last().unwrap().key(), Some(&name("carries-them")));
    let report = vault.verify_audit().unwrap();
    assert_eq!(report.lost(), lost + 1);
    assert!(report.is_intact());
    assert_eq!(report.entries(), report.next_seq());
}

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
                "audit::a_kill_separates_no_entry_from_its_act",
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

#[test]
fn counters_count_calls_failures_and_commits() {
    let place = Place::new();
    let vault = place.create();
    let before = vault.metrics().unwrap().commits();
    let key = name("signer");
    vault.create_key(&key, ec()).unwrap();
    for _ in 0..3 {
        vault.sign(&key, ES256, &[7; 32]).unwrap();
    }
    assert_eq!(
        refused(vault.sign(&name("none"), ES256, &[7; 32])),
        ErrorKind::KeyNotFound
    );
    let handle = vault.restricted(Permissions::none());
    assert_eq!(
        refused(handle.sign(&key, ES256, &[7; 32])),
        ErrorKind::Forbidden
    );
    let metrics = vault.metrics().unwrap();
    let sign = metrics.operations()["sign"];
    assert_eq!((sign.calls(), sign.failures()), (5, 2));
    assert_eq!(metrics.operations()["create_key"].calls(), 1);
    assert!(!metrics.operations().contains_key("decrypt"));
    assert_eq!(metrics.commits(), before + 1);
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!(json["operations"]["sign"]["failures"], 2);
    assert_eq!(json["audit_entries_lost"], 0);
}
