//! Compaction through the public API: everything of a vault is what it was, pins and guards go on, and the files are
//! shorter. What kills and power cuts leave is tested in `crash::compaction`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use strongroom::{
    AuditOptions, AuditReads, Ciphertext, CompactionReport, CreateKeyOptions, Curve,
    EncryptOptions, EncryptionAlgorithm, ErrorKind, FileRollbackGuard, OctKeySize, Passphrase,
    PassphraseParameters, Permission, Permissions, SignatureAlgorithm, Tags, Unlock,
    UpdateKeyOptions, Vault, VaultOptions,
};

use crate::copies::copy_directory;
use crate::image::{read_image, scratch};
use crate::support::{Place, fixed_rsa, master_key, name, refused};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;

fn compact(place: &Place) -> strongroom::Result<(Vault, CompactionReport)> {
    compact_with(place, place.options())
}

fn compact_with(
    place: &Place,
    options: VaultOptions,
) -> strongroom::Result<(Vault, CompactionReport)> {
    options.compact(&place.path, Unlock::raw_key(&master_key()))
}

/// Everything there is: keys of all families, versions, tags as large as they get, deleted and purged keys, counts,
/// slots, epochs, policies, an audit log.
fn filled(place: &Place) -> Vault {
    let vault = place
        .options()
        .audit(AuditOptions::on().reads(AuditReads::All))
        .passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap())
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    for number in 0..12 {
        let key = name(&format!("k{number}"));
        let options = CreateKeyOptions::ec(Curve::P256).tag("number", number.to_string());
        vault.create_key(&key, options).unwrap();
        vault.rotate_key(&key).unwrap();
    }
    let mut tags = Tags::new();
    for number in 0..10 {
        tags.insert(number.to_string(), "𝄞".repeat(256)).unwrap();
    }
    let long = UpdateKeyOptions::new().tags(tags);
    vault.update_key_properties(&name("k3"), long).unwrap();
    vault
        .create_key(&name("oct"), CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    vault
        .import_key(
            &name("rsa"),
            strongroom::ImportKeyOptions::new(fixed_rsa(strongroom::RsaKeySize::Bits2048)),
        )
        .unwrap();
    vault.delete_key(&name("k1")).unwrap();
    vault.delete_key(&name("k2")).unwrap();
    vault.purge_deleted_key(&name("k2")).unwrap();
    let reader = "reader".parse().unwrap();
    vault
        .set_access_policy(&reader, Permissions::none().with(Permission::Get))
        .unwrap();
    vault.rotate_domain().unwrap();
    vault.rotate_kek().unwrap();
    vault.identity_public_key().unwrap();
    vault
        .add_unlock_slot(
            Unlock::raw_key(&master_key()),
            Unlock::passphrase(&Passphrase::new("a quiet morning").unwrap()),
        )
        .unwrap();
    vault
}

/// All that a vault tells of its contents, as text.
fn contents(vault: &Vault) -> String {
    let keys: Vec<_> = vault
        .list_key_properties()
        .map(|key| {
            let key = key.unwrap();
            let versions: Vec<_> = vault
                .list_key_properties_versions(key.name())
                .unwrap()
                .collect();
            (vault.get_key(key.name()), versions)
        })
        .collect();
    let deleted: Vec<_> = vault
        .list_deleted_key_properties()
        .map(Result::unwrap)
        .collect();
    let status = vault.status().unwrap();
    format!(
        "{keys:?}\n{deleted:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?} {} {} {}",
        vault.unlock_slots().unwrap(),
        vault.domain_epochs().unwrap(),
        vault.access_policies().unwrap(),
        vault.identity_public_key().unwrap(),
        vault.deletion_settings(),
        vault.audit_options().unwrap(),
        vault.security_domain().unwrap().fingerprint(),
        status.fingerprint(),
        status.key_count(),
        status.record_count(),
        status.kek_term(),
    )
}

#[test]
fn everything_is_what_it_was() {
    let place = Place::new();
    let vault = filled(&place);
    let signed = vault.sign_data(&name("k0"), ES256, b"text").unwrap();
    let gcm = EncryptionAlgorithm::A256Gcm;
    let sealed = vault
        .encrypt(&name("oct"), gcm, b"row", EncryptOptions::new())
        .unwrap();
    let backup = vault.backup_key(&name("k4")).unwrap();
    let checkpoint = vault.audit_checkpoint().unwrap();
    let before = contents(&vault);
    let generation = vault.status().unwrap().generation();
    let log = vault.verify_audit().unwrap();
    vault.close().unwrap();

    let (vault, report) = compact(&place).unwrap();
    assert!(report.records() > 50, "{report:?}");
    assert!(vault.open_report().unwrap().is_clean());
    let look = |vault: &Vault| {
        assert_eq!(contents(vault), before);
        vault
            .verify_data(signed.key_id(), ES256, b"text", signed.signature())
            .unwrap();
        let text = vault
            .decrypt(sealed.key_id(), gcm, Ciphertext::from(&sealed))
            .unwrap();
        assert_eq!(text.expose(), b"row");
        for number in [0, 3, 4, 11] {
            let key = name(&format!("k{number}"));
            vault.sign_data(&key, ES256, b"more").unwrap();
        }
        assert_eq!(refused(vault.get_key(&name("k1"))), ErrorKind::KeyNotFound);
        assert!(vault.check().unwrap().is_clean());
        let verified = vault.verify_audit_since(&checkpoint).unwrap();
        assert!(verified.is_intact(), "{verified:?}");
    };
    look(&vault);
    assert!(vault.status().unwrap().generation() > generation);
    assert!(log.is_intact());
    let operations: Vec<_> = vault
        .audit_entries(0)
        .unwrap()
        .map(|entry| entry.unwrap().operation().to_owned())
        .collect();
    assert!(
        operations
            .iter()
            .any(|operation| operation == "VaultCompact")
    );
    vault.close().unwrap();

    // By the other slot, and with everything that changes keys.
    let passphrase = Passphrase::new("a quiet morning").unwrap();
    let vault = place
        .options()
        .open(&place.path, Unlock::passphrase(&passphrase))
        .unwrap();
    look(&vault);
    vault.recover_deleted_key(&name("k1")).unwrap();
    vault.rotate_key(&name("k1")).unwrap();
    vault.delete_key(&name("k4")).unwrap();
    vault.purge_deleted_key(&name("k4")).unwrap();
    vault.restore_key(backup.as_bytes()).unwrap();
    vault.rotate_kek().unwrap();
    vault.close().unwrap();

    // And again.
    let (vault, _) = compact(&place).unwrap();
    vault.sign_data(&name("k4"), ES256, b"more").unwrap();
    assert!(vault.check().unwrap().is_clean());
    for left in ["vault.compacting", "vault.compacted", "vault.spare"] {
        assert!(!place.path.join(left).exists(), "{left}");
    }
}

#[test]
fn a_compacted_vault_is_no_older_one_and_a_copy_from_before_is() {
    let place = Place::new();
    let vault = filled(&place);
    let pin = vault.pin().unwrap();
    vault.close().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let guard = || Arc::new(FileRollbackGuard::new(elsewhere.path().join("pin")));
    let guarded = || place.options().rollback_guard(guard());
    let unlock = master_key();
    let unlock = Unlock::raw_key(&unlock);
    guarded()
        .open(&place.path, unlock)
        .unwrap()
        .close()
        .unwrap();
    let before = place.path.with_file_name("before");
    copy_directory(&place.path, &before);

    // Also one who demands the pin may compact, and the guard hears of it.
    let (vault, _) = compact_with(&place, guarded().expect_at_least(pin)).unwrap();
    let newer = vault.pin().unwrap();
    assert!(newer.generation() > pin.generation());
    vault.close().unwrap();
    guarded()
        .expect_at_least(newer)
        .open(&place.path, unlock)
        .unwrap()
        .close()
        .unwrap();
    for options in [guarded(), place.options().expect_at_least(newer)] {
        assert_eq!(
            refused(options.open(&before, unlock)),
            ErrorKind::RolledBack
        );
    }
    // Nor can the old copy be made to look new by compacting it.
    let old = read_image(&before);
    for options in [guarded(), place.options().expect_at_least(newer)] {
        assert_eq!(
            refused(options.compact(&before, unlock)),
            ErrorKind::RolledBack
        );
    }
    assert_eq!(
        read_image(&before).keys().collect::<Vec<_>>(),
        old.keys().collect::<Vec<_>>()
    );
    // The old records under the new anchor are old records.
    let mixed = place.path.with_file_name("mixed");
    copy_directory(&before, &mixed);
    fs::copy(place.path.join("vault.anchor"), mixed.join("vault.anchor")).unwrap();
    assert_eq!(
        refused(place.options().open(&mixed, unlock)),
        ErrorKind::RolledBack
    );
}

#[test]
fn it_is_refused_while_the_vault_is_open_and_without_the_key() {
    let place = Place::new();
    assert_eq!(refused(compact(&place)), ErrorKind::VaultNotFound);
    let vault = filled(&place);
    assert_eq!(refused(compact(&place)), ErrorKind::VaultInUse);
    vault.get_key(&name("k0")).unwrap();
    vault.close().unwrap();
    let before = read_image(&place.path);
    let wrong = strongroom::MasterKey::generate().unwrap();
    let tried = place
        .options()
        .compact(&place.path, Unlock::raw_key(&wrong));
    assert_eq!(refused(tried), ErrorKind::WrongKey);
    assert_eq!(read_image(&place.path), before);
    let (vault, _) = compact(&place).unwrap();
    assert_eq!(refused(compact(&place)), ErrorKind::VaultInUse);
    drop(vault);
}

/// Bytes of keys and values in the tree.
fn payload(path: &Path) -> u64 {
    let database = loop {
        let opened = sled::Config::new()
            .path(path)
            .segment_size(512 * 1024)
            .flush_every_ms(None)
            .open();
        match opened {
            Ok(database) => break database,
            Err(sled::Error::Io(_)) => sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    };
    let tree = database.open_tree("r").unwrap();
    tree.iter()
        .map(|item| {
            let (key, value) = item.unwrap();
            (key.len() + value.len()) as u64
        })
        .sum()
}

/// The payload is counted on a copy: sled writes when it opens.
fn ratio(place: &Place, bytes: u64) -> f64 {
    let copy = place.path.with_file_name("counted");
    copy_directory(&place.path, &copy);
    let payload = payload(&copy);
    fs::remove_dir_all(copy).unwrap();
    bytes as f64 / payload as f64
}

#[test]
fn five_thousand_keys_after_much_change_take_little_more_than_their_bytes() {
    const KEYS: usize = 5_000;
    let directory = scratch();
    let place = Place::at(directory.path().join("vault"));
    let vault = place.create();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let vault = &vault;
            scope.spawn(move || {
                for number in (thread..KEYS).step_by(4) {
                    let key = name(&format!("key-{number}"));
                    let oct = CreateKeyOptions::oct(OctKeySize::Bits256);
                    vault.create_key(&key, oct).unwrap();
                    if number % 2 == 0 {
                        let mut tags = Tags::new();
                        tags.insert("owner", "billing").unwrap();
                        let tagged = UpdateKeyOptions::new().tags(tags);
                        vault.update_key_properties(&key, tagged).unwrap();
                    }
                    if number % 5 == 0 {
                        vault.delete_key(&key).unwrap();
                    }
                }
            });
        }
    });
    vault.rotate_kek().unwrap();
    vault.close().unwrap();
    let filled = begun.elapsed();

    let begun = Instant::now();
    let (vault, report) = compact(&place).unwrap();
    let took = begun.elapsed();
    assert_eq!(vault.status().unwrap().key_count(), KEYS as u64);
    assert!(vault.check().unwrap().is_sound());
    vault.close().unwrap();
    let before = ratio(&place, report.bytes_before());
    let after = ratio(&place, report.bytes_after());
    eprintln!(
        "{report:?}: {before:.2} times the payload before, {after:.2} after; filled in {filled:?}, compacted in \
         {took:?}"
    );
    assert!(after < 1.7 && after < before, "{before} -> {after}");
}
