//! What a whole vault has besides keys in use: deleted keys and settings come back as they were, and a plan tells
//! beforehand what a restore then does.

use strongroom::{
    AlgorithmRules, AuditOptions, BackupOptions, CreateKeyOptions, Curve, ErrorKind, KeyName,
    KeyOutcome, Permission, Permissions, Principal, RestoreOptions, SoftDelete, Unlock, Vault,
    VaultOptions, VaultRestoreReport,
};

use crate::support::{Place, master_key, name, refused};

fn stream_of(vault: &Vault) -> Vec<u8> {
    let mut stream = Vec::new();
    vault
        .backup_to(&mut stream, &BackupOptions::new(), |_| ())
        .unwrap();
    stream
}

/// A vault of the same domain, with options of its own.
fn sister_with(of: &Vault, place: &Place, options: VaultOptions) -> Vault {
    let domain = of.security_domain().unwrap();
    options
        .create_in_domain(&place.path, Unlock::raw_key(&master_key()), &domain)
        .unwrap()
}

fn restore(vault: &Vault, stream: &[u8]) -> VaultRestoreReport {
    restore_with(vault, stream, &RestoreOptions::new())
}

/// The plan says what then happens, and does nothing itself.
fn restore_with(vault: &Vault, stream: &[u8], options: &RestoreOptions<'_>) -> VaultRestoreReport {
    let before = vault.status().unwrap().generation();
    let mut foreseen = Vec::new();
    let plan = vault
        .restore_all_plan(stream, options, |progress| {
            foreseen.push((
                progress.name().clone(),
                progress.outcome(),
                progress.is_deleted(),
            ));
        })
        .unwrap();
    assert_eq!(vault.status().unwrap().generation(), before);
    let mut seen = Vec::new();
    let report = vault
        .restore_all_from(stream, options, |progress| {
            seen.push((
                progress.name().clone(),
                progress.outcome(),
                progress.is_deleted(),
            ));
        })
        .unwrap();
    assert_eq!(plan, report);
    assert_eq!(foreseen, seen);
    assert!(vault.check().unwrap().is_clean());
    report
}

fn ec(vault: &Vault, key: &str) -> KeyName {
    let key = name(key);
    vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    key
}

#[test]
fn a_deleted_key_comes_back_deleted_with_its_dates_and_can_be_recovered() {
    let (place, other) = (Place::new(), Place::new());
    let vault = place.create();
    let key = ec(&vault, "gone");
    vault.rotate_key(&key).unwrap();
    let versions = vault.list_key_properties_versions(&key).unwrap().count();
    place.clock.advance_days(3);
    let deleted = vault.delete_key(&key).unwrap();
    place.clock.advance_days(2);
    let mut stream = Vec::new();
    let report = vault
        .backup_to(&mut stream, &BackupOptions::new(), |progress| {
            assert!(progress.is_deleted());
            assert_eq!(progress.outcome(), KeyOutcome::BackedUp);
        })
        .unwrap();
    assert_eq!((report.keys(), report.deleted_keys()), (0, 1));

    // Dates stay, whatever the retention there is.
    let options = other.options().soft_delete(SoftDelete::days(7).unwrap());
    other.clock.advance_days(10);
    let target = sister_with(&vault, &other, options);
    let report = restore(&target, &stream);
    assert_eq!((report.restored(), report.restored_deleted()), (1, 1));
    assert_eq!(refused(target.get_key(&key)), ErrorKind::KeyNotFound);
    let back = target.get_deleted_key(&key).unwrap();
    assert_eq!(back.deleted_on(), deleted.deleted_on());
    assert_eq!(back.scheduled_purge_date(), deleted.scheduled_purge_date());
    assert_eq!(back.properties().id(), deleted.properties().id());
    // Its name is taken, as by any deleted key.
    assert_eq!(
        refused(target.create_key(&key, CreateKeyOptions::ec(Curve::P256))),
        ErrorKind::KeyDeleted
    );
    let again = restore(&target, &stream);
    assert_eq!((again.restored(), again.present()), (0, 1));
    target.recover_deleted_key(&key).unwrap();
    assert_eq!(
        target.list_key_properties_versions(&key).unwrap().count(),
        versions
    );
    // Deleted there and in use here: nothing is deleted, and nothing is merged.
    for options in [
        RestoreOptions::new(),
        RestoreOptions::new().merge_missing_versions(),
    ] {
        let report = restore_with(&target, &stream, &options);
        assert_eq!(report.conflicts(), [(key.clone(), ErrorKind::KeyExists)]);
    }
    target.get_key(&key).unwrap();
    // And the other way round.
    vault.recover_deleted_key(&key).unwrap();
    let stream = stream_of(&vault);
    target.delete_key(&key).unwrap();
    let report = restore(&target, &stream);
    assert_eq!(report.conflicts(), [(key.clone(), ErrorKind::KeyDeleted)]);
}

#[test]
fn a_deleted_key_whose_date_has_come_stays_away() {
    let (place, other) = (Place::new(), Place::new());
    let vault = place.create();
    let key = ec(&vault, "gone");
    vault.delete_key(&key).unwrap();
    let stream = stream_of(&vault);
    let target = sister_with(&vault, &other, other.options());
    for day in 0..9 {
        other.clock.advance_days(if day < 8 { 10 } else { 9 });
        // Or the clock would not be believed.
        ec(&target, &format!("day-{day}"));
    }
    let report = restore(&target, &stream);
    assert_eq!(
        (report.restored(), report.expired()),
        (1, &[][..]),
        "89 days"
    );
    assert_eq!(report.previously_purged(), []);
    target.purge_deleted_key(&key).unwrap();
    let report = restore(&target, &stream);
    assert_eq!(report.previously_purged(), std::slice::from_ref(&key));
    target.purge_deleted_key(&key).unwrap();
    other.clock.advance_days(1);
    let report = restore(&target, &stream);
    assert_eq!(
        (report.restored(), report.expired()),
        (0, &[key.clone()][..])
    );
    assert_eq!(
        refused(target.get_deleted_key(&key)),
        ErrorKind::DeletedKeyNotFound
    );
    // Nor is it in a new backup once it is gone.
    place.clock.advance_days(90);
    let mut later = Vec::new();
    let report = vault
        .backup_to(&mut later, &BackupOptions::new(), |_| ())
        .unwrap();
    assert_eq!((report.keys(), report.deleted_keys()), (0, 0));
}

#[test]
fn a_vault_without_soft_delete_takes_no_deleted_keys() {
    let (place, other) = (Place::new(), Place::new());
    let vault = place.create();
    ec(&vault, "kept");
    let key = ec(&vault, "gone");
    vault.delete_key(&key).unwrap();
    let stream = stream_of(&vault);
    let options = other.options().soft_delete(SoftDelete::OFF);
    let target = sister_with(&vault, &other, options);
    let report = restore(&target, &stream);
    assert_eq!(report.conflicts(), [(key.clone(), ErrorKind::Unsupported)]);
    assert_eq!(report.restored(), 1);
    // With the settings it has soft delete.
    let report = restore_with(&target, &stream, &RestoreOptions::new().restore_settings());
    assert_eq!((report.restored(), report.present()), (1, 1));
    target.recover_deleted_key(&key).unwrap();
}

fn principal(text: &str) -> Principal {
    text.parse().unwrap()
}

fn only(permission: Permission) -> Permissions {
    Permissions::from([permission])
}

#[test]
fn settings_come_back_when_they_are_asked_for() {
    let (place, other) = (Place::new(), Place::new());
    let audit = AuditOptions::on().retain_entries(777).unwrap();
    let options = place
        .options()
        .soft_delete(SoftDelete::days(30).unwrap())
        .purge_protection()
        .audit(audit.clone());
    let vault = options
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    ec(&vault, "k");
    let rules = AlgorithmRules::default().refuse("ES256").unwrap();
    vault.set_algorithm_rules(rules).unwrap();
    for (who, what) in [("a", Permission::Sign), ("b", Permission::Get)] {
        vault
            .set_access_policy(&principal(who), only(what))
            .unwrap();
    }
    let stream = stream_of(&vault);

    let target = sister_with(&vault, &other, other.options());
    for (who, what) in [("b", Permission::Purge), ("c", Permission::List)] {
        target
            .set_access_policy(&principal(who), only(what))
            .unwrap();
    }
    let state = |vault: &Vault| {
        (
            vault.deletion_settings(),
            vault.algorithm_rules(),
            vault.audit_options().unwrap(),
            vault.access_policies().unwrap(),
        )
    };
    let before = state(&target);
    let report = restore(&target, &stream);
    assert_eq!(state(&target), before, "nobody asked");
    // But they are shown.
    let settings = report.settings().unwrap();
    let there = state(&vault);
    assert_eq!(settings.deletion_settings(), there.0);
    assert_eq!(*settings.algorithm_rules(), there.1);
    assert_eq!(*settings.audit_options(), there.2);
    assert_eq!(*settings.access_policies(), there.3);

    // Not from a stream that is cut off.
    let asked = RestoreOptions::new().restore_settings();
    let cut = &stream[..stream.len() - 1];
    assert_eq!(
        refused(target.restore_all_from(cut, &asked, |_| ())),
        ErrorKind::InvalidBackup
    );
    assert_eq!(state(&target), before);

    restore_with(&target, &stream, &asked);
    let mut expected = there.clone();
    expected.3.insert(principal("c"), only(Permission::List));
    assert_eq!(state(&target), expected);
    let handle = target.as_principal(&principal("b")).unwrap();
    handle.get_key(&name("k")).unwrap();
    assert_eq!(
        refused(handle.purge_deleted_key(&name("k"))),
        ErrorKind::Forbidden
    );
    target.flush_audit().unwrap();
    let last = target.audit_entries(0).unwrap().map(Result::unwrap);
    let operations: Vec<String> = last.map(|entry| entry.operation().to_owned()).collect();
    assert!(
        operations.contains(&"VaultSettingsRestore".to_owned()),
        "{operations:?}"
    );
    target.close().unwrap();
    drop((handle, target));
    assert_eq!(state(&other.open().unwrap()), expected, "they are durable");
}

#[test]
fn settings_never_weaken_purge_protection() {
    let (place, other) = (Place::new(), Place::new());
    let weak = place.options().soft_delete(SoftDelete::days(7).unwrap());
    let vault = weak
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    let stream = stream_of(&vault);
    let strong = other
        .options()
        .soft_delete(SoftDelete::days(60).unwrap())
        .purge_protection();
    let target = sister_with(&vault, &other, strong);
    let before = target.deletion_settings();
    let asked = RestoreOptions::new().restore_settings();
    restore_with(&target, &stream, &asked);
    assert_eq!(target.deletion_settings(), before);
    // Where there is none, the backup's is taken as it is.
    let third = Place::new();
    let open = sister_with(&vault, &third, third.options());
    restore_with(&open, &stream, &asked);
    assert_eq!(open.deletion_settings(), vault.deletion_settings());
}

#[test]
fn a_key_has_no_settings() {
    let place = Place::new();
    let vault = place.create();
    let key = ec(&vault, "k");
    let backup = vault.backup_key(&key).unwrap();
    let asked = RestoreOptions::new().restore_settings();
    for refusal in [
        vault.restore_key_with(&backup, &asked).map(drop),
        vault.restore_plan(&backup, &asked).map(drop),
    ] {
        assert_eq!(refused(refusal), ErrorKind::BadParameter);
    }
}
