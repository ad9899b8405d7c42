//! Keys that a backend holds itself: whatever fails or is cut short, afterwards the device holds exactly the
//! keys of the vault's records, nothing is destroyed that another copy of the vault uses, and what cannot be
//! mended is reported.

use std::fs;
use std::sync::Arc;

use strongroom::backend::BackendInstance;
use strongroom::backend::testing::{Fault, FaultyBackend, MemoryDevice};
use strongroom::backend::{BackendId, KeyBackend, KeyRequest, KeyTag, VaultLabel};
use strongroom::{
    BackendFindingKind, CreateKeyOptions, Curve, ErrorKind, ImportKeyOptions, ImportedKey,
    MaintenanceOptions, SecretBytes, SignatureAlgorithm, Unlock, Vault,
};

use crate::copies::copy_of_one_moment;
use crate::hooked::Hooked;
use crate::support::{Place, master_key, name};

fn id() -> BackendId {
    "device".parse().unwrap()
}

fn open_with(place: &Place, backend: impl KeyBackend + 'static) -> Vault {
    let unlock = master_key();
    place
        .options()
        .backend(Arc::new(backend))
        .open_or_create(&place.path, Unlock::raw_key(&unlock))
        .unwrap()
}

fn signer() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256).hsm().backup_allowed()
}

fn kinds(vault: &Vault) -> Vec<BackendFindingKind> {
    let findings = vault.open_report().unwrap().backend_findings().iter();
    findings.map(|finding| finding.kind()).collect()
}

/// How many versions the records have, deleted keys not counted.
fn versions(vault: &Vault) -> usize {
    vault
        .list_key_properties()
        .map(|key| {
            let key = key.unwrap();
            vault
                .list_key_properties_versions(key.name())
                .unwrap()
                .count()
        })
        .sum()
}

/// Every operation that makes or destroys held keys; errors are passed over.
fn work(vault: &Vault) {
    let made = name("made");
    let _ = vault.create_key(&made, signer());
    let _ = vault.rotate_key(&made);
    let key = ImportedKey::oct(SecretBytes::from((1..=32).collect::<Vec<u8>>()));
    let _ = vault.import_key(&name("taken"), ImportKeyOptions::new(key).hsm());
    if let Ok(backup) = vault.backup_key(&made) {
        let _ = vault.delete_key(&made);
        let _ = vault.purge_deleted_key(&made);
        let _ = vault.restore_key(&backup);
    }
    let batch = ["first", "second"].map(|of| (name(&format!("{of}-of-a-batch")), signer()));
    let _ = vault.create_many(batch.into());
    let _ = vault.create_key(&name("gone"), signer());
    let _ = vault.delete_key(&name("gone"));
    let _ = vault.purge_deleted_key(&name("gone"));
}

#[test]
fn after_a_failure_of_any_call_the_device_holds_exactly_the_keys_of_the_records() {
    let mut most = 0;
    for call in 1.. {
        let mut quiet = 0;
        for fault in [Fault::Before, Fault::After] {
            let place = Place::new();
            let device = MemoryDevice::new(id());
            let faulty = Arc::new(FaultyBackend::new(device.clone(), id()));
            let unlock = master_key();
            let vault = place
                .options()
                .backend(Arc::clone(&faulty) as Arc<dyn KeyBackend>)
                .create(&place.path, Unlock::raw_key(&unlock))
                .unwrap();
            faulty.fail_call(call, fault);
            work(&vault);
            most = most.max(faulty.calls());
            quiet += usize::from(faulty.calls() < call);
            vault.close().unwrap();

            let vault = open_with(&place, device.clone());
            assert_eq!(kinds(&vault), [], "call {call} {fault:?}");
            let held = device.held();
            assert_eq!(held.len(), versions(&vault), "call {call} {fault:?}");
            assert!(held.iter().all(|(_, confirmed)| *confirmed));
            for key in vault.list_key_properties() {
                let key = key.unwrap();
                if key.name() != &name("taken") {
                    let algorithm = SignatureAlgorithm::Es256;
                    vault.sign_data(key.name(), algorithm, b"x").unwrap();
                }
            }
            assert!(vault.check().unwrap().is_clean());
        }
        if quiet == 2 {
            break;
        }
    }
    assert!(most >= 15, "the work made only {most} calls");
}

#[test]
fn what_a_device_that_is_away_cannot_destroy_is_destroyed_when_it_is_back() {
    let place = Place::new();
    let device = MemoryDevice::new(id());
    let vault = open_with(&place, device.clone());
    for key in ["one", "two", "kept"] {
        vault.create_key(&name(key), signer()).unwrap();
    }
    device.set_away(true);
    for key in ["one", "two"] {
        vault.delete_key(&name(key)).unwrap();
        vault.purge_deleted_key(&name(key)).unwrap();
    }
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 2));
    assert_eq!(device.held().len(), 3);
    device.set_away(false);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (2, 0));
    assert_eq!(device.held().len(), 1);
    assert_eq!(vault.reconcile_backends().unwrap(), []);
}

#[test]
fn opening_without_the_device_or_while_it_is_away_changes_nothing_and_says_so() {
    let place = Place::new();
    let device = MemoryDevice::new(id());
    let vault = open_with(&place, device.clone());
    vault.create_key(&name("kept"), signer()).unwrap();
    vault.create_key(&name("purged"), signer()).unwrap();
    device.set_away(true);
    vault.delete_key(&name("purged")).unwrap();
    vault.purge_deleted_key(&name("purged")).unwrap();
    vault.close().unwrap();

    let vault = place.open().unwrap();
    assert_eq!(kinds(&vault), [BackendFindingKind::NotAttached]);
    let error = vault
        .sign_data(&name("kept"), SignatureAlgorithm::Es256, b"x")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    vault.close().unwrap();

    let vault = open_with(&place, device.clone());
    assert_eq!(kinds(&vault), [BackendFindingKind::Unavailable]);
    // What was signed before still verifies: that needs no device.
    assert!(vault.get_key(&name("kept")).is_ok());
    vault.close().unwrap();
    assert_eq!(device.held().len(), 2);

    device.set_away(false);
    let vault = open_with(&place, device.clone());
    assert_eq!(kinds(&vault), []);
    assert_eq!(device.held().len(), 1);
    vault
        .sign_data(&name("kept"), SignatureAlgorithm::Es256, b"x")
        .unwrap();
}

#[test]
fn unknown_and_missing_keys_are_reported_and_nothing_is_deleted_for_them() {
    let place = Place::new();
    let device = MemoryDevice::new(id());
    let vault = open_with(&place, device.clone());
    vault.create_key(&name("missing"), signer()).unwrap();
    let missing = device.held()[0].0;
    device.lose(missing);
    // Made behind the vault's back, with its label.
    let label = label_of(&vault);
    let tag = KeyTag::from_bytes([9; 16]);
    let stranger = strongroom::KeySpec::Ec(Curve::P256);
    let operations = stranger.possible_operations();
    device
        .generate(&KeyRequest::new(tag, stranger, operations, &label))
        .unwrap();
    vault.close().unwrap();

    let vault = open_with(&place, device.clone());
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(
        kinds(&vault),
        [
            BackendFindingKind::UnknownKey,
            BackendFindingKind::MissingKey
        ]
    );
    assert_eq!(findings[0].tag(), Some(tag));
    assert_eq!(findings[1].tag(), Some(missing));
    assert_eq!(findings[1].key().unwrap().0, &name("missing"));
    let check = vault.check().unwrap();
    assert!(!check.is_sound(), "a missing key is a loss");
    assert_eq!(device.held().len(), 1);
    assert!(vault.get_key(&name("missing")).is_ok());
}

fn label_of(vault: &Vault) -> VaultLabel {
    let mut first = [0; 8];
    first.copy_from_slice(&vault.status().unwrap().vault_id()[..8]);
    VaultLabel::from_bytes(first)
}

/// A vault, and a copy of its directory as it was while a key was being made: the intent is on the disk, the
/// records of the key are not.
fn copied_while_making(device: &MemoryDevice) -> (Place, Place, Vault) {
    let place = Place::new();
    let copy = Place::new();
    open_with(&place, device.clone()).close().unwrap();
    let (from, to) = (place.path.clone(), copy.path.clone());
    let hooked = Hooked::new(device.clone(), move || copy_of_one_moment(&from, &to));
    let vault = open_with(&place, hooked);
    vault.create_key(&name("signer"), signer()).unwrap();
    (place, copy, vault)
}

#[test]
fn an_older_copy_of_a_vault_destroys_nothing_that_the_newer_one_uses() {
    let device = MemoryDevice::new(id());
    let (_place, copy, newer) = copied_while_making(&device);
    let older = open_with(&copy, device.clone());
    assert_eq!(
        kinds(&older),
        [
            BackendFindingKind::UsedByAnotherCopy,
            BackendFindingKind::UnknownKey
        ]
    );
    assert_eq!(versions(&older), 0);
    assert_eq!(device.held().len(), 1);
    newer
        .sign_data(&name("signer"), SignatureAlgorithm::Es256, b"x")
        .unwrap();
}

#[test]
fn a_key_whose_making_was_cut_short_is_destroyed_when_the_vault_opens() {
    let device = MemoryDevice::new(id());
    let (_place, copy, _vault) = copied_while_making(&device);
    // As if the copy were the only one: its key was never confirmed.
    let alone = MemoryDevice::new(id());
    let tag = device.held()[0].0;
    let vault = open_with(&copy, alone.clone());
    let label = label_of(&vault);
    assert_eq!(kinds(&vault), []);
    drop(vault);

    let device = MemoryDevice::new(id());
    let (_place, copy, _vault) = copied_while_making(&device);
    let other = device.held()[0].0;
    assert_ne!(tag, other);
    let spec = strongroom::KeySpec::Ec(Curve::P256);
    alone
        .generate(&KeyRequest::new(
            other,
            spec,
            spec.possible_operations(),
            &label,
        ))
        .unwrap();
    assert_eq!(alone.held(), [(other, false)]);
    let vault = open_with(&copy, alone.clone());
    assert_eq!(kinds(&vault), []);
    assert_eq!(alone.held(), []);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 0));
}

#[test]
fn a_copy_whose_anchor_was_rebuilt_settles_nothing() {
    let device = MemoryDevice::new(id());
    let (_place, copy, _vault) = copied_while_making(&device);
    fs::remove_file(copy.path.join("vault.anchor")).unwrap();
    let alone = MemoryDevice::new(id());
    let unlock = master_key();
    let vault = copy
        .options()
        .rebuild_anchor()
        .backend(Arc::new(alone.clone()))
        .open(&copy.path, Unlock::raw_key(&unlock))
        .unwrap();
    assert_eq!(kinds(&vault), [BackendFindingKind::Unsettled]);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 1));
}

fn device(serial: &str) -> MemoryDevice {
    let instance = BackendInstance::new(serial.as_bytes()).unwrap();
    MemoryDevice::new(id()).with_instance(instance)
}

#[test]
fn a_device_that_is_not_the_vaults_is_one_finding_with_the_number_of_keys() {
    let place = Place::new();
    let (own, stranger) = (device("A-1"), device("B-2"));
    let vault = open_with(&place, own.clone());
    for key in ["one", "two", "three"] {
        vault.create_key(&name(key), signer()).unwrap();
    }
    vault.rotate_key(&name("one")).unwrap();
    vault.close().unwrap();
    let vault = open_with(&place, stranger.clone());
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(kinds(&vault), [BackendFindingKind::WrongDevice]);
    assert_eq!(findings[0].key_count(), Some(4));
    let message = findings[0].message();
    assert!(message.contains("device B-2 is not the one"), "{message}");
    assert!(message.contains("A-1"), "{message}");
    assert!(!vault.check().unwrap().is_sound());
    // A key of its own is no reason to hide the others.
    vault.create_key(&name("four"), signer()).unwrap();
    let findings = vault.reconcile_backends().unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].key_count(), Some(4));
    vault.close().unwrap();
    let vault = open_with(&place, own.clone());
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(kinds(&vault), [BackendFindingKind::WrongDevice]);
    assert_eq!(findings[0].key_count(), Some(1));
    assert_eq!((own.held().len(), stranger.held().len()), (4, 1));
}

#[test]
fn a_device_that_has_lost_all_keys_is_one_finding_and_a_lost_key_among_others_is_named() {
    for new in [MemoryDevice::new(id()), device("A-1")] {
        let place = Place::new();
        let vault = open_with(&place, new.clone());
        for key in ["one", "two"] {
            vault.create_key(&name(key), signer()).unwrap();
        }
        vault.close().unwrap();
        let tags: Vec<_> = new.held().into_iter().map(|(tag, _)| tag).collect();
        new.lose(tags[0]);
        let vault = open_with(&place, new.clone());
        assert_eq!(kinds(&vault), [BackendFindingKind::MissingKey]);
        new.lose(tags[1]);
        let findings = vault.reconcile_backends().unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].kind(), BackendFindingKind::WrongDevice);
        assert_eq!(findings[0].key_count(), Some(2));
        assert!(findings[0].message().contains("initialised anew"));
        assert!(!vault.check().unwrap().is_sound());
    }
}

#[test]
fn what_was_begun_in_one_device_is_not_settled_in_another() {
    let (own, stranger) = (device("A-1"), device("B-2"));
    let (_place, copy, newer) = copied_while_making(&own);
    let tag = own.held()[0].0;
    let vault = open_with(&copy, stranger.clone());
    let findings = vault.open_report().unwrap().backend_findings();
    assert_eq!(kinds(&vault), [BackendFindingKind::Unsettled]);
    assert_eq!(findings[0].tag(), Some(tag));
    assert!(findings[0].message().contains("about device A-1"));
    assert!(findings[0].message().contains("connected to B-2"));
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 1));
    vault.close().unwrap();
    // A device of the same name that does not tell which one it is could be any.
    let vault = open_with(&copy, MemoryDevice::new(id()));
    assert_eq!(kinds(&vault), [BackendFindingKind::Unsettled]);
    vault.close().unwrap();
    let vault = open_with(&copy, own.clone());
    assert_eq!(
        kinds(&vault),
        [
            BackendFindingKind::UsedByAnotherCopy,
            BackendFindingKind::UnknownKey
        ]
    );
    assert_eq!(own.held().len(), 1);
    newer.close().unwrap();
}

#[test]
fn a_purge_waits_for_the_device_that_has_the_key() {
    let place = Place::new();
    let (own, stranger) = (device("A-1"), device("B-2"));
    let vault = open_with(&place, own.clone());
    vault.create_key(&name("gone"), signer()).unwrap();
    vault.close().unwrap();
    let vault = open_with(&place, stranger);
    vault.delete_key(&name("gone")).unwrap();
    vault.purge_deleted_key(&name("gone")).unwrap();
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 1));
    assert_eq!(own.held().len(), 1);
    vault.close().unwrap();
    let vault = open_with(&place, own.clone());
    assert_eq!(kinds(&vault), []);
    assert_eq!(own.held(), []);
}

#[test]
fn two_backends_that_lead_to_one_device_do_not_take_each_others_keys_for_unknown() {
    let place = Place::new();
    let device = MemoryDevice::new(id());
    let other = FaultyBackend::new(device.clone(), "other".parse().unwrap());
    let unlock = master_key();
    let options = || {
        place
            .options()
            .backend(Arc::new(device.clone()))
            .backend(Arc::new(FaultyBackend::new(
                device.clone(),
                "other".parse().unwrap(),
            )))
    };
    let vault = options()
        .create(&place.path, Unlock::raw_key(&unlock))
        .unwrap();
    vault.create_key(&name("one"), signer()).unwrap();
    let there = CreateKeyOptions::ec(Curve::P256).backend(other.id());
    vault.create_key(&name("two"), there).unwrap();
    vault.close().unwrap();
    let vault = options()
        .open(&place.path, Unlock::raw_key(&unlock))
        .unwrap();
    assert_eq!(kinds(&vault), []);
    assert_eq!(device.held().len(), 2);
}
