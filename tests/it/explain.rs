//! `explain` names every reason at once, and the first is the one that the operation itself gives: for every
//! operation with every algorithm, in many states of a key.

use std::sync::Arc;

use strongroom::backend::testing::MemoryDevice;
use strongroom::{
    Ciphertext, CreateKeyOptions, CryptoOperation, Curve, EncryptOptions, EncryptionAlgorithm,
    ErrorKind, HashAlgorithm, ImportKeyOptions, KeyName, KeyOperation, OctKeySize, Permission,
    Permissions, Refusal, RsaKeySize, SignatureAlgorithm, UpdateKeyOptions, Vault, VaultOptions,
    WrapAlgorithm,
};

use crate::support::{fixed_rsa, memory_vault, name, refused, start_plus};

/// Does the operation with input that is right for it as far as that is possible without the key.
fn attempt(vault: &Vault, key: &KeyName, operation: CryptoOperation) -> Option<ErrorKind> {
    let digest = |algorithm: SignatureAlgorithm| {
        let length = match algorithm.digest() {
            Some(HashAlgorithm::Sha384) => 48,
            Some(HashAlgorithm::Sha512) => 64,
            _ => 32,
        };
        vec![7; length]
    };
    let outcome = match operation {
        CryptoOperation::Encrypt(algorithm) => vault
            .encrypt(key, algorithm, &[1; 32], EncryptOptions::new())
            .map(drop),
        CryptoOperation::Decrypt(algorithm) => {
            let iv = vec![3; algorithm.iv_length().unwrap_or(0)];
            let tag: &[u8] = if algorithm.is_authenticated() {
                &[0; 16]
            } else {
                &[]
            };
            let text = Ciphertext::new(&[1; 32]).iv(&iv).tag(tag);
            vault.decrypt(key, algorithm, text).map(drop)
        }
        CryptoOperation::Sign(algorithm) => {
            vault.sign(key, algorithm, &digest(algorithm)).map(drop)
        }
        CryptoOperation::Verify(algorithm) => {
            vault.verify(key, algorithm, &digest(algorithm), &[0; 64])
        }
        CryptoOperation::WrapKey(algorithm) => vault.wrap_key(key, algorithm, &[1; 32]).map(drop),
        CryptoOperation::UnwrapKey(algorithm) => {
            vault.unwrap_key(key, algorithm, &[1; 40]).map(drop)
        }
    };
    outcome.err().map(|error| error.kind())
}

/// What says nothing about permission but about the input.
fn is_about_input(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BadParameter
            | ErrorKind::InvalidSignature
            | ErrorKind::DecryptFailed
            | ErrorKind::TooLarge
    )
}

fn kinds(reasons: &[Refusal]) -> Vec<ErrorKind> {
    reasons.iter().map(Refusal::kind).collect()
}

#[test]
fn the_first_reason_is_what_the_operation_answers() {
    let (vault, clock) = memory_vault();
    let keys = [name("rsa"), name("ec"), name("oct")];
    let rsa = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048));
    vault.import_key(&keys[0], rsa).unwrap();
    vault
        .create_key(&keys[1], CreateKeyOptions::ec(Curve::P384))
        .unwrap();
    vault
        .create_key(&keys[2], CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    let rules = vault
        .algorithm_rules()
        .refuse("RSA-OAEP")
        .unwrap()
        .refuse("ES384")
        .unwrap();
    vault.set_algorithm_rules(rules).unwrap();

    type State = (&'static str, fn() -> UpdateKeyOptions);
    let states: [State; 6] = [
        ("as it is", UpdateKeyOptions::new),
        ("expired", || {
            UpdateKeyOptions::new().expires_on(start_plus(5))
        }),
        ("disabled", || UpdateKeyOptions::new().enabled(false)),
        ("for nothing but one operation", || {
            UpdateKeyOptions::new().operations([KeyOperation::Export])
        }),
        ("disabled no more, not yet valid", || {
            UpdateKeyOptions::new()
                .enabled(true)
                .not_before(start_plus(100))
                .clear_expires_on()
        }),
        ("all at once", || {
            UpdateKeyOptions::new()
                .enabled(false)
                .not_before(start_plus(100))
        }),
    ];
    clock.advance_seconds(10);
    let (mut refusals, mut most) = (0, 0);
    for (state, update) in states {
        for key in &keys {
            vault.update_key_properties(key, update()).unwrap();
            for operation in CryptoOperation::all() {
                let reasons = vault.explain(key, operation).unwrap();
                let first = reasons.first().map(Refusal::kind);
                let answer = attempt(&vault, key, operation).filter(|kind| !is_about_input(*kind));
                assert_eq!(first, answer, "{key} {state}: {operation}: {reasons:?}");
                refusals += usize::from(first.is_some());
                most = most.max(reasons.len());
            }
        }
    }
    assert!(refusals > 500, "{refusals}");
    assert_eq!(
        most, 5,
        "an unfit algorithm that is refused, for a disabled key outside its dates, not in key_ops"
    );
}

#[test]
fn every_reason_has_azures_code() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    let options = CreateKeyOptions::ec(Curve::P256)
        .enabled(false)
        .expires_on(start_plus(5))
        .operations([KeyOperation::Verify]);
    vault.create_key(&key, options).unwrap();
    clock.advance_seconds(5);
    vault.delete_key(&key).unwrap();
    let no_sign = Permissions::none().with(Permission::Get);
    let handle = vault.restricted(no_sign);
    let null = CryptoOperation::Sign(SignatureAlgorithm::RsNull);
    let codes: Vec<_> = handle
        .explain(&key, null)
        .unwrap()
        .iter()
        .map(|reason| {
            let azure = reason.azure().unwrap();
            assert!(!reason.message().is_empty());
            (
                azure.status(),
                azure.code(),
                azure.inner_code().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            (403, "Forbidden", "ForbiddenByPolicy"),
            (404, "KeyNotFound", ""),
            (400, "BadParameter", ""),
            (403, "Forbidden", "ForbiddenByPolicy"),
            (403, "Forbidden", "KeyDisabled"),
            (403, "Forbidden", "KeyExpired"),
            (403, "Forbidden", "KeyOperationForbidden"),
        ]
    );
}

#[test]
fn a_key_that_is_not_there_has_one_reason_and_needs_permission_to_be_asked_about() {
    let (vault, _) = memory_vault();
    let sign = CryptoOperation::Sign(SignatureAlgorithm::Es256);
    let reasons = vault.explain(&name("nobody"), sign).unwrap();
    assert_eq!(kinds(&reasons), [ErrorKind::KeyNotFound]);
    let handle = vault.restricted(Permissions::none().with(Permission::Sign));
    assert_eq!(
        refused(handle.explain(&name("nobody"), sign)),
        ErrorKind::Forbidden
    );
}

#[test]
fn a_backend_that_is_away_or_cannot_is_a_reason() {
    let device = Arc::new(MemoryDevice::new("device".parse().unwrap()));
    let vault = VaultOptions::new()
        .backend(Arc::clone(&device) as Arc<dyn strongroom::backend::KeyBackend>)
        .create_in_memory()
        .unwrap();
    let key = name("k");
    vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256).hsm())
        .unwrap();
    let sign = CryptoOperation::Sign(SignatureAlgorithm::Es256);
    let verify = CryptoOperation::Verify(SignatureAlgorithm::Es256);
    assert!(vault.explain(&key, sign).unwrap().is_empty());
    let decrypt = CryptoOperation::Decrypt(EncryptionAlgorithm::RsaOaep256);
    let unwrap = CryptoOperation::UnwrapKey(WrapAlgorithm::A256Kw);
    for other in [decrypt, unwrap] {
        let reasons = kinds(&vault.explain(&key, other).unwrap());
        assert_eq!(
            reasons,
            [
                ErrorKind::AlgorithmMismatch,
                ErrorKind::OperationNotPermitted
            ]
        );
    }
    device.set_away(true);
    let away = kinds(&vault.explain(&key, sign).unwrap());
    assert_eq!(away, [ErrorKind::BackendUnavailable]);
    assert!(vault.explain(&key, verify).unwrap().is_empty());
}
