//! Vaults and backups that earlier builds wrote, kept for ever: this build opens them, and every key in them does
//! what it did.
//!
//! `tests/golden/v1/<case>/` holds the files of a closed vault (`vault/`), a backup of each key (`backups/`) and
//! what is true of them (`facts.json`). To write them anew, which is right only before a release that has written
//! this format:
//!
//! ```text
//! rm -r tests/golden/v1
//! STRONGROOM_WRITE_GOLDEN=1 cargo test --test it golden::
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use strongroom::{
    Ciphertext, Clock, CreateKeyOptions, Curve, EncryptOptions, ErrorKind, ImportKeyOptions,
    ImportedKey, KeyIdentifier, KeyName, KeyOperation, OctKeySize, Passphrase,
    PassphraseParameters, RsaKeySize, SecretBytes, SoftDelete, Timestamp, Unlock, UpdateKeyOptions,
    Vault, VaultOptions,
};

use crate::image::{read_image, scratch, write_image};
use crate::support::{FakeClock, START_MS, hex, master_key, name, variable};

const TEXT: &[u8] = b"thirty-two bytes of plain text !";
const AAD: &[u8] = b"row 7";
const PASSPHRASE: &str = "correct horse battery staple";

#[derive(Clone, Copy)]
struct Case {
    directory: &'static str,
    chacha: bool,
    passphrase: bool,
}

const CASES: [Case; 3] = [
    Case {
        directory: "aes-256-gcm",
        chacha: false,
        passphrase: false,
    },
    Case {
        directory: "chacha20-poly1305",
        chacha: true,
        passphrase: false,
    },
    Case {
        directory: "passphrase",
        chacha: false,
        passphrase: true,
    },
];

impl Case {
    fn path(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/v1")
            .join(self.directory)
    }

    fn options(self) -> VaultOptions {
        let options = VaultOptions::new()
            .clock(FakeClock::new() as Arc<dyn Clock>)
            .soft_delete(SoftDelete::days(30).unwrap())
            .passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap());
        if self.chacha {
            options.chacha20_poly1305()
        } else {
            options
        }
    }

    fn unlocked<T>(self, work: impl FnOnce(Unlock<'_>) -> T) -> T {
        if self.passphrase {
            work(Unlock::passphrase(&Passphrase::new(PASSPHRASE).unwrap()))
        } else {
            work(Unlock::raw_key(&master_key()))
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the keys of a golden vault, three versions of some, and uses each version in every way it has.
fn fill(vault: &Vault) -> Vec<Value> {
    let mut facts = Vec::new();
    for (key, curve, algorithm) in [
        ("ec-p256", Curve::P256, "ES256"),
        ("ec-p384", Curve::P384, "ES384"),
        ("ec-p521", Curve::P521, "ES512"),
        ("ec-p256k", Curve::P256K, "ES256K"),
    ] {
        let options = CreateKeyOptions::ec(curve)
            .tag("team", "billing")
            .tag("größe", "klein");
        vault.create_key(&name(key), options).unwrap();
        for _ in 0..2 {
            facts.push(signature(vault, key, algorithm));
            vault.rotate_key(&name(key)).unwrap();
        }
        facts.push(signature(vault, key, algorithm));
    }

    vault
        .create_key(&name("rsa"), CreateKeyOptions::rsa(RsaKeySize::Bits2048))
        .unwrap();
    for version in 0..2 {
        if version == 1 {
            vault.rotate_key(&name("rsa")).unwrap();
        }
        facts.push(signature(vault, "rsa", "RS256"));
        facts.push(signature(vault, "rsa", "PS512"));
        facts.push(ciphertext(vault, "rsa", "RSA-OAEP-256"));
        facts.push(wrapped(vault, "rsa", "RSA-OAEP"));
    }

    for size in OctKeySize::ALL {
        let bits = size.bits();
        let key = format!("oct-{bits}");
        vault
            .create_key(&name(&key), CreateKeyOptions::oct(size))
            .unwrap();
        for version in 0..2 {
            if version == 1 {
                vault.rotate_key(&name(&key)).unwrap();
            }
            facts.push(ciphertext(vault, &key, &format!("A{bits}GCM")));
            facts.push(ciphertext(vault, &key, &format!("A{bits}CBCPAD")));
            facts.push(wrapped(vault, &key, &format!("A{bits}KW")));
        }
    }

    let secret = SecretBytes::from((1..=64).collect::<Vec<u8>>());
    let imported = ImportKeyOptions::new(ImportedKey::oct(secret));
    vault.import_key(&name("hmac"), imported).unwrap();
    for algorithm in ["HS256", "HS384", "HS512"] {
        facts.push(signature(vault, "hmac", algorithm));
    }
    // The key of RFC 7515, appendix A.3.1.
    let jwk = br#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    let imported = ImportKeyOptions::new(ImportedKey::from_jwk(jwk).unwrap());
    vault.import_key(&name("imported"), imported).unwrap();
    facts.push(signature(vault, "imported", "ES256"));

    let now = Timestamp::from_unix_seconds(START_MS / 1_000);
    let options = CreateKeyOptions::ec(Curve::P256)
        .operations([KeyOperation::Sign, KeyOperation::Verify])
        .not_before(now.plus_days(1))
        .expires_on(now.plus_days(2));
    vault.create_key(&name("limited"), options).unwrap();
    let off = UpdateKeyOptions::new().enabled(false);
    vault
        .create_key(&name("disabled"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.update_key_properties(&name("disabled"), off).unwrap();

    vault
        .create_key(&name("deleted"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    facts.push(signature(vault, "deleted", "ES256"));
    vault
        .create_key(&name("purged"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.delete_key(&name("purged")).unwrap();
    vault.purge_deleted_key(&name("purged")).unwrap();
    let rules = vault.algorithm_rules().refuse("RSA1_5").unwrap();
    vault.set_algorithm_rules(rules).unwrap();
    facts
}

fn signature(vault: &Vault, key: &str, algorithm: &str) -> Value {
    let algorithm = algorithm.parse().unwrap();
    let signed = vault.sign_data(&name(key), algorithm, TEXT).unwrap();
    json!({
        "use": "verify", "key": signed.key_id().to_string(), "alg": algorithm.to_string(),
        "value": to_hex(signed.signature()),
    })
}

fn ciphertext(vault: &Vault, key: &str, algorithm: &str) -> Value {
    let algorithm: strongroom::EncryptionAlgorithm = algorithm.parse().unwrap();
    let aad: &[u8] = if algorithm.is_authenticated() {
        AAD
    } else {
        b""
    };
    let options = EncryptOptions::new().aad(aad);
    let sealed = vault.encrypt(&name(key), algorithm, TEXT, options).unwrap();
    json!({
        "use": "decrypt", "key": sealed.key_id().to_string(), "alg": algorithm.to_string(),
        "value": to_hex(sealed.ciphertext()),
        "iv": sealed.iv().map(to_hex), "tag": sealed.tag().map(to_hex), "aad": to_hex(aad),
    })
}

fn wrapped(vault: &Vault, key: &str, algorithm: &str) -> Value {
    let algorithm = algorithm.parse().unwrap();
    let wrapped = vault.wrap_key(&name(key), algorithm, TEXT).unwrap();
    json!({
        "use": "unwrap", "key": wrapped.key_id().to_string(), "alg": algorithm.to_string(),
        "value": to_hex(wrapped.wrapped_key()),
    })
}

/// Does what the fact says and compares.
fn hold(vault: &Vault, fact: &Value) {
    let text = |member: &str| fact[member].as_str().unwrap();
    let id: KeyIdentifier = text("key").parse().unwrap();
    let value = hex(text("value"));
    match text("use") {
        "verify" => vault
            .verify_data(&id, text("alg").parse().unwrap(), TEXT, &value)
            .unwrap_or_else(|error| panic!("{fact}: {error}")),
        "decrypt" => {
            let optional = |member: &str| fact[member].as_str().map(hex);
            let (iv, tag, aad) = (optional("iv"), optional("tag"), hex(text("aad")));
            let mut sealed = Ciphertext::new(&value).aad(&aad);
            if let Some(iv) = &iv {
                sealed = sealed.iv(iv);
            }
            if let Some(tag) = &tag {
                sealed = sealed.tag(tag);
            }
            let opened = vault
                .decrypt(&id, text("alg").parse().unwrap(), sealed)
                .unwrap_or_else(|error| panic!("{fact}: {error}"));
            assert_eq!(opened.expose(), TEXT, "{fact}");
        }
        "unwrap" => {
            let key = vault
                .unwrap_key(&id, text("alg").parse().unwrap(), &value)
                .unwrap_or_else(|error| panic!("{fact}: {error}"));
            assert_eq!(key.expose(), TEXT, "{fact}");
        }
        other => panic!("no such use: {other}"),
    }
}

/// What a vault tells of a key: every member by itself, because no `Debug` output is a format.
fn portrait(vault: &Vault, key: &KeyName) -> Value {
    let bundle = vault.get_key(key).unwrap();
    let versions: Vec<Value> = vault
        .list_key_properties_versions(key)
        .unwrap()
        .map(|version| {
            json!({
                "version": version.version().to_string(),
                "enabled": version.enabled(),
                "not_before": version.not_before().map(Timestamp::unix_seconds),
                "expires_on": version.expires_on().map(Timestamp::unix_seconds),
                "created": version.created_on().unix_seconds(),
                "updated": version.updated_on().unix_seconds(),
                "tags": version.tags().iter().map(|(name, value)| json!([name, value]))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let public = serde_json::to_value(bundle.key()).unwrap();
    json!({ "name": key.to_string(), "jwk": public, "versions": versions })
}

fn names(vault: &Vault) -> Vec<KeyName> {
    let mut names: Vec<KeyName> = vault
        .list_key_properties()
        .map(|key| key.unwrap().name().clone())
        .collect();
    names.sort_by_key(ToString::to_string);
    names
}

fn write(case: Case) {
    let directory = scratch();
    let path = directory.path().join("vault");
    let vault = case
        .unlocked(|unlock| case.options().create(&path, unlock))
        .unwrap();
    let facts = fill(&vault);
    let portraits: Vec<Value> = names(&vault)
        .iter()
        .map(|key| portrait(&vault, key))
        .collect();
    let target = case.path();
    fs::create_dir_all(target.join("backups")).unwrap();
    for key in names(&vault) {
        let blob = vault.backup_key(&key).unwrap();
        let file = target.join("backups").join(format!("{key}.blob"));
        fs::write(file, blob.as_bytes()).unwrap();
    }
    vault.delete_key(&name("deleted")).unwrap();
    vault.close().unwrap();
    drop(vault);
    for (file, bytes) in read_image(&path) {
        let file = target.join("vault").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    let facts = json!({ "facts": facts, "keys": portraits });
    let text = serde_json::to_string_pretty(&facts).unwrap();
    fs::write(target.join("facts.json"), text).unwrap();
}

/// Whatever is in the golden directory works as it did when it was written.
fn judge(case: Case) {
    if variable("STRONGROOM_WRITE_GOLDEN").is_some() && !case.path().exists() {
        write(case);
    }
    let text = fs::read(case.path().join("facts.json")).unwrap();
    let truth: Value = serde_json::from_slice(&text).unwrap();
    let facts = truth["facts"].as_array().unwrap();
    let keys = truth["keys"].as_array().unwrap();
    assert!(facts.len() >= 40 && keys.len() >= 12);

    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &read_image(&case.path().join("vault")));
    let vault = case
        .unlocked(|unlock| case.options().open(&path, unlock))
        .unwrap();
    assert!(
        vault.open_report().unwrap().is_clean(),
        "{:?}",
        vault.open_report().unwrap()
    );
    let report = vault.check().unwrap();
    assert!(report.is_clean(), "{report:?}");

    let settings = vault.deletion_settings();
    assert_eq!(settings.soft_delete(), SoftDelete::days(30).unwrap());
    assert!(!settings.purge_protection());
    let rules = vault.algorithm_rules();
    assert!(rules.refused().any(|algorithm| algorithm == "RSA1_5"));

    let deleted = vault.get_deleted_key(&name("deleted")).unwrap();
    assert_eq!(deleted.deleted_on().unix_seconds(), START_MS / 1_000);
    vault.recover_deleted_key(&name("deleted")).unwrap();
    let gone = vault.get_key(&name("purged")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::KeyNotFound);

    assert_eq!(names(&vault).len(), keys.len());
    for key in keys {
        assert_eq!(portrait(&vault, &name(key["name"].as_str().unwrap())), *key);
    }
    for fact in facts {
        hold(&vault, fact);
    }
    // Changes, too: the vault is one of this build from now on.
    for key in names(&vault) {
        // A MAC key of 64 bytes is only imported.
        if key.as_str() != "hmac" {
            vault.rotate_key(&key).unwrap();
        }
    }
    assert!(vault.check().unwrap().is_clean());

    // The backups, in another vault of the domain.
    let sister = VaultOptions::new()
        .clock(FakeClock::new() as Arc<dyn Clock>)
        .create_in_domain(
            directory.path().join("sister"),
            Unlock::raw_key(&master_key()),
            &vault.security_domain().unwrap(),
        )
        .unwrap();
    let blobs = read_image(&case.path().join("backups"));
    assert_eq!(blobs.len(), keys.len());
    for blob in blobs.values() {
        let restored = sister.restore_key(blob).unwrap();
        assert!(!restored.previously_purged());
    }
    for key in keys {
        assert_eq!(
            portrait(&sister, &name(key["name"].as_str().unwrap())),
            *key
        );
    }
    for fact in facts {
        hold(&sister, fact);
    }
    assert!(sister.check().unwrap().is_clean());
}

#[test]
fn a_golden_vault_of_the_first_suite_works() {
    judge(CASES[0]);
}

#[test]
fn a_golden_vault_of_the_second_suite_works() {
    judge(CASES[1]);
}

#[test]
fn a_golden_vault_with_a_passphrase_works() {
    judge(CASES[2]);
}

/// The layouts of keys with a rotation policy, with an announced expiry, and with release policies.
#[test]
fn a_golden_vault_with_policies_works() {
    let case = Case {
        directory: "policies",
        chacha: false,
        passphrase: false,
    };
    let clock = FakeClock::new();
    let options = || case.options().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let (rotated, released) = (name("rotated"), name("released"));
    let rotation: strongroom::RotationPolicy = "P1Y10DT6H"
        .parse()
        .map(|life| {
            strongroom::RotationPolicy::new()
                .rotate(strongroom::RotationTrigger::TimeBeforeExpiry(
                    strongroom::CalendarDuration::months(2),
                ))
                .expiry_time(life)
        })
        .unwrap();
    let release = strongroom::ReleasePolicy::from_json(
        br#"{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[{"claim":"a.b","equals":1}]}]}"#,
    )
    .unwrap()
    .immutable();
    if variable("STRONGROOM_WRITE_GOLDEN").is_some() && !case.path().exists() {
        let directory = scratch();
        let path = directory.path().join("vault");
        let vault = case
            .unlocked(|unlock| options().create(&path, unlock))
            .unwrap();
        vault
            .create_key(&rotated, CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault
            .update_key_rotation_policy(&rotated, rotation)
            .unwrap();
        let soon = Timestamp::from_unix_seconds(START_MS / 1_000).plus_days(10);
        let exportable = CreateKeyOptions::ec(Curve::P384)
            .expires_on(soon)
            .exportable()
            .release_policy(release.clone());
        vault.create_key(&released, exportable).unwrap();
        let report = vault
            .maintain(strongroom::MaintenanceOptions::new())
            .unwrap();
        assert_eq!(report.near_expiry().len(), 1);
        let backups = case.path().join("backups");
        fs::create_dir_all(&backups).unwrap();
        for key in [&rotated, &released] {
            let blob = vault.backup_key(key).unwrap();
            fs::write(backups.join(format!("{key}.blob")), blob.as_bytes()).unwrap();
        }
        vault.close().unwrap();
        for (file, bytes) in read_image(&path) {
            let file = case.path().join("vault").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
    }
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &read_image(&case.path().join("vault")));
    let vault = case
        .unlocked(|unlock| options().open(&path, unlock))
        .unwrap();
    assert!(vault.check().unwrap().is_clean());
    let judge = |vault: &Vault| {
        let kept = vault.get_key_rotation_policy(&rotated).unwrap();
        assert_eq!(*kept.policy(), rotation);
        assert_eq!(kept.created_on().unwrap().unix_seconds(), START_MS / 1_000);
        let bundle = vault.get_key(&released).unwrap();
        assert_eq!(bundle.properties().release_policy(), Some(&release));
    };
    judge(&vault);
    // It was announced before the vault was closed.
    let report = vault
        .maintain(strongroom::MaintenanceOptions::new())
        .unwrap();
    assert!(report.near_expiry().is_empty());
    let sister = VaultOptions::new()
        .clock(FakeClock::new() as Arc<dyn Clock>)
        .create_in_domain(
            directory.path().join("sister"),
            Unlock::raw_key(&master_key()),
            &vault.security_domain().unwrap(),
        )
        .unwrap();
    for blob in read_image(&case.path().join("backups")).values() {
        sister.restore_key(blob).unwrap();
    }
    judge(&sister);
}

/// The layout of the journal: the last changes of a vault that was not closed are in nothing else.
#[test]
fn a_golden_vault_that_was_not_closed_has_its_last_changes() {
    let case = Case {
        directory: "unclosed",
        chacha: false,
        passphrase: false,
    };
    let key = name("last");
    let directory = scratch();
    let path = directory.path().join("vault");
    let open = || {
        case.unlocked(|unlock| case.options().open(&path, unlock))
            .unwrap()
    };
    if variable("STRONGROOM_WRITE_GOLDEN").is_some() && !case.path().exists() {
        let create = |unlock: Unlock<'_>| case.options().create(&path, unlock).unwrap();
        case.unlocked(create).close().unwrap();
        let vault = open();
        let options = CreateKeyOptions::ec(Curve::P256).tag("team", "billing");
        vault.create_key(&key, options).unwrap();
        vault.rotate_key(&key).unwrap();
        let facts = json!({ "key": portrait(&vault, &key), "signature": signature(&vault, "last", "ES256") });
        for (file, bytes) in read_image(&path) {
            let file = case.path().join("vault").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        let text = serde_json::to_string_pretty(&facts).unwrap();
        fs::write(case.path().join("facts.json"), text).unwrap();
        drop(vault);
        fs::remove_dir_all(&path).unwrap();
    }
    write_image(&path, &read_image(&case.path().join("vault")));
    let vault = open();
    let report = vault.open_report().unwrap();
    assert!(
        report
            .findings()
            .contains(&strongroom::OpenFinding::ChangeCompleted),
        "{report:?}"
    );
    let facts: Value =
        serde_json::from_slice(&fs::read(case.path().join("facts.json")).unwrap()).unwrap();
    assert_eq!(portrait(&vault, &key), facts["key"]);
    hold(&vault, &facts["signature"]);
    assert!(vault.check().unwrap().is_clean());
    vault.close().unwrap();
    let vault = open();
    assert!(vault.open_report().unwrap().is_clean());
    assert_eq!(portrait(&vault, &key), facts["key"]);
}
