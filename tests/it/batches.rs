//! Batches: each item is what the single call would have made of it, whatever becomes of the others; creations share
//! commits, are durable when the call returns, and are recorded one by one. With keys in software and in a device.

use std::sync::Arc;

use strongroom::backend::KeyBackend;
use strongroom::backend::testing::{Fault, FaultyBackend, MemoryDevice};
use strongroom::{
    AuditOptions, AuditReads, Ciphertext, CreateKeyOptions, Curve, EncryptItem, EncryptOptions,
    EncryptionAlgorithm, ErrorKind, ImportKeyOptions, KeyBundle, KeyName, KeyOperation, OctKeySize,
    Permission, Permissions, RsaKeySize, SignItem, SignatureAlgorithm, SoftDelete, Timestamp,
    Unlock, UpdateKeyOptions, Vault, WrapAlgorithm, WrapItem,
};

use crate::support::{Place, fixed_oct, fixed_rsa, master_key, memory_vault, name, refused};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;
const HS256: SignatureAlgorithm = SignatureAlgorithm::Hs256;
const GCM: EncryptionAlgorithm = EncryptionAlgorithm::A256Gcm;
const CBC: EncryptionAlgorithm = EncryptionAlgorithm::A256CbcPad;
const KW: WrapAlgorithm = WrapAlgorithm::A256Kw;

fn ec() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256)
}

fn numbered(count: usize) -> Vec<KeyName> {
    (0..count).map(|at| name(&format!("key-{at}"))).collect()
}

fn kinds<T>(outcomes: &[strongroom::Result<T>]) -> Vec<Option<ErrorKind>> {
    outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(strongroom::Error::kind))
        .collect()
}

/// A vault on the disk with a device beside the software.
fn with_device(place: &Place) -> (Vault, MemoryDevice, Arc<FaultyBackend<MemoryDevice>>) {
    let device = MemoryDevice::new("device".parse().unwrap());
    let faulty = Arc::new(FaultyBackend::new(
        device.clone(),
        "device".parse().unwrap(),
    ));
    let vault = place
        .options()
        .backend(Arc::clone(&faulty) as Arc<dyn KeyBackend>)
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    (vault, device, faulty)
}

/// What a bundle tells besides the random part.
fn looks(bundle: &KeyBundle) -> String {
    let properties = bundle.properties();
    format!(
        "{} {:?} {:?} {:?} {:?} {:?} {}",
        properties.name(),
        properties.key_type(),
        bundle.key().key_ops(),
        properties.enabled(),
        properties.tags(),
        properties.expires_on(),
        properties.backend(),
    )
}

type Make = fn() -> CreateKeyOptions;

/// Every kind of item, good and bad, with its name.
fn assortment() -> Vec<(&'static str, Make)> {
    vec![
        ("p256", || ec().tag("a", "b")),
        ("p521", || CreateKeyOptions::ec(Curve::P521)),
        ("aes", || {
            CreateKeyOptions::oct(OctKeySize::Bits256)
                .enabled(false)
                .expires_on(Timestamp::from_unix_seconds(1_900_000_000))
        }),
        ("mac", || {
            CreateKeyOptions::oct(OctKeySize::Bits256)
                .operations([KeyOperation::Sign, KeyOperation::Verify])
        }),
        ("in-the-device", || ec().hsm()),
        ("in-the-device-too", || {
            CreateKeyOptions::oct(OctKeySize::Bits128)
                .hsm()
                .backup_allowed()
        }),
        // A second version, of a key that was there before.
        ("present", ec),
        // Refused: by the options, by the vault, by the backend's list.
        ("no-exponent", || ec().public_exponent(65_537)),
        ("no-operation", || ec().operations([KeyOperation::Encrypt])),
        ("no-tag", || ec().tag("a", "b".repeat(1_000))),
        ("deleted", ec),
        ("other-family", ec),
        ("no-backend", || ec().backend(&"missing".parse().unwrap())),
        ("no-release", || ec().exportable()),
    ]
}

fn prepare(vault: &Vault) {
    vault.create_key(&name("present"), ec()).unwrap();
    vault.create_key(&name("deleted"), ec()).unwrap();
    vault.delete_key(&name("deleted")).unwrap();
    let oct = CreateKeyOptions::oct(OctKeySize::Bits256);
    vault.create_key(&name("other-family"), oct).unwrap();
}

#[test]
fn each_item_of_a_creation_is_what_the_single_call_makes_and_survives() {
    let (one, other) = (Place::new(), Place::new());
    let (singles, _, _) = with_device(&one);
    let (batched, device, _) = with_device(&other);
    prepare(&singles);
    prepare(&batched);
    let single: Vec<_> = assortment()
        .into_iter()
        .map(|(key, make)| singles.create_key(&name(key), make()))
        .collect();
    let items = assortment()
        .into_iter()
        .map(|(key, make)| (name(key), make()))
        .collect();
    let many = batched.create_many(items).unwrap();
    assert_eq!(kinds(&many), kinds(&single));
    let refusals = many.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(refusals, 7);
    for ((key, _), (many, single)) in assortment().iter().zip(many.iter().zip(&single)) {
        match (many, single) {
            (Ok(many), Ok(single)) => assert_eq!(looks(many), looks(single)),
            (Err(many), Err(single)) => {
                assert_eq!(many.key(), Some(*key));
                assert_eq!(many.operation(), Some("create_many"));
                let text = many.to_string().replace("create_many", "create_key");
                assert_eq!(text, single.to_string());
            }
            _ => unreachable!(),
        }
    }
    // Confirmed, and nothing is left of those that failed.
    let held = device.held();
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|(_, confirmed)| *confirmed));
    let made: Vec<KeyBundle> = many.into_iter().flatten().collect();
    batched.close().unwrap();
    drop(batched);
    let reopened = other
        .options()
        .backend(Arc::new(device))
        .open(&other.path, Unlock::raw_key(&master_key()))
        .unwrap();
    assert_eq!(reopened.open_report().unwrap().backend_findings(), []);
    for bundle in &made {
        assert_eq!(reopened.get_key(bundle.id()).unwrap(), *bundle);
    }
    let signed = reopened
        .sign(&name("in-the-device"), ES256, &[7; 32])
        .unwrap();
    reopened
        .verify(signed.key_id(), ES256, &[7; 32], signed.signature())
        .unwrap();
    let versions = reopened.list_key_properties_versions(&name("present"));
    assert_eq!(versions.unwrap().count(), 2);
    assert!(reopened.check().unwrap().is_clean());
}

#[test]
fn each_item_of_an_import_is_what_the_single_call_makes() {
    let (one, other) = (Place::new(), Place::new());
    let (singles, _, _) = with_device(&one);
    let (batched, device, _) = with_device(&other);
    let items = || {
        vec![
            (name("oct"), ImportKeyOptions::new(fixed_oct(32))),
            (
                name("rsa"),
                ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048)).tag("a", "b"),
            ),
            (name("held"), ImportKeyOptions::new(fixed_oct(16)).hsm()),
            (name("too-short"), ImportKeyOptions::new(fixed_oct(15))),
            (
                name("wrong"),
                ImportKeyOptions::new(fixed_oct(32)).operations([KeyOperation::Import]),
            ),
        ]
    };
    let single: Vec<_> = items()
        .into_iter()
        .map(|(key, options)| singles.import_key(&key, options))
        .collect();
    let many = batched.import_many(items()).unwrap();
    assert_eq!(kinds(&many), kinds(&single));
    for (many, single) in many.iter().zip(&single) {
        match (many, single) {
            (Ok(many), Ok(single)) => assert_eq!(looks(many), looks(single)),
            (Err(many), Err(single)) => {
                assert_eq!(many.key(), single.key());
                assert_eq!(many.operation(), Some("import_many"));
            }
            _ => unreachable!(),
        }
    }
    // The same key did come in.
    let mac = |vault: &Vault| {
        let update = UpdateKeyOptions::new().operations([KeyOperation::Sign]);
        vault.update_key_properties(&name("oct"), update).unwrap();
        let signed = vault.sign(&name("oct"), HS256, b"data").unwrap();
        signed.signature().to_vec()
    };
    assert_eq!(mac(&batched), mac(&singles));
    assert_eq!(device.held().len(), 1);
}

#[test]
fn creations_of_one_batch_share_commits() {
    let place = Place::new();
    let vault = place.create();
    let names = numbered(300);
    let commits = |work: &dyn Fn()| {
        let before = vault.metrics().unwrap().commits();
        work();
        vault.metrics().unwrap().commits() - before
    };
    let single = commits(&|| {
        for number in 0..10 {
            vault
                .create_key(&name(&format!("single-{number}")), ec())
                .unwrap();
        }
    });
    assert_eq!(single, 10);
    let few = commits(&|| {
        let items = names[..20].iter().map(|key| (key.clone(), ec())).collect();
        for made in vault.create_many(items).unwrap() {
            made.unwrap();
        }
    });
    assert_eq!(few, 1);
    let many = commits(&|| {
        let items = names[20..]
            .iter()
            .map(|key| (key.clone(), ImportKeyOptions::new(fixed_oct(32))));
        for made in vault.import_many(items.collect()).unwrap() {
            made.unwrap();
        }
    });
    assert!((1..=14).contains(&many), "{many} commits");
    drop(vault);
    let vault = place.open().unwrap();
    for key in &names {
        vault.get_key(key).unwrap();
    }
    assert_eq!(vault.list_key_properties().count(), 310);
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn items_of_the_same_name_are_refused_and_the_others_are_not() {
    let (vault, _) = memory_vault();
    let items = ["one", "twice", "two", "TWICE", "three"]
        .map(|key| (name(key), ec()))
        .into();
    let made = vault.create_many(items).unwrap();
    let bad = Some(ErrorKind::BadParameter);
    assert_eq!(kinds(&made), [None, bad, None, bad, None]);
    assert_eq!(
        refused(vault.get_key(&name("twice"))),
        ErrorKind::KeyNotFound
    );
    for (at, key) in [(0, "one"), (2, "two"), (4, "three")] {
        let bundle = made[at].as_ref().unwrap();
        assert_eq!(vault.get_key(&name(key)).unwrap(), *bundle);
    }
}

#[test]
fn a_name_whose_purge_is_due_is_taken_by_an_item() {
    let place = Place::new();
    let vault = place
        .options()
        .soft_delete(SoftDelete::days(7).unwrap())
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    let names = numbered(3);
    let batch = || names.iter().map(|key| (key.clone(), ec())).collect();
    for made in vault.create_many(batch()).unwrap() {
        made.unwrap();
    }
    vault.delete_key(&names[1]).unwrap();
    let outcome = vault.create_many(batch()).unwrap();
    assert_eq!(kinds(&outcome), [None, Some(ErrorKind::KeyDeleted), None]);
    place.clock.advance_days(8);
    for made in vault.create_many(batch()).unwrap() {
        made.unwrap();
    }
    let versions = |key| vault.list_key_properties_versions(key).unwrap().count();
    assert_eq!(names.iter().map(versions).collect::<Vec<_>>(), [3, 1, 3]);
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn a_device_that_fails_an_item_fails_no_other_and_keeps_nothing_of_it() {
    let place = Place::new();
    let (vault, device, faulty) = with_device(&place);
    let hsm = |key: &str| (name(key), ec().hsm());
    for (call, fault) in [(1, Fault::Before), (2, Fault::After), (3, Fault::Before)] {
        let before = device.held().len();
        faulty.fail_call(call, fault);
        let batch = vec![
            hsm(&format!("a-{call}")),
            (name(&format!("b-{call}")), ec()),
            hsm(&format!("c-{call}")),
            hsm(&format!("d-{call}")),
        ];
        let made = vault.create_many(batch).unwrap();
        faulty.fail_call(1_000, Fault::Before);
        assert_eq!(made.iter().filter(|made| made.is_err()).count(), 1);
        assert!(made[1].is_ok());
        let held = device.held();
        assert_eq!(held.len(), before + 2);
        assert!(held.iter().all(|(_, confirmed)| *confirmed));
    }
    // Away: nothing is begun there, and software goes on.
    device.set_away(true);
    let made = vault
        .create_many(vec![hsm("away"), (name("here"), ec())])
        .unwrap();
    assert_eq!(kinds(&made), [Some(ErrorKind::BackendUnavailable), None]);
    device.set_away(false);
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn uses_of_keys_are_those_of_the_single_calls() {
    let place = Place::new();
    let (vault, _, _) = with_device(&place);
    let (soft, hard) = (name("soft"), name("hard"));
    let (soft_oct, hard_oct) = (name("soft-oct"), name("hard-oct"));
    let all = || {
        CreateKeyOptions::oct(OctKeySize::Bits256).operations([
            KeyOperation::Sign,
            KeyOperation::Verify,
            KeyOperation::Encrypt,
            KeyOperation::Decrypt,
            KeyOperation::WrapKey,
            KeyOperation::UnwrapKey,
        ])
    };
    let made = vault.create_many(vec![
        (soft.clone(), ec()),
        (hard.clone(), ec().hsm()),
        (soft_oct.clone(), all()),
        (hard_oct.clone(), all().hsm()),
        (name("off"), ec().enabled(false)),
    ]);
    for made in made.unwrap() {
        made.unwrap();
    }
    let missing = name("missing");
    let off = name("off");

    let sign = [
        SignItem::new(&soft, ES256, &[7; 32]),
        SignItem::new(&missing, ES256, &[7; 32]),
        SignItem::new(&hard, ES256, &[8; 32]),
        SignItem::new(&off, ES256, &[8; 32]),
        SignItem::new(&soft_oct, HS256, b"data"),
        SignItem::new(&soft, ES256, &[7; 31]),
        SignItem::new(&hard_oct, HS256, b"data"),
        SignItem::new(&soft, SignatureAlgorithm::Rs256, &[7; 32]),
    ];
    let signed = vault.sign_many(&sign).unwrap();
    assert_eq!(
        kinds(&signed),
        [
            None,
            Some(ErrorKind::KeyNotFound),
            None,
            Some(ErrorKind::KeyDisabled),
            None,
            Some(ErrorKind::BadParameter),
            None,
            Some(ErrorKind::AlgorithmMismatch),
        ]
    );
    for (at, key, digest) in [(0, &soft, [7; 32]), (2, &hard, [8; 32])] {
        let signature = signed[at].as_ref().unwrap().signature();
        vault.verify(key, ES256, &digest, signature).unwrap();
    }
    for (at, key) in [(4, &soft_oct), (6, &hard_oct)] {
        let single = vault.sign(key, HS256, b"data").unwrap();
        assert_eq!(signed[at].as_ref().unwrap(), &single);
    }
    let error = signed[1].as_ref().unwrap_err();
    assert_eq!(
        (error.operation(), error.key()),
        (Some("sign_many"), Some("missing"))
    );

    let aad = EncryptOptions::new().aad(b"row");
    let encrypt = [
        EncryptItem::new(&soft_oct, GCM, b"text", aad),
        EncryptItem::new(&soft, GCM, b"text", aad),
        EncryptItem::new(&hard_oct, GCM, b"text", aad),
        EncryptItem::new(&soft_oct, GCM, b"text", EncryptOptions::new().iv(&[1; 12])),
        EncryptItem::new(&soft_oct, CBC, b"text", EncryptOptions::new().iv(&[1; 16])),
    ];
    let sealed = vault.encrypt_many(&encrypt).unwrap();
    assert_eq!(
        kinds(&sealed),
        [
            None,
            Some(ErrorKind::AlgorithmMismatch),
            None,
            Some(ErrorKind::BadParameter),
            None
        ]
    );
    for at in [0, 2] {
        let sealed = sealed[at].as_ref().unwrap();
        let ciphertext = Ciphertext::from(sealed).aad(b"row");
        let opened = vault.decrypt(sealed.key_id(), GCM, ciphertext).unwrap();
        assert_eq!(opened.expose(), b"text");
    }
    let options = EncryptOptions::new().iv(&[1; 16]);
    let single = vault.encrypt(&soft_oct, CBC, b"text", options).unwrap();
    assert_eq!(sealed[4].as_ref().unwrap(), &single);

    let wrap = [
        WrapItem::new(&soft_oct, KW, &[9; 32]),
        WrapItem::new(&hard_oct, KW, &[9; 32]),
        WrapItem::new(&soft_oct, KW, &[9; 31]),
    ];
    let wrapped = vault.wrap_many(&wrap).unwrap();
    assert_eq!(kinds(&wrapped), [None, None, Some(ErrorKind::BadParameter)]);
    for (at, key) in [(0, &soft_oct), (1, &hard_oct)] {
        let single = vault.wrap_key(key, KW, &[9; 32]).unwrap();
        assert_eq!(wrapped[at].as_ref().unwrap(), &single);
    }
}

#[test]
fn a_batch_that_is_too_large_is_refused_as_a_whole() {
    let (vault, _) = memory_vault();
    let key = name("key");
    let oct = CreateKeyOptions::oct(OctKeySize::Bits256);
    vault.create_key(&key, oct).unwrap();
    let too_many = Vault::MAX_BATCH_ITEMS + 1;
    let batch = |items: usize| numbered(items).into_iter().map(|key| (key, ec())).collect();
    let error = vault.create_many(batch(too_many)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.operation(), Some("create_many"));
    assert_eq!(
        refused(vault.get_key(&name("key-0"))),
        ErrorKind::KeyNotFound
    );
    let imports = numbered(too_many)
        .into_iter()
        .map(|key| (key, ImportKeyOptions::new(fixed_oct(32))));
    assert_eq!(
        refused(vault.import_many(imports.collect())),
        ErrorKind::TooLarge
    );
    let sign = vec![SignItem::new(&key, HS256, b""); too_many];
    assert_eq!(refused(vault.sign_many(&sign)), ErrorKind::TooLarge);
    assert_eq!(vault.sign_many(&sign[1..]).unwrap().len(), too_many - 1);

    let half = vec![0; Vault::MAX_BATCH_BYTES / 2];
    let options = EncryptOptions::new();
    let encrypt = [
        EncryptItem::new(&key, GCM, &half, options),
        EncryptItem::new(&key, GCM, &half, options.aad(b"!")),
    ];
    assert_eq!(refused(vault.encrypt_many(&encrypt)), ErrorKind::TooLarge);
    let encrypt = [encrypt[0]; 2];
    assert_eq!(kinds(&vault.encrypt_many(&encrypt).unwrap()), [None, None]);
    let wrap = [WrapItem::new(&key, KW, &half); 3];
    assert_eq!(refused(vault.wrap_many(&wrap)), ErrorKind::TooLarge);

    assert!(vault.create_many(Vec::new()).unwrap().is_empty());
    assert!(vault.import_many(Vec::new()).unwrap().is_empty());
    assert!(vault.sign_many(&[]).unwrap().is_empty());
    assert!(vault.encrypt_many(&[]).unwrap().is_empty());
    assert!(vault.wrap_many(&[]).unwrap().is_empty());
}

#[test]
fn a_restricted_handle_is_asked_for_each_item_and_each_item_is_recorded() {
    let place = Place::new();
    let vault = place.create();
    vault
        .set_audit_options(AuditOptions::on().reads(AuditReads::All))
        .unwrap();
    let from = vault.metrics().unwrap();
    let ours = Permissions::from([Permission::Create, Permission::Sign])
        .for_names(["ours-*".parse().unwrap()])
        .unwrap();
    let handle = vault.restricted(ours);
    let (first, second, theirs) = (name("ours-1"), name("ours-2"), name("theirs"));
    let batch = [&first, &theirs, &second].map(|key| (key.clone(), ec()));
    let made = handle.create_many(batch.into()).unwrap();
    let forbidden = Some(ErrorKind::Forbidden);
    assert_eq!(kinds(&made), [None, forbidden, None]);
    assert_eq!(refused(vault.get_key(&theirs)), ErrorKind::KeyNotFound);
    let import = vec![(first.clone(), ImportKeyOptions::new(fixed_oct(32)))];
    assert_eq!(kinds(&handle.import_many(import).unwrap()), [forbidden]);
    let sign = [&theirs, &second].map(|key| SignItem::new(key, ES256, &[7; 32]));
    assert_eq!(kinds(&handle.sign_many(&sign).unwrap()), [forbidden, None]);
    vault.flush_audit().unwrap();

    let entries: Vec<_> = vault
        .audit_entries(0)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut told: Vec<_> = entries
        .iter()
        .filter_map(|entry| {
            let key = entry.key()?.as_str();
            assert_eq!(entry.count(), 1);
            Some((
                key,
                entry.operation(),
                entry.error_kind().is_some(),
                entry.version(),
            ))
        })
        .collect();
    told.sort_unstable_by_key(|entry| (entry.0, entry.1, entry.2));
    let version = |at: usize| Some(made[at].as_ref().unwrap().properties().version());
    assert_eq!(
        told,
        [
            ("ours-1", "KeyCreate", false, version(0)),
            ("ours-1", "KeyImport", true, None),
            ("ours-2", "KeyCreate", false, version(2)),
            ("ours-2", "KeySign", false, version(2)),
            ("theirs", "KeyCreate", true, None),
            ("theirs", "KeyGet", true, None),
            ("theirs", "KeySign", true, None),
        ]
    );
    assert!(vault.verify_audit().unwrap().is_intact());
    let metrics = vault.metrics().unwrap();
    let counted = |method: &str| {
        assert!(!from.operations().contains_key(method));
        let counted = &metrics.operations()[method];
        (counted.calls(), counted.failures())
    };
    assert_eq!(counted("create_many"), (3, 1));
    assert_eq!(counted("sign_many"), (2, 1));
    assert!(!metrics.operations().contains_key("create_key"));
}

#[test]
fn a_locked_or_closed_vault_refuses_each_item() {
    let place = Place::new();
    let vault = place.create();
    let key = name("key");
    vault.create_key(&key, ec()).unwrap();
    vault.close().unwrap();
    let made = vault.create_many(vec![(name("late"), ec())]).unwrap();
    assert_eq!(kinds(&made), [Some(ErrorKind::VaultFailed)]);
    let signed = vault
        .sign_many(&[SignItem::new(&key, ES256, &[7; 32])])
        .unwrap();
    assert_eq!(kinds(&signed), [Some(ErrorKind::VaultFailed)]);
    drop(vault);
    let vault = place.open().unwrap();
    assert_eq!(
        refused(vault.get_key(&name("late"))),
        ErrorKind::KeyNotFound
    );
    drop(vault);
    let scratch = tempfile::tempdir().unwrap();
    let read_only = place
        .options()
        .open_read_only(&place.path, Unlock::raw_key(&master_key()), scratch.path())
        .unwrap();
    let made = read_only.create_many(vec![(name("late"), ec())]).unwrap();
    assert_eq!(kinds(&made), [Some(ErrorKind::ReadOnly)]);
}

/// Batches with the same names in different orders, single changes beside them, and readers: nobody waits for ever, and
/// every version that was promised is there.
#[test]
fn batches_at_the_same_time_get_in_nobodys_way() {
    let place = Place::new();
    let vault = place.create();
    let names = numbered(60);
    let oct = || CreateKeyOptions::oct(OctKeySize::Bits256);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (vault, names) = (&vault, &names);
            scope.spawn(move || {
                for round in 0..3 {
                    let mut order = names.to_vec();
                    order.rotate_left(worker * 13 + round * 7);
                    if worker % 2 == 1 {
                        order.reverse();
                    }
                    let items = order.into_iter().map(|key| (key, oct())).collect();
                    for made in vault.create_many(items).unwrap() {
                        made.unwrap();
                    }
                    for key in names.iter().step_by(7) {
                        vault.rotate_key(key).unwrap();
                        vault.get_key(key).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..2 {
                vault.rotate_kek().unwrap();
            }
        });
    });
    for (at, key) in names.iter().enumerate() {
        let expected = 12 + if at % 7 == 0 { 12 } else { 0 };
        let versions = vault.list_key_properties_versions(key).unwrap().count();
        assert_eq!(versions, expected, "{key}");
    }
    assert!(vault.check().unwrap().is_clean());
}
