//! Security domains: new epochs, the floor below which backups die, and domains that are carried elsewhere in a file.

use std::fs;

use strongroom::{
    BackupContents, BackupKey, BackupOptions, CreateKeyOptions, Curve, ErrorKind, KeyBackup,
    Passphrase, PassphraseParameters, RecipientKey, RestoreOptions, SecurityDomain, Unlock, Vault,
};

use crate::support::{Place, master_key, memory_vault, name, refused};

const WORK: u64 = 1_048_576;

fn epochs(vault: &Vault) -> Vec<u32> {
    vault
        .domain_epochs()
        .unwrap()
        .into_iter()
        .map(strongroom::DomainEpoch::number)
        .collect()
}

fn with_key(vault: &Vault) {
    vault
        .create_key(&name("k"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
}

fn forget(vault: &Vault) {
    vault.delete_key(&name("k")).unwrap();
    vault.purge_deleted_key(&name("k")).unwrap();
}

#[test]
fn backups_of_every_epoch_open_until_the_floor_is_raised_also_after_reopening() {
    let place = Place::new();
    let vault = place.create();
    with_key(&vault);
    let mut blobs = vec![vault.backup_key(&name("k")).unwrap()];
    let first = vault.security_domain().unwrap().fingerprint();
    for epoch in 2..=4 {
        place.clock.advance_seconds(60);
        assert_eq!(vault.rotate_domain().unwrap(), epoch);
        blobs.push(vault.backup_key(&name("k")).unwrap());
    }
    assert_eq!(epochs(&vault), [1, 2, 3, 4]);
    let made: Vec<bool> = vault
        .domain_epochs()
        .unwrap()
        .iter()
        .map(|epoch| epoch.made_on().is_some())
        .collect();
    assert_eq!(made, [false, true, true, true]);
    assert_ne!(vault.security_domain().unwrap().fingerprint(), first);
    assert_eq!(vault.security_domain().unwrap().epoch(), 4);
    forget(&vault);
    vault.close().unwrap();

    let vault = place.open().unwrap();
    assert_eq!(epochs(&vault), [1, 2, 3, 4]);
    for (number, blob) in (1..).zip(&blobs) {
        let summary = KeyBackup::inspect(blob.as_bytes()).unwrap();
        assert_eq!(summary.domain_epoch(), Some(number));
        vault.restore_key(blob).unwrap();
        forget(&vault);
    }
    for wrong in [0, 5, u32::MAX] {
        assert_eq!(
            refused(vault.raise_domain_floor(wrong)),
            ErrorKind::BadParameter
        );
    }
    vault.raise_domain_floor(3).unwrap();
    assert_eq!(
        refused(vault.raise_domain_floor(2)),
        ErrorKind::BadParameter
    );
    vault.raise_domain_floor(3).unwrap();
    let judge = |vault: &Vault| {
        assert_eq!(epochs(vault), [3, 4]);
        for blob in &blobs[..2] {
            assert_eq!(refused(vault.restore_key(blob)), ErrorKind::WrongDomain);
        }
        for blob in &blobs[2..] {
            vault.restore_key(blob).unwrap();
            forget(vault);
        }
        assert!(vault.check().unwrap().is_clean());
    };
    judge(&vault);
    vault.close().unwrap();
    let vault = place.open().unwrap();
    judge(&vault);
    assert_eq!(vault.rotate_domain().unwrap(), 5);
}

#[test]
fn a_blob_of_an_epoch_that_is_gone_says_no_more_than_one_of_another_domain() {
    let (vault, _) = memory_vault();
    with_key(&vault);
    let gone = vault.backup_key(&name("k")).unwrap();
    let epoch = vault.rotate_domain().unwrap();
    vault.raise_domain_floor(epoch).unwrap();
    let (stranger, _) = memory_vault();
    with_key(&stranger);
    let foreign = stranger.backup_key(&name("k")).unwrap();
    let below = vault.restore_key(&gone).unwrap_err();
    let elsewhere = vault.restore_key(&foreign).unwrap_err();
    assert_eq!(below.kind(), ErrorKind::WrongDomain);
    assert_eq!(below.to_string(), elsewhere.to_string());
}

#[test]
fn the_old_header_does_not_bring_an_epoch_back() {
    let place = Place::new();
    let vault = place.create();
    with_key(&vault);
    let blob = vault.backup_key(&name("k")).unwrap();
    vault.close().unwrap();
    let header = place.path.join("vault.hdr");
    let before = fs::read(&header).unwrap();
    let vault = place.open().unwrap();
    let epoch = vault.rotate_domain().unwrap();
    vault.raise_domain_floor(epoch).unwrap();
    vault.close().unwrap();
    let after = fs::read(&header).unwrap();
    fs::write(&header, &before).unwrap();
    assert_eq!(refused(place.open()), ErrorKind::HeaderReplayed);
    fs::write(&header, &after).unwrap();
    let vault = place.open().unwrap();
    assert_eq!(refused(vault.restore_key(&blob)), ErrorKind::WrongDomain);
}

#[test]
fn forty_epochs_and_a_forty_first_after_the_floor_was_raised() {
    let (vault, _) = memory_vault();
    for epoch in 2..=40 {
        assert_eq!(vault.rotate_domain().unwrap(), epoch);
    }
    assert_eq!(refused(vault.rotate_domain()), ErrorKind::TooLarge);
    assert_eq!(vault.domain_epochs().unwrap().len(), 40);
    vault.raise_domain_floor(2).unwrap();
    assert_eq!(vault.rotate_domain().unwrap(), 41);
    assert_eq!(vault.domain_epochs().unwrap().len(), 40);
    assert_eq!(refused(vault.rotate_domain()), ErrorKind::TooLarge);
}

#[test]
fn a_domain_travels_in_a_file_to_whom_it_is_sealed() {
    let (first, _) = memory_vault();
    with_key(&first);
    let old = first.backup_key(&name("k")).unwrap();
    first.rotate_domain().unwrap();
    let new = first.backup_key(&name("k")).unwrap();
    let key = RecipientKey::generate().unwrap();
    let secret = Passphrase::new("a quiet morning").unwrap();
    let cheap = PassphraseParameters::new(19_456, 1, 1).unwrap();
    let options = BackupOptions::new()
        .recipient(&key.recipient())
        .passphrase(&secret)
        .passphrase_parameters(cheap);
    let file = first.export_domain(&options).unwrap();
    let summary = KeyBackup::inspect(file.as_bytes()).unwrap();
    assert_eq!(summary.contents(), BackupContents::SecurityDomain);
    assert_eq!((summary.domain_id(), summary.recipient_count()), (None, 1));
    assert_eq!(
        refused(first.export_domain(&BackupOptions::new())),
        ErrorKind::BadParameter
    );
    let expected = first.security_domain().unwrap().fingerprint();
    let master = master_key();
    for by in [BackupKey::recipient(&key), BackupKey::passphrase(&secret)] {
        let place = Place::new();
        let init = |by, fingerprint: &[u8; 32], file: &[u8]| {
            let unlock = Unlock::raw_key(&master);
            place
                .options()
                .init_in_domain(&place.path, unlock, file, by, fingerprint)
        };
        let mut wrong = expected;
        wrong[0] ^= 1;
        assert_eq!(
            refused(init(by, &wrong, file.as_bytes())),
            ErrorKind::WrongDomain
        );
        assert_eq!(
            refused(init(by, &expected, old.as_bytes())),
            ErrorKind::InvalidBackup
        );
        let stranger = RecipientKey::generate().unwrap();
        assert_eq!(
            refused(init(
                BackupKey::recipient(&stranger),
                &expected,
                file.as_bytes()
            )),
            ErrorKind::WrongKey
        );
        assert!(!place.path.exists(), "a refusal leaves nothing behind");
        let second = init(by, &expected, file.as_bytes()).unwrap();
        assert_eq!(second.security_domain().unwrap().fingerprint(), expected);
        assert_eq!(epochs(&second), [1, 2]);
        for blob in [&old, &new] {
            second.restore_key(blob).unwrap();
            forget(&second);
        }
        second.close().unwrap();
        place.open().unwrap().restore_key(&new).unwrap();
    }
    // A domain file is no backup, whoever opens it.
    let options = RestoreOptions::new()
        .recipient_key(&key)
        .accept_unauthenticated(true);
    assert_eq!(
        refused(first.restore_key_with(&file, &options)),
        ErrorKind::InvalidBackup
    );
}

#[test]
fn every_altered_byte_of_a_domain_file_is_refused() {
    let (vault, _) = memory_vault();
    let key = RecipientKey::generate().unwrap();
    let options = BackupOptions::new().recipient(&key.recipient());
    let file = vault.export_domain(&options).unwrap().into_bytes();
    let expected = vault.security_domain().unwrap().fingerprint();
    let open =
        |file: &[u8]| SecurityDomain::open(file, BackupKey::recipient(&key), &expected, WORK);
    open(&file).unwrap();
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1 << (at % 8);
        let kind = refused(open(&altered));
        let legal = match kind {
            ErrorKind::InvalidBackup => true,
            ErrorKind::NewerFormat => (8..12).contains(&at) || (64..66).contains(&at),
            ErrorKind::WrongKey => (32..48).contains(&at) || (72..152).contains(&at),
            _ => false,
        };
        assert!(legal, "byte {at}: {kind:?}");
        assert_eq!(refused(open(&file[..at])), ErrorKind::InvalidBackup);
    }
}

#[test]
fn sister_vaults_take_over_new_epochs_but_not_those_that_were_made_twice() {
    let place = Place::new();
    let (first, _) = memory_vault();
    let master = master_key();
    let second = place
        .options()
        .create_in_domain(
            &place.path,
            Unlock::raw_key(&master),
            &first.security_domain().unwrap(),
        )
        .unwrap();
    with_key(&first);
    first.rotate_domain().unwrap();
    let blob = first.backup_key(&name("k")).unwrap();
    assert_eq!(refused(second.restore_key(&blob)), ErrorKind::WrongDomain);
    second
        .update_domain(&first.security_domain().unwrap())
        .unwrap();
    second
        .update_domain(&first.security_domain().unwrap())
        .unwrap();
    assert_eq!(epochs(&second), [1, 2]);
    second.restore_key(&blob).unwrap();
    // What was given up here stays given up.
    second.raise_domain_floor(2).unwrap();
    first.rotate_domain().unwrap();
    second
        .update_domain(&first.security_domain().unwrap())
        .unwrap();
    assert_eq!(epochs(&second), [2, 3]);
    first.rotate_domain().unwrap();
    second.rotate_domain().unwrap();
    assert_eq!(
        refused(second.update_domain(&first.security_domain().unwrap())),
        ErrorKind::WrongDomain
    );
    let (stranger, _) = memory_vault();
    assert_eq!(
        refused(second.update_domain(&stranger.security_domain().unwrap())),
        ErrorKind::WrongDomain
    );
    second.close().unwrap();
    assert_eq!(epochs(&place.open().unwrap()), [2, 3, 4]);
}
