//! An entry of a keyring as a way to unlock a vault: it opens its own vault while it is there and unaltered, never
//! takes the place of another entry, and is not to be the only way. The keyring is one in memory.

use std::sync::Once;

use keyring_core::{Entry, mock};
use strongroom::backend::keyring::KeyringUnlock;
use strongroom::{CreateKeyOptions, Curve, ErrorKind, Unlock, UnlockKind};

use crate::support::{Place, master_key, name, refused};

const SERVICE: &str = "strongroom tests";

/// `user` is the test's own: all share one keyring.
fn keyring(user: &str) -> KeyringUnlock {
    static STORE: Once = Once::new();
    STORE.call_once(|| keyring_core::set_default_store(mock::Store::new().unwrap()));
    KeyringUnlock::new(SERVICE, user)
}

fn entry(user: &str) -> Entry {
    Entry::new(SERVICE, user).unwrap()
}

/// A vault that the master key and the keyring unlock; closed.
fn place_with(keyring: &KeyringUnlock) -> Place {
    let place = Place::new();
    let vault = place.create();
    vault
        .add_unlock_slot(Unlock::raw_key(&master_key()), Unlock::from(keyring))
        .unwrap();
    vault.close().unwrap();
    place
}

#[test]
fn an_entry_opens_the_vault_it_was_made_for() {
    let own = keyring("opens");
    let place = Place::new();
    let vault = place.create();
    let key = vault
        .create_key(&name("k"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let id = vault
        .add_unlock_slot(Unlock::raw_key(&master_key()), Unlock::from(&own))
        .unwrap();
    let kinds: Vec<_> = vault
        .unlock_slots()
        .unwrap()
        .iter()
        .map(|slot| slot.kind())
        .collect();
    assert_eq!(kinds, [UnlockKind::RawKey, UnlockKind::Keyring]);
    vault.close().unwrap();
    assert_eq!(entry("opens").get_secret().unwrap().len(), 32);

    let open = || place.options().open(&place.path, Unlock::from(&own));
    let vault = open().unwrap();
    assert!(vault.open_report().unwrap().is_clean());
    assert_eq!(vault.get_key(&name("k")).unwrap(), key);
    vault.close().unwrap();

    // Another entry, with a vault of its own.
    let other = keyring("opens another");
    let elsewhere = place_with(&other);
    let opened = place.options().open(&place.path, Unlock::from(&other));
    assert_eq!(refused(opened), ErrorKind::WrongKey);
    elsewhere
        .options()
        .open(&elsewhere.path, Unlock::from(&other))
        .unwrap();

    let vault = open().unwrap();
    vault.remove_unlock_slot(id).unwrap();
    vault.close().unwrap();
    assert_eq!(refused(open()), ErrorKind::WrongKey);
    own.delete_entry().unwrap();
    own.delete_entry().unwrap();
    assert!(entry("opens").get_secret().is_err());
    place.open().unwrap();
}

#[test]
fn an_entry_that_is_gone_or_altered_opens_nothing_and_the_other_slot_goes_on() {
    let own = keyring("gone");
    let place = place_with(&own);
    let open = || place.options().open(&place.path, Unlock::from(&own));
    let good = entry("gone").get_secret().unwrap();
    for at in 0..32 {
        let mut bad = good.clone();
        bad[at] ^= 1;
        entry("gone").set_secret(&bad).unwrap();
        assert_eq!(refused(open()), ErrorKind::WrongKey, "byte {at}");
    }
    for bad in [&b""[..], &good[..31], &[&good[..], b"\0"].concat()] {
        entry("gone").set_secret(bad).unwrap();
        assert_eq!(refused(open()), ErrorKind::WrongKey);
    }
    entry("gone").set_secret(&good).unwrap();
    open().unwrap().close().unwrap();

    entry("gone").delete_credential().unwrap();
    let error = open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    let text = error.to_string();
    assert!(text.contains("gone") && text.contains("restarts"), "{text}");

    let vault = place.open().unwrap();
    let lost = vault.unlock_slots().unwrap()[1].id();
    vault
        .replace_unlock_slot(Unlock::raw_key(&master_key()), lost, Unlock::from(&own))
        .unwrap();
    vault.close().unwrap();
    open().unwrap();
}

#[test]
fn an_entry_that_exists_is_never_overwritten() {
    let own = keyring("taken");
    entry("taken").set_secret(b"somebody's password").unwrap();
    let place = Place::new();
    let vault = place.create();
    let by_key = master_key();
    let add = || vault.add_unlock_slot(Unlock::raw_key(&by_key), Unlock::from(&own));
    assert_eq!(refused(add()), ErrorKind::BadParameter);
    assert_eq!(entry("taken").get_secret().unwrap(), b"somebody's password");
    assert_eq!(vault.unlock_slots().unwrap().len(), 1);
    // Nor one of the same vault's.
    entry("taken").delete_credential().unwrap();
    let id = add().unwrap();
    let before = entry("taken").get_secret().unwrap();
    assert_eq!(refused(add()), ErrorKind::BadParameter);
    let replaced = vault.replace_unlock_slot(Unlock::raw_key(&by_key), id, Unlock::from(&own));
    assert_eq!(refused(replaced), ErrorKind::BadParameter);
    assert_eq!(entry("taken").get_secret().unwrap(), before);
    vault.close().unwrap();
    place
        .options()
        .open(&place.path, Unlock::from(&own))
        .unwrap();
}

#[test]
fn a_keyring_alone_unlocks_a_vault_only_where_that_was_allowed() {
    let own = keyring("alone");
    let place = Place::new();
    let created = place.options().create(&place.path, Unlock::from(&own));
    assert_eq!(refused(created), ErrorKind::BadParameter);
    // Refused before anything was written.
    assert!(entry("alone").get_secret().is_err());
    let vault = place.create();
    let only = vault.unlock_slots().unwrap()[0].id();
    let replaced =
        vault.replace_unlock_slot(Unlock::raw_key(&master_key()), only, Unlock::from(&own));
    assert_eq!(refused(replaced), ErrorKind::BadParameter);
    assert!(entry("alone").get_secret().is_err());
    vault
        .add_unlock_slot(Unlock::raw_key(&master_key()), Unlock::from(&own))
        .unwrap();
    let removed = vault.remove_unlock_slot(only);
    assert_eq!(refused(removed), ErrorKind::BadParameter);
    vault.close().unwrap();

    let alone = keyring("alone and allowed");
    let place = Place::new();
    let vault = place
        .options()
        .allow_sole_device_slot()
        .create(&place.path, Unlock::from(&alone))
        .unwrap();
    vault.close().unwrap();
    place
        .options()
        .open(&place.path, Unlock::from(&alone))
        .unwrap();
}
