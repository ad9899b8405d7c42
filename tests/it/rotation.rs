//! Replacing the key encryption key while the vault is in use, and what is refused afterwards. That it survives
//! kills and power cuts is shown by `crash`, whose purges replace it.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, MaintenanceOptions, OctKeySize, Shredding,
    SignatureAlgorithm, UpdateKeyOptions, VaultOptions, WrapAlgorithm,
};

use crate::support::{Place, name, start_plus};

#[test]
fn everything_works_after_a_rotation_and_after_reopening() {
    let place = Place::new();
    let vault = place.create();
    let signer = name("signer");
    let kek = name("kek");
    vault
        .create_key(&signer, CreateKeyOptions::ec(Curve::P256).tag("team", "a"))
        .unwrap();
    vault
        .create_key(&kek, CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    vault
        .create_key(&name("gone"), CreateKeyOptions::ec(Curve::P384))
        .unwrap();
    vault.delete_key(&name("gone")).unwrap();
    let signed = vault
        .sign_data(&signer, SignatureAlgorithm::Es256, b"text")
        .unwrap();
    let wrapped = vault
        .wrap_key(&kek, WrapAlgorithm::A256Kw, &[7; 32])
        .unwrap();
    assert_eq!(vault.status().unwrap().kek_term(), 1);

    for term in 2..=4 {
        let rotation = vault.rotate_kek().unwrap();
        assert_eq!((rotation.term(), rotation.resealed()), (term, 3));
        assert_eq!(vault.status().unwrap().kek_term(), term);
        assert!(!vault.status().unwrap().kek_rotation_pending());
    }

    let look = |vault: &strongroom::Vault| {
        vault
            .verify_data(
                signed.key_id(),
                SignatureAlgorithm::Es256,
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
        let report = vault.check().unwrap();
        assert!(report.is_sound(), "{:?}", report.findings());
        assert_eq!((report.keys(), report.previous_kek_keys()), (3, 0));
    };
    look(&vault);
    vault.close().unwrap();
    let vault = place.open().unwrap();
    assert!(
        vault.open_report().unwrap().is_clean(),
        "{:?}",
        vault.open_report().unwrap()
    );
    look(&vault);
    vault.recover_deleted_key(&name("gone")).unwrap();
    vault.rotate_key(&signer).unwrap();
    look(&vault);
}

#[test]
fn an_old_header_is_refused_after_a_rotation() {
    let place = Place::new();
    let vault = place.create();
    vault
        .create_key(&name("k"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.close().unwrap();
    let header = place.path.join("vault.hdr");
    let old = fs::read(&header).unwrap();
    let vault = place.open().unwrap();
    vault.rotate_kek().unwrap();
    vault.close().unwrap();
    let new = fs::read(&header).unwrap();
    fs::write(&header, old).unwrap();
    assert_eq!(place.open().unwrap_err().kind(), ErrorKind::HeaderReplayed);
    fs::write(&header, new).unwrap();
    place.open().unwrap();
}

#[test]
fn nobody_notices_rotations_and_purges_beside_them() {
    let place = Place::new();
    let vault = place.create();
    for number in 0..40 {
        vault
            .create_key(
                &name(&format!("key-{number}")),
                CreateKeyOptions::ec(Curve::P256),
            )
            .unwrap();
    }
    let stop = AtomicBool::new(false);
    let (signed, made) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (vault, stop, signed, made) = (&vault, &stop, &signed, &made);
            scope.spawn(move || {
                let mut round = 0;
                while !stop.load(Ordering::SeqCst) {
                    let old = name(&format!("key-{}", (round * 4 + thread) % 40));
                    vault
                        .sign_data(&old, SignatureAlgorithm::Es256, b"text")
                        .unwrap();
                    signed.fetch_add(1, Ordering::SeqCst);
                    let own = name(&format!("own-{thread}-{round}"));
                    vault
                        .create_key(&own, CreateKeyOptions::ec(Curve::P256))
                        .unwrap();
                    vault
                        .update_key_properties(&own, UpdateKeyOptions::new().enabled(false))
                        .unwrap();
                    vault.rotate_key(&old).unwrap();
                    if round % 3 == 0 {
                        vault.delete_key(&own).unwrap();
                        vault.purge_deleted_key(&own).unwrap();
                    }
                    made.fetch_add(1, Ordering::SeqCst);
                    round += 1;
                }
            });
        }
        let mut last = vault.status().unwrap().kek_term();
        for _ in 0..6 {
            let term = vault.rotate_kek().unwrap().term();
            assert!(term > last);
            last = term;
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(signed.into_inner() > 0 && made.into_inner() > 0);
    let keys = vault.status().unwrap().key_count();
    let report = vault.check().unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
    assert_eq!((report.keys(), report.previous_kek_keys()), (keys, 0));
    vault.close().unwrap();
    let report = place.open().unwrap().check().unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
    assert_eq!(report.keys(), keys);
}

#[test]
fn a_purge_says_whether_it_has_shredded() {
    let place = Place::new();
    let vault = place.create();
    for key in ["a", "b"] {
        vault
            .create_key(&name(key), CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault.delete_key(&name(key)).unwrap();
    }
    assert!(!vault.status().unwrap().shred_pending());
    let before = vault.status().unwrap().kek_term();
    assert_eq!(
        vault.purge_deleted_key(&name("a")).unwrap(),
        Shredding::Done
    );
    assert!(!vault.status().unwrap().shred_pending());
    assert_eq!(vault.status().unwrap().kek_term(), before + 1);

    // What a clock made due is shredded by the maintenance that removes it, all at once.
    place.clock.advance_days(30);
    vault
        .create_key(&name("c"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    place.clock.advance_days(30);
    vault.rotate_key(&name("c")).unwrap();
    place.clock.advance_days(31);
    let now = start_plus(91 * 86_400);
    assert!(vault.due(now).unwrap());
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!(report.purged(), [name("b")]);
    assert!(!report.shred_pending());
    assert_eq!(vault.status().unwrap().kek_term(), before + 2);
    assert!(!vault.due(now).unwrap());
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert!(report.purged().is_empty());
    assert_eq!(vault.status().unwrap().kek_term(), before + 2);
}

#[test]
fn deletions_without_soft_delete_are_shredded_by_maintenance() {
    let vault = VaultOptions::new()
        .soft_delete(strongroom::SoftDelete::OFF)
        .create_in_memory()
        .unwrap();
    vault
        .create_key(&name("k"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.delete_key(&name("k")).unwrap();
    assert!(vault.status().unwrap().shred_pending());
    vault.maintain(MaintenanceOptions::new()).unwrap();
    assert!(!vault.status().unwrap().shred_pending());
    assert_eq!(vault.status().unwrap().kek_term(), 2);
}
