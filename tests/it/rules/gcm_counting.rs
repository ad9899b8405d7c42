//! What can be seen of the count of GCM encryptions from outside. The limit itself, 3,865,470,566
//! encryptions, is out of reach here; the tests of `vault::gcm` start just below it.

use std::collections::HashSet;

use strongroom::{
    Ciphertext, EncryptOptions, EncryptionAlgorithm, ErrorKind, OctKeySize, UpdateKeyOptions, Vault,
};

use crate::make::{self, Home};
use crate::support::{Place, memory_vault, name, refused};

const GCM: EncryptionAlgorithm = EncryptionAlgorithm::A256Gcm;

fn encrypt(vault: &Vault) -> strongroom::Result<strongroom::EncryptResult> {
    vault.encrypt(&name("k"), GCM, b"x", EncryptOptions::new())
}

fn add_key(vault: &Vault) {
    vault
        .create_key(&name("k"), make::oct(OctKeySize::Bits256).backup_allowed())
        .unwrap();
}

#[test]
fn no_iv_comes_twice() {
    let (vault, _clock) = memory_vault();
    add_key(&vault);
    let ivs: HashSet<Vec<u8>> = (0..5_000)
        .map(|_| encrypt(&vault).unwrap().iv().unwrap().to_vec())
        .collect();
    assert_eq!(ivs.len(), 5_000);
}

#[test]
fn counting_writes_ahead_and_seldom() {
    let (vault, _clock) = memory_vault();
    add_key(&vault);
    let generation = || vault.status().unwrap().generation();
    let start = generation();
    encrypt(&vault).unwrap();
    assert_eq!(generation(), start + 1, "before the first encryption");
    for _ in 1..256 {
        encrypt(&vault).unwrap();
    }
    assert_eq!(generation(), start + 1, "256 were reserved");
    for _ in 0..512 {
        encrypt(&vault).unwrap();
    }
    assert_eq!(generation(), start + 2, "then 512");
    encrypt(&vault).unwrap();
    assert_eq!(generation(), start + 3);
}

#[test]
fn what_does_not_encrypt_does_not_count() {
    let (vault, _clock) = memory_vault();
    add_key(&vault);
    let sealed = encrypt(&vault).unwrap();
    let generation = vault.status().unwrap().generation();
    for _ in 0..600 {
        vault
            .decrypt(&name("k"), GCM, Ciphertext::from(&sealed))
            .unwrap();
        vault
            .encrypt(
                &name("k"),
                EncryptionAlgorithm::A256CbcPad,
                b"x",
                EncryptOptions::new(),
            )
            .unwrap();
    }
    assert_eq!(vault.status().unwrap().generation(), generation);
    vault
        .update_key_properties(&name("k"), UpdateKeyOptions::new().enabled(false))
        .unwrap();
    let generation = vault.status().unwrap().generation();
    for _ in 0..600 {
        assert_eq!(refused(encrypt(&vault)), ErrorKind::KeyDisabled);
    }
    assert_eq!(vault.status().unwrap().generation(), generation);
}

#[test]
fn counters_come_and_go_with_their_key() {
    let home = Home::new();
    let place = Place::in_home(&home);
    let vault = place.create();
    add_key(&vault);
    encrypt(&vault).unwrap();
    assert_eq!(
        vault.status().unwrap().record_count(),
        3,
        "key, version, counter"
    );
    vault.rotate_key(&name("k")).unwrap();
    encrypt(&vault).unwrap();
    assert_eq!(vault.status().unwrap().record_count(), 5);
    vault.close().unwrap();
    drop(vault);
    let vault = place.open().unwrap();
    encrypt(&vault).unwrap();
    let backup = home.backup(&vault, &name("k"));
    vault.delete_key(&name("k")).unwrap();
    vault.recover_deleted_key(&name("k")).unwrap();
    encrypt(&vault).unwrap();
    vault.delete_key(&name("k")).unwrap();
    vault.purge_deleted_key(&name("k")).unwrap();
    assert_eq!(vault.status().unwrap().record_count(), 0);
    if let Some(backup) = backup {
        vault.restore_key(&backup).unwrap();
        assert_eq!(
            vault.status().unwrap().record_count(),
            5,
            "counts are part of a backup"
        );
        encrypt(&vault).unwrap();
    }
    assert!(vault.check().unwrap().is_clean());
}
