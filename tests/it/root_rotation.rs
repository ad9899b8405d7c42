//! A new root key: all of a vault sealed anew in another directory, and nothing of the old root opens it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use strongroom::{
    Ciphertext, CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind,
    FileRollbackGuard, MasterKey, OctKeySize, Permission, Permissions, SignatureAlgorithm, Unlock,
    UpdateKeyOptions, Vault, WrapAlgorithm,
};

use crate::image::{read_image, write_image};
use crate::support::{Place, START_MS, fixed_rsa, master_key, name, refused};

fn second(place: &Place) -> PathBuf {
    place.path.with_file_name("second")
}

fn new_key() -> MasterKey {
    let bytes: Vec<u8> = (50..82).collect();
    MasterKey::from_bytes(&bytes).unwrap()
}

fn rotate(place: &Place) -> strongroom::Result<Vault> {
    place.options().rotate_root(
        &place.path,
        Unlock::raw_key(&master_key()),
        second(place),
        Unlock::raw_key(&new_key()),
    )
}

/// Keys of all families, with versions, tags, a disabled one and a deleted one.
fn filled(place: &Place) -> Vault {
    let vault = place.create();
    vault
        .create_key(
            &name("signer"),
            CreateKeyOptions::ec(Curve::P384).tag("team", "billing"),
        )
        .unwrap();
    for _ in 0..3 {
        vault.rotate_key(&name("signer")).unwrap();
    }
    vault
        .create_key(&name("kek"), CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    vault
        .import_key(
            &name("rsa"),
            strongroom::ImportKeyOptions::new(fixed_rsa(strongroom::RsaKeySize::Bits2048)),
        )
        .unwrap();
    vault
        .update_key_properties(&name("rsa"), UpdateKeyOptions::new().enabled(false))
        .unwrap();
    vault
        .create_key(&name("deleted"), CreateKeyOptions::ec(Curve::P256K))
        .unwrap();
    vault.delete_key(&name("deleted")).unwrap();
    let reader = "reader".parse().unwrap();
    vault
        .set_access_policy(&reader, Permissions::none().with(Permission::Get))
        .unwrap();
    vault.enable_purge_protection().unwrap();
    vault
}

#[test]
fn everything_is_there_under_the_new_root() {
    let place = Place::new();
    let vault = filled(&place);
    let newest = vault.get_key(&name("signer")).unwrap();
    let signed = vault
        .sign_data(&name("signer"), SignatureAlgorithm::Es384, b"text")
        .unwrap();
    let wrapped = vault
        .wrap_key(&name("kek"), WrapAlgorithm::A256Kw, &[7; 32])
        .unwrap();
    let sealed = vault
        .encrypt(
            &name("kek"),
            EncryptionAlgorithm::A256Gcm,
            b"row",
            EncryptOptions::new(),
        )
        .unwrap();
    let rsa = vault.get_key(&name("rsa")).unwrap();
    let deleted = vault.get_deleted_key(&name("deleted")).unwrap();
    let backup = vault.backup_key(&name("signer")).unwrap();
    let versions = |vault: &Vault| {
        let mut versions: Vec<_> = vault
            .list_key_properties_versions(&name("signer"))
            .unwrap()
            .map(|version| version.version())
            .collect();
        versions.sort_unstable();
        versions
    };
    let before = versions(&vault);
    let status = vault.status().unwrap();
    let pin = vault.pin().unwrap();
    vault.close().unwrap();
    let files = read_image(&place.path);

    let vault = rotate(&place).unwrap();
    let rotated = vault.status().unwrap();
    assert_eq!(rotated.vault_id(), status.vault_id());
    assert_ne!(rotated.fingerprint(), status.fingerprint());
    assert_eq!(rotated.key_count(), status.key_count());
    assert!(rotated.generation() > status.generation());
    let look = |vault: &Vault| {
        assert_eq!(vault.get_key(&name("signer")).unwrap(), newest);
        assert_eq!(vault.get_key(&name("rsa")).unwrap(), rsa);
        assert_eq!(vault.get_deleted_key(&name("deleted")).unwrap(), deleted);
        assert_eq!(versions(vault), before);
        vault
            .verify_data(
                signed.key_id(),
                SignatureAlgorithm::Es384,
                b"text",
                signed.signature(),
            )
            .unwrap();
        let key = vault
            .unwrap_key(
                wrapped.key_id(),
                WrapAlgorithm::A256Kw,
                wrapped.wrapped_key(),
            )
            .unwrap();
        assert_eq!(key.expose(), [7; 32]);
        let text = vault
            .decrypt(
                sealed.key_id(),
                EncryptionAlgorithm::A256Gcm,
                Ciphertext::from(&sealed),
            )
            .unwrap();
        assert_eq!(text.expose(), b"row");
        let policies = vault.access_policies().unwrap();
        assert_eq!(policies.len(), 1);
        assert!(vault.deletion_settings().purge_protection());
        assert!(vault.check().unwrap().is_sound());
    };
    look(&vault);
    vault.rotate_key(&name("signer")).unwrap();
    vault.recover_deleted_key(&name("deleted")).unwrap();
    vault.delete_key(&name("signer")).unwrap();
    assert_eq!(
        refused(vault.restore_key(backup.as_bytes())),
        ErrorKind::KeyDeleted
    );
    let inspected = vault.backup_key(&name("kek")).unwrap();
    vault.close().unwrap();

    // The old one is as it was, but for what every open and close leaves.
    let old = place.open().unwrap();
    look(&old);
    old.delete_key(&name("kek")).unwrap();
    assert_eq!(
        refused(old.restore_key(inspected.as_bytes())),
        ErrorKind::KeyDeleted,
        "of the same security domain"
    );
    old.close().unwrap();
    drop(files);

    // Neither the old key nor the old pin open the new one.
    let open = |unlock: Unlock<'_>| place.options().open(second(&place), unlock);
    assert_eq!(
        refused(open(Unlock::raw_key(&master_key()))),
        ErrorKind::WrongKey
    );
    let pinned = place
        .options()
        .expect_at_least(pin)
        .open(second(&place), Unlock::raw_key(&new_key()));
    assert_eq!(refused(pinned), ErrorKind::WrongRoot);
    Vault::destroy(&place.path, Unlock::raw_key(&master_key())).unwrap();
    open(Unlock::raw_key(&new_key())).unwrap();
}

#[test]
fn old_files_and_new_files_do_not_mix() {
    let place = Place::new();
    filled(&place).close().unwrap();
    rotate(&place).unwrap().close().unwrap();
    let (old, new) = (read_image(&place.path), read_image(&second(&place)));
    for file in ["vault.hdr", "vault.anchor", "db"] {
        let path = std::path::Path::new(file);
        let mut mixed = new.clone();
        mixed.insert(path.to_owned(), old[path].clone());
        write_image(&second(&place), &mixed);
        for key in [master_key(), new_key()] {
            let opened = place.options().open(second(&place), Unlock::raw_key(&key));
            assert!(
                opened.is_err()
                    || opened
                        .unwrap()
                        .check()
                        .is_ok_and(|report| !report.is_sound()),
                "{file}"
            );
        }
    }
}

#[test]
fn what_cannot_be_copied_whole_is_not_copied() {
    let place = Place::new();
    filled(&place).close().unwrap();
    let wrong = place.options().rotate_root(
        &place.path,
        Unlock::raw_key(&new_key()),
        second(&place),
        Unlock::raw_key(&new_key()),
    );
    assert_eq!(refused(wrong), ErrorKind::WrongKey);
    assert!(!second(&place).exists());

    fs::write(second(&place), b"something").unwrap();
    assert_eq!(refused(rotate(&place)), ErrorKind::VaultExists);
    fs::remove_file(second(&place)).unwrap();

    let vault = place.open().unwrap();
    assert_eq!(refused(rotate(&place)), ErrorKind::VaultInUse);
    vault.close().unwrap();

    // One damaged record: the last byte of the database that is inside a record.
    let good = read_image(&place.path);
    let db = std::path::Path::new("db");
    let mut damaged = good.clone();
    let bytes = damaged.get_mut(db).unwrap();
    let magic = b"SRMR\x01\x02V";
    let mut hit = 0;
    for at in 0..bytes.len() - magic.len() - 100 {
        if bytes[at..].starts_with(magic) {
            bytes[at + 90] ^= 1;
            hit += 1;
        }
    }
    assert!(hit > 0, "no version is in the file");
    write_image(&place.path, &damaged);
    refused(rotate(&place));
    let left: Vec<_> = fs::read_dir(place.path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        left,
        [place.path.file_name().unwrap()],
        "nothing is left behind"
    );
    write_image(&place.path, &good);
    rotate(&place).unwrap();
}

#[test]
fn the_time_that_was_seen_and_the_guard_go_over() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let guard = Arc::new(FileRollbackGuard::new(elsewhere.path().join("pin")));
    let vault = place
        .options()
        .rollback_guard(guard.clone())
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    place.clock.advance_days(20);
    vault
        .create_key(&name("late"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let late = vault.get_key(&name("late")).unwrap();
    let older = read_image(&place.path);
    vault.close().unwrap();
    let newest = read_image(&place.path);
    place.clock.set_ms(START_MS);

    let rotate = || {
        place.options().rollback_guard(guard.clone()).rotate_root(
            &place.path,
            Unlock::raw_key(&master_key()),
            second(&place),
            Unlock::raw_key(&new_key()),
        )
    };
    drop(older);
    let vault = rotate().unwrap();
    vault
        .create_key(&name("later"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let later = vault.get_key(&name("later")).unwrap();
    assert!(later.properties().created_on() >= late.properties().created_on());
    vault.close().unwrap();
    // From now on the guard knows the new root only.
    write_image(&place.path, &newest);
    let old = place
        .options()
        .rollback_guard(guard.clone())
        .open(&place.path, Unlock::raw_key(&master_key()));
    assert_eq!(refused(old), ErrorKind::WrongRoot);
    place
        .options()
        .rollback_guard(guard.clone())
        .open(second(&place), Unlock::raw_key(&new_key()))
        .unwrap();
}
