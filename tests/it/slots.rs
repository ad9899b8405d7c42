//! The ways to unlock a vault: added, replaced and removed while it is open, and what each of them opens.

use std::fs;

use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, MasterKey, NewSlot, Passphrase, PassphraseParameters,
    Recipient, RecipientKey, SlotId, Unlock, UnlockKind, Vault, VaultOptions,
};

use crate::support::{Place, master_key, name, refused};

fn cheap() -> PassphraseParameters {
    PassphraseParameters::new(19_456, 1, 1).unwrap()
}

fn options(place: &Place) -> VaultOptions {
    place.options().passphrase_parameters(cheap())
}

fn create(place: &Place) -> Vault {
    options(place)
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap()
}

fn open(place: &Place, unlock: Unlock<'_>) -> strongroom::Result<Vault> {
    options(place).open(&place.path, unlock)
}

fn kinds(vault: &Vault) -> Vec<UnlockKind> {
    vault
        .unlock_slots()
        .unwrap()
        .iter()
        .map(|slot| slot.kind())
        .collect()
}

#[test]
fn every_slot_opens_the_same_vault() {
    let place = Place::new();
    let vault = create(&place);
    let key = vault
        .create_key(&name("k"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let root = *vault.status().unwrap().fingerprint();
    let first = master_key();
    let second = MasterKey::generate().unwrap();
    let passphrase = Passphrase::new("a quiet morning").unwrap();
    let recipient = RecipientKey::generate().unwrap();
    let by_first = Unlock::raw_key(&first);
    vault
        .add_unlock_slot(by_first, Unlock::raw_key(&second))
        .unwrap();
    vault
        .add_unlock_slot(by_first, Unlock::passphrase(&passphrase))
        .unwrap();
    vault
        .add_unlock_slot(by_first, NewSlot::recipient(&recipient.recipient()))
        .unwrap();
    let all = [
        UnlockKind::RawKey,
        UnlockKind::RawKey,
        UnlockKind::Passphrase,
        UnlockKind::Recipient,
    ];
    assert_eq!(kinds(&vault), all);
    let parameters: Vec<_> = vault
        .unlock_slots()
        .unwrap()
        .iter()
        .map(strongroom::UnlockSlot::passphrase_parameters)
        .collect();
    assert_eq!(parameters, [None, None, Some(cheap()), None]);
    assert!(vault.check().unwrap().is_sound());
    vault.close().unwrap();

    for unlock in [
        by_first,
        Unlock::raw_key(&second),
        Unlock::passphrase(&passphrase),
        Unlock::recipient(&recipient),
    ] {
        let vault = options(&place)
            .expect_root(root)
            .open(&place.path, unlock)
            .unwrap();
        assert!(
            vault.open_report().unwrap().is_clean(),
            "{:?}",
            vault.open_report().unwrap()
        );
        assert_eq!(vault.get_key(&name("k")).unwrap(), key);
        assert_eq!(kinds(&vault), all);
    }
    for wrong in [
        Unlock::raw_key(&MasterKey::generate().unwrap()),
        Unlock::passphrase(&Passphrase::new("a quiet evening").unwrap()),
    ] {
        assert_eq!(refused(open(&place, wrong)), ErrorKind::WrongKey);
    }
    let stranger = RecipientKey::generate().unwrap();
    let opened = options(&place)
        .expect_root(root)
        .open(&place.path, Unlock::recipient(&stranger));
    assert_eq!(refused(opened), ErrorKind::WrongKey);
}

#[test]
fn a_removed_or_replaced_slot_opens_nothing_and_its_header_is_refused() {
    let place = Place::new();
    let vault = create(&place);
    let key = master_key();
    let old = Passphrase::new("the old one").unwrap();
    let new = Passphrase::new("the new one").unwrap();
    let id = vault
        .add_unlock_slot(Unlock::raw_key(&key), Unlock::passphrase(&old))
        .unwrap();
    vault.close().unwrap();
    let header = place.path.join("vault.hdr");
    let with_old = fs::read(&header).unwrap();

    let vault = open(&place, Unlock::passphrase(&old)).unwrap();
    let replaced = vault
        .replace_unlock_slot(Unlock::passphrase(&old), id, Unlock::passphrase(&new))
        .unwrap();
    assert_ne!(replaced, id);
    assert_eq!(kinds(&vault), [UnlockKind::RawKey, UnlockKind::Passphrase]);
    vault.close().unwrap();
    assert_eq!(
        refused(open(&place, Unlock::passphrase(&old))),
        ErrorKind::WrongKey
    );
    let with_new = fs::read(&header).unwrap();
    fs::write(&header, &with_old).unwrap();
    assert_eq!(
        refused(open(&place, Unlock::passphrase(&old))),
        ErrorKind::HeaderReplayed
    );
    fs::write(&header, &with_new).unwrap();

    let vault = open(&place, Unlock::passphrase(&new)).unwrap();
    vault.remove_unlock_slot(replaced).unwrap();
    assert_eq!(kinds(&vault), [UnlockKind::RawKey]);
    vault.close().unwrap();
    assert_eq!(
        refused(open(&place, Unlock::passphrase(&new))),
        ErrorKind::WrongKey
    );
    fs::write(&header, &with_new).unwrap();
    assert_eq!(
        refused(open(&place, Unlock::passphrase(&new))),
        ErrorKind::HeaderReplayed
    );
}

#[test]
fn what_would_lock_everybody_out_is_refused_and_changes_nothing() {
    let place = Place::new();
    let vault = create(&place);
    let key = master_key();
    let current = Unlock::raw_key(&key);
    let only = vault.unlock_slots().unwrap()[0].id();
    let before = fs::read(place.path.join("vault.hdr")).unwrap();
    assert_eq!(
        refused(vault.remove_unlock_slot(only)),
        ErrorKind::BadParameter
    );
    let other = MasterKey::generate().unwrap();
    let added = vault.add_unlock_slot(Unlock::raw_key(&other), current);
    assert_eq!(refused(added), ErrorKind::WrongKey);
    let unknown: SlotId = "00112233445566778899aabbccddeeff".parse().unwrap();
    assert_eq!(
        refused(vault.remove_unlock_slot(unknown)),
        ErrorKind::BadParameter
    );
    assert_eq!(
        refused(vault.replace_unlock_slot(current, unknown, current)),
        ErrorKind::BadParameter
    );
    assert_eq!(fs::read(place.path.join("vault.hdr")).unwrap(), before);
    for _ in 1..8 {
        vault.add_unlock_slot(current, current).unwrap();
    }
    assert_eq!(
        refused(vault.add_unlock_slot(current, current)),
        ErrorKind::BadParameter
    );
    assert_eq!(vault.unlock_slots().unwrap().len(), 8);
    vault.close().unwrap();
    open(&place, current).unwrap();
}

#[test]
fn a_vault_in_memory_has_no_slots() {
    let vault = VaultOptions::new().create_in_memory().unwrap();
    assert!(vault.unlock_slots().unwrap().is_empty());
    let key = master_key();
    let added = vault.add_unlock_slot(Unlock::raw_key(&key), Unlock::raw_key(&key));
    assert_eq!(refused(added), ErrorKind::BadParameter);
}

#[test]
fn a_recipient_opens_only_the_expected_root() {
    let place = Place::new();
    let key = RecipientKey::generate().unwrap();
    let vault = options(&place)
        .create(&place.path, Unlock::recipient(&key))
        .unwrap();
    let root = *vault.status().unwrap().fingerprint();
    vault.close().unwrap();
    assert_eq!(
        refused(open(&place, Unlock::recipient(&key))),
        ErrorKind::BadParameter
    );
    let expecting = |root| {
        options(&place)
            .expect_root(root)
            .open(&place.path, Unlock::recipient(&key))
    };
    let mut other = root;
    other[31] ^= 1;
    assert_eq!(refused(expecting(other)), ErrorKind::WrongRoot);
    expecting(root).unwrap();
}

#[test]
fn another_directory_under_the_same_key_is_not_the_expected_root() {
    let (place, other) = (Place::new(), Place::new());
    let root = *create(&place).status().unwrap().fingerprint();
    drop(create(&other));
    let key = master_key();
    let opened = options(&other)
        .expect_root(root)
        .open(&other.path, Unlock::raw_key(&key));
    assert_eq!(refused(opened), ErrorKind::WrongRoot);
    options(&place)
        .expect_root(root)
        .open(&place.path, Unlock::raw_key(&key))
        .unwrap();
}

#[test]
fn unlocking_raises_the_cost_of_a_passphrase_that_is_too_low() {
    let place = Place::new();
    let passphrase = Passphrase::new("a quiet morning").unwrap();
    let unlock = Unlock::passphrase(&passphrase);
    let created = options(&place).create(&place.path, unlock).unwrap();
    let id = created.unlock_slots().unwrap()[0].id();
    created.close().unwrap();
    let costs = |vault: &Vault| {
        let slots = vault.unlock_slots().unwrap();
        assert_eq!((slots.len(), slots[0].id()), (1, id));
        slots[0].passphrase_parameters().unwrap()
    };

    // Who chose the cost keeps it; who asks for more gets it, and nobody gets less.
    let vault = place.options().open(&place.path, unlock).unwrap();
    assert_eq!(costs(&vault), cheap());
    vault.close().unwrap();
    let dearer = PassphraseParameters::new(19_456, 3, 1).unwrap();
    let vault = place
        .options()
        .passphrase_parameters(dearer)
        .open(&place.path, unlock)
        .unwrap();
    assert_eq!(costs(&vault), dearer);
    vault.close().unwrap();
    let vault = open(&place, unlock).unwrap();
    assert_eq!(costs(&vault), dearer);
    assert!(vault.open_report().unwrap().is_clean());
}

#[test]
fn a_named_slot_is_the_only_one_that_is_tried() {
    let place = Place::new();
    let vault = create(&place);
    let key = master_key();
    let passphrases: Vec<Passphrase> = (0..3)
        .map(|number| Passphrase::new(&format!("passphrase {number}")).unwrap())
        .collect();
    let ids: Vec<SlotId> = passphrases
        .iter()
        .map(|passphrase| {
            vault
                .add_unlock_slot(Unlock::raw_key(&key), Unlock::passphrase(passphrase))
                .unwrap()
        })
        .collect();
    vault.close().unwrap();
    let last = Unlock::passphrase(&passphrases[2]);
    assert_eq!(refused(open(&place, last)), ErrorKind::KdfCostRefused);
    open(&place, last.in_slot(ids[2])).unwrap();
    assert_eq!(
        refused(open(&place, last.in_slot(ids[1]))),
        ErrorKind::WrongKey
    );
    assert_eq!(
        refused(open(&place, Unlock::raw_key(&key).in_slot(ids[2]))),
        ErrorKind::WrongKey
    );
}

#[test]
fn public_keys_that_give_everyone_the_secret_are_no_recipients() {
    // The points of small order on Curve25519 and its twist, and their non-canonical spellings.
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        assert_eq!(refused(point.parse::<Recipient>()), ErrorKind::BadParameter);
    }
    for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"ä".repeat(32)] {
        assert_eq!(refused(text.parse::<Recipient>()), ErrorKind::BadParameter);
    }
}
