//! Vaults behind passphrases: any spelling of the same characters opens, nothing else does, and a vault
//! cannot demand more work than the caller allows.

use strongroom::{Curve, ErrorKind, Passphrase, PassphraseParameters, Unlock, Vault};

use crate::make;
use crate::support::{Place, master_key, name, refused};

/// The cheapest that is allowed.
fn cheap() -> PassphraseParameters {
    PassphraseParameters::new(19_456, 1, 1).unwrap()
}

fn create(place: &Place, text: &str) -> Vault {
    let passphrase = Passphrase::new(text).unwrap();
    place
        .options()
        .passphrase_parameters(cheap())
        .create(&place.path, Unlock::passphrase(&passphrase))
        .unwrap()
}

fn open(place: &Place, text: &str) -> strongroom::Result<Vault> {
    let passphrase = Passphrase::new(text).unwrap();
    place
        .options()
        .open(&place.path, Unlock::passphrase(&passphrase))
}

#[test]
fn a_vault_opens_with_its_passphrase_and_nothing_else() {
    let place = Place::new();
    let vault = create(&place, "correct horse battery staple");
    let made = vault.create_key(&name("k"), make::ec(Curve::P256)).unwrap();
    drop(vault);
    for wrong in [
        "correct horse battery stapl",
        "correct horse battery staple ",
        " correct horse battery staple",
        "Correct horse battery staple",
        "correct  horse battery staple",
        "x",
    ] {
        assert_eq!(refused(open(&place, wrong)), ErrorKind::WrongKey, "{wrong}");
    }
    let raw = master_key();
    assert_eq!(
        refused(place.options().open(&place.path, Unlock::raw_key(&raw))),
        ErrorKind::WrongKey
    );
    let vault = open(&place, "correct horse battery staple").unwrap();
    assert_eq!(vault.get_key(&name("k")).unwrap(), made);
}

#[test]
fn a_passphrase_does_not_open_a_vault_with_a_raw_key() {
    let place = Place::new();
    drop(place.create());
    assert_eq!(
        refused(open(&place, "correct horse battery staple")),
        ErrorKind::WrongKey
    );
}

#[test]
fn spellings_that_unicode_calls_equivalent_are_the_same_passphrase() {
    let place = Place::new();
    // A with ring, e with acute, and a Hangul syllable, composed.
    drop(create(&place, "\u{c5}ngstr\u{f6}m caf\u{e9} \u{d55c}"));
    for equivalent in [
        // Decomposed.
        "A\u{30a}ngstro\u{308}m cafe\u{301} \u{1112}\u{1161}\u{11ab}",
        // The Angstrom sign.
        "\u{212b}ngstr\u{f6}m caf\u{e9} \u{d55c}",
    ] {
        drop(open(&place, equivalent).unwrap());
    }
    // Compatible is not equivalent, and case counts.
    for other in [
        "\u{e5}ngstr\u{f6}m caf\u{e9} \u{d55c}",
        "Angstrom cafe \u{d55c}",
        "\u{c5}ngstr\u{f6}m\u{a0}caf\u{e9} \u{d55c}",
    ] {
        assert_eq!(refused(open(&place, other)), ErrorKind::WrongKey);
    }
}

#[test]
fn lengths_of_passphrases_are_bounded() {
    assert_eq!(refused(Passphrase::new("")), ErrorKind::BadParameter);
    let longest = "x".repeat(4_096);
    Passphrase::new(&longest).unwrap();
    assert_eq!(
        refused(Passphrase::new(&format!("{longest}x"))),
        ErrorKind::BadParameter
    );
    let place = Place::new();
    drop(create(&place, &longest));
    drop(open(&place, &longest).unwrap());
    assert_eq!(refused(open(&place, &longest[1..])), ErrorKind::WrongKey);
}

#[test]
fn t8_the_work_of_opening_is_bounded_by_the_caller() {
    let place = Place::new();
    let passphrase = Passphrase::new("pass").unwrap();
    let parameters = PassphraseParameters::new(20_000, 3, 2).unwrap();
    drop(
        place
            .options()
            .passphrase_parameters(parameters)
            .create(&place.path, Unlock::passphrase(&passphrase))
            .unwrap(),
    );
    let with = |kib| {
        place
            .options()
            .max_kdf_work_kib(kib)
            .open(&place.path, Unlock::passphrase(&passphrase))
    };
    assert_eq!(refused(with(0)), ErrorKind::KdfCostRefused);
    assert_eq!(refused(with(59_999)), ErrorKind::KdfCostRefused);
    drop(with(60_000).unwrap());
}

#[test]
fn parameters_have_bounds() {
    for (memory, passes, lanes) in [
        (19_456, 1, 1),
        (1_048_576, 4, 8),
        (262_144, 16, 1),
        (65_536, 3, 4),
    ] {
        PassphraseParameters::new(memory, passes, lanes).unwrap();
    }
    for (memory, passes, lanes) in [
        (19_455, 1, 1),
        (0, 1, 1),
        (1_048_577, 1, 1),
        (1_048_576, 5, 1),
        (65_536, 0, 1),
        (65_536, 17, 1),
        (65_536, 1, 0),
        (65_536, 1, 9),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        assert_eq!(
            refused(PassphraseParameters::new(memory, passes, lanes)),
            ErrorKind::BadParameter
        );
    }
    assert_eq!(
        PassphraseParameters::default(),
        PassphraseParameters::new(65_536, 3, 4).unwrap()
    );
}

#[test]
fn destroying_needs_the_passphrase_too() {
    let place = Place::new();
    drop(create(&place, "pass"));
    let wrong = Passphrase::new("word").unwrap();
    assert_eq!(
        refused(Vault::destroy(&place.path, Unlock::passphrase(&wrong))),
        ErrorKind::WrongKey
    );
    assert!(place.path.exists());
    let right = Passphrase::new("pass").unwrap();
    Vault::destroy(&place.path, Unlock::passphrase(&right)).unwrap();
    assert!(!place.path.exists());
}
