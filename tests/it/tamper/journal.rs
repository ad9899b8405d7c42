//! The journal of a vault that was not closed, whose last changes are in it alone: altered, cut, exchanged or missing it
//! gives those changes or a refusal, never the state before them.

use std::path::Path;

use strongroom::{CreateKeyOptions, Curve, ErrorKind, OctKeySize, OpenFinding, SignatureAlgorithm};

use crate::image::{Image, read_image, scratch, write_image};
use crate::support::{Place, name};

const JOURNAL: &str = "vault.journal";
const PAGE: usize = 4_096;
const KEYS: [&str; 4] = ["first", "second", "third", "fourth"];

/// A vault with one key in its records and three in its journal alone, and its files.
fn abandoned() -> (Place, Image) {
    let place = Place::new();
    let vault = place.create();
    vault
        .create_key(&name(KEYS[0]), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.close().unwrap();
    let vault = place.open().unwrap();
    let before = read_image(&place.path);
    for key in &KEYS[1..] {
        vault
            .create_key(&name(key), CreateKeyOptions::ec(Curve::P256))
            .unwrap();
    }
    let image = read_image(&place.path);
    let db = Path::new("db");
    assert_eq!(
        image[db], before[db],
        "the records have the changes already"
    );
    drop(vault);
    (place, image)
}

/// Whether all keys are there and work; or the kind of the refusal.
fn look(place: &Place) -> Result<bool, ErrorKind> {
    let vault = place.open().map_err(|error| error.kind())?;
    let redone = vault
        .open_report()
        .unwrap()
        .findings()
        .contains(&OpenFinding::ChangeCompleted);
    for key in KEYS {
        let signed = vault.sign_data(&name(key), SignatureAlgorithm::Es256, b"data");
        signed.unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    assert!(vault.check().unwrap().is_sound());
    Ok(redone)
}

fn with(image: &Image, change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let mut altered = image.clone();
    change(altered.get_mut(Path::new(JOURNAL)).unwrap());
    altered
}

#[test]
fn whatever_happens_to_the_journal_the_vault_is_whole_or_refused() {
    let (place, image) = abandoned();
    let scratch = scratch();
    let other = Place::at(scratch.path().join("vault"));
    let _ = place;
    let outcome = |altered: &Image| {
        write_image(&other.path, altered);
        look(&other)
    };
    assert_eq!(outcome(&image), Ok(true), "the control");

    let journal = &image[Path::new(JOURNAL)];
    let used = journal.iter().rposition(|byte| *byte != 0).unwrap();
    assert!((2 * PAGE..4 * PAGE).contains(&used), "{used}");
    let mut whole = 0;
    let places = (0..used + 8)
        .step_by(61)
        .chain((0..64).map(|at| 2 * PAGE + at));
    for at in places {
        match outcome(&with(&image, |bytes| bytes[at] ^= 0x40)) {
            // Zeros behind an entry.
            Ok(redone) => {
                assert!(redone, "{at}");
                assert_eq!(journal[at], 0, "{at}");
                whole += 1;
            }
            Err(kind) => assert_eq!(kind, ErrorKind::RolledBack, "{at}"),
        }
    }
    assert!(whole > 0);
    for length in [0, 1, 55, 56, PAGE, PAGE + 1, 2 * PAGE, used] {
        let cut = with(&image, |bytes| bytes.truncate(length));
        assert_eq!(outcome(&cut), Err(ErrorKind::RolledBack), "{length}");
    }
    let longer = with(&image, |bytes| bytes.resize(bytes.len() + 3 * PAGE, 0xa5));
    assert_eq!(outcome(&longer), Ok(true));
    let exchanged = with(&image, |bytes| {
        let (first, rest) = bytes.split_at_mut(PAGE);
        first.swap_with_slice(&mut rest[..PAGE]);
    });
    assert_eq!(outcome(&exchanged), Err(ErrorKind::RolledBack));
    let of_newer = with(&image, |bytes| bytes[7] = b'2');
    assert_eq!(outcome(&of_newer), Err(ErrorKind::NewerFormat));
    let mut missing = image.clone();
    missing.remove(Path::new(JOURNAL));
    assert_eq!(outcome(&missing), Err(ErrorKind::RolledBack));
}

/// The journal of a vault with the same history, of which each entry is right by itself.
#[test]
fn the_journal_of_another_vault_is_none() {
    let (_first, image) = abandoned();
    let (_second, foreign) = abandoned();
    let scratch = scratch();
    let other = Place::at(scratch.path().join("vault"));
    let mixed = with(&image, |bytes| {
        bytes.clone_from(&foreign[Path::new(JOURNAL)])
    });
    write_image(&other.path, &mixed);
    assert_eq!(look(&other), Err(ErrorKind::RolledBack));
}

/// An older state of everything else beside the newer anchor.
#[test]
fn an_older_journal_of_the_same_vault_is_a_rollback() {
    let (place, image) = abandoned();
    let vault = place.open().unwrap();
    vault
        .create_key(&name("fifth"), CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    let anchor = Path::new("vault.anchor");
    let newer = read_image(&place.path)[anchor].clone();
    vault.close().unwrap();
    let mut mixed = image;
    mixed.insert(anchor.to_owned(), newer);
    let scratch = scratch();
    let other = Place::at(scratch.path().join("vault"));
    write_image(&other.path, &mixed);
    assert_eq!(look(&other), Err(ErrorKind::RolledBack));
}
