//! Backup and restore: everything comes back as it was or nothing does, and only where it may.

use std::sync::Arc;

use strongroom::{
    BackupOptions, Ciphertext, Clock, CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm,
    ErrorKind, KeyBackup, KeyOperation, KeyProperties, OctKeySize, RestoreOptions, RsaKeySize,
    SignatureAlgorithm, SoftDelete, Unlock, UpdateKeyOptions, Vault,
};

use super::{DIGEST, Made, OCT_256, RSA, SIX};
use crate::make::{self, Home};
use crate::support::{
    FakeClock, Place, fixed_oct, fixed_rsa, master_key, memory_vault_in, name, refused, start_plus,
};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;

fn versions(vault: &Vault, key: &str) -> Vec<KeyProperties> {
    vault
        .list_key_properties_versions(&name(key))
        .unwrap()
        .collect()
}

/// A vault on disk in the domain of another, with a retention of its own.
fn sister(of: &Vault, home: &Home) -> (Place, Vault) {
    let place = Place::in_home(home);
    let vault = place
        .options()
        .soft_delete(SoftDelete::days(7).unwrap())
        .create_in_domain(
            &place.path,
            Unlock::raw_key(&master_key()),
            &of.security_domain().unwrap(),
        )
        .unwrap();
    (place, vault)
}

#[test]
fn all_versions_attributes_tags_and_dates_come_back() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, clock) = memory_vault_in(&home);
    let key = name("Mixed-Case");
    vault
        .create_key(&key, make::ec(Curve::P256).backup_allowed().tag("a", "1"))
        .unwrap();
    clock.advance_seconds(1);
    vault
        .create_key(
            &key,
            make::ec(Curve::P521)
                .backup_allowed()
                .enabled(false)
                .not_before(start_plus(3))
                .expires_on(start_plus(4))
                .operations([KeyOperation::Verify])
                .tag("b", "2"),
        )
        .unwrap();
    clock.advance_seconds(1);
    vault
        .import_key(
            &key,
            make::import(fixed_rsa(RsaKeySize::Bits2048))
                .backup_allowed()
                .allow_type_change(),
        )
        .unwrap();
    let rsa = Made::by(&vault, &key, RSA);
    clock.advance_seconds(1);
    vault
        .create_key(
            &key,
            make::oct(OctKeySize::Bits256)
                .backup_allowed()
                .operations(SIX)
                .allow_type_change(),
        )
        .unwrap();
    let oct = Made::by(&vault, &key, OCT_256);
    clock.advance_seconds(1);
    vault
        .update_key_properties(rsa.sealed.key_id(), UpdateKeyOptions::new().enabled(true))
        .unwrap();
    let before = versions(&vault, "mixed-case");
    let bundles: Vec<_> = before
        .iter()
        .map(|version| vault.get_key(version.id()).unwrap())
        .collect();
    let backup = vault.backup_key(&name("MIXED-CASE")).unwrap();
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    clock.advance_days(3);
    let restored = vault.restore_key(&backup).unwrap();
    assert_eq!(restored.version_count(), 4);
    assert_eq!(restored.key(), &bundles[0]);
    assert_eq!(versions(&vault, "mixed-case"), before);
    for bundle in &bundles {
        assert_eq!(&vault.get_key(bundle.id()).unwrap(), bundle);
    }
    assert_eq!(restored.key().id().name().as_str(), "Mixed-Case");
    for operation in SIX {
        rsa.attempt(&vault, rsa.sealed.key_id(), operation).unwrap();
        oct.attempt(&vault, &key, operation).unwrap();
    }
    // The restored key goes on as the old one would have.
    assert_ne!(vault.rotate_key(&key).unwrap().id(), restored.key().id());
    assert_eq!(versions(&vault, "mixed-case").len(), 5);
}

#[test]
fn a_backup_opens_in_another_vault_of_the_domain_with_that_vaults_retention() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    vault
        .create_key(
            &key,
            make::oct(OctKeySize::Bits256)
                .backup_allowed()
                .operations(SIX),
        )
        .unwrap();
    let made = Made::by(&vault, &key, OCT_256);
    let backup = vault.backup_key(&key).unwrap();
    let (place, sister) = sister(&vault, &home);
    let restored = sister.restore_key(&backup).unwrap();
    assert!(!restored.previously_purged());
    let (here, there) = (vault.get_key(&key).unwrap(), restored.key());
    assert_eq!(there.id(), here.id());
    assert_eq!(there.properties().recoverable_days(), 7);
    assert_eq!(
        there.properties().recovery_level().as_str(),
        "CustomizedRecoverable+Purgeable"
    );
    for operation in SIX {
        made.attempt(&sister, &key, operation).unwrap();
    }
    sister.close().unwrap();
    drop(sister);
    let sister = place.open().unwrap();
    made.attempt(&sister, &key, KeyOperation::Decrypt).unwrap();
    // The copies are independent.
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    made.attempt(&sister, &key, KeyOperation::Decrypt).unwrap();
    // And the way back is open.
    let back = sister.backup_key(&key).unwrap();
    let (backed, _) = (vault.restore_key(&back).unwrap(), ());
    assert!(backed.previously_purged());
}

#[test]
fn another_domain_refuses() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let (stranger, _) = memory_vault_in(&home);
    vault
        .create_key(&name("k"), make::ec(Curve::P256).backup_allowed())
        .unwrap();
    let backup = vault.backup_key(&name("k")).unwrap();
    assert_eq!(
        refused(stranger.restore_key(&backup)),
        ErrorKind::WrongDomain
    );
    let summary = KeyBackup::inspect(backup.as_bytes()).unwrap();
    assert_eq!(
        summary.domain_id(),
        Some(vault.security_domain().unwrap().id())
    );
    assert_ne!(
        summary.domain_id(),
        Some(stranger.security_domain().unwrap().id())
    );
    assert_eq!(summary.created_on(), start_plus(0));
    assert_eq!(stranger.status().unwrap().key_count(), 0);
}

#[test]
fn a_taken_name_is_refused_live_or_deleted_and_whoever_holds_it() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    vault
        .create_key(&key, make::ec(Curve::P256).backup_allowed())
        .unwrap();
    let backup = vault.backup_key(&key).unwrap();
    let live = vault.restore_key(&backup).unwrap_err();
    assert_eq!(live.kind(), ErrorKind::KeyExists);
    assert_eq!(live.key(), Some("k"));
    vault.delete_key(&key).unwrap();
    assert_eq!(refused(vault.restore_key(&backup)), ErrorKind::KeyDeleted);
    vault.purge_deleted_key(&key).unwrap();
    // Another key has taken the name meanwhile.
    let other = vault
        .create_key(&name("K"), make::oct(OctKeySize::Bits128).backup_allowed())
        .unwrap();
    assert_eq!(refused(vault.restore_key(&backup)), ErrorKind::KeyExists);
    assert_eq!(vault.get_key(&key).unwrap(), other);
}

#[test]
fn a_stale_backup_restores_what_it_holds() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    let first = vault
        .create_key(&key, make::ec(Curve::P256).backup_allowed())
        .unwrap();
    let backup = vault.backup_key(&key).unwrap();
    let second = vault.rotate_key(&key).unwrap();
    vault
        .update_key_properties(first.id(), UpdateKeyOptions::new().enabled(false))
        .unwrap();
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    let restored = vault.restore_key(&backup).unwrap();
    assert_eq!(restored.key(), &first, "as it was then: enabled");
    assert_eq!(refused(vault.get_key(second.id())), ErrorKind::KeyNotFound);
    vault.sign(&key, ES256, &DIGEST).unwrap();
}

#[test]
fn a_damaged_blob_is_refused_and_nothing_is_restored() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    vault
        .create_key(&key, make::ec(Curve::P256).backup_allowed())
        .unwrap();
    vault.rotate_key(&key).unwrap();
    let blob = vault.backup_key(&key).unwrap().into_bytes();
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    let mut kinds = std::collections::BTreeMap::new();
    for at in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 1 << (at % 8);
        let error = vault.restore_key(&damaged).unwrap_err();
        let legal = match error.kind() {
            ErrorKind::InvalidBackup => true,
            // Format, suite and mode may be those of a later version; the domain may be another.
            ErrorKind::NewerFormat => (8..12).contains(&at),
            // So is an epoch of the domain that this vault does not hold.
            ErrorKind::WrongDomain => (16..32).contains(&at) || (68..72).contains(&at),
            _ => false,
        };
        assert!(legal, "byte {at}: {error}");
        *kinds.entry(format!("{:?}", error.kind())).or_insert(0) += 1;
    }
    assert!(kinds["InvalidBackup"] > blob.len() - 32);
    for length in 0..blob.len() {
        assert_eq!(
            refused(vault.restore_key(&blob[..length])),
            ErrorKind::InvalidBackup,
            "{length} bytes"
        );
    }
    let mut longer = blob.clone();
    longer.push(0);
    assert_eq!(
        refused(vault.restore_key(&longer)),
        ErrorKind::InvalidBackup
    );
    for nonsense in [&b""[..], b"x", &[0; 4_096], &[0xff; 4_096]] {
        assert_eq!(
            refused(vault.restore_key(nonsense)),
            ErrorKind::InvalidBackup
        );
        assert_eq!(
            refused(KeyBackup::inspect(nonsense)),
            ErrorKind::InvalidBackup
        );
    }
    assert_eq!(vault.status().unwrap().record_count(), 0);
    vault.restore_key(&blob).unwrap();
}

#[test]
fn the_newest_version_and_500_past_ones_are_backed_up_and_no_more() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    // Where keys are slow to make, the oldest ones are in software; a backup has them all.
    let slow = make::at_most(501, 100);
    for number in (0..501).rev() {
        let options = if number < slow {
            make::oct(OctKeySize::Bits128).backup_allowed()
        } else {
            CreateKeyOptions::oct(OctKeySize::Bits128)
        };
        vault.create_key(&key, options).unwrap();
    }
    let backup = vault.backup_key(&key).unwrap();
    let (_place, sister) = sister(&vault, &home);
    assert_eq!(sister.restore_key(&backup).unwrap().version_count(), 501);
    let ids = |vault: &Vault| -> Vec<_> {
        vault
            .list_key_properties_versions(&key)
            .unwrap()
            .map(|version| version.version())
            .collect()
    };
    assert_eq!(ids(&sister), ids(&vault));
    vault.rotate_key(&key).unwrap();
    assert_eq!(refused(vault.backup_key(&key)), ErrorKind::TooLarge);
    assert!(sister.check().unwrap().is_clean());
}

#[test]
fn a_missing_or_deleted_key_has_no_backup() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    assert_eq!(refused(vault.backup_key(&key)), ErrorKind::KeyNotFound);
    vault
        .create_key(&key, make::ec(Curve::P256).backup_allowed())
        .unwrap();
    vault.delete_key(&key).unwrap();
    assert_eq!(refused(vault.backup_key(&key)), ErrorKind::KeyNotFound);
}

#[test]
fn a_purge_is_remembered_for_90_days() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    for (days, remembered) in [(89, true), (90, false)] {
        let place = Place::in_home(&home);
        let vault = place.create();
        let key = name("k");
        vault
            .create_key(&key, make::ec(Curve::P256).backup_allowed())
            .unwrap();
        let backup = vault.backup_key(&key).unwrap();
        vault.delete_key(&key).unwrap();
        vault.purge_deleted_key(&key).unwrap();
        vault.close().unwrap();
        drop(vault);
        place.clock.advance_days(days);
        let vault = place.open().unwrap();
        let restored = vault.restore_key(&backup).unwrap();
        assert_eq!(restored.previously_purged(), remembered, "{days} days");
    }
}

#[test]
fn another_key_of_the_name_was_not_purged_before() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    let ec = || make::ec(Curve::P256).backup_allowed();
    vault.create_key(&key, ec()).unwrap();
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    vault.create_key(&key, ec()).unwrap();
    let backup = vault.backup_key(&key).unwrap();
    let (_place, sister) = sister(&vault, &home);
    assert!(!sister.restore_key(&backup).unwrap().previously_purged());
}

#[test]
fn two_backups_of_a_key_differ_and_both_restore() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let key = name("k");
    vault
        .import_key(&key, make::import(fixed_oct(32)).backup_allowed())
        .unwrap();
    let (one, two) = (
        vault.backup_key(&key).unwrap(),
        vault.backup_key(&key).unwrap(),
    );
    assert_ne!(one, two, "a backup is sealed with fresh randomness");
    let sealed = vault
        .encrypt(
            &key,
            EncryptionAlgorithm::A256Gcm,
            b"text",
            EncryptOptions::new(),
        )
        .unwrap();
    for backup in [one, two] {
        let (_place, sister) = sister(&vault, &home);
        sister.restore_key(&backup).unwrap();
        let text = sister
            .decrypt(
                &key,
                EncryptionAlgorithm::A256Gcm,
                Ciphertext::from(&sealed),
            )
            .unwrap();
        assert_eq!(text.expose(), b"text");
        assert!(
            !backup
                .as_bytes()
                .windows(8)
                .any(|window| window == &(1..=8).collect::<Vec<u8>>()[..]),
            "the key does not stand in the blob"
        );
    }
}

#[test]
fn dates_in_the_future_of_the_target_are_kept() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    // The vault that restores may have a clock that is behind.
    let ahead = FakeClock::new();
    ahead.advance_days(10);
    let source = home
        .vault_options()
        .clock(Arc::clone(&ahead) as Arc<dyn Clock>)
        .create_in_memory()
        .unwrap();
    let made = source
        .create_key(&name("k"), make::ec(Curve::P256).backup_allowed())
        .unwrap();
    let backup = source.backup_key(&name("k")).unwrap();
    let (_place, sister) = sister(&source, &home);
    let restored = sister.restore_key(&backup).unwrap();
    assert_eq!(
        restored.key().properties().created_on(),
        made.properties().created_on()
    );
}

#[test]
fn deleted_keys_come_back_deleted_with_a_whole_vault_and_work_once_recovered() {
    let Some(home) = Home::with_backups() else {
        return;
    };
    let (vault, _clock) = memory_vault_in(&home);
    let (kept, gone, staying) = (name("kept"), name("gone"), name("staying"));
    for key in [&kept, &gone] {
        vault
            .create_key(key, make::ec(Curve::P256).backup_allowed())
            .unwrap();
    }
    vault.rotate_key(&gone).unwrap();
    let signed = vault.sign(&gone, ES256, &DIGEST).unwrap();
    let before = versions(&vault, "gone");
    vault.delete_key(&gone).unwrap();
    // Deleted or not, what may not leave a token stays there.
    vault.create_key(&staying, make::ec(Curve::P256)).unwrap();
    vault.delete_key(&staying).unwrap();
    let mut stream = Vec::new();
    let report = vault
        .backup_to(&mut stream, &BackupOptions::new(), |_| ())
        .unwrap();
    let left_out: &[_] = if make::IN_HARDWARE {
        &[(staying.clone(), ErrorKind::NotExportable)]
    } else {
        &[]
    };
    assert_eq!(report.left_out(), left_out);
    let deleted = 2 - left_out.len() as u64;
    assert_eq!((report.keys(), report.deleted_keys()), (1, deleted));

    let (_place, other) = sister(&vault, &home);
    let report = other
        .restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())
        .unwrap();
    assert_eq!(
        (report.restored(), report.restored_deleted()),
        (1 + deleted, deleted)
    );
    assert_eq!(report.left_out(), left_out.len() as u64);
    assert_eq!(
        other.get_deleted_key(&gone).unwrap().deleted_on(),
        vault.get_deleted_key(&gone).unwrap().deleted_on()
    );
    assert_eq!(
        refused(other.sign(&gone, ES256, &DIGEST)),
        ErrorKind::KeyNotFound
    );
    other.recover_deleted_key(&gone).unwrap();
    let ids = |versions: Vec<KeyProperties>| -> Vec<_> {
        versions
            .iter()
            .map(|version| version.id().clone())
            .collect()
    };
    assert_eq!(ids(versions(&other, "gone")), ids(before));
    other
        .verify(signed.key_id(), ES256, &DIGEST, signed.signature())
        .unwrap();
    let again = other.sign(&gone, ES256, &DIGEST).unwrap();
    vault.recover_deleted_key(&gone).unwrap();
    vault
        .verify(&gone, ES256, &DIGEST, again.signature())
        .unwrap();
    // Purging one of the two destroys nothing of the other.
    other.delete_key(&gone).unwrap();
    other.purge_deleted_key(&gone).unwrap();
    vault.sign(&gone, ES256, &DIGEST).unwrap();
    assert!(other.check().unwrap().is_clean());
}
