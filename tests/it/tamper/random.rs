//! Damage at random: bits, blocks, lengths, and whole records of any file of the vault, alone and several at once.
//! The tables of the other modules say what each place answers; here only the promise counts: a typed error, or a
//! repair that is reported, or no effect, and never other data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use strongroom::ErrorKind;

use super::records::{Records, alter, records};
use super::subject::*;
use crate::crash::Random;
use crate::programme::{Defect, Figures, Wrong, cases};

/// The vault that is damaged, what it held before, and another one under the same master key.
struct Stock {
    subject: Subject,
    now: Records,
    before: Records,
    foreign: Records,
    foreign_image: Image,
}

/// What was done, for messages and for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Bits,
    Truncation,
    Block,
    OlderBlock,
    ForeignBlock,
    File,
    Swap,
    Replay,
    Foreign,
}

const DAMAGES: [Damage; 9] = [
    Damage::Bits,
    Damage::Truncation,
    Damage::Block,
    Damage::OlderBlock,
    Damage::ForeignBlock,
    Damage::File,
    Damage::Swap,
    Damage::Replay,
    Damage::Foreign,
];

#[test]
fn damage_at_random_never_gives_other_data() {
    let figures = Figures::begin("damage, at random");
    let (subject, foreign) = (subject(), subject());
    let stock = Stock {
        now: records(&subject.image),
        before: records(&subject.earlier),
        foreign: records(&foreign.image),
        foreign_image: foreign.image,
        subject,
    };
    let seed = crate::crash::seed();
    let tally: Mutex<BTreeMap<(Damage, &str), usize>> = Mutex::default();
    const LOT: usize = 100;
    figures.spread(cases(3_000, 100_000).div_ceil(LOT), |lot| {
        let directory = scratch();
        let path = directory.path().join("vault");
        let mut random = Random::new(seed.wrapping_add((lot as u64) << 32));
        for number in 0..LOT {
            let damage = DAMAGES[random.below(DAMAGES.len())];
            let story = format!("seed {seed}, lot {lot}, case {number}, {damage:?}");
            let outcome = figures.case(&story, || strike(&stock, damage, &path, &mut random));
            if let Some(outcome) = outcome {
                *tally.lock().unwrap().entry((damage, outcome)).or_default() += 1;
            }
        }
    });
    let tally = tally.into_inner().unwrap();
    eprintln!("{tally:?}");
    figures.finish();
    for damage in DAMAGES {
        let of = |what| tally.get(&(damage, what)).copied().unwrap_or(0);
        assert!(
            of("refused") + of("damaged") > 0,
            "{damage:?} harms nothing: {tally:?}"
        );
    }
}

/// A file that there is, the records' more often than others.
fn pick_file(image: &Image, random: &mut Random) -> PathBuf {
    if random.one_in(3) {
        return PathBuf::from("db");
    }
    let files: Vec<&PathBuf> = image
        .keys()
        .filter(|file| !image[*file].is_empty())
        .collect();
    files[random.below(files.len())].clone()
}

/// A place in a file, seldom in the zeros at its end.
fn pick_place(bytes: &[u8], random: &mut Random) -> usize {
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    if random.one_in(20) {
        random.below(bytes.len())
    } else {
        random.below(used)
    }
}

/// What became of it, if that is as it has to be.
fn strike(
    stock: &Stock,
    damage: Damage,
    path: &Path,
    random: &mut Random,
) -> Result<&'static str, Wrong> {
    let mut image = stock.subject.image.clone();
    let file = pick_file(&image, random);
    let mut what = format!("{}", file.display());
    let mut changes = Vec::new();
    let keys: Vec<&Vec<u8>> = stock.now.keys().collect();
    match damage {
        Damage::Bits => {
            let bytes = image.get_mut(&file).unwrap();
            for _ in 0..1 + random.below(3) {
                let at = pick_place(bytes, random);
                bytes[at] ^= 1 << random.below(8);
                what += &format!(" bit of {at}");
            }
        }
        Damage::Truncation => {
            let bytes = image.get_mut(&file).unwrap();
            let length = pick_place(bytes, random);
            bytes.truncate(length);
            what += &format!(" to {length}");
        }
        Damage::Block | Damage::OlderBlock | Damage::ForeignBlock => {
            let size = [512, 4_096][random.below(2)];
            let bytes = image.get_mut(&file).unwrap();
            let at = pick_place(bytes, random) / size * size;
            let end = (at + size).min(bytes.len());
            let source = match damage {
                Damage::OlderBlock => stock.subject.earlier.get(&file),
                Damage::ForeignBlock => stock.foreign_image.get(&file),
                _ => None,
            };
            let block: Vec<u8> = match source {
                Some(source) => source.iter().skip(at).take(end - at).copied().collect(),
                None if random.one_in(2) => vec![0; end - at],
                None => {
                    // Another block of the same file.
                    let from = pick_place(bytes, random) / size * size;
                    bytes[from..(from + end - at).min(bytes.len())].to_vec()
                }
            };
            bytes[at..at + block.len()].copy_from_slice(&block);
            what += &format!(" {size} bytes at {at}");
        }
        Damage::File => {
            let source = [&stock.subject.earlier, &stock.foreign_image][random.below(2)];
            match source.get(&file) {
                Some(bytes) if !random.one_in(4) => image.insert(file.clone(), bytes.clone()),
                _ => image.remove(&file),
            };
        }
        Damage::Swap => {
            let (first, second) = (
                keys[random.below(keys.len())],
                keys[random.below(keys.len())],
            );
            changes.push((first.clone(), Some(stock.now[second].clone())));
            changes.push((second.clone(), Some(stock.now[first].clone())));
        }
        Damage::Replay => {
            let older: Vec<_> = (stock.before.iter())
                .filter(|(key, value)| stock.now.get(*key) != Some(value))
                .collect();
            for _ in 0..1 + random.below(4) {
                let (key, value) = older[random.below(older.len())];
                changes.push((key.clone(), Some(value.clone())));
            }
        }
        Damage::Foreign => {
            let foreign: Vec<_> = stock.foreign.iter().collect();
            let (key, value) = foreign[random.below(foreign.len())];
            // In its own place, or in that of a record of this vault.
            let place = if random.one_in(2) {
                key
            } else {
                keys[random.below(keys.len())]
            };
            changes.push((place.clone(), Some(value.clone())));
        }
    }
    if changes.is_empty() {
        write_image(path, &image);
    } else {
        what = format!("{} records", changes.len());
        alter(path, &image, &changes);
    }
    match stock.subject.examine(path, Depth::Everything) {
        Outcome::Whole { .. } => Ok("whole"),
        Outcome::Damaged { check, uses }
            if check.iter().chain(&uses).copied().all(tells_of_damage) =>
        {
            Ok("damaged")
        }
        // Whoever damages every slot of the header has a vault that his key does not open.
        Outcome::Refused(kind) if tells_of_damage(kind) || kind == ErrorKind::WrongKey => {
            Ok("refused")
        }
        // Without any of the files that make a directory a vault there is none.
        Outcome::Refused(kind) => Err(Wrong::new(Defect::Other, format!("{what}: {kind:?}"))),
        other => Err(Wrong::new(Defect::Other, format!("{what}: {other:?}"))),
    }
}
