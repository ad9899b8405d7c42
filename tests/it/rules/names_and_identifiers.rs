//! Names keep their spelling and compare without case; an identifier names one exact version.

use strongroom::{
    Curve, ErrorKind, KeyIdentifier, KeyName, KeyVersion, SignatureAlgorithm, VaultUrl,
};

use super::DIGEST;
use crate::make::{self, Home};
use crate::support::{memory_vault, memory_vault_in, name, refused};

#[test]
fn names_have_1_to_127_of_the_documented_characters() {
    let longest = "x".repeat(127);
    for legal in ["a", "0", "-", "A-z-9", "----", longest.as_str()] {
        assert_eq!(legal.parse::<KeyName>().unwrap().as_str(), legal);
    }
    let too_long = "x".repeat(128);
    let huge = "x".repeat(1_000_000);
    for illegal in [
        "", " ", "a b", "a_b", "a.b", "a/b", "ä", "a\0", "a\n", "\u{212a}", "../x", &too_long,
        &huge,
    ] {
        assert_eq!(
            refused(illegal.parse::<KeyName>()),
            ErrorKind::BadParameter,
            "{illegal:.20?}"
        );
    }
    for byte in 0..=127_u8 {
        let text = char::from(byte).to_string();
        let legal = byte.is_ascii_digit() || byte.is_ascii_alphabetic() || byte == b'-';
        assert_eq!(text.parse::<KeyName>().is_ok(), legal, "{text:?}");
    }
}

#[test]
fn the_longest_name_works_everywhere() {
    let home = Home::new();
    let (vault, _clock) = memory_vault_in(&home);
    let key = name(&"Z".repeat(127));
    let options = make::ec(Curve::P256).backup_allowed();
    let made = vault.create_key(&key, options).unwrap();
    let id: KeyIdentifier = made.id().to_string().parse().unwrap();
    assert_eq!(vault.get_key(&id).unwrap(), made);
    let backup = home.backup(&vault, &key);
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    if let Some(backup) = backup {
        assert_eq!(vault.restore_key(&backup).unwrap().key(), &made);
    }
}

#[test]
fn a_name_keeps_its_first_spelling_and_is_found_by_any() {
    let (vault, _clock) = memory_vault();
    let made = vault
        .create_key(&name("Invoice-Signer"), make::ec(Curve::P256))
        .unwrap();
    for spelling in ["invoice-signer", "INVOICE-SIGNER", "Invoice-Signer"] {
        let found = vault.get_key(&name(spelling)).unwrap();
        assert_eq!(found, made);
        assert_eq!(found.properties().name().as_str(), "Invoice-Signer");
    }
    let next = vault
        .create_key(&name("INVOICE-signer"), make::ec(Curve::P256))
        .unwrap();
    assert_eq!(next.properties().name().as_str(), "Invoice-Signer");
    assert_eq!(
        vault
            .list_key_properties_versions(&name("invoice-SIGNER"))
            .unwrap()
            .count(),
        2
    );
    let signed = vault
        .sign(
            (&name("iNVOICE-sIGNER"), made.id().version()),
            SignatureAlgorithm::Es256,
            &DIGEST,
        )
        .unwrap();
    assert_eq!(signed.key_id(), made.id());
    assert!(signed.key_id().to_string().contains("/Invoice-Signer/"));
    vault.delete_key(&name("invoice-signer")).unwrap();
    let recovered = vault.recover_deleted_key(&name("INVOICE-SIGNER")).unwrap();
    assert_eq!(recovered.properties().name().as_str(), "Invoice-Signer");
}

#[test]
fn every_call_that_takes_a_name_ignores_its_case() {
    let home = Home::new();
    let (vault, _clock) = memory_vault_in(&home);
    let lower = name("case");
    let upper = name("CASE");
    let es256 = SignatureAlgorithm::Es256;
    vault
        .create_key(&lower, make::ec(Curve::P256).backup_allowed())
        .unwrap();
    // Twice, so that the second answer comes from the cache.
    for _ in 0..2 {
        let signed = vault.sign(&upper, es256, &DIGEST).unwrap();
        vault
            .verify(&lower, es256, &DIGEST, signed.signature())
            .unwrap();
    }
    vault
        .update_key_properties(&upper, strongroom::UpdateKeyOptions::new().enabled(false))
        .unwrap();
    assert_eq!(
        refused(vault.sign(&lower, es256, &DIGEST)),
        ErrorKind::KeyDisabled,
        "an update under one spelling reaches the key cached under the other"
    );
    vault.rotate_key(&upper).unwrap();
    vault.sign(&lower, es256, &DIGEST).unwrap();
    let backup = home.backup(&vault, &upper);
    vault.delete_key(&upper).unwrap();
    assert_eq!(
        refused(vault.create_key(&lower, make::ec(Curve::P256))),
        ErrorKind::KeyDeleted
    );
    vault.get_deleted_key(&lower).unwrap();
    vault.purge_deleted_key(&upper).unwrap();
    vault.create_key(&lower, make::ec(Curve::P256)).unwrap();
    if let Some(backup) = backup {
        assert_eq!(refused(vault.restore_key(&backup)), ErrorKind::KeyExists);
    }
}

#[test]
fn an_identifier_is_written_and_read_as_the_service_does() {
    let (vault, _clock) = memory_vault();
    let made = vault.create_key(&name("k"), make::ec(Curve::P256)).unwrap();
    let text = made.id().to_string();
    let version = made.id().version().to_string();
    assert_eq!(text, format!("https://vault.invalid/keys/k/{version}"));
    assert_eq!(version.len(), 32);
    assert!(version.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(made.key().kid().unwrap(), made.id());
    let read: KeyIdentifier = text.parse().unwrap();
    assert_eq!(&read, made.id());
    // Versions compare without case, too.
    let upper: KeyVersion = version.to_uppercase().parse().unwrap();
    assert_eq!(upper, made.id().version());
    // The URL is presentation.
    let elsewhere: KeyIdentifier = format!("https://other.example:8443/keys/K/{version}")
        .parse()
        .unwrap();
    assert_eq!(vault.get_key(&elsewhere).unwrap(), made);
    for illegal in [
        "",
        "k",
        "https://vault.invalid/keys/k",
        "https://vault.invalid/keys/k/",
        "https://vault.invalid/keys//0123456789abcdef0123456789abcdef",
        "https://vault.invalid/secrets/k/0123456789abcdef0123456789abcdef",
        "https://vault.invalid/keys/k/0123456789abcdef0123456789abcde",
        "https://vault.invalid/keys/k/0123456789abcdef0123456789abcdef/x",
        "https://vault.invalid/keys/k/0123456789abcdef0123456789abcdeg",
        "ftp://vault.invalid/keys/k/0123456789abcdef0123456789abcdef",
        "/keys/k/0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(
            refused(illegal.parse::<KeyIdentifier>()),
            ErrorKind::BadParameter,
            "{illegal}"
        );
    }
}

#[test]
fn the_url_of_a_vault_is_chosen_when_it_is_opened() {
    let url: VaultUrl = "https://keys.example:8443/".parse().unwrap();
    let vault = make::vault_options().url(url).create_in_memory().unwrap();
    let made = vault.create_key(&name("k"), make::ec(Curve::P256)).unwrap();
    assert!(
        made.id()
            .to_string()
            .starts_with("https://keys.example:8443/keys/k/")
    );
    let deleted = vault.delete_key(&name("k")).unwrap();
    assert_eq!(
        deleted.recovery_id(),
        "https://keys.example:8443/deletedkeys/k"
    );
    for illegal in [
        "",
        "x",
        "https://",
        "https://a/b",
        "https://a?b",
        "file:///x",
    ] {
        assert!(illegal.parse::<VaultUrl>().is_err(), "{illegal}");
    }
}

#[test]
fn an_unknown_version_of_a_key_is_not_found() {
    let (vault, _clock) = memory_vault();
    let one = vault
        .create_key(&name("one"), make::ec(Curve::P256))
        .unwrap();
    let two = vault
        .create_key(&name("two"), make::ec(Curve::P256))
        .unwrap();
    let crossed = (&name("one"), two.id().version());
    for _ in 0..2 {
        assert_eq!(refused(vault.get_key(crossed)), ErrorKind::KeyNotFound);
        assert_eq!(
            refused(vault.sign(crossed, SignatureAlgorithm::Es256, &DIGEST)),
            ErrorKind::KeyNotFound
        );
        vault
            .sign(one.id(), SignatureAlgorithm::Es256, &DIGEST)
            .unwrap();
    }
}
