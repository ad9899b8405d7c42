//! What a new version has: defaults, the properties asked for, and what is refused before anything is made.

use std::collections::BTreeSet;

use strongroom::{
    Curve, ErrorKind, ImportedKey, KeyOperation, KeyOperations, KeyType, OctKeySize, RecoveryLevel,
    RsaKeySize, SecretBytes, SignatureAlgorithm, Tags,
};

use super::{DIGEST, SIX};
use crate::make;
use crate::support::{fixed_oct, fixed_rsa, memory_vault, name, refused, start_plus};

#[test]
fn a_new_key_has_the_documented_defaults() {
    let (vault, _clock) = memory_vault();
    for (options, kty) in [
        (make::ec(Curve::P256), make::kty(KeyType::Ec)),
        (make::oct(OctKeySize::Bits256), make::kty(KeyType::Oct)),
    ] {
        let key = name(kty.as_str());
        let made = vault.create_key(&key, options).unwrap();
        let properties = made.properties();
        assert_eq!(properties.key_type(), kty);
        assert!(properties.enabled());
        assert_eq!(properties.not_before(), None);
        assert_eq!(properties.expires_on(), None);
        assert_eq!(properties.created_on(), start_plus(0));
        assert_eq!(properties.updated_on(), start_plus(0));
        assert_eq!(properties.recoverable_days(), 90);
        assert_eq!(
            properties.recovery_level(),
            RecoveryLevel::RecoverablePurgeable
        );
        assert!(properties.tags().is_empty());
        assert_eq!(properties.backend().as_str(), make::BACKEND);
        assert_eq!(vault.get_key(&key).unwrap(), made);
    }
}

#[test]
fn an_imported_rsa_key_has_all_six_operations_and_its_numbers() {
    let (vault, _clock) = memory_vault();
    for size in RsaKeySize::ALL {
        let key = name(&format!("rsa-{}", size.bits()));
        let made = vault
            .import_key(&key, make::import(fixed_rsa(size)))
            .unwrap();
        assert_eq!(made.key().kty(), make::kty(KeyType::Rsa));
        assert_eq!(made.key().key_ops(), KeyOperations::from(SIX));
        assert_eq!(made.key().n().unwrap().len(), size.modulus_length());
        assert_eq!(made.key().e().unwrap(), [1, 0, 1]);
    }
}

#[test]
fn a_symmetric_key_shows_only_its_type_and_operations() {
    let (vault, _clock) = memory_vault();
    let made = vault
        .create_key(&name("k"), make::oct(OctKeySize::Bits128))
        .unwrap();
    assert!(made.key().public_parts().is_none());
    let json = serde_json::to_value(made.key()).unwrap();
    let members: BTreeSet<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, BTreeSet::from(["kid", "kty", "key_ops"]));
    assert_eq!(json["kty"], make::kty(KeyType::Oct).as_str());
}

#[test]
fn everything_asked_for_is_there_and_survives() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let made = vault
        .create_key(
            &key,
            make::ec(Curve::P384)
                .operations([KeyOperation::Verify])
                .enabled(false)
                .not_before(start_plus(5))
                .expires_on(start_plus(6))
                .tag("team", "billing")
                .tag("empty", ""),
        )
        .unwrap();
    let properties = made.properties();
    assert!(!properties.enabled());
    assert_eq!(properties.not_before(), Some(start_plus(5)));
    assert_eq!(properties.expires_on(), Some(start_plus(6)));
    assert_eq!(properties.tags().get("team"), Some("billing"));
    assert_eq!(properties.tags().get("empty"), Some(""));
    assert_eq!(properties.tags().len(), 2);
    assert_eq!(made.key().crv(), Some(Curve::P384));
    assert_eq!(
        made.key().key_ops().iter().collect::<Vec<_>>(),
        [KeyOperation::Verify]
    );
    assert_eq!(vault.get_key(&key).unwrap(), made);
}

#[test]
fn a_window_that_ends_before_it_begins_is_refused() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let window = |nbf, exp| {
        make::ec(Curve::P256)
            .not_before(start_plus(nbf))
            .expires_on(start_plus(exp))
    };
    assert_eq!(
        refused(vault.create_key(&key, window(8, 7))),
        ErrorKind::BadParameter
    );
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::KeyNotFound);
    vault.create_key(&key, window(7, 7)).unwrap();
    let import = make::import(fixed_oct(32))
        .not_before(start_plus(8))
        .expires_on(start_plus(7));
    assert_eq!(
        refused(vault.import_key(&name("i"), import)),
        ErrorKind::BadParameter
    );
}

#[test]
fn impossible_and_empty_key_ops_are_refused_and_nothing_is_made() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let mut refusals = 0;
    for operation in KeyOperation::ALL {
        let options = make::ec(Curve::P256).operations([KeyOperation::Sign, operation]);
        let possible = [
            KeyOperation::Sign,
            KeyOperation::Verify,
            KeyOperation::Export,
        ];
        if possible.contains(&operation) {
            continue;
        }
        let error = vault.create_key(&key, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        assert!(error.to_string().contains(operation.as_str()), "{error}");
        assert!(error.to_string().contains("sign, verify"), "{error}");
        refusals += 1;
    }
    assert_eq!(refusals, 5);
    for none in [
        vault.create_key(&key, make::ec(Curve::P256).operations(KeyOperations::NONE)),
        vault.import_key(
            &key,
            make::import(fixed_oct(32)).operations(KeyOperations::NONE),
        ),
    ] {
        assert_eq!(refused(none), ErrorKind::BadParameter);
    }
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::KeyNotFound);
    // An HMAC-only length cannot encrypt.
    let options = make::import(fixed_oct(33)).operations([KeyOperation::Encrypt]);
    assert_eq!(
        refused(vault.import_key(&key, options)),
        ErrorKind::BadParameter
    );
}

#[test]
fn a_public_exponent_is_for_rsa_and_bounded() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    assert_eq!(
        refused(vault.create_key(&key, make::ec(Curve::P256).public_exponent(65_537))),
        ErrorKind::BadParameter
    );
    for exponent in [0, 1, 3, 65_535, 65_536, 65_538, (1 << 33) + 1, u64::MAX] {
        let options = make::rsa(RsaKeySize::Bits2048).public_exponent(exponent);
        assert_eq!(
            refused(vault.create_key(&key, options)),
            ErrorKind::BadParameter,
            "{exponent}"
        );
    }
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::KeyNotFound);
}

#[test]
fn symmetric_keys_have_16_to_64_bytes_that_are_not_all_zero() {
    let (vault, _clock) = memory_vault();
    for length in [0, 1, 15, 65, 100_000] {
        let key = ImportedKey::oct(SecretBytes::from(vec![7; length]));
        assert_eq!(
            refused(vault.import_key(&name("k"), make::import(key))),
            ErrorKind::InvalidKeyMaterial,
            "{length}"
        );
    }
    let zero = ImportedKey::oct(SecretBytes::from(vec![0; 32]));
    assert_eq!(
        refused(vault.import_key(&name("k"), make::import(zero))),
        ErrorKind::InvalidKeyMaterial
    );
    for length in 16..=64 {
        vault
            .import_key(
                &name(&format!("k-{length}")),
                make::import(fixed_oct(length)),
            )
            .unwrap();
    }
}

#[test]
fn key_ops_of_a_jwk_count_and_options_override_them() {
    let (vault, _clock) = memory_vault();
    let jwk = br#"{"kty":"EC","crv":"P-256","key_ops":["verify"],
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    let import = || make::import(ImportedKey::from_jwk(jwk).unwrap());
    let made = vault.import_key(&name("a"), import()).unwrap();
    assert_eq!(
        made.key().key_ops(),
        KeyOperations::from([KeyOperation::Verify])
    );
    assert_eq!(
        refused(vault.sign(&name("a"), SignatureAlgorithm::Es256, &DIGEST)),
        ErrorKind::OperationNotPermitted
    );
    let options = import().operations([KeyOperation::Sign]);
    vault.import_key(&name("b"), options).unwrap();
    vault
        .sign(&name("b"), SignatureAlgorithm::Es256, &DIGEST)
        .unwrap();
}

#[test]
fn a_hardware_key_needs_a_hardware_backend() {
    if !make::in_software("there is a hardware backend") {
        return;
    }
    let (vault, _clock) = memory_vault();
    assert_eq!(
        refused(vault.create_key(&name("k"), make::ec(Curve::P256).hsm())),
        ErrorKind::Unsupported
    );
    let jwk = br#"{"kty":"oct-HSM","k":"AQIDBAUGBwgJCgsMDQ4PEA"}"#;
    let import = make::import(ImportedKey::from_jwk(jwk).unwrap());
    assert_eq!(
        refused(vault.import_key(&name("k"), import)),
        ErrorKind::Unsupported
    );
    let elsewhere = "elsewhere".parse().unwrap();
    assert_eq!(
        refused(vault.create_key(&name("k"), make::ec(Curve::P256).backend(&elsewhere))),
        ErrorKind::BackendUnavailable
    );
}

#[test]
fn importing_under_an_existing_name_makes_a_new_version() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let first = vault
        .create_key(&key, make::oct(OctKeySize::Bits256))
        .unwrap();
    let second = vault
        .import_key(&key, make::import(fixed_oct(16)).tag("from", "file"))
        .unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(vault.get_key(&key).unwrap(), second);
    assert_eq!(vault.get_key(first.id()).unwrap(), first);
}

#[test]
fn tags_are_replaced_by_tags_and_added_to_by_tag() {
    let (vault, _clock) = memory_vault();
    let mut tags = Tags::new();
    tags.insert("a", "1").unwrap();
    let made = vault
        .create_key(
            &name("k"),
            make::ec(Curve::P256)
                .tag("gone", "x")
                .tags(tags)
                .tag("b", "2")
                .tag("a", "3"),
        )
        .unwrap();
    let found: Vec<(&str, &str)> = made.properties().tags().iter().collect();
    assert_eq!(found, [("a", "3"), ("b", "2")]);
}
