//! The audit log through the public API: changes are recorded in the same commit as the act, reads by choice, and each
//! operation once. And the counters.

use std::num::NonZeroU32;

use strongroom::{
    AuditEntry, AuditOptions, AuditReads, CreateKeyOptions, Curve, EncryptOptions,
    EncryptionAlgorithm, ErrorKind, MaintenanceOptions, MasterKey, OctKeySize, PageSize,
    Permission, Permissions, Principal, SignatureAlgorithm, Unlock, UpdateKeyOptions, Vault,
    WrapAlgorithm,
};

use crate::support::{Place, START_MS, master_key, name, refused};

mod integrity;

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
fn acts_on_the_vault_itself_are_recorded_too() {
    let place = Place::new();
    let vault = create(&place, AuditOptions::on());
    vault.create_key(&name("kept"), ec()).unwrap();
    vault.flush_audit().unwrap();
    let before = entries(&vault).len();
    let key = MasterKey::generate().unwrap();
    let (own, new) = (master_key(), Unlock::raw_key(&key));
    let slot = vault.add_unlock_slot(Unlock::raw_key(&own), new).unwrap();
    vault.remove_unlock_slot(slot).unwrap();
    vault.rotate_kek().unwrap();
    vault.reset_time_floor().unwrap();
    vault.enable_purge_protection().unwrap();
    drop(vault.security_domain().unwrap());
    let _ = vault.audit_checkpoint().unwrap();
    vault.check().unwrap();
    vault.close().unwrap();
    let vault = place.open().unwrap();
    assert_eq!(
        operations(&entries(&vault)[before..]),
        [
            "VaultUnlockSlotAdd",
            "VaultUnlockSlotRemove",
            "VaultKekRotate",
            "VaultTimeFloorReset",
            "VaultPurgeProtectionEnable",
            "VaultSecurityDomainGet",
            "VaultAuditCheckpoint",
            "VaultClose",
        ]
    );
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
