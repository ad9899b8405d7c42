//! What a core dump of another process would hold, and a search in it.
//!
//! The kernel leaves out mappings that are marked so (`dd` in `smaps`) and, by default, unchanged pages of files;
//! everything else is taken here. Nothing on the machine has to be set up for it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Shorter fragments could be there by chance, or be told from nothing.
const FRAGMENT: usize = 16;

static EMPTY: [u8; 1_024] = [0; 1_024];

/// The contents of the mappings of a process.
#[derive(Debug)]
pub(super) struct Dump {
    regions: Vec<(String, Vec<u8>)>,
}

impl Dump {
    /// What a core dump would hold now, and what is marked to be left out.
    pub(super) fn of(process: u32) -> (Self, Self) {
        let maps = fs::read_to_string(format!("/proc/{process}/smaps")).unwrap();
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        let (mut regions, mut left_out) = (Vec::new(), Vec::new());
        let mut header = "";
        for line in maps.lines() {
            if line.split_once(' ').is_some_and(|(range, _)| {
                range.contains('-') && range.bytes().all(|byte| byte != b':')
            }) {
                header = line;
            } else if let Some(flags) = line.strip_prefix("VmFlags:") {
                let is_left_out = flags.split_whitespace().any(|flag| flag == "dd");
                if let Some(bytes) = read_region(header, &memory) {
                    let regions = if is_left_out {
                        &mut left_out
                    } else {
                        &mut regions
                    };
                    regions.push((header.to_owned(), bytes));
                }
            }
        }
        assert!(regions.len() > 10, "only {} regions", regions.len());
        (Self { regions }, Self { regions: left_out })
    }

    /// Both in one.
    pub(super) fn of_everything(process: u32) -> Self {
        let (mut dump, left_out) = Self::of(process);
        dump.regions.extend(left_out.regions);
        dump
    }

    /// Bytes from elsewhere, to search them.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self {
            regions: vec![("file".to_owned(), bytes)],
        }
    }

    pub(super) fn length(&self) -> usize {
        self.regions.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The names of the secrets of which a fragment is there, with the place and the length of the longest run of
    /// fragments.
    pub(super) fn find(&self, secrets: &[Secret]) -> Vec<String> {
        let secrets: Vec<&Secret> = secrets.iter().collect();
        let found = self.find_each(&secrets);
        found.into_iter().flatten().collect()
    }

    /// As [`Dump::find`], for each secret.
    pub(super) fn find_each(&self, secrets: &[&Secret]) -> Vec<Option<String>> {
        let mut starts: HashMap<[u8; 8], Vec<(usize, &[u8])>> = HashMap::new();
        for (number, secret) in secrets.iter().enumerate() {
            for form in &secret.forms {
                for fragment in form.chunks_exact(FRAGMENT) {
                    let start = fragment[..8].try_into().unwrap();
                    starts.entry(start).or_default().push((number, fragment));
                }
            }
        }
        let number = |start: &[u8]| u32::from_le_bytes([start[0], start[1], start[2], 0]) as usize;
        let mut likely = vec![false; 1 << 24];
        for start in starts.keys() {
            likely[number(start)] = true;
        }
        let mut found: Vec<Vec<String>> = vec![Vec::new(); secrets.len()];
        for (region, bytes) in &self.regions {
            let mut at = 0;
            while at + FRAGMENT <= bytes.len() {
                // Most of memory is empty.
                if bytes.get(at..at + EMPTY.len()) == Some(&EMPTY[..]) {
                    at += EMPTY.len() - FRAGMENT;
                    continue;
                }
                let end = (at + EMPTY.len()).min(bytes.len() - (FRAGMENT - 1));
                let begin = at;
                at = end;
                for at in begin..end {
                    if !likely[number(&bytes[at..])] {
                        continue;
                    }
                    let start: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
                    for (number, fragment) in starts.get(&start).into_iter().flatten() {
                        if bytes[at..at + FRAGMENT] == **fragment {
                            found[*number].push(format!("{region}+{at:#x}"));
                        }
                    }
                }
            }
        }
        let places = |(secret, places): (&&Secret, &Vec<String>)| {
            (!places.is_empty())
                .then(|| format!("{} ({}: {})", secret.name, places.len(), places[0]))
        };
        secrets.iter().zip(&found).map(places).collect()
    }
}

fn read_region(header: &str, memory: &File) -> Option<Vec<u8>> {
    let mut fields = header.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
    );
    let modes = fields.next()?;
    let inode = fields.nth(2)?;
    let is_unchanged_file = inode != "0" && !modes.contains('w');
    if !modes.starts_with('r') || is_unchanged_file || header.contains("[v") {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
    let mut filled = 0;
    // Some pages cannot be read, as at the end of a file.
    while filled < bytes.len() {
        match memory.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(_) => filled = (filled / 4_096 + 1) * 4_096,
        }
    }
    Some(bytes)
}

/// Bytes to look for, in every order in which a program may hold a number.
#[derive(Debug)]
pub(super) struct Secret {
    pub(super) name: String,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    pub(super) fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let name = name.into();
        assert!(bytes.len() >= FRAGMENT, "{name} is too short");
        let little: Vec<u8> = bytes.iter().rev().copied().collect();
        // Limbs in the order of writing, each as the processor holds it; and aligned at the number's other end.
        let limbs = |length: usize, bytes: &[u8]| -> Vec<u8> {
            bytes
                .chunks(length)
                .flat_map(|limb| limb.iter().rev().copied())
                .collect()
        };
        let mut forms = vec![bytes.to_vec(), limbs(8, bytes), limbs(4, bytes), little];
        // Fragments are counted from the front: the other half of the alignments.
        for form in forms.clone() {
            forms.push(form[8..].to_vec());
        }
        Self { name, forms }
    }

    pub(super) fn is_equal_to(&self, other: &Self) -> bool {
        self.forms == other.forms
    }
}

#[test]
fn the_search_finds_every_order_in_this_process_and_nothing_else() {
    let secret: Vec<u8> = (0..48_u32)
        .map(|at| (at * at * 7 + 13 * at + 5) as u8)
        .collect();
    let other: Vec<u8> = (0..48_u32)
        .map(|at| (at * at * 11 + 17 * at + 3) as u8)
        .collect();
    let secrets = [
        Secret::new("held", &secret),
        Secret::new("not held", &other),
    ];
    for (number, form) in secrets[0].forms.iter().enumerate() {
        let held = std::hint::black_box(form[..form.len() / FRAGMENT * FRAGMENT].to_vec());
        let dump = Dump {
            regions: vec![(
                "region".to_owned(),
                [vec![7; 100], held, vec![9; 50]].concat(),
            )],
        };
        let found = dump.find(&secrets);
        assert_eq!(found.len(), 1, "form {number}: {found:?}");
        assert!(found[0].starts_with("held ("), "{found:?}");
    }
}
