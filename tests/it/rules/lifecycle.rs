//! Deleting, recovering and purging: what each state allows, when a key is gone, and what protects it.

use strongroom::{
    CreateKeyOptions, Curve, DeletedKey, ErrorKind, MaintenanceOptions, OctKeySize, RecoveryLevel,
    SignatureAlgorithm, SoftDelete, UpdateKeyOptions, WrapAlgorithm,
};

use super::DIGEST;
use crate::make::{self, Home};
use crate::support::{fixed_oct, memory_vault, memory_vault_in, name, refused, start_plus};

const DAY: u64 = 86_400;
const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;

fn ec() -> CreateKeyOptions {
    make::ec(Curve::P256)
}

#[test]
fn retention_is_7_to_90_days_or_off() {
    for days in 0..=u8::MAX {
        let legal = (7..=90).contains(&days);
        match SoftDelete::days(days) {
            Ok(soft_delete) => {
                assert!(legal, "{days}");
                assert_eq!(soft_delete.recoverable_days(), days);
                assert!(!soft_delete.is_off());
            }
            Err(error) => {
                assert!(!legal, "{days}");
                assert_eq!(error.kind(), ErrorKind::BadParameter);
            }
        }
    }
    assert_eq!(SoftDelete::default(), SoftDelete::days(90).unwrap());
    assert!(SoftDelete::OFF.is_off());
}

#[test]
fn recovery_levels_are_those_of_the_service() {
    let of = |soft_delete: SoftDelete, protected: bool| {
        let options = make::vault_options().soft_delete(soft_delete);
        let options = if protected {
            options.purge_protection()
        } else {
            options
        };
        let vault = options.create_in_memory().unwrap();
        let made = vault.create_key(&name("k"), ec()).unwrap();
        let properties = made.properties();
        let settings = vault.deletion_settings();
        assert_eq!(properties.recovery_level(), settings.recovery_level());
        assert_eq!(
            properties.recoverable_days(),
            soft_delete.recoverable_days()
        );
        properties.recovery_level().as_str()
    };
    let days = |days| SoftDelete::days(days).unwrap();
    assert_eq!(of(SoftDelete::OFF, false), "Purgeable");
    assert_eq!(of(days(90), false), "Recoverable+Purgeable");
    assert_eq!(of(days(90), true), "Recoverable");
    for custom in [7, 8, 89] {
        assert_eq!(of(days(custom), false), "CustomizedRecoverable+Purgeable");
        assert_eq!(of(days(custom), true), "CustomizedRecoverable");
    }
    let names: Vec<&str> = RecoveryLevel::ALL
        .iter()
        .map(|level| level.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "Purgeable",
            "Recoverable+Purgeable",
            "Recoverable",
            "Recoverable+ProtectedSubscription",
            "CustomizedRecoverable+Purgeable",
            "CustomizedRecoverable",
            "CustomizedRecoverable+ProtectedSubscription",
        ]
    );
    for level in RecoveryLevel::ALL {
        assert_eq!(level.as_str().parse::<RecoveryLevel>().unwrap(), level);
    }
}

#[test]
fn an_active_key_cannot_be_recovered_purged_or_read_as_deleted() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    for exists in [false, true] {
        if exists {
            vault.create_key(&key, ec()).unwrap();
        }
        assert_eq!(
            refused(vault.recover_deleted_key(&key)),
            ErrorKind::DeletedKeyNotFound
        );
        assert_eq!(
            refused(vault.purge_deleted_key(&key)),
            ErrorKind::DeletedKeyNotFound
        );
        assert_eq!(
            refused(vault.get_deleted_key(&key)),
            ErrorKind::DeletedKeyNotFound
        );
    }
    vault.get_key(&key).unwrap();
}

#[test]
fn a_deleted_key_is_out_of_reach_of_everything_but_its_own_calls() {
    let home = Home::new();
    let (vault, clock) = memory_vault_in(&home);
    let key = name("k");
    vault
        .create_key(&key, make::oct(OctKeySize::Bits256).backup_allowed())
        .unwrap();
    let newest = vault.rotate_key(&key).unwrap();
    let kw = WrapAlgorithm::A256Kw;
    let wrapped = vault.wrap_key(&key, kw, &[1; 16]).unwrap();
    let backup = home.backup(&vault, &key);
    clock.advance_seconds(7);
    let deleted = vault.delete_key(&key).unwrap();
    assert_eq!(deleted.properties(), newest.properties());
    assert_eq!(deleted.key(), newest.key());
    assert_eq!(deleted.deleted_on(), start_plus(7));
    assert_eq!(
        deleted.scheduled_purge_date(),
        Some(start_plus(7 + 90 * DAY))
    );
    assert_eq!(deleted.recovery_id(), "https://vault.invalid/deletedkeys/k");

    let gone = [
        refused(vault.get_key(&key)),
        refused(vault.get_key(newest.id())),
        refused(vault.wrap_key(&key, kw, &[1; 16])),
        refused(vault.unwrap_key(wrapped.key_id(), kw, wrapped.wrapped_key())),
        refused(vault.update_key_properties(&key, UpdateKeyOptions::new())),
        refused(vault.rotate_key(&key)),
        refused(vault.backup_key(&key)),
        refused(vault.list_key_properties_versions(&key)),
        refused(vault.key(&key)),
        refused(vault.delete_key(&key)),
    ];
    assert!(
        gone.iter().all(|kind| *kind == ErrorKind::KeyNotFound),
        "{gone:?}"
    );
    let taken = [
        refused(vault.create_key(&key, ec().allow_type_change())),
        refused(vault.import_key(&key, make::import(fixed_oct(32)))),
        backup.map_or(ErrorKind::KeyDeleted, |backup| {
            refused(vault.restore_key(&backup))
        }),
    ];
    assert!(
        taken.iter().all(|kind| *kind == ErrorKind::KeyDeleted),
        "{taken:?}"
    );
    assert_eq!(vault.list_key_properties().count(), 0);

    assert_eq!(vault.get_deleted_key(&key).unwrap(), deleted);
    let listed: Vec<_> = vault
        .list_deleted_key_properties()
        .map(Result::unwrap)
        .collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].properties(), deleted.properties());
    assert_eq!(listed[0].deleted_on(), deleted.deleted_on());
    assert_eq!(
        listed[0].scheduled_purge_date(),
        deleted.scheduled_purge_date()
    );
}

#[test]
fn recovery_brings_everything_back() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, ec().tag("a", "1")).unwrap();
    clock.advance_seconds(1);
    let signed = vault.sign(&key, ES256, &DIGEST).unwrap();
    vault
        .create_key(
            &key,
            ec().enabled(false).expires_on(start_plus(9)).tag("b", "2"),
        )
        .unwrap();
    let versions = || -> Vec<_> { vault.list_key_properties_versions(&key).unwrap().collect() };
    let (before, bundle) = (versions(), vault.get_key(&key).unwrap());
    vault.delete_key(&key).unwrap();
    clock.advance_days(89);
    assert_eq!(vault.recover_deleted_key(&key).unwrap(), bundle);
    assert_eq!(versions(), before);
    vault
        .verify(signed.key_id(), ES256, &DIGEST, signed.signature())
        .unwrap();
    assert_eq!(
        refused(vault.recover_deleted_key(&key)),
        ErrorKind::DeletedKeyNotFound
    );
    // A second deletion has its own dates.
    let again = vault.delete_key(&key).unwrap();
    assert_eq!(again.deleted_on(), start_plus(1 + 89 * DAY));
    assert_eq!(
        again.scheduled_purge_date(),
        Some(start_plus(1 + 179 * DAY))
    );
}

#[test]
fn a_purge_is_final_and_frees_the_name() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let old = vault.create_key(&key, ec()).unwrap();
    vault.rotate_key(&key).unwrap();
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    assert_eq!(
        refused(vault.purge_deleted_key(&key)),
        ErrorKind::DeletedKeyNotFound
    );
    assert_eq!(
        refused(vault.recover_deleted_key(&key)),
        ErrorKind::DeletedKeyNotFound
    );
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::KeyNotFound);
    assert_eq!(vault.status().unwrap().key_count(), 0);
    assert_eq!(
        vault.status().unwrap().record_count(),
        0,
        "versions are gone, too"
    );
    // Another type may take the name without asking: it is free.
    let new = vault
        .create_key(&key, make::oct(OctKeySize::Bits128))
        .unwrap();
    assert_eq!(vault.list_key_properties_versions(&key).unwrap().count(), 1);
    assert_eq!(refused(vault.get_key(old.id())), ErrorKind::KeyNotFound);
    assert_eq!(vault.get_key(&key).unwrap(), new);
}

#[test]
fn without_soft_delete_a_deletion_is_final() {
    let home = Home::new();
    let vault = home
        .vault_options()
        .soft_delete(SoftDelete::OFF)
        .create_in_memory()
        .unwrap();
    let key = name("k");
    let made = vault.create_key(&key, ec().backup_allowed()).unwrap();
    let backup = home.backup(&vault, &key);
    assert_eq!(made.properties().recoverable_days(), 0);
    let deleted = vault.delete_key(&key).unwrap();
    assert_eq!(deleted.scheduled_purge_date(), None);
    assert_eq!(deleted.properties(), made.properties());
    assert_eq!(refused(vault.delete_key(&key)), ErrorKind::KeyNotFound);
    assert_eq!(
        refused(vault.get_deleted_key(&key)),
        ErrorKind::DeletedKeyNotFound
    );
    assert_eq!(
        refused(vault.recover_deleted_key(&key)),
        ErrorKind::DeletedKeyNotFound
    );
    assert_eq!(
        refused(vault.purge_deleted_key(&key)),
        ErrorKind::PurgeRefused
    );
    assert_eq!(vault.list_deleted_key_properties().count(), 0);
    assert_eq!(vault.status().unwrap().record_count(), 0);
    if let Some(backup) = backup {
        let restored = vault.restore_key(&backup).unwrap();
        assert!(restored.previously_purged());
        assert_eq!(restored.key(), &made);
    }
}

#[test]
fn purge_protection_forbids_purging_and_stays() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, ec()).unwrap();
    assert!(!vault.deletion_settings().purge_protection());
    vault.enable_purge_protection().unwrap();
    vault.enable_purge_protection().unwrap();
    assert!(vault.deletion_settings().purge_protection());
    assert_eq!(
        vault.get_key(&key).unwrap().properties().recovery_level(),
        RecoveryLevel::Recoverable,
        "existing keys have the level of the vault"
    );
    assert_eq!(
        refused(vault.purge_deleted_key(&key)),
        ErrorKind::DeletedKeyNotFound
    );
    vault.delete_key(&key).unwrap();
    let error = vault.purge_deleted_key(&key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PurgeRefused);
    assert!(error.to_string().contains("purge protection"), "{error}");
    vault.recover_deleted_key(&key).unwrap();
    // Time still purges.
    vault.delete_key(&key).unwrap();
    for _ in 0..3 {
        clock.advance_days(30);
        vault.create_key(&name("other"), ec()).unwrap();
    }
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!(report.purged(), [key]);
}

#[test]
fn purge_protection_needs_soft_delete() {
    let without = || make::vault_options().soft_delete(SoftDelete::OFF);
    assert_eq!(
        refused(without().purge_protection().create_in_memory()),
        ErrorKind::BadParameter
    );
    let vault = without().create_in_memory().unwrap();
    assert_eq!(
        refused(vault.enable_purge_protection()),
        ErrorKind::BadParameter
    );
    assert!(!vault.deletion_settings().purge_protection());
}

#[test]
fn from_its_scheduled_date_on_a_key_is_gone_for_every_call() {
    let clock = crate::support::FakeClock::new();
    let vault = make::vault_options()
        .clock(clock.clone())
        .soft_delete(SoftDelete::days(7).unwrap())
        .create_in_memory()
        .unwrap();
    let key = name("k");
    vault.create_key(&key, ec()).unwrap();
    let deleted: DeletedKey = vault.delete_key(&key).unwrap();
    clock.advance_seconds(7 * DAY - 1);
    vault.get_deleted_key(&key).unwrap();
    assert!(!vault.due(deleted.deleted_on()).unwrap());
    assert!(vault.due(deleted.scheduled_purge_date().unwrap()).unwrap());
    assert!(
        vault
            .maintain(MaintenanceOptions::new())
            .unwrap()
            .purged()
            .is_empty()
    );
    clock.advance_seconds(1);
    for outcome in [
        refused(vault.get_deleted_key(&key)),
        refused(vault.recover_deleted_key(&key)),
        refused(vault.purge_deleted_key(&key)),
    ] {
        assert_eq!(outcome, ErrorKind::DeletedKeyNotFound);
    }
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::KeyNotFound);
    assert_eq!(refused(vault.delete_key(&key)), ErrorKind::KeyNotFound);
    assert_eq!(vault.list_key_properties().count(), 0);
    assert_eq!(vault.list_deleted_key_properties().count(), 0);
    // Its records are there until something removes them.
    assert_eq!(vault.status().unwrap().key_count(), 1);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!(report.purged(), [key]);
    assert_eq!(vault.status().unwrap().key_count(), 0);
    assert!(
        vault
            .maintain(MaintenanceOptions::new())
            .unwrap()
            .purged()
            .is_empty()
    );
}

#[test]
fn the_name_of_a_gone_key_is_free_without_maintenance() {
    let clock = crate::support::FakeClock::new();
    let home = Home::new();
    let vault = home
        .vault_options()
        .clock(clock.clone())
        .soft_delete(SoftDelete::days(7).unwrap())
        .create_in_memory()
        .unwrap();
    let key = name("k");
    let old = vault.create_key(&key, ec().backup_allowed()).unwrap();
    let backup = home.backup(&vault, &key);
    vault.delete_key(&key).unwrap();
    clock.advance_days(7);
    let new = vault
        .create_key(&name("K"), make::oct(OctKeySize::Bits128))
        .unwrap();
    assert_eq!(new.properties().name().as_str(), "K", "it is another key");
    assert_eq!(refused(vault.get_key(old.id())), ErrorKind::KeyNotFound);
    assert_eq!(vault.list_key_properties_versions(&key).unwrap().count(), 1);
    assert_eq!(vault.status().unwrap().record_count(), 2);
    // The next one goes by a restore.
    vault.delete_key(&key).unwrap();
    clock.advance_days(7);
    if let Some(backup) = backup {
        let restored = vault.restore_key(&backup).unwrap();
        assert_eq!(restored.key(), &old);
        assert!(
            restored.previously_purged(),
            "the scheduled purge of the first key counts"
        );
        assert_eq!(refused(vault.get_key(new.id())), ErrorKind::KeyNotFound);
    }
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn maintenance_purges_all_that_is_due_and_nothing_else() {
    let (vault, clock) = memory_vault();
    let count = make::at_most(600, 150);
    for number in 0..count {
        let key = name(&format!("k-{number}"));
        vault
            .create_key(&key, make::oct(OctKeySize::Bits128))
            .unwrap();
        if number % 3 != 0 {
            vault.delete_key(&key).unwrap();
        }
    }
    for _ in 0..3 {
        clock.advance_days(20);
        vault.create_key(&name("beat"), ec()).unwrap();
    }
    for number in (0..count).step_by(3).take(10) {
        vault.delete_key(&name(&format!("k-{number}"))).unwrap();
    }
    clock.advance_days(30);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!(report.purged().len(), count / 3 * 2);
    assert_eq!(vault.list_deleted_key_properties().count(), 10);
    assert_eq!(vault.list_key_properties().count(), count / 3 - 9);
    assert!(vault.check().unwrap().is_clean());
}
