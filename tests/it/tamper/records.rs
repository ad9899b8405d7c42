//! Alterations of single records, put into the closed vault through the storage engine itself, so that its
//! checksums are right and only the vault's own guards are left.
//!
//! Classes: S is the record of the state, B a bucket, M a key, V a version, G a GCM counter, C a setting, and R
//! a piece of a redo record, of which a closed vault has none.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use strongroom::{ErrorKind, OpenFinding};

use super::subject::*;

/// The engine's keys have the class of the record here.
const CLASS_AT: usize = 17;
const KEY_LENGTH: usize = 35;

pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn with_tree<T>(path: &Path, work: impl FnOnce(&sled::Tree) -> T) -> T {
    let database = loop {
        let opened = sled::Config::new()
            .path(path)
            .segment_size(512 * 1024)
            .flush_every_ms(None)
            .open();
        match opened {
            Ok(database) => break database,
            // The vault's engine keeps its lock for moments after it was closed.
            Err(sled::Error::Io(_)) => sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    };
    let tree = database.open_tree("r").unwrap();
    let outcome = work(&tree);
    tree.flush().unwrap();
    outcome
}

pub(super) fn records(image: &Image) -> Records {
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, image);
    with_tree(&path, |tree| {
        tree.iter()
            .map(|item| {
                let (key, value) = item.unwrap();
                (key.to_vec(), value.to_vec())
            })
            .collect()
    })
}

fn class(key: &[u8]) -> char {
    char::from(key[CLASS_AT])
}

/// What is done to the stored records: a new value, or none.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

pub(super) fn alter(path: &Path, image: &Image, changes: &[Change]) {
    write_image(path, image);
    with_tree(path, |tree| {
        for (key, value) in changes {
            match value {
                Some(value) => tree.insert(key, value.as_slice()).unwrap(),
                None => tree.remove(key).unwrap(),
            };
        }
    });
}

/// The regions of a sealed record: what an altered byte in them is for the one who reads the record.
fn kinds_of(at: usize, altered: u8) -> ErrorKind {
    use ErrorKind::{Corrupt, NewerFormat, Tampered};
    match at {
        // Magic.
        0..4 => Corrupt,
        // Format.
        4 => NewerFormat,
        // Suite: the other one, or one that is not known.
        5 if matches!(altered, 2 | 3) => Tampered,
        5 => NewerFormat,
        // Class: another one, or one that is not known.
        6 if b"ABCGIMRSV".contains(&altered) => Tampered,
        6 => NewerFormat,
        // Parts.
        7 => Corrupt,
        // Key term, which the sealing binds.
        8..12 => Tampered,
        // Body length.
        12..16 => Corrupt,
        // Salt and commitment.
        16..72 => Tampered,
        // Chunks.
        _ => Corrupt,
    }
}

/// What an altered byte leads to, by class and region.
fn expected(class: char, at: usize, altered: u8) -> Outcome {
    use ErrorKind::{Corrupt, NewerFormat, Tampered};
    let kind = kinds_of(at, altered);
    let at_use = |kind| Outcome::Damaged {
        check: vec![kind],
        uses: vec![kind],
    };
    match class {
        'S' | 'C' => Outcome::Refused(kind),
        // The digest of the buckets is compared at open, what is in them at their first use.
        'B' => match at {
            0..5 | 7 | 12..16 => Outcome::Refused(kind),
            6 if kind == NewerFormat => Outcome::Refused(kind),
            16..72 => Outcome::Refused(Tampered),
            5 if kind == NewerFormat => at_use(NewerFormat),
            _ => at_use(Tampered),
        },
        // What is no record at all, or has another salt, does not fit its bucket; the rest fails when it is
        // opened.
        'M' | 'V' | 'G' => match (kind, at) {
            (Corrupt, 72..) => at_use(Corrupt),
            (Corrupt, _) => at_use(Tampered),
            (kind, _) => at_use(kind),
        },
        other => panic!("no such class: {other}"),
    }
}

/// One record of each class, and of keys those that the subject's facts use.
fn one_of_each(subject: &Subject, records: &Records) -> Vec<Vec<u8>> {
    let directory = scratch();
    let path = directory.path().join("vault");
    "SBMVGC"
        .chars()
        .map(|wanted| {
            records
                .iter()
                .find(|(key, value)| {
                    if class(key) != wanted {
                        return false;
                    }
                    let mut altered = (*value).clone();
                    *altered.last_mut().unwrap() ^= 1;
                    alter(&path, &subject.image, &[((*key).clone(), Some(altered))]);
                    match subject.examine(&path, Depth::Uses) {
                        Outcome::Refused(_) | Outcome::Damaged { .. } => true,
                        Outcome::Whole { .. } => false,
                    }
                })
                .unwrap_or_else(|| panic!("no record of class {wanted} is used"))
                .0
                .clone()
        })
        .collect()
}

/// The check runs for a part of the cases; where it does not, only the uses speak.
fn judge(
    subject: &Subject,
    path: &Path,
    everything: bool,
    expected: &Outcome,
    what: &str,
    seen: &Surprises,
) {
    let depth = if everything {
        Depth::Everything
    } else {
        Depth::Uses
    };
    let outcome = subject.examine(path, depth);
    let expected = match expected {
        Outcome::Damaged { uses, .. } if !everything => Outcome::Damaged {
            check: Vec::new(),
            uses: uses.clone(),
        },
        other => other.clone(),
    };
    seen.expect(what, &outcome, &[expected]);
}

#[test]
fn an_altered_byte_of_a_record_gives_what_the_table_says() {
    let subject = subject().with_encryption();
    let records = records(&subject.image);
    let mut cases = Vec::new();
    for key in one_of_each(&subject, &records) {
        let length = records[&key].len();
        let dense = length.min(600);
        cases.extend(
            (0..dense)
                .chain(sample(dense..length, 29))
                .map(|at| (key.clone(), at)),
        );
        cases.push((key.clone(), length - 1));
    }
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(cases, move |path, (key, at)| {
        let mut altered = records[key].clone();
        altered[*at] ^= mask(*at);
        let class = class(key);
        let expected = expected(class, *at, altered[*at]);
        alter(path, &subject.image, &[(key.clone(), Some(altered))]);
        let what = format!("{class}, byte {at}");
        judge(&subject, path, at % 16 < 1, &expected, &what, &seen);
    });
    surprises.none();
}

#[test]
fn a_truncated_or_longer_record_gives_what_the_table_says() {
    let subject = subject().with_encryption();
    let records = records(&subject.image);
    let mut cases = Vec::new();
    for key in one_of_each(&subject, &records) {
        let length = records[&key].len();
        cases.extend((0..20).map(|to| (key.clone(), to)));
        cases.extend(sample(20..length, 11).map(|to| (key.clone(), to)));
        cases.extend([length - 1, length + 1, 6_144, 6_145].map(|to| (key.clone(), to)));
    }
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(cases, move |path, (key, to)| {
        let mut altered = records[key].clone();
        altered.resize(*to, 0);
        let class = class(key);
        let expected = match class {
            'S' | 'C' | 'B' => Outcome::Refused(ErrorKind::Corrupt),
            'R' => Outcome::untouched(),
            _ => Outcome::Damaged {
                check: vec![ErrorKind::Tampered],
                uses: vec![ErrorKind::Tampered],
            },
        };
        alter(path, &subject.image, &[(key.clone(), Some(altered))]);
        let what = format!("{class}, {to} bytes");
        judge(&subject, path, to % 16 < 1, &expected, &what, &seen);
    });
    surprises.none();
}

/// A change of records of these classes is noticed as `Tampered`: at open, or at the use of the key and by the
/// check.
fn is_tampered(classes: &[char], outcome: &Outcome) -> bool {
    let at_open = classes.iter().any(|class| "SBC".contains(*class));
    match outcome {
        Outcome::Refused(kind) => at_open && *kind == ErrorKind::Tampered,
        Outcome::Damaged { check, uses } => {
            let all = |kinds: &[ErrorKind]| kinds.iter().all(|kind| *kind == ErrorKind::Tampered);
            !at_open && all(check) && all(uses)
        }
        Outcome::Whole { .. } => {
            classes.iter().all(|class| *class == 'R') && *outcome == Outcome::untouched()
        }
    }
}

#[test]
fn every_pair_of_the_first_records_swapped_is_noticed() {
    let subject = subject();
    let records = records(&subject.image);
    // Evenly, so that all classes are among them, and the few of their class first.
    let mut chosen: Vec<Vec<u8>> = Vec::new();
    for classes in ["SGC", "MVB"] {
        for (key, _) in records
            .iter()
            .filter(|(key, _)| classes.contains(class(key)))
        {
            if chosen.len() < 40 {
                chosen.push(key.clone());
            }
        }
    }
    assert!(chosen.len() >= 35, "the vault has too few records");
    for class_wanted in "SBMVGC".chars() {
        assert!(chosen.iter().any(|key| class(key) == class_wanted));
    }
    let mut pairs = Vec::new();
    for (position, first) in chosen.iter().enumerate() {
        for second in &chosen[position + 1..] {
            // Every bucket has a key that is used, so the check, which is slower, speaks for a part of them.
            let everything = exhaustive() || pairs.len() % 7 == 0;
            pairs.push((first.clone(), second.clone(), everything));
        }
    }
    assert_eq!(pairs.len(), 780);
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(pairs, move |path, (first, second, everything)| {
        let swapped = [
            (first.clone(), Some(records[second].clone())),
            (second.clone(), Some(records[first].clone())),
        ];
        alter(path, &subject.image, &swapped);
        let depth = if *everything {
            Depth::Everything
        } else {
            Depth::Uses
        };
        let outcome = subject.examine(path, depth);
        let classes = [class(first), class(second)];
        if !is_tampered(&classes, &outcome) {
            seen.note(format!("{classes:?}: {outcome:?}"));
        }
    });
    surprises.none();
}

#[test]
fn every_deleted_record_is_missed() {
    let subject = subject();
    let records = records(&subject.image);
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(records.keys().cloned().collect(), move |path, key| {
        alter(path, &subject.image, &[(key.clone(), None)]);
        let outcome = subject.examine(path, Depth::Everything);
        if !is_tampered(&[class(key)], &outcome) {
            seen.note(format!("without {}: {outcome:?}", class(key)));
        }
    });
    surprises.none();
}

/// The places that a copy of a record is put to, none of which is taken.
fn other_places(key: &[u8], records: &Records) -> Vec<Vec<u8>> {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut place = key.to_vec();
        change(&mut place);
        place
    };
    let places = [
        // Another name in the same bucket, and in another one.
        with(&|key| key[16] ^= 1),
        with(&|key| key[1] ^= 0x80),
        // Another version.
        with(&|key| key[33] ^= 1),
        // Every class.
        with(&|key| key[CLASS_AT] = b'M'),
        with(&|key| key[CLASS_AT] = b'V'),
        with(&|key| key[CLASS_AT] = b'G'),
        with(&|key| key[CLASS_AT] = b'S'),
        with(&|key| key[CLASS_AT] = b'z'),
        // Another namespace, a known one and an unknown one.
        with(&|key| key[0] = (key[0] + 1) % 4),
        with(&|key| key[0] = 9),
        // A part that the record does not have.
        with(&|key| key[34] = 1),
        with(&|key| key[34] = 255),
        // No key of a record at all.
        with(&|key| key.push(0)),
        with(&|key| key.truncate(KEY_LENGTH - 1)),
        with(&|key| key.truncate(1)),
    ];
    places
        .into_iter()
        .filter(|place| !records.contains_key(place))
        .collect()
}

/// A copy elsewhere is refused at open, spoils the bucket that it was put into, or is reported as a stray value
/// while everything is as it was.
#[test]
fn every_duplicated_record_is_noticed() {
    let subject = subject();
    let records = records(&subject.image);
    let mut cases = Vec::new();
    for (number, key) in records.keys().enumerate() {
        let places = other_places(key, &records);
        // All places for one record of each class, a few for the others.
        let first = !records
            .keys()
            .take(number)
            .any(|other| class(other) == class(key));
        for (turn, place) in places.into_iter().enumerate() {
            if first || (turn + number) % 5 == 0 || exhaustive() {
                cases.push((key.clone(), place));
            }
        }
    }
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(cases, move |path, (key, place)| {
        let unknown = place.get(CLASS_AT) == Some(&b'z');
        let is_noticed = |kind| {
            matches!(kind, ErrorKind::Tampered | ErrorKind::Corrupt)
                // A class that this build does not know.
                || (unknown && kind == ErrorKind::NewerFormat)
        };
        let copy = (place.clone(), Some(records[key].clone()));
        alter(path, &subject.image, &[copy]);
        let outcome = subject.examine(path, Depth::Everything);
        let noticed = match &outcome {
            Outcome::Refused(kind) => is_noticed(*kind),
            Outcome::Damaged { check, uses } => {
                check.iter().chain(uses).all(|kind| is_noticed(*kind))
            }
            // Strays among the redo pieces are what a crash leaves.
            Outcome::Whole { mended, harmless } => {
                mended.is_empty()
                    && (place.first() == Some(&3) || *harmless == [ErrorKind::Corrupt])
            }
        };
        if !noticed {
            seen.note(format!("{} at {place:02x?}: {outcome:?}", class(key)));
        }
    });
    surprises.none();
}

#[test]
fn every_record_replaced_by_its_older_self_is_noticed() {
    let subject = subject();
    let (now, before) = (records(&subject.image), records(&subject.earlier));
    let older: Vec<Vec<u8>> = now
        .iter()
        .filter(|(key, value)| before.get(*key).is_some_and(|old| old != *value))
        .map(|(key, _)| key.clone())
        .collect();
    for wanted in "SBMVGC".chars() {
        assert!(
            older.iter().any(|key| class(key) == wanted),
            "no {wanted} has changed"
        );
    }
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(older, move |path, key| {
        alter(
            path,
            &subject.image,
            &[(key.clone(), Some(before[key].clone()))],
        );
        let outcome = subject.examine(path, Depth::Everything);
        let noticed = match class(key) {
            // A purge has replaced the header since, which is newer than an older STATE knows.
            // While the journal has all that came since, that is applied again.
            'S' => outcome == Outcome::Refused(ErrorKind::RolledBack) || outcome == caught_up(),
            class => is_tampered(&[class], &outcome),
        };
        if !noticed {
            seen.note(format!("an older {}: {outcome:?}", class(key)));
        }
    });
    surprises.none();
}

#[test]
fn a_purged_or_removed_record_put_back_is_noticed() {
    let subject = subject();
    let (now, before) = (records(&subject.image), records(&subject.earlier));
    let gone: Vec<Change> = before
        .iter()
        .filter(|(key, _)| !now.contains_key(*key))
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    let mut classes: Vec<char> = gone.iter().map(|(key, _)| class(key)).collect();
    classes.sort_unstable();
    assert_eq!(classes, ['M', 'V'], "one key was purged");
    let directory = scratch();
    let path = directory.path().join("vault");
    for changes in [&gone[..1], &gone[1..], &gone[..]] {
        alter(&path, &subject.image, changes);
        let outcome = subject.examine(&path, Depth::Everything);
        assert!(is_tampered(&['M'], &outcome), "{outcome:?}");
    }
}

/// Everything is there, from the journal.
fn caught_up() -> Outcome {
    Outcome::Whole {
        mended: vec![OpenFinding::ChangeCompleted],
        harmless: Vec::new(),
    }
}

/// Several records, and whole databases, of an earlier state beside the newest anchor.
#[test]
fn older_states_beside_the_newest_anchor_are_refused() {
    let subject = subject();
    let before = records(&subject.earlier);
    let directory = scratch();
    let path = directory.path().join("vault");
    let older = |classes: &str| -> Vec<Change> {
        before
            .iter()
            .filter(|(key, _)| classes.contains(class(key)))
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect()
    };
    let mut alone = subject.image.clone();
    alone.remove(Path::new("vault.journal"));
    let refused = Outcome::Refused(ErrorKind::RolledBack);
    for classes in ["S", "SB", "SBC"] {
        alter(&path, &alone, &older(classes));
        // A purge has replaced the header since.
        let outcome = subject.examine(&path, Depth::Everything);
        assert_eq!(outcome, refused, "{classes}");
        // Unless the journal has all that came since.
        alter(&path, &subject.image, &older(classes));
        let outcome = subject.examine(&path, Depth::Everything);
        assert!(
            outcome == refused || outcome == caught_up(),
            "{classes}: {outcome:?}"
        );
    }

    let engine = |file: &Path| {
        let shown = file.to_string_lossy();
        shown == "db" || shown == "conf" || shown.starts_with("snap.")
    };
    let mut mixed = subject.image.clone();
    mixed.retain(|file, _| !engine(file));
    mixed.extend(
        subject
            .earlier
            .iter()
            .filter(|(file, _)| engine(file))
            .map(|(file, bytes)| (file.clone(), bytes.clone())),
    );
    write_image(&path, &mixed);
    let outcome = subject.examine(&path, Depth::Everything);
    assert!(outcome == refused || outcome == caught_up(), "{outcome:?}");
    mixed.remove(Path::new("vault.journal"));
    write_image(&path, &mixed);
    assert_eq!(subject.examine(&path, Depth::Everything), refused);

    // The other way round: new records beside an old anchor are what a crash leaves.
    let mut mixed = subject.image.clone();
    let anchor = Path::new("vault.anchor");
    mixed.insert(anchor.to_owned(), subject.earlier[anchor].clone());
    write_image(&path, &mixed);
    let expected = Outcome::Whole {
        mended: vec![OpenFinding::AnchorAdvanced],
        harmless: Vec::new(),
    };
    let outcome = subject.examine(&path, Depth::Everything);
    assert_eq!(outcome, expected);
}
