//! Versions: the newest is the newest created, whatever its state; old ones go on reading what they made.

use strongroom::{
    Ciphertext, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind, KeyOperation, KeyOperations,
    OctKeySize, RsaKeySize, SignatureAlgorithm, UpdateKeyOptions, WrapAlgorithm,
};

use super::{DIGEST, Made, OCT_256, RSA, SIX};
use crate::make;
use crate::support::{fixed_oct, fixed_rsa, memory_vault, name, refused, start_plus};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;

#[test]
fn the_newest_version_is_the_newest_even_when_it_is_disabled() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let old = vault.create_key(&key, make::ec(Curve::P256)).unwrap();
    let new = vault
        .create_key(&key, make::ec(Curve::P256).enabled(false))
        .unwrap();
    assert_eq!(vault.get_key(&key).unwrap().id(), new.id());
    assert_eq!(
        refused(vault.sign(&key, ES256, &DIGEST)),
        ErrorKind::KeyDisabled
    );
    vault.sign(old.id(), ES256, &DIGEST).unwrap();
    let listed = vault.list_key_properties().next().unwrap().unwrap();
    assert_eq!(listed.id(), new.id());
}

#[test]
fn versions_made_in_the_same_second_keep_their_order() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let mut made = vec![
        vault
            .create_key(&key, make::oct(OctKeySize::Bits128))
            .unwrap()
            .id()
            .version(),
    ];
    for _ in 0..40 {
        made.push(vault.rotate_key(&key).unwrap().id().version());
    }
    made.reverse();
    let listed: Vec<_> = vault
        .list_key_properties_versions(&key)
        .unwrap()
        .map(|properties| properties.version())
        .collect();
    assert_eq!(listed, made);
}

#[test]
fn old_versions_go_on_reading_what_they_made() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault
        .create_key(&key, make::oct(OctKeySize::Bits256).operations(SIX))
        .unwrap();
    let made: Vec<Made> = (0..4)
        .map(|_| {
            let made = Made::by(&vault, &key, OCT_256);
            vault.rotate_key(&key).unwrap();
            made
        })
        .collect();
    for one in &made {
        for operation in [
            KeyOperation::Decrypt,
            KeyOperation::Verify,
            KeyOperation::UnwrapKey,
        ] {
            one.attempt(&vault, one.sealed.key_id(), operation).unwrap();
            let newest = one.attempt(&vault, &key, operation).unwrap_err();
            let expected = if operation == KeyOperation::Verify {
                ErrorKind::InvalidSignature
            } else {
                ErrorKind::DecryptFailed
            };
            assert_eq!(newest.kind(), expected);
        }
        // And old versions may still make something new, if asked by name.
        one.attempt(&vault, one.sealed.key_id(), KeyOperation::Encrypt)
            .unwrap();
    }
    let error = vault
        .decrypt(
            &key,
            EncryptionAlgorithm::A256Gcm,
            Ciphertext::from(&made[0].sealed),
        )
        .unwrap_err();
    assert!(
        error.to_string().contains("older version"),
        "the message helps: {error}"
    );
}

#[test]
fn rotation_keeps_kind_key_ops_and_tags_and_gives_a_fresh_window() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    let old = vault
        .create_key(
            &key,
            make::ec(Curve::P256K)
                .operations([KeyOperation::Verify, KeyOperation::Sign])
                .not_before(start_plus(10))
                .expires_on(start_plus(20))
                .enabled(false)
                .tag("team", "billing"),
        )
        .unwrap();
    clock.advance_days(1);
    let new = vault.rotate_key(&key).unwrap();
    assert_ne!(new.id(), old.id());
    assert_ne!(new.key().x(), old.key().x());
    assert_eq!(new.key().crv(), Some(Curve::P256K));
    assert_eq!(new.key().key_ops(), old.key().key_ops());
    assert_eq!(new.properties().tags(), old.properties().tags());
    assert!(new.properties().enabled());
    assert_eq!(new.properties().not_before(), None);
    assert_eq!(new.properties().expires_on(), None);
    assert_eq!(new.properties().created_on(), start_plus(86_400));
    assert_eq!(
        vault.get_key(old.id()).unwrap(),
        old,
        "the old version stays as it was"
    );
    vault
        .sign(&key, SignatureAlgorithm::Es256K, &DIGEST)
        .unwrap();
}

#[test]
fn rotation_takes_the_properties_of_the_newest_version() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault
        .create_key(&key, make::ec(Curve::P256).tag("n", "1"))
        .unwrap();
    vault
        .create_key(
            &key,
            make::ec(Curve::P384)
                .operations([KeyOperation::Sign])
                .tag("n", "2"),
        )
        .unwrap();
    let new = vault.rotate_key(&key).unwrap();
    assert_eq!(new.key().crv(), Some(Curve::P384));
    assert_eq!(
        new.key().key_ops(),
        KeyOperations::from([KeyOperation::Sign])
    );
    assert_eq!(new.properties().tags().get("n"), Some("2"));
}

#[test]
fn rotation_keeps_size_and_public_exponent_of_rsa() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    // Two keys are generated here; the exponent is one that nobody has by default.
    let exponent = 0x1_0000_000f_u64;
    let old = vault
        .create_key(
            &key,
            make::rsa(RsaKeySize::Bits2048).public_exponent(exponent),
        )
        .unwrap();
    assert_eq!(old.key().e().unwrap(), [1, 0, 0, 0, 15]);
    let made = Made::by(&vault, &key, RSA);
    let new = vault.rotate_key(&key).unwrap();
    assert_eq!(new.key().e(), old.key().e());
    assert_eq!(new.key().n().unwrap().len(), 256);
    assert_ne!(new.key().n(), old.key().n());
    for operation in SIX {
        made.attempt(&vault, old.id(), operation).unwrap();
    }
}

#[test]
fn an_imported_software_key_is_rotated_by_a_generated_one() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault
        .import_key(&key, make::import(fixed_rsa(RsaKeySize::Bits2048)))
        .unwrap();
    if make::in_software("an imported -HSM key is rotated by importing its successor") {
        let new = vault.rotate_key(&key).unwrap();
        assert_eq!(new.key().n().unwrap().len(), 256);
    } else {
        let error = vault.rotate_key(&key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        assert!(error.to_string().contains("importing"), "{error}");
    }
    // What the library does not generate is refused, with the remedy.
    let mac = name("mac");
    vault.import_key(&mac, make::import(fixed_oct(64))).unwrap();
    let error = vault.rotate_key(&mac).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
    assert!(error.to_string().contains("import"), "{error}");
}

#[test]
fn rotation_of_what_is_not_there_is_refused() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    assert_eq!(refused(vault.rotate_key(&key)), ErrorKind::KeyNotFound);
    vault.create_key(&key, make::ec(Curve::P256)).unwrap();
    vault.delete_key(&key).unwrap();
    assert_eq!(refused(vault.rotate_key(&key)), ErrorKind::KeyNotFound);
}

#[test]
fn another_type_under_a_name_must_be_asked_for() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let ec = vault.create_key(&key, make::ec(Curve::P256)).unwrap();
    let to_oct = || make::oct(OctKeySize::Bits256);
    assert_eq!(
        refused(vault.create_key(&key, to_oct())),
        ErrorKind::BadParameter
    );
    assert_eq!(
        refused(vault.import_key(&key, make::import(fixed_oct(32)))),
        ErrorKind::BadParameter
    );
    assert_eq!(vault.get_key(&key).unwrap(), ec);
    // Another curve is the same type.
    vault.create_key(&key, make::ec(Curve::P521)).unwrap();
    let oct = vault
        .create_key(&key, to_oct().allow_type_change())
        .unwrap();
    assert_eq!(vault.get_key(&key).unwrap(), oct);
    vault
        .sign(ec.id(), ES256, &DIGEST)
        .expect("the old version of the other type works");
    vault
        .wrap_key(&key, WrapAlgorithm::A256Kw, &[1; 16])
        .unwrap();
    // The newest version counts, not the first.
    assert_eq!(
        refused(vault.create_key(&key, make::ec(Curve::P256))),
        ErrorKind::BadParameter
    );
    let rotated = vault.rotate_key(&key).unwrap();
    assert_eq!(rotated.key().kty(), make::kty(strongroom::KeyType::Oct));
    vault
        .create_key(&key, make::ec(Curve::P256).allow_type_change())
        .unwrap();
    vault.sign(&key, ES256, &DIGEST).unwrap();
}

#[test]
fn rewrapping_moves_a_key_to_the_newest_version() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let kw = WrapAlgorithm::A256Kw;
    vault
        .create_key(&key, make::oct(OctKeySize::Bits256))
        .unwrap();
    let old = vault.wrap_key(&key, kw, &[9; 24]).unwrap();
    let new = vault.rotate_key(&key).unwrap();
    // The old version may be out of its window: unwrapping does not need it.
    let expired = UpdateKeyOptions::new().expires_on(start_plus(0));
    vault.update_key_properties(old.key_id(), expired).unwrap();
    let rewrapped = vault
        .rewrap_key(old.key_id(), kw, old.wrapped_key(), &key, kw)
        .unwrap();
    assert_eq!(rewrapped.key_id(), new.id());
    assert_eq!(
        vault
            .unwrap_key(&key, kw, rewrapped.wrapped_key())
            .unwrap()
            .expose(),
        [9; 24]
    );
    assert_eq!(
        refused(vault.rewrap_key(&key, kw, old.wrapped_key(), &key, kw)),
        ErrorKind::DecryptFailed
    );
}

#[test]
fn results_name_the_version_that_did_the_work() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault
        .create_key(&key, make::oct(OctKeySize::Bits256).operations(SIX))
        .unwrap();
    for _ in 0..3 {
        let newest = vault.rotate_key(&key).unwrap();
        let made = Made::by(&vault, &key, OCT_256);
        assert_eq!(made.sealed.key_id(), newest.id());
        assert_eq!(made.signed.key_id(), newest.id());
        assert_eq!(made.wrapped.key_id(), newest.id());
        let data_key = vault
            .generate_data_key(&key, WrapAlgorithm::A256Kw, 32)
            .unwrap();
        assert_eq!(data_key.wrapped().key_id(), newest.id());
        let sealed = vault
            .encrypt(
                newest.id(),
                EncryptionAlgorithm::A256Gcm,
                b"",
                EncryptOptions::new(),
            )
            .unwrap();
        assert_eq!(sealed.key_id(), newest.id());
    }
}
