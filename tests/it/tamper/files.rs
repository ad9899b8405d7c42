//! Alterations of the vault's files while it is closed.
//!
//! The tables say what each region answers. A run visits every byte where an answer is cheap and a sample where
//! the storage engine has to start for each; with `STRONGROOM_EXHAUSTIVE=1` it visits every byte everywhere.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha512};
use strongroom::{ErrorKind, OpenFinding};

use super::subject::*;

const HEADER: &str = "vault.hdr";
const ANCHOR: &str = "vault.anchor";
const LOCK: &str = "vault.lock";
const DB: &str = "db";

/// One copy of the header.
const COPY: usize = 20_480;
const CHECKSUM_AT: usize = 20_384;
const MAC_AT: usize = 20_416;
/// One slot of the anchor, and its bytes that are not zero.
const SLOT: usize = 4_096;
const SLOT_USED: usize = 96;

/// What a region of the header answers.
struct Region {
    bytes: Range<usize>,
    name: &'static str,
    /// The only copy, altered as a defect alters it.
    damaged: ErrorKind,
    /// Both copies, altered alike and with a new checksum, as somebody without a key can do it.
    forged: &'static [ErrorKind],
}

const fn region(
    bytes: Range<usize>,
    name: &'static str,
    damaged: ErrorKind,
    forged: &'static [ErrorKind],
) -> Region {
    Region {
        bytes,
        name,
        damaged,
        forged,
    }
}

/// The header, region by region. One copy of two, altered in any of them, is healed and reported.
const HEADER_REGIONS: &[Region] = {
    use ErrorKind::{Corrupt, NewerFormat, Tampered, WrongKey};
    &[
        region(0..8, "magic", Corrupt, &[Corrupt]),
        region(8..10, "format", Corrupt, &[NewerFormat]),
        region(10..12, "min_reader", Corrupt, &[NewerFormat]),
        region(12..16, "header_len", Corrupt, &[Corrupt]),
        region(16..32, "vault_id", Corrupt, &[WrongKey]),
        region(32..48, "domain_id", Corrupt, &[Tampered]),
        region(48..56, "seq", Corrupt, &[Tampered]),
        // More slots than there are begin with an empty one, which no version writes.
        region(56..58, "slots in use", Corrupt, &[Corrupt]),
        // Another suite opens no slot; an unknown one is a newer one.
        region(58..59, "suite", Corrupt, &[WrongKey, NewerFormat]),
        region(59..64, "zero", Corrupt, &[Corrupt]),
        region(64..65, "slot: kind", Corrupt, &[WrongKey, Corrupt]),
        region(65..66, "slot: flags", Corrupt, &[WrongKey, Corrupt]),
        region(66..68, "slot: wrapped_len", Corrupt, &[WrongKey, Corrupt]),
        region(
            68..80,
            "slot: Argon2 parameters",
            Corrupt,
            &[WrongKey, Corrupt],
        ),
        region(80..112, "slot: salt", Corrupt, &[WrongKey, Corrupt]),
        region(
            112..128,
            "slot: provider tag",
            Corrupt,
            &[WrongKey, Corrupt],
        ),
        region(128..144, "slot: slot_id", Corrupt, &[WrongKey]),
        region(144..146, "slot: KEM id", Corrupt, &[WrongKey, Corrupt]),
        region(146..192, "slot: zero", Corrupt, &[Corrupt]),
        region(192..296, "slot: sealed root key", Corrupt, &[WrongKey]),
        region(296..2_112, "slot: rest of wrapped", Corrupt, &[Corrupt]),
        region(2_112..16_448, "empty slots", Corrupt, &[Corrupt]),
        region(16_448..16_600, "KEK ring", Corrupt, &[Tampered]),
        region(16_600..16_608, "zero", Corrupt, &[Corrupt]),
        region(16_608..18_128, "SDK ring", Corrupt, &[Tampered]),
        region(18_128..18_144, "zero", Corrupt, &[Corrupt]),
        region(18_144..CHECKSUM_AT, "reserved", Corrupt, &[Corrupt]),
        region(CHECKSUM_AT..MAC_AT, "checksum", Corrupt, &[]),
        region(MAC_AT..COPY, "MAC", Tampered, &[Tampered]),
    ]
};

fn header_region(at: usize) -> &'static Region {
    HEADER_REGIONS
        .iter()
        .find(|region| region.bytes.contains(&at))
        .unwrap()
}

#[test]
fn the_table_of_the_header_has_no_gap() {
    let mut end = 0;
    for region in HEADER_REGIONS {
        assert_eq!(region.bytes.start, end, "{}", region.name);
        end = region.bytes.end;
    }
    assert_eq!(end, COPY);
}

fn with(image: &Image, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let mut image = image.clone();
    change(image.get_mut(Path::new(file)).unwrap());
    image
}

fn mended(findings: &[OpenFinding]) -> Outcome {
    Outcome::Whole {
        mended: findings.to_vec(),
        harmless: Vec::new(),
    }
}

/// A healed header is repeated by the check.
fn healed_header() -> Outcome {
    Outcome::Whole {
        mended: vec![OpenFinding::HeaderHealed],
        harmless: vec![ErrorKind::Corrupt],
    }
}

fn refusal(path: &Path) -> Option<ErrorKind> {
    open(path).err().map(|error| error.kind())
}

#[test]
fn an_altered_byte_of_one_header_copy_is_healed_and_reported() {
    let subject = subject();
    let mut cases: Vec<usize> = sample(0..2 * COPY, 41).collect();
    // The ends of every region, in both copies.
    for region in HEADER_REGIONS {
        for copy in [0, COPY] {
            cases.extend([region.bytes.start + copy, region.bytes.end - 1 + copy]);
        }
    }
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(cases, move |path, at| {
        let what = format!("byte {at} of the header");
        let altered = with(&subject.image, HEADER, |bytes| bytes[*at] ^= mask(*at));
        write_image(path, &altered);
        let vault = match open(path) {
            Ok(vault) => vault,
            Err(error) => return seen.note(format!("{what}: {error:?}")),
        };
        let report = vault.open_report().unwrap().findings().to_vec();
        seen.expect(&what, &report, &[vec![OpenFinding::HeaderHealed]]);
        drop(vault);
        let healed = fs::read(path.join(HEADER)).unwrap();
        if healed != subject.image[Path::new(HEADER)] {
            seen.note(format!("{what}: the header is not what it was"));
        }
        // The vault behind the header is looked at for some; it is the same for all.
        if at % 97 == 0 {
            write_image(path, &altered);
            let outcome = subject.examine(path, Depth::Everything);
            seen.expect(&what, &outcome, &[healed_header()]);
            let outcome = subject.examine(path, Depth::Everything);
            seen.expect(&what, &outcome, &[Outcome::untouched()]);
        }
    });
    surprises.none();
}

#[test]
fn an_altered_byte_of_the_only_header_copy_is_refused() {
    let subject = subject();
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel((0..2 * COPY).collect(), move |path, at| {
        let (copy, at) = (at / COPY, at % COPY);
        if !path.exists() {
            write_image(path, &subject.image);
        }
        let mut bytes = subject.image[Path::new(HEADER)].clone();
        let other = (1 - copy) * COPY;
        bytes[other..other + COPY].fill(0);
        bytes[copy * COPY + at] ^= mask(at);
        fs::write(path.join(HEADER), bytes).unwrap();
        let region = header_region(at);
        let what = format!("copy {copy}, byte {at} ({})", region.name);
        seen.expect(&what, &refusal(path), &[Some(region.damaged)]);
    });
    surprises.none();
}

#[test]
fn an_altered_header_with_a_right_checksum_is_refused() {
    let subject = subject();
    let surprises = Surprises::default();
    let seen = surprises.clone();
    let bytes = (0..CHECKSUM_AT).chain(MAC_AT..COPY).collect();
    in_parallel(bytes, move |path, at| {
        if !path.exists() {
            write_image(path, &subject.image);
        }
        let mut copy = subject.image[Path::new(HEADER)][..COPY].to_vec();
        copy[*at] ^= mask(*at);
        let checksum = Sha512::digest(&copy[..CHECKSUM_AT]);
        copy[CHECKSUM_AT..MAC_AT].copy_from_slice(&checksum[..32]);
        fs::write(path.join(HEADER), [copy.clone(), copy].concat()).unwrap();
        let region = header_region(*at);
        let what = format!("byte {at} ({})", region.name);
        let expected: Vec<_> = region.forged.iter().copied().map(Some).collect();
        seen.expect(&what, &refusal(path), &expected);
    });
    surprises.none();
}

#[test]
fn a_forged_copy_of_the_header_beside_a_good_one_does_not_matter() {
    let subject = subject();
    let directory = scratch();
    let path = directory.path().join("vault");
    for region in HEADER_REGIONS {
        let at = region.bytes.start;
        for copy in [0, COPY] {
            let altered = with(&subject.image, HEADER, |bytes| {
                bytes[copy + at] ^= mask(at);
                let checksum = Sha512::digest(&bytes[copy..copy + CHECKSUM_AT]);
                bytes[copy + CHECKSUM_AT..copy + MAC_AT].copy_from_slice(&checksum[..32]);
            });
            write_image(&path, &altered);
            let outcome = subject.examine(&path, Depth::Uses);
            let expected = match region.name {
                // A good copy must not be overwritten by a build that does not understand the other.
                "format" | "min_reader" => Outcome::Refused(ErrorKind::NewerFormat),
                // The checksum that was written is the right one.
                "checksum" => Outcome::untouched(),
                _ => mended(&[OpenFinding::HeaderHealed]),
            };
            assert_eq!(outcome, expected, "{} of copy {copy}", region.name);
        }
    }
}

#[test]
fn every_truncation_of_the_header_is_refused_or_healed_and_reported() {
    let subject = subject();
    let surprises = Surprises::default();
    let seen = surprises.clone();
    let mut lengths: Vec<usize> = (0..COPY).chain(sample(COPY..2 * COPY, 131)).collect();
    lengths.extend(COPY..COPY + 16);
    lengths.extend(2 * COPY - 16..2 * COPY);
    in_parallel(lengths, move |path, length| {
        let what = format!("{length} bytes of the header");
        if *length < COPY {
            if !path.exists() {
                write_image(path, &subject.image);
            }
            fs::write(
                path.join(HEADER),
                &subject.image[Path::new(HEADER)][..*length],
            )
            .unwrap();
            seen.expect(&what, &refusal(path), &[Some(ErrorKind::Corrupt)]);
        } else {
            let altered = with(&subject.image, HEADER, |bytes| bytes.truncate(*length));
            write_image(path, &altered);
            let outcome = subject.examine(path, Depth::Uses);
            seen.expect(&what, &outcome, &[mended(&[OpenFinding::HeaderHealed])]);
        }
    });
    surprises.none();
}

/// The slot with the higher generation.
fn newest_slot(anchor: &[u8]) -> usize {
    let generation = |slot: usize| &anchor[slot * SLOT + 8..slot * SLOT + 16];
    usize::from(generation(1) > generation(0))
}

/// A damaged older slot has no effect and is found by the check. A damaged newer one costs the knowledge since the
/// older; opening writes it again and says so.
#[test]
fn an_altered_byte_of_one_anchor_slot_is_reported() {
    let subject = subject();
    let newest = newest_slot(&subject.image[Path::new(ANCHOR)]);
    let mut cases: Vec<usize> = Vec::new();
    for slot in 0..2 {
        let start = slot * SLOT;
        cases.extend(start..start + SLOT_USED);
        cases.extend(sample(start + SLOT_USED..start + SLOT, 211));
    }
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(cases, move |path, at| {
        let altered = with(&subject.image, ANCHOR, |bytes| bytes[*at] ^= mask(*at));
        write_image(path, &altered);
        let expected = if at / SLOT == newest {
            mended(&[OpenFinding::AnchorAdvanced])
        } else {
            Outcome::Whole {
                mended: Vec::new(),
                harmless: vec![ErrorKind::Corrupt],
            }
        };
        let outcome = subject.examine(path, Depth::Everything);
        seen.expect(&format!("byte {at} of the anchor"), &outcome, &[expected]);
    });
    surprises.none();
}

#[test]
fn an_altered_byte_in_each_anchor_slot_is_refused() {
    let subject = subject();
    let surprises = Surprises::default();
    let seen = surprises.clone();
    let cases = (0..SLOT_USED).chain(sample(SLOT_USED..SLOT, 13)).collect();
    in_parallel(cases, move |path, at| {
        let altered = with(&subject.image, ANCHOR, |bytes| {
            bytes[*at] ^= mask(*at);
            bytes[SLOT + (*at * 7) % SLOT] ^= 0x80;
        });
        write_image(path, &altered);
        let expected = Some(ErrorKind::AnchorMissing);
        seen.expect(&format!("byte {at}"), &refusal(path), &[expected]);
    });
    surprises.none();
}

#[test]
fn every_truncation_of_the_anchor_is_refused_or_reported() {
    let subject = subject();
    let newest = newest_slot(&subject.image[Path::new(ANCHOR)]);
    let mut lengths: Vec<usize> = sample(0..2 * SLOT, 89).collect();
    for edge in [0, SLOT_USED, SLOT, SLOT + SLOT_USED] {
        lengths.extend(edge.saturating_sub(3)..edge + 4);
    }
    lengths.push(2 * SLOT - 1);
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(lengths, move |path, length| {
        let altered = with(&subject.image, ANCHOR, |bytes| bytes.truncate(*length));
        write_image(path, &altered);
        let expected = match (*length < SLOT, newest) {
            (true, _) => Outcome::Refused(ErrorKind::AnchorMissing),
            (false, 1) => mended(&[OpenFinding::AnchorAdvanced]),
            (false, _) => Outcome::untouched(),
        };
        let outcome = subject.examine(path, Depth::Uses);
        seen.expect(&format!("{length} bytes"), &outcome, &[expected]);
    });
    surprises.none();
}

/// The lock file only says whether the vault was closed.
#[test]
fn whatever_is_in_the_lock_file_the_vault_is_whole() {
    let subject = subject();
    let directory = scratch();
    let path = directory.path().join("vault");
    let length = subject.image[Path::new(LOCK)].len();
    let unclean = mended(&[OpenFinding::UncleanClose]);
    for at in 0..length {
        let altered = with(&subject.image, LOCK, |bytes| bytes[at] ^= mask(at));
        write_image(&path, &altered);
        assert_eq!(subject.examine(&path, Depth::Uses), unclean, "byte {at}");
        let altered = with(&subject.image, LOCK, |bytes| bytes.truncate(at));
        write_image(&path, &altered);
        assert_eq!(subject.examine(&path, Depth::Uses), unclean, "{at} bytes");
    }
    let mut altered = subject.image.clone();
    altered.remove(Path::new(LOCK));
    write_image(&path, &altered);
    assert_eq!(subject.examine(&path, Depth::Everything), unclean);
}

/// What an alteration of the engine's files may lead to. The engine finds most of it by its own checksums and
/// then ends its log before it, so that the vault misses what came after; what it does not find meets the
/// digests. A tail that holds no more than the last group comes back from the redo record.
fn judge_engine_file(
    subject: &Subject,
    path: &Path,
    what: &str,
    altered: &Image,
    seen: &Surprises,
) {
    use ErrorKind::{Corrupt, RolledBack, Tampered};
    write_image(path, altered);
    let outcome = subject.examine(path, Depth::Everything);
    seen.expect(
        what,
        &outcome,
        &[
            Outcome::untouched(),
            mended(&[OpenFinding::ChangeCompleted]),
            Outcome::Refused(Corrupt),
            Outcome::Refused(RolledBack),
            Outcome::Refused(Tampered),
        ],
    );
}

#[test]
fn an_altered_byte_of_the_records_file_never_gives_other_data() {
    let subject = subject();
    let used = subject.image[Path::new(DB)]
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap();
    let mut cases: Vec<usize> = sample_of_many(0..used + 64, 251).collect();
    cases.extend(0..24);
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(cases, move |path, at| {
        let altered = with(&subject.image, DB, |bytes| bytes[*at] ^= mask(*at));
        judge_engine_file(&subject, path, &format!("byte {at} of db"), &altered, &seen);
    });
    surprises.none();
}

#[test]
fn a_truncated_records_file_never_gives_other_data() {
    let subject = subject();
    let bytes = &subject.image[Path::new(DB)];
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut lengths: Vec<usize> = sample_of_many(0..used, 1_999).collect();
    lengths.extend(0..24);
    lengths.extend([used, used + 1, bytes.len() - 1]);
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(lengths, move |path, length| {
        let altered = with(&subject.image, DB, |bytes| bytes.truncate(*length));
        judge_engine_file(
            &subject,
            path,
            &format!("{length} bytes of db"),
            &altered,
            &seen,
        );
    });
    surprises.none();
}

#[test]
fn altered_and_missing_files_of_the_engine_never_give_other_data() {
    let subject = subject();
    let mut cases: Vec<(PathBuf, Option<usize>, bool)> = Vec::new();
    for (file, bytes) in &subject.image {
        let shown = file.to_string_lossy();
        if shown == "conf" || shown.starts_with("snap.") {
            cases.push((file.clone(), None, false));
            cases.extend(sample(0..bytes.len(), 2).map(|at| (file.clone(), Some(at), false)));
            cases.extend(sample(0..bytes.len(), 3).map(|at| (file.clone(), Some(at), true)));
        }
    }
    assert!(cases.len() > 100, "the engine's files have other names");
    let surprises = Surprises::default();
    let seen = surprises.clone();
    in_parallel(cases, move |path, (file, at, cut)| {
        let mut altered = subject.image.clone();
        match at {
            None => {
                altered.remove(file);
            }
            Some(at) => {
                let bytes = altered.get_mut(file).unwrap();
                if *cut {
                    bytes.truncate(*at);
                } else {
                    bytes[*at] ^= mask(*at);
                }
            }
        }
        let what = format!("{} at {at:?}, cut {cut}", file.display());
        judge_engine_file(&subject, path, &what, &altered, &seen);
    });
    surprises.none();
}

#[test]
fn a_missing_file_is_named_or_not_needed() {
    let subject = subject();
    let directory = scratch();
    let path = directory.path().join("vault");
    for (file, kind) in [
        (HEADER, ErrorKind::Corrupt),
        (ANCHOR, ErrorKind::AnchorMissing),
        (DB, ErrorKind::Corrupt),
    ] {
        let mut altered = subject.image.clone();
        altered.remove(Path::new(file));
        write_image(&path, &altered);
        let error = open(&path).unwrap_err();
        assert_eq!(error.kind(), kind, "{file}");
        assert!(error.to_string().contains(file), "{error}");
        assert!(!path.join(file).exists(), "{file} was made anew");
    }
}

#[test]
fn foreign_files_beside_the_vaults_own_have_no_effect() {
    let subject = subject();
    let directory = scratch();
    let path = directory.path().join("vault");
    let mut altered = subject.image.clone();
    for file in [
        "notes.txt",
        "vault.hdr.bak",
        "core",
        "snap.0000000000000001.generating",
    ] {
        altered.insert(PathBuf::from(file), b"nothing of the vault's".to_vec());
    }
    write_image(&path, &altered);
    assert_eq!(
        subject.examine(&path, Depth::Everything),
        Outcome::untouched()
    );
}

/// Files of another vault under the same master key do not fit.
#[test]
fn files_of_another_vault_are_refused() {
    let (own, other) = (subject(), subject());
    let directory = scratch();
    let path = directory.path().join("vault");
    for (file, kind) in [
        (HEADER, ErrorKind::Tampered),
        (ANCHOR, ErrorKind::AnchorMissing),
        (DB, ErrorKind::Tampered),
    ] {
        let mut altered = own.image.clone();
        altered.retain(|name, _| file != DB || !name.to_string_lossy().starts_with("snap."));
        for (name, bytes) in &other.image {
            let snapshot = name.to_string_lossy().starts_with("snap.");
            if name == Path::new(file) || (file == DB && snapshot) {
                altered.insert(name.clone(), bytes.clone());
            }
        }
        write_image(&path, &altered);
        assert_eq!(refusal(&path), Some(kind), "{file}");
    }
}
