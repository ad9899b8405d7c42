//! Vectors of our own: backups and headers with one failure each, and good ones. Every build reads what they hold, and
//! refuses what is wrong with the same kind of error. `data/vectors/README.md` tells of their making.

mod generate;
mod independent;
mod policies;
mod streams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use strongroom::{
    Clock, KeyBackup, Passphrase, Permission, Permissions, RecipientKey, RestoreOptions, Unlock,
    Vault, VaultOptions,
};

use crate::image::{Image, read_image, scratch, write_image};
use crate::support::{FakeClock, hex, master_key, name, variable};

/// The limit on the hash of a passphrase under which all vectors are opened.
const MAX_WORK_KIB: u64 = 40_000;

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/data/vectors")
        .join(file)
}

/// The vault whose header and domain the vectors are made from.
fn golden() -> Image {
    read_image(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/aes-256-gcm/vault"))
}

fn options() -> VaultOptions {
    VaultOptions::new().clock(FakeClock::new() as Arc<dyn Clock>)
}

fn read(file: &str) -> Value {
    let path = data(file);
    if variable("STRONGROOM_WRITE_VECTORS").is_some() && !path.exists() {
        generate::write(file, &path);
    }
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn told<T>(result: strongroom::Result<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Compares every vector's outcome with its expectation; how many there were of each.
fn judge(vectors: &Value, outcome: impl FnMut(&Value) -> String) -> BTreeMap<String, usize> {
    judge_by("expect", vectors, outcome)
}

/// As [`judge`], with this member as the expectation.
fn judge_by(
    member: &str,
    vectors: &Value,
    mut outcome: impl FnMut(&Value) -> String,
) -> BTreeMap<String, usize> {
    let mut wrong = Vec::new();
    let mut counts = BTreeMap::new();
    let mut names = std::collections::BTreeSet::new();
    for vector in vectors["vectors"].as_array().unwrap() {
        let title = vector["name"].as_str().unwrap();
        assert!(names.insert(title), "{title} stands twice");
        let expected = vector[member].as_str().unwrap();
        let met = outcome(vector);
        if met != expected {
            wrong.push(format!("{title}: {met}, expected {expected}"));
        }
        *counts.entry(expected.to_owned()).or_insert(0) += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    counts
}

fn restore(vault: &Vault, vector: &Value, key: &RecipientKey, secret: &Passphrase) -> String {
    let blob = STANDARD.decode(vector["blob"].as_str().unwrap()).unwrap();
    let by = vector["open"].as_str().unwrap();
    let options = RestoreOptions::new().max_kdf_work_kib(MAX_WORK_KIB);
    let other_key = RecipientKey::from_bytes(&[0x77; 32]).unwrap();
    let other_secret = Passphrase::new("another one").unwrap();
    let options = match by {
        "domain" => options,
        "recipient" | "recipient, not accepted" => options.recipient_key(key),
        "other recipient" => options.recipient_key(&other_key),
        "passphrase" => options.passphrase(secret),
        "other passphrase" => options.passphrase(&other_secret),
        other => panic!("no such way to open: {other}"),
    };
    let options = options.accept_unauthenticated(by != "recipient, not accepted");
    let before = vault.status().unwrap().record_count();
    let restored = vault.restore_key_with(&blob, &options);
    if restored.is_ok() {
        let rotation = vault.get_key_rotation_policy(&name("v")).unwrap();
        let rotation = serde_json::to_value(rotation.policy()).unwrap();
        let release = vault.get_key(&name("v")).unwrap();
        let release = serde_json::to_value(release.properties().release_policy()).unwrap();
        for (member, restored) in [("rotation_policy", rotation), ("release_policy", release)] {
            if let Some(expected) = vector.get(member) {
                assert_eq!(&restored, expected, "{}", vector["name"]);
            }
        }
        vault.delete_key(&name("v")).unwrap();
        vault.purge_deleted_key(&name("v")).unwrap();
    } else {
        // Inspection may succeed where opening does not; it never panics and never says more.
        let _ = KeyBackup::inspect(&blob);
    }
    assert_eq!(vault.status().unwrap().record_count(), before);
    told(restored)
}

#[test]
fn backups() {
    let counts = backups_of("backups.json");
    assert!(counts.values().sum::<usize>() >= 100, "{counts:?}");
    assert!(counts["ok"] >= 6 && counts.len() >= 8, "{counts:?}");
}

#[test]
fn backups_of_the_second_edition() {
    let counts = backups_of("backups-2.json");
    assert!(counts.values().sum::<usize>() >= 40, "{counts:?}");
    assert!(counts["ok"] >= 6 && counts.len() == 3, "{counts:?}");
}

/// How many there were of each outcome.
fn backups_of(file: &str) -> BTreeMap<String, usize> {
    let vectors = read(file);
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &golden());
    let vault = options()
        .open(&path, Unlock::raw_key(&master_key()))
        .unwrap();
    let target = options()
        .create_in_domain(
            directory.path().join("target"),
            Unlock::raw_key(&master_key()),
            &vault.security_domain().unwrap(),
        )
        .unwrap();
    let key = RecipientKey::from_bytes(&hex(vectors["recipient"].as_str().unwrap())).unwrap();
    let secret = Passphrase::new(vectors["passphrase"].as_str().unwrap()).unwrap();
    let counts = judge(&vectors, |vector| restore(&target, vector, &key, &secret));
    assert!(target.check().unwrap().is_clean());
    counts
}

#[test]
fn streams() {
    let vectors = read("streams.json");
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &golden());
    let domain = options()
        .open(&path, Unlock::raw_key(&master_key()))
        .unwrap()
        .security_domain()
        .unwrap();
    let key = RecipientKey::from_bytes(&hex(vectors["recipient"].as_str().unwrap())).unwrap();
    let target = options()
        .create_in_domain(
            directory.path().join("target"),
            Unlock::raw_key(&master_key()),
            &domain,
        )
        .unwrap();
    let counts = judge(&vectors, |vector| {
        let stream = STANDARD.decode(vector["stream"].as_str().unwrap()).unwrap();
        let options = match vector["open"].as_str().unwrap() {
            "domain" => RestoreOptions::new(),
            _ => RestoreOptions::new()
                .recipient_key(&key)
                .accept_unauthenticated(true),
        };
        let restored = target.restore_all_from(&stream[..], &options, |_| ());
        if let Ok(report) = &restored {
            assert_eq!(report.restored() + report.present(), 2);
            assert!(report.conflicts().is_empty());
            for key in ["a", "b"] {
                target.get_key(&name(key)).unwrap();
            }
        }
        told(restored)
    });
    assert!(counts["ok"] >= 6 && counts.len() >= 3, "{counts:?}");
    assert!(target.check().unwrap().is_clean());
}

#[test]
fn streams_of_the_second_edition() {
    let vectors = read("streams-2.json");
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &golden());
    let domain = options()
        .open(&path, Unlock::raw_key(&master_key()))
        .unwrap()
        .security_domain()
        .unwrap();
    let key = RecipientKey::from_bytes(&hex(vectors["recipient"].as_str().unwrap())).unwrap();
    let create = |place: &str| {
        options()
            .create_in_domain(
                directory.path().join(place),
                Unlock::raw_key(&master_key()),
                &domain,
            )
            .unwrap()
    };
    for with_settings in [false, true] {
        let target = create(if with_settings { "with" } else { "without" });
        let before = target.algorithm_rules();
        let member = if with_settings {
            "expect_with_settings"
        } else {
            "expect"
        };
        let counts = judge_by(member, &vectors, |vector| {
            let stream = STANDARD.decode(vector["stream"].as_str().unwrap()).unwrap();
            let options = match vector["open"].as_str().unwrap() {
                "domain" => RestoreOptions::new(),
                _ => RestoreOptions::new()
                    .recipient_key(&key)
                    .accept_unauthenticated(true),
            };
            let options = if with_settings {
                options.restore_settings()
            } else {
                options
            };
            let planned = target.restore_all_plan(&stream[..], &options, |_| ());
            let restored = target.restore_all_from(&stream[..], &options, |_| ());
            assert_eq!(
                planned.is_ok(),
                restored.is_ok(),
                "a plan tells what a restore does"
            );
            if let Ok(report) = &restored {
                assert_eq!(report.restored() + report.present(), 3);
                assert!(report.conflicts().is_empty());
                for key in ["a", "b"] {
                    target.get_key(&name(key)).unwrap();
                }
                target.get_deleted_key(&name("c")).unwrap();
            }
            told(restored)
        });
        assert!(counts["ok"] >= 8 && counts.len() >= 3, "{counts:?}");
        assert_eq!(target.algorithm_rules() != before, with_settings);
        if with_settings {
            let refused = target.algorithm_rules();
            assert!(refused.refused().eq(["RSA1_5", "RSNULL"]));
            let deletion = target.deletion_settings();
            assert_eq!(deletion.soft_delete().recoverable_days(), 30);
            assert!(!deletion.purge_protection());
            let audit = target.audit_options().unwrap();
            assert!(audit.is_on());
            let policies = target.access_policies().unwrap();
            let billing = &policies[&"billing".parse().unwrap()];
            let expected = Permissions::from([Permission::Get, Permission::Sign])
                .for_names(["b*".parse().unwrap()])
                .unwrap();
            assert_eq!((policies.len(), billing), (1, &expected));
        }
        assert!(target.check().unwrap().is_clean());
    }
}

/// `vault.hdr` as the vector has it.
fn header(base: &[u8], vector: &Value) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for edit in vector["edits"].as_array().unwrap() {
        let at = usize::try_from(edit[0].as_u64().unwrap()).unwrap();
        let new = hex(edit[1].as_str().unwrap());
        bytes[at..at + new.len()].copy_from_slice(&new);
    }
    if let Some(length) = vector["length"].as_u64() {
        bytes.resize(usize::try_from(length).unwrap(), 0);
    }
    bytes
}

#[test]
fn headers() {
    let vectors = read("headers.json");
    let mut image = golden();
    let file = PathBuf::from("vault.hdr");
    let base = image[&file].clone();
    let directory = scratch();
    let counts = judge(&vectors, |vector| {
        let path = directory.path().join("vault");
        image.insert(file.clone(), header(&base, vector));
        write_image(&path, &image);
        let opened = options().open(&path, Unlock::raw_key(&master_key()));
        if let Ok(vault) = &opened {
            assert_eq!(vault.status().unwrap().vault_id()[..], base[16..32]);
            vault.get_key(&name("ec-p256")).unwrap();
            let report = vault.check().unwrap();
            assert!(report.is_sound(), "{report:?}");
            vault.close().unwrap();
            let [first, second] = copies(&std::fs::read(path.join("vault.hdr")).unwrap());
            assert_eq!(first, second, "opening makes the copies equal");
        } else {
            let untouched = std::fs::read(path.join("vault.hdr")).unwrap();
            assert_eq!(untouched, image[&file], "a refusal changes nothing");
        }
        let told = told(opened);
        std::fs::remove_dir_all(&path).unwrap();
        told
    });
    assert!(counts.values().sum::<usize>() >= 50, "{counts:?}");
    assert!(counts["ok"] >= 4 && counts.len() >= 6, "{counts:?}");
}

fn copies(file: &[u8]) -> [Vec<u8>; 2] {
    let half = 20_480;
    [file[..half].to_vec(), file[half..2 * half].to_vec()]
}
