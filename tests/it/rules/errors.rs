//! Errors: each situation has its kind, the answer of the service, and a text that names key and operation
//! and gives nothing away.

use std::error::Error as StdError;

use strongroom::{
    Ciphertext, Curve, EncryptOptions, EncryptionAlgorithm, Entropy, Error, ErrorKind, ImportedKey,
    KeyName, KeyOperation, MaintenanceOptions, MasterKey, OctKeySize, Passphrase,
    PassphraseParameters, RsaKeySize, SecretBytes, SignatureAlgorithm, SoftDelete, Unlock,
    UpdateKeyOptions, Vault, WrapAlgorithm,
};

use super::DIGEST;
use crate::make::{self, Home};
use crate::support::{
    Place, fixed_oct, fixed_rsa, master_key, memory_vault, memory_vault_in, name, start_plus,
};

#[test]
fn an_error_can_be_sent_kept_and_boxed() {
    fn is<T: StdError + Send + Sync + 'static>() {}
    is::<Error>();
    assert!(
        size_of::<Error>() <= size_of::<usize>(),
        "a Result stays small"
    );
}

/// Status, code and inner code.
type Answer = Option<(u16, &'static str, Option<&'static str>)>;

#[track_caller]
fn expect(error: &Error, kind: ErrorKind, answer: Answer) {
    assert_eq!(error.kind(), kind, "{error}");
    let azure = error
        .azure()
        .map(|azure| (azure.status(), azure.code(), azure.inner_code()));
    assert_eq!(azure, answer, "{error}");
    let text = error.to_string();
    assert!(text.len() > 20, "it says something: {text}");
    assert!(text.len() < 500, "and not too much: {text}");
    if let Some(operation) = error.operation() {
        assert!(text.starts_with(operation), "{text}");
    }
    if let Some(key) = error.key() {
        assert!(text.contains(key), "{text}");
    }
}

#[track_caller]
fn expect_of<T>(
    outcome: strongroom::Result<T>,
    kind: ErrorKind,
    answer: Answer,
    operation: &str,
    key: Option<&str>,
) {
    let Err(error) = outcome else {
        panic!("the call succeeded and must not");
    };
    expect(&error, kind, answer);
    assert_eq!(error.operation(), Some(operation), "{error}");
    assert_eq!(error.key(), key, "{error}");
}

const BAD: Answer = Some((400, "BadParameter", None));
const NOT_FOUND: Answer = Some((404, "KeyNotFound", None));
const CONFLICT: Answer = Some((409, "Conflict", None));

fn forbidden(inner: &'static str) -> Answer {
    Some((403, "Forbidden", Some(inner)))
}

#[test]
fn what_the_caller_asked_for() {
    let (vault, _clock) = memory_vault();
    let k = name("k");
    let es256 = SignatureAlgorithm::Es256;
    vault.create_key(&k, make::ec(Curve::P256)).unwrap();
    expect(
        &"".parse::<KeyName>().unwrap_err(),
        ErrorKind::BadParameter,
        BAD,
    );
    expect_of(
        vault.sign(&k, es256, b"short"),
        ErrorKind::BadParameter,
        BAD,
        "sign",
        Some("k"),
    );
    expect_of(
        vault.sign(&k, SignatureAlgorithm::Rs256, &DIGEST),
        ErrorKind::AlgorithmMismatch,
        BAD,
        "sign",
        Some("k"),
    );
    expect_of(
        vault.import_key(
            &name("bad"),
            make::import(ImportedKey::oct(SecretBytes::from(vec![1; 5]))),
        ),
        ErrorKind::InvalidKeyMaterial,
        BAD,
        "import_key",
        Some("bad"),
    );
    vault
        .create_key(&name("oct"), make::oct(OctKeySize::Bits256))
        .unwrap();
    expect_of(
        vault.wrap_key(&name("oct"), WrapAlgorithm::A256KwPad, &vec![0; 65_537]),
        ErrorKind::TooLarge,
        BAD,
        "wrap_key",
        Some("oct"),
    );
    vault
        .import_key(&name("rsa"), make::import(fixed_rsa(RsaKeySize::Bits2048)))
        .unwrap();
    expect_of(
        vault.sign(&name("rsa"), SignatureAlgorithm::RsNull, b"x"),
        ErrorKind::AlgorithmRefused,
        forbidden("ForbiddenByPolicy"),
        "sign",
        Some("rsa"),
    );
    if make::in_software("with a hardware backend there is no error of missing it") {
        expect_of(
            vault.create_key(&name("hsm"), make::ec(Curve::P256).hsm()),
            ErrorKind::Unsupported,
            BAD,
            "create_key",
            Some("hsm"),
        );
    }
    expect_of(
        strongroom::hazmat::sign_deterministic(
            &vault,
            &name("rsa"),
            SignatureAlgorithm::Ps256,
            &DIGEST,
        ),
        ErrorKind::Unsupported,
        BAD,
        "sign_deterministic",
        Some("rsa"),
    );
}

#[test]
fn the_state_of_a_key() {
    let home = Home::new();
    let (vault, _clock) = memory_vault_in(&home);
    let k = name("k");
    let ec = || make::ec(Curve::P256).backup_allowed();
    let sign = |key: &KeyName| vault.sign(key, SignatureAlgorithm::Es256, &DIGEST);
    expect_of(
        vault.get_key(&k),
        ErrorKind::KeyNotFound,
        NOT_FOUND,
        "get_key",
        Some("k"),
    );
    expect_of(
        sign(&k),
        ErrorKind::KeyNotFound,
        NOT_FOUND,
        "sign",
        Some("k"),
    );
    for (outcome, operation) in [
        (vault.get_deleted_key(&k).map(drop), "get_deleted_key"),
        (
            vault.recover_deleted_key(&k).map(drop),
            "recover_deleted_key",
        ),
        (vault.purge_deleted_key(&k).map(drop), "purge_deleted_key"),
    ] {
        expect_of(
            outcome,
            ErrorKind::DeletedKeyNotFound,
            NOT_FOUND,
            operation,
            Some("k"),
        );
    }
    let made = vault.create_key(&k, ec()).unwrap();
    let exact = format!("k/{}", made.id().version());
    let backup = home.backup(&vault, &k);
    if let Some(backup) = backup {
        expect_of(
            vault.restore_key(&backup),
            ErrorKind::KeyExists,
            CONFLICT,
            "restore_key",
            Some("k"),
        );
    }
    let update = |options| vault.update_key_properties(&k, options).unwrap();
    update(UpdateKeyOptions::new().operations([KeyOperation::Verify]));
    expect_of(
        sign(&k),
        ErrorKind::OperationNotPermitted,
        forbidden("KeyOperationForbidden"),
        "sign",
        Some("k"),
    );
    update(
        UpdateKeyOptions::new()
            .operations([KeyOperation::Sign])
            .not_before(start_plus(1)),
    );
    expect_of(
        sign(&k),
        ErrorKind::KeyNotYetValid,
        forbidden("KeyNotYetValid"),
        "sign",
        Some("k"),
    );
    update(
        UpdateKeyOptions::new()
            .clear_not_before()
            .expires_on(start_plus(0)),
    );
    expect_of(
        vault.sign(made.id(), SignatureAlgorithm::Es256, &DIGEST),
        ErrorKind::KeyExpired,
        forbidden("KeyExpired"),
        "sign",
        Some(&exact),
    );
    update(UpdateKeyOptions::new().enabled(false));
    expect_of(
        sign(&k),
        ErrorKind::KeyDisabled,
        forbidden("KeyDisabled"),
        "sign",
        Some("k"),
    );
    vault.delete_key(&k).unwrap();
    expect_of(
        vault.create_key(&k, ec()),
        ErrorKind::KeyDeleted,
        Some((409, "Conflict", Some("ObjectIsDeletedButRecoverable"))),
        "create_key",
        Some("k"),
    );
    vault.enable_purge_protection().unwrap();
    expect_of(
        vault.purge_deleted_key(&k),
        ErrorKind::PurgeRefused,
        Some((403, "Forbidden", None)),
        "purge_deleted_key",
        Some("k"),
    );
}

#[test]
fn the_outcome_of_an_operation() {
    let home = Home::new();
    let (vault, _clock) = memory_vault_in(&home);
    let (ec, oct) = (name("ec"), name("oct"));
    vault.create_key(&ec, make::ec(Curve::P256)).unwrap();
    expect_of(
        vault.verify_data(&ec, SignatureAlgorithm::Es256, b"x", &[1; 64]),
        ErrorKind::InvalidSignature,
        None,
        "verify_data",
        Some("ec"),
    );
    vault
        .import_key(&oct, make::import(fixed_oct(32)).backup_allowed())
        .unwrap();
    let gcm = EncryptionAlgorithm::A256Gcm;
    let ciphertext = Ciphertext::new(b"x").iv(&[0; 12]).tag(&[0; 16]);
    expect_of(
        vault.decrypt(&oct, gcm, ciphertext),
        ErrorKind::DecryptFailed,
        BAD,
        "decrypt",
        Some("oct"),
    );
    expect_of(
        vault.unwrap_key(&oct, WrapAlgorithm::A256Kw, &[0; 24]),
        ErrorKind::DecryptFailed,
        BAD,
        "unwrap_key",
        Some("oct"),
    );
    expect_of(
        vault.restore_key(b"nonsense"),
        ErrorKind::InvalidBackup,
        BAD,
        "restore_key",
        None,
    );
    let (stranger, _) = memory_vault_in(&home);
    if let Some(backup) = home.backup(&vault, &oct) {
        expect_of(
            stranger.restore_key(&backup),
            ErrorKind::WrongDomain,
            BAD,
            "restore_key",
            None,
        );
    }
}

/// A generator that is broken.
#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _bytes: &mut [u8]) -> strongroom::Result<()> {
        // The error that the library itself makes cannot be made here; any will do.
        Err("".parse::<KeyName>().unwrap_err())
    }
}

#[test]
fn a_broken_generator_is_an_error_and_nothing_is_made() {
    let outcome = make::vault_options()
        .entropy(std::sync::Arc::new(NoEntropy))
        .create_in_memory();
    assert!(outcome.is_err());
    let place = Place::new();
    let outcome = place
        .options()
        .entropy(std::sync::Arc::new(NoEntropy))
        .create(&place.path, Unlock::raw_key(&master_key()));
    assert!(outcome.is_err());
    assert!(!place.path.exists());
    let left = std::fs::read_dir(place.path.parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(left, 0, "nothing is left behind");
}

#[test]
fn the_vault_as_a_whole() {
    let place = Place::new();
    let raw = master_key();
    let unlock = Unlock::raw_key(&raw);
    let open = |unlock| place.options().open(&place.path, unlock);
    let create = || place.options().create(&place.path, unlock);
    expect_of(open(unlock), ErrorKind::VaultNotFound, None, "open", None);
    let passphrase = Passphrase::new("a passphrase of our own").unwrap();
    let vault = place
        .options()
        .passphrase_parameters(PassphraseParameters::new(19_456, 2, 1).unwrap())
        .create(&place.path, Unlock::passphrase(&passphrase))
        .unwrap();
    expect_of(create(), ErrorKind::VaultExists, None, "create", None);
    expect_of(
        open(Unlock::passphrase(&passphrase)),
        ErrorKind::VaultInUse,
        None,
        "open",
        None,
    );
    let in_use = open(Unlock::passphrase(&passphrase)).unwrap_err();
    assert!(in_use.is_retryable());
    vault.close().unwrap();
    expect_of(
        vault.get_key(&name("k")),
        ErrorKind::VaultFailed,
        None,
        "get_key",
        Some("k"),
    );
    drop(vault);
    expect_of(open(unlock), ErrorKind::WrongKey, None, "open", None);
    expect_of(
        place
            .options()
            .max_kdf_work_kib(2 * 19_456 - 1)
            .open(&place.path, Unlock::passphrase(&passphrase)),
        ErrorKind::KdfCostRefused,
        None,
        "open",
        None,
    );
    let elsewhere = place.path.join("no").join("such").join("parent");
    expect_of(
        place.options().create(elsewhere, unlock),
        ErrorKind::VaultNotFound,
        None,
        "create",
        None,
    );
}

#[test]
fn a_clock_that_jumped() {
    let clock = crate::support::FakeClock::new();
    let vault = make::vault_options()
        .clock(clock.clone())
        .soft_delete(SoftDelete::days(7).unwrap())
        .create_in_memory()
        .unwrap();
    vault.create_key(&name("k"), make::ec(Curve::P256)).unwrap();
    vault.delete_key(&name("k")).unwrap();
    clock.advance_days(40);
    expect_of(
        vault.maintain(MaintenanceOptions::new()),
        ErrorKind::ClockJump,
        None,
        "maintain",
        None,
    );
    expect_of(
        vault.create_key(&name("k"), make::ec(Curve::P256)),
        ErrorKind::ClockJump,
        None,
        "create_key",
        Some("k"),
    );
}

/// A text that must not come out of any error.
const MARKER: &str = "MaRkErMaRkEr0123456789abcdefghij";

#[track_caller]
fn quiet<T>(outcome: strongroom::Result<T>) {
    let Err(error) = outcome else {
        panic!("the call succeeded and must not");
    };
    let mut texts = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        texts += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    super::secrets::assert_without_marker(&texts, MARKER.as_bytes());
}

#[test]
fn no_error_tells_key_bytes_plaintext_tag_values_or_passphrases() {
    let (vault, _clock) = memory_vault();
    let marker = MARKER.as_bytes();
    let oct = name("oct");
    vault
        .import_key(
            &oct,
            make::import(ImportedKey::oct(SecretBytes::copied_from(marker))).operations(super::SIX),
        )
        .unwrap();
    let ec = name("ec");
    vault.create_key(&ec, make::ec(Curve::P256)).unwrap();
    let long = MARKER.repeat(3);
    quiet(vault.wrap_key(&oct, WrapAlgorithm::A256Kw, &marker[..17]));
    quiet(vault.encrypt(
        &oct,
        EncryptionAlgorithm::A256Cbc,
        &marker[..17],
        EncryptOptions::new(),
    ));
    quiet(vault.encrypt(
        &ec,
        EncryptionAlgorithm::A256Gcm,
        marker,
        EncryptOptions::new(),
    ));
    quiet(vault.sign(&ec, SignatureAlgorithm::Es256, long.as_bytes()));
    quiet(vault.sign(&oct, SignatureAlgorithm::Es256, marker));
    quiet(vault.import_key(
        &name("x"),
        make::import(ImportedKey::oct(SecretBytes::copied_from(long.as_bytes()))),
    ));
    quiet(ImportedKey::from_jwk(
        format!(r#"{{"kty":"oct","k":"{MARKER}!"}}"#).as_bytes(),
    ));
    quiet(
        ImportedKey::from_jwk(format!(r#"{{"kty":"EC","crv":"P-256","d":"{MARKER}"}}"#).as_bytes())
            .and_then(|key| vault.import_key(&name("x"), make::import(key))),
    );
    quiet(ImportedKey::from_jwk(MARKER.as_bytes()));
    quiet(ImportedKey::from_jwk(
        format!(r#"{{"kty":"oct","k":"AAAA","k":"{MARKER}"}}"#).as_bytes(),
    ));
    quiet(ImportedKey::from_pem(&format!(
        "-----BEGIN PRIVATE KEY-----\n{MARKER}\n-----END PRIVATE KEY-----\n"
    )));
    quiet(ImportedKey::from_pem(MARKER));
    quiet(vault.create_key(
        &name("x"),
        make::ec(Curve::P256).tag("t", MARKER.repeat(20)),
    ));
    quiet(MasterKey::from_bytes(&marker[..31]));
    quiet(Passphrase::new(&MARKER.repeat(1_000)));
    let place = Place::new();
    drop(place.create());
    let passphrase = Passphrase::new(MARKER).unwrap();
    quiet(
        place
            .options()
            .open(&place.path, Unlock::passphrase(&passphrase)),
    );
    let key = MasterKey::from_bytes(marker).unwrap();
    quiet(place.options().open(&place.path, Unlock::raw_key(&key)));
    quiet(Vault::destroy(&place.path, Unlock::raw_key(&key)));
}
