//! Update: what is not named stays, what is named is set or cleared, and what is refused changes nothing.

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, KeyBundle, KeyOperation, KeyOperations, Tags,
    UpdateKeyOptions,
};

use crate::make;
use crate::support::{memory_vault, name, refused, start_plus};

fn full() -> CreateKeyOptions {
    make::ec(Curve::P256)
        .not_before(start_plus(10))
        .expires_on(start_plus(20))
        .tag("a", "1")
        .tag("b", "2")
}

/// enabled, not before, expires on, tags, operations
type Facts = (
    bool,
    Option<u64>,
    Option<u64>,
    Vec<(String, String)>,
    KeyOperations,
);

fn facts(key: &KeyBundle) -> Facts {
    let properties = key.properties();
    (
        properties.enabled(),
        properties.not_before().map(|time| time.unix_seconds()),
        properties.expires_on().map(|time| time.unix_seconds()),
        properties
            .tags()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        key.key().key_ops(),
    )
}

#[test]
fn an_empty_update_changes_only_the_date_of_the_update() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    let made = vault.create_key(&key, full()).unwrap();
    clock.advance_seconds(5);
    let updated = vault
        .update_key_properties(&key, UpdateKeyOptions::new())
        .unwrap();
    assert_eq!(facts(&updated), facts(&made));
    assert_eq!(updated.id(), made.id());
    assert_eq!(updated.properties().created_on(), start_plus(0));
    assert_eq!(updated.properties().updated_on(), start_plus(5));
    assert_eq!(vault.get_key(&key).unwrap(), updated);
    assert_eq!(updated.key(), made.key());
}

#[test]
fn each_property_is_set_and_cleared_alone() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, full()).unwrap();
    let mut expected = facts(&vault.get_key(&key).unwrap());
    let update = |options| facts(&vault.update_key_properties(&key, options).unwrap());

    expected.0 = false;
    assert_eq!(update(UpdateKeyOptions::new().enabled(false)), expected);
    expected.1 = Some(start_plus(11).unix_seconds());
    assert_eq!(
        update(UpdateKeyOptions::new().not_before(start_plus(11))),
        expected
    );
    expected.2 = Some(start_plus(12).unix_seconds());
    assert_eq!(
        update(UpdateKeyOptions::new().expires_on(start_plus(12))),
        expected
    );
    expected.1 = None;
    assert_eq!(update(UpdateKeyOptions::new().clear_not_before()), expected);
    expected.2 = None;
    assert_eq!(update(UpdateKeyOptions::new().clear_expires_on()), expected);
    let mut tags = Tags::new();
    tags.insert("c", "3").unwrap();
    expected.3 = vec![("c".to_owned(), "3".to_owned())];
    assert_eq!(update(UpdateKeyOptions::new().tags(tags)), expected);
    expected.3.clear();
    assert_eq!(update(UpdateKeyOptions::new().clear_tags()), expected);
    expected.4 = KeyOperations::from([KeyOperation::Verify]);
    assert_eq!(
        update(UpdateKeyOptions::new().operations([KeyOperation::Verify])),
        expected
    );
    expected.0 = true;
    assert_eq!(update(UpdateKeyOptions::new().enabled(true)), expected);
    assert_eq!(facts(&vault.get_key(&key).unwrap()), expected);
}

#[test]
fn a_window_is_judged_by_what_it_becomes() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, full()).unwrap();
    let before = vault.get_key(&key).unwrap();
    for refusal in [
        UpdateKeyOptions::new().not_before(start_plus(21)),
        UpdateKeyOptions::new().expires_on(start_plus(9)),
        UpdateKeyOptions::new()
            .not_before(start_plus(31))
            .expires_on(start_plus(30)),
    ] {
        assert_eq!(
            refused(vault.update_key_properties(&key, refusal.enabled(false))),
            ErrorKind::BadParameter
        );
        assert_eq!(vault.get_key(&key).unwrap(), before, "nothing changed");
    }
    // Both at once, outside the old window, are fine.
    let moved = UpdateKeyOptions::new()
        .not_before(start_plus(100))
        .expires_on(start_plus(100));
    vault.update_key_properties(&key, moved).unwrap();
    let moved = UpdateKeyOptions::new()
        .clear_expires_on()
        .not_before(start_plus(1_000));
    vault.update_key_properties(&key, moved).unwrap();
}

#[test]
fn empty_and_impossible_key_ops_are_refused() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let before = vault.create_key(&key, full()).unwrap();
    for operations in [
        KeyOperations::NONE,
        KeyOperations::from([KeyOperation::Encrypt]),
        KeyOperations::from([KeyOperation::Sign, KeyOperation::WrapKey]),
        KeyOperations::from([KeyOperation::Sign, KeyOperation::Import]),
    ] {
        let update = UpdateKeyOptions::new().operations(operations).clear_tags();
        assert_eq!(
            refused(vault.update_key_properties(&key, update)),
            ErrorKind::BadParameter,
            "{operations:?}"
        );
        assert_eq!(vault.get_key(&key).unwrap(), before);
    }
}

#[test]
fn a_name_means_the_newest_version_and_an_identifier_its_own() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let old = vault.create_key(&key, full()).unwrap();
    let new = vault.rotate_key(&key).unwrap();
    let off = || UpdateKeyOptions::new().enabled(false);
    let updated = vault.update_key_properties(&key, off()).unwrap();
    assert_eq!(updated.id(), new.id());
    assert!(vault.get_key(old.id()).unwrap().properties().enabled());
    let updated = vault.update_key_properties(old.id(), off()).unwrap();
    assert_eq!(updated.id(), old.id());
    assert!(!vault.get_key(old.id()).unwrap().properties().enabled());
    assert_eq!(
        vault.get_key(&key).unwrap().id(),
        new.id(),
        "an update makes nothing newest"
    );
}

#[test]
fn disabled_and_expired_keys_are_read_and_updated() {
    let (vault, clock) = memory_vault();
    let key = name("k");
    vault.create_key(&key, full().enabled(false)).unwrap();
    clock.advance_days(1);
    assert!(!vault.get_key(&key).unwrap().properties().enabled());
    assert_eq!(vault.list_key_properties().count(), 1);
    assert_eq!(vault.list_key_properties_versions(&key).unwrap().count(), 1);
    vault
        .update_key_properties(&key, UpdateKeyOptions::new().enabled(true))
        .unwrap();
}

#[test]
fn a_missing_or_deleted_key_is_not_updated() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let update = || vault.update_key_properties(&key, UpdateKeyOptions::new());
    assert_eq!(refused(update()), ErrorKind::KeyNotFound);
    let made = vault.create_key(&key, full()).unwrap();
    vault.delete_key(&key).unwrap();
    assert_eq!(refused(update()), ErrorKind::KeyNotFound);
    assert_eq!(
        refused(vault.update_key_properties(made.id(), UpdateKeyOptions::new())),
        ErrorKind::KeyNotFound
    );
}
