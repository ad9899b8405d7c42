//! What remains of purged keys in the raw files of a vault.

use std::fs;
use std::path::Path;

use super::{Operation, Vault, VaultOptions};
use crate::format::key_object;
use crate::format::record::{Class, IndexKey, SealedRecord};
use crate::model::name::KeyName;
use crate::model::options::CreateKeyOptions;
use crate::model::spec::Curve;
use crate::seal::slot::Unlock;
use crate::secret::MasterKey;

const MAGIC: &[u8] = b"SRMR";

/// The sealed key objects that stand anywhere in the vault's files, current or not. A record of this size has
/// one part, and the storage engine keeps values as they are.
fn key_objects_in_files(directory: &Path) -> Vec<SealedRecord> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(key_objects_in_files(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len().saturating_sub(16) {
            if &bytes[at..at + 4] != MAGIC || bytes[at + 6] != Class::KeyObject.byte() {
                continue;
            }
            let body = u32::from_be_bytes(bytes[at + 12..at + 16].try_into().unwrap()) as usize;
            let Some(record) = bytes.get(at..at + 16 + body) else {
                continue;
            };
            if let Ok(record) = SealedRecord::parse(record.to_vec()) {
                found.push(record);
            }
        }
    }
    found
}

/// How many of the records are this key's and open with a key that the vault still has.
fn readable(vault: &Vault, records: &[SealedRecord], name: &KeyName) -> usize {
    let inner = &vault.inner;
    let ring = inner.header.rings().kek;
    let index = IndexKey::key_object(inner.hierarchy.name_prf(name));
    let keys = [
        Some(&ring.current_key),
        ring.previous.as_ref().map(|(_, key)| key),
    ];
    let mut readable = 0;
    for record in records {
        for key in keys.into_iter().flatten() {
            if let Ok(plaintext) = inner.hierarchy.open_record(key, &index, record) {
                let (_, object) = key_object::decode(&plaintext).unwrap();
                assert_eq!(object.name, *name);
                readable += 1;
            }
        }
    }
    readable
}

/// T5: a thief who has the files and the master key after a purge.
#[test]
fn t5_no_file_of_the_vault_holds_a_readable_copy_of_a_shredded_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    let master = MasterKey::generate().unwrap();
    let vault = VaultOptions::new()
        .create(&path, Unlock::raw_key(&master))
        .unwrap();
    let purged: Vec<KeyName> = (0..12)
        .map(|number| format!("purged-{number}").parse().unwrap())
        .collect();
    let kept = KeyName::from_static("kept");
    vault
        .create_key(&kept, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    for name in &purged {
        vault
            .create_key(name, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault.delete_key(name).unwrap();
        // The purge without its second half.
        vault
            .act(Operation::PurgeDeletedKey, name, |act| {
                act.inner().purge(act, name)
            })
            .unwrap();
    }
    // Until then the last of them are in the journal alone, sealed once more.
    vault.close().unwrap();
    let vault = VaultOptions::new()
        .open(&path, Unlock::raw_key(&master))
        .unwrap();
    assert!(vault.status().unwrap().shred_pending());

    let before = key_objects_in_files(&path);
    let found = |vault: &Vault, records: &[SealedRecord]| -> usize {
        purged
            .iter()
            .map(|name| readable(vault, records, name))
            .sum()
    };
    assert!(
        found(&vault, &before) >= purged.len(),
        "the search finds too little"
    );

    vault.rotate_kek().unwrap();
    assert!(!vault.status().unwrap().shred_pending());
    assert_eq!(found(&vault, &before), 0);
    vault.close().unwrap();
    let vault = VaultOptions::new()
        .open(&path, Unlock::raw_key(&master))
        .unwrap();
    let after = key_objects_in_files(&path);
    assert!(
        after.len() >= purged.len(),
        "the old records are gone from the files, so this proves nothing"
    );
    assert_eq!(found(&vault, &after), 0);
    assert_eq!(found(&vault, &before), 0);
    assert!(readable(&vault, &after, &kept) > 0);
}
