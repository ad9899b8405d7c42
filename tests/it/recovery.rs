//! Reading a vault without writing to it, and saving what is intact in a damaged one.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use strongroom::{
    CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind, OctKeySize,
    OpenFinding, RestoreOptions, SalvageReport, SignatureAlgorithm, SoftDelete, Unlock,
    UpdateKeyOptions, Vault,
};

use crate::image::read_image;
use crate::support::{Place, master_key, name, refused};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;

fn filled(place: &Place, keys: usize) -> Vault {
    let vault = place
        .options()
        .soft_delete(SoftDelete::days(30).unwrap())
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    for number in 0..keys {
        let key = name(&format!("k{number}"));
        vault
            .create_key(&key, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault.rotate_key(&key).unwrap();
    }
    vault
}

fn open_read_only(place: &Place, scratch: &Path) -> strongroom::Result<Vault> {
    let key = master_key();
    place
        .options()
        .open_read_only(&place.path, Unlock::raw_key(&key), scratch)
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn reading_only_changes_no_byte_and_refuses_every_change() {
    let place = Place::new();
    let vault = filled(&place, 2);
    let oct = name("oct");
    vault
        .create_key(&oct, CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    let backup = vault.backup_key(&name("k0")).unwrap();
    let signed = vault.sign_data(&name("k1"), ES256, b"text").unwrap();
    vault.close().unwrap();
    let before = read_image(&place.path);
    let scratch = tempfile::tempdir().unwrap();

    let vault = open_read_only(&place, scratch.path()).unwrap();
    assert!(vault.is_read_only());
    assert!(
        vault.open_report().unwrap().is_clean(),
        "{:?}",
        vault.open_report().unwrap()
    );
    vault
        .verify_data(signed.key_id(), ES256, b"text", signed.signature())
        .unwrap();
    vault.sign_data(&name("k1"), ES256, b"text").unwrap();
    assert_eq!(vault.list_key_properties().count(), 3);
    assert!(vault.check().unwrap().is_clean());
    vault.backup_key(&name("k1")).unwrap();
    vault.restore_plan(&backup, &RestoreOptions::new()).unwrap();
    let generation = vault.status().unwrap().generation();

    let key = name("k0");
    let new = name("new");
    let off = UpdateKeyOptions::new().enabled(false);
    let gcm = EncryptionAlgorithm::A256Gcm;
    let master = master_key();
    let unlock = Unlock::raw_key(&master);
    let renamed = RestoreOptions::new().rename_to(name("other"));
    let refusals = [
        refused(vault.create_key(&new, CreateKeyOptions::ec(Curve::P256))),
        refused(vault.rotate_key(&key)),
        refused(vault.update_key_properties(&key, off)),
        refused(vault.delete_key(&key)),
        refused(vault.restore_key_with(&backup, &renamed)),
        refused(vault.encrypt(&oct, gcm, b"text", EncryptOptions::new())),
        refused(vault.rotate_kek()),
        refused(vault.rotate_domain()),
        refused(vault.add_unlock_slot(unlock, unlock)),
        refused(vault.enable_purge_protection()),
        refused(vault.set_algorithm_rules(vault.algorithm_rules())),
    ];
    assert!(
        refusals.iter().all(|kind| *kind == ErrorKind::ReadOnly),
        "{refusals:?}"
    );
    assert_eq!(vault.status().unwrap().generation(), generation);
    assert!(!is_empty(scratch.path()));
    vault.close().unwrap();
    assert!(is_empty(scratch.path()), "the copy goes with the handle");
    drop(open_read_only(&place, scratch.path()).unwrap());
    assert!(is_empty(scratch.path()));
    assert_eq!(read_image(&place.path), before);
    assert!(place.open().unwrap().open_report().unwrap().is_clean());
}

#[test]
fn reading_only_tells_what_opening_would_mend_and_does_not_mend_it() {
    let place = Place::new();
    filled(&place, 1).close().unwrap();
    let header = place.path.join("vault.hdr");
    let mut bytes = fs::read(&header).unwrap();
    bytes[30_000] ^= 1;
    fs::write(&header, &bytes).unwrap();
    fs::write(place.path.join("vault.lock"), b"SRMLOCK1o").unwrap();
    let before = read_image(&place.path);
    let scratch = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let vault = open_read_only(&place, scratch.path()).unwrap();
        for finding in [OpenFinding::HeaderHealed, OpenFinding::UncleanClose] {
            assert!(
                vault.open_report().unwrap().contains(finding),
                "{finding:?}"
            );
        }
        vault.close().unwrap();
        assert_eq!(read_image(&place.path), before);
    }
    let vault = place.open().unwrap();
    assert!(
        vault
            .open_report()
            .unwrap()
            .contains(OpenFinding::HeaderHealed)
    );
}

#[test]
fn a_vault_that_is_open_is_not_copied_and_a_wrong_key_leaves_nothing() {
    let place = Place::new();
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(
        refused(open_read_only(&place, scratch.path())),
        ErrorKind::VaultNotFound
    );
    let vault = filled(&place, 1);
    assert_eq!(
        refused(open_read_only(&place, scratch.path())),
        ErrorKind::VaultInUse
    );
    vault.close().unwrap();
    let other = strongroom::MasterKey::generate().unwrap();
    let opened =
        place
            .options()
            .open_read_only(&place.path, Unlock::raw_key(&other), scratch.path());
    assert_eq!(refused(opened), ErrorKind::WrongKey);
    assert!(is_empty(scratch.path()));
}

fn salvage(place: &Place, to: &Place) -> strongroom::Result<(Vault, SalvageReport)> {
    let key = master_key();
    to.options()
        .salvage(&place.path, Unlock::raw_key(&key), &to.path)
}

#[test]
fn everything_is_saved_from_an_intact_vault() {
    let place = Place::new();
    let vault = filled(&place, 20);
    vault.delete_key(&name("k3")).unwrap();
    vault
        .set_algorithm_rules(vault.algorithm_rules().refuse("RSA1_5").unwrap())
        .unwrap();
    let signed = vault.sign_data(&name("k7"), ES256, b"text").unwrap();
    let backup = vault.backup_key(&name("k7")).unwrap();
    let portrait = vault.get_key(&name("k7")).unwrap();
    vault.close().unwrap();
    let before = read_image(&place.path);
    let to = Place::new();
    let (saved, report) = salvage(&place, &to).unwrap();
    assert_eq!(report.saved().len(), 20);
    assert!(report.incomplete().is_empty() && report.lost_keys() == 0);
    assert!(report.lost_records() == 0 && !report.lost_settings() && !report.ended_early());
    assert_eq!(read_image(&place.path), before);
    assert_eq!(saved.get_key(&name("k7")).unwrap(), portrait);
    saved
        .verify_data(signed.key_id(), ES256, b"text", signed.signature())
        .unwrap();
    saved.recover_deleted_key(&name("k3")).unwrap();
    assert_eq!(
        saved.deletion_settings().soft_delete(),
        SoftDelete::days(30).unwrap()
    );
    assert!(saved.algorithm_rules().refused().any(|it| it == "RSA1_5"));
    assert_ne!(
        saved.status().unwrap().vault_id(),
        &before[Path::new("vault.hdr")][16..32]
    );
    // It is a vault of the same domain.
    saved.delete_key(&name("k7")).unwrap();
    saved.purge_deleted_key(&name("k7")).unwrap();
    saved.restore_key(&backup).unwrap();
    assert!(saved.check().unwrap().is_clean());
    saved.close().unwrap();
    assert!(to.open().unwrap().check().unwrap().is_clean());
    assert_eq!(
        fs::read_dir(to.path.parent().unwrap()).unwrap().count(),
        1,
        "no copy stays behind"
    );
    assert_eq!(refused(salvage(&place, &to)), ErrorKind::VaultExists);
}

/// Changes the stored records behind the vault's back.
fn spoil(path: &Path, mut change: impl FnMut(&sled::Tree)) {
    let database = loop {
        let opened = sled::Config::new()
            .path(path)
            .segment_size(512 * 1024)
            .flush_every_ms(None)
            .open();
        match opened {
            Ok(database) => break database,
            // The vault's engine keeps its lock for moments after it was closed.
            Err(sled::Error::Io(_)) => sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    };
    let tree = database.open_tree(b"r").unwrap();
    change(&tree);
    database.flush().unwrap();
}

/// The keys of stored values of this class.
fn places(tree: &sled::Tree, class: u8) -> Vec<sled::IVec> {
    tree.iter()
        .map(|item| item.unwrap().0)
        .filter(|key| key[0] == 2 && key[17] == class)
        .collect()
}

#[test]
fn what_is_intact_in_a_damaged_vault_is_saved_and_the_rest_is_counted() {
    let place = Place::new();
    let vault = filled(&place, 10);
    vault.close().unwrap();
    drop(vault);
    spoil(&place.path, |tree| {
        let objects = places(tree, b'M');
        let versions = places(tree, b'V');
        assert_eq!((objects.len(), versions.len()), (10, 20));
        // One key object is gone, one is damaged, and a third key lacks one of its versions.
        tree.remove(&objects[0]).unwrap();
        let mut record = tree.get(&objects[1]).unwrap().unwrap().to_vec();
        let end = record.len() - 1;
        record[end] ^= 1;
        tree.insert(&objects[1], record).unwrap();
        let of_third = versions
            .iter()
            .find(|key| key[..17] == objects[2][..17])
            .unwrap();
        let mut record = tree.get(of_third).unwrap().unwrap().to_vec();
        record[100] ^= 1;
        tree.insert(of_third, record).unwrap();
        // And STATE is gone: nothing says any more what belongs together.
        let state: Vec<_> = tree
            .iter()
            .map(|item| item.unwrap().0)
            .filter(|key| key[0] == 0)
            .collect();
        for key in state {
            tree.remove(key).unwrap();
        }
    });
    assert_eq!(refused(place.open()), ErrorKind::Tampered);
    let to = Place::new();
    let (saved, report) = salvage(&place, &to).unwrap();
    assert_eq!(report.saved().len(), 8);
    assert_eq!(report.lost_keys(), 2);
    assert_eq!(report.incomplete().len(), 1);
    assert_eq!(report.incomplete()[0].1, 1);
    // Two versions of the key without its object, the damaged object with its two versions, and the damaged version.
    assert_eq!(report.lost_records(), 2 + 3 + 1);
    assert!(!report.lost_settings() && !report.ended_early());
    for key in report.saved() {
        vault_works(&saved, key);
    }
    let (incomplete, _) = &report.incomplete()[0];
    assert_eq!(
        saved
            .list_key_properties_versions(incomplete)
            .unwrap()
            .count(),
        2,
        "the one that was left and the new one"
    );
    assert!(saved.check().unwrap().is_clean());
}

fn vault_works(vault: &Vault, key: &strongroom::KeyName) {
    let signed = vault.sign_data(key, ES256, b"text").unwrap();
    vault
        .verify_data(signed.key_id(), ES256, b"text", signed.signature())
        .unwrap();
    vault.rotate_key(key).unwrap();
}

#[test]
fn without_a_header_or_a_database_nothing_is_saved_and_nothing_is_left_behind() {
    for file in ["vault.hdr", "db"] {
        let place = Place::new();
        filled(&place, 1).close().unwrap();
        fs::write(place.path.join(file), vec![0xaa; 70_000]).unwrap();
        let to = Place::new();
        assert_eq!(refused(salvage(&place, &to)), ErrorKind::Corrupt, "{file}");
        let parent = to.path.parent().unwrap();
        assert!(is_empty(parent), "{file}");
    }
}
