//! Opening the files of a vault that somebody altered.

use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom::{MasterKey, Unlock, VaultOptions};

use crate::allowed;
use crate::counting::{alone, peak};
use crate::image::{Image, read_image, scratch, write_image};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A closed vault that is altered and opened.
struct Subject {
    image: Image,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Subject {
    fn new() -> Self {
        let directory = scratch();
        Self {
            image: read_image(&root().join("tests/golden/v1/aes-256-gcm/vault")),
            path: directory.path().join("vault"),
            _directory: directory,
        }
    }

    fn length(&self) -> usize {
        self.image.values().map(Vec::len).sum()
    }

    /// The peak of opening the vault with this file in place of its own.
    fn open(&self, file: &str, contents: Vec<u8>) -> usize {
        let mut image = self.image.clone();
        image.insert(PathBuf::from(file), contents);
        let _ = std::fs::remove_dir_all(&self.path);
        write_image(&self.path, &image);
        drop(image);
        let bytes: Vec<u8> = (1..=32).collect();
        let key = MasterKey::from_bytes(&bytes).unwrap();
        peak(|| {
            let options = VaultOptions::new().max_kdf_work_kib(0);
            if let Ok(vault) = options.open(&self.path, Unlock::raw_key(&key)) {
                vault.close().unwrap();
            }
        })
    }

    fn contents(&self, file: &str) -> Vec<u8> {
        self.image[Path::new(file)].clone()
    }

    /// What opening the intact vault takes, the largest of a few.
    fn intact(&self) -> usize {
        let open = |_| self.open("vault.hdr", self.contents("vault.hdr"));
        (0..5).map(open).max().unwrap()
    }

    #[track_caller]
    fn bounded(&self, file: &str, cases: impl Iterator<Item = Vec<u8>>) {
        let intact = self.intact();
        let allowed = intact + allowed(self.length());
        let mut most = 0;
        let mut count = 0;
        for contents in cases {
            let beginning = contents.len();
            let taken = self.open(file, contents);
            assert!(
                taken <= allowed,
                "{file} of {beginning} bytes: {taken} bytes, {allowed} are allowed"
            );
            most = most.max(taken);
            count += 1;
        }
        println!("{file}: {count} cases, at most {most} bytes; intact {intact}");
    }
}

#[test]
fn hostile_headers_are_bounded() {
    let _alone = alone();
    let subject = Subject::new();
    let path = root().join("tests/it/data/vectors/headers.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = vectors["vectors"].as_array().unwrap().iter().map(|vector| {
        let mut bytes = subject.contents("vault.hdr");
        for edit in vector["edits"].as_array().unwrap() {
            let at = edit[0].as_u64().unwrap() as usize;
            let new = hex(edit[1].as_str().unwrap());
            bytes[at..at + new.len()].copy_from_slice(&new);
        }
        if let Some(length) = vector["length"].as_u64() {
            bytes.resize(length as usize, 0);
        }
        bytes
    });
    subject.bounded("vault.hdr", cases);
    subject.bounded("vault.hdr", [vec![0xff; 8 << 20]].into_iter());
}

#[test]
fn hostile_anchors_are_bounded() {
    let _alone = alone();
    let subject = Subject::new();
    let cases = (0..8_192).step_by(256).chain(0..96).map(|at| {
        let mut bytes = subject.contents("vault.anchor");
        bytes[at..(at + 8).min(8_192)].fill(0xff);
        bytes
    });
    subject.bounded("vault.anchor", cases);
    subject.bounded("vault.anchor", [vec![0xff; 8 << 20]].into_iter());
}

/// Records, and what the engine writes around them.
#[test]
fn hostile_records_are_bounded() {
    let _alone = alone();
    let subject = Subject::new();
    let db = subject.contents("db");
    // Where anything is written: the rest of the log is zeros.
    let written: Vec<usize> = (0..db.len()).filter(|at| db[*at] != 0).collect();
    let places = written.iter().step_by(written.len() / 120);
    let cases = places.flat_map(|at| {
        [(4, 0xff), (8, 0x7f), (2, 0xff)].map(|(width, value)| {
            let mut bytes = db.clone();
            let end = (at + width).min(bytes.len());
            bytes[*at..end].fill(value);
            bytes
        })
    });
    subject.bounded("db", cases);
    let snapshot = subject
        .image
        .keys()
        .map(|path| path.to_str().unwrap().to_owned())
        .find(|file| file.starts_with("snap."))
        .unwrap();
    for file in [snapshot.as_str(), "conf"] {
        let intact = subject.contents(file);
        let cases = (0..intact.len()).flat_map(|at| {
            [4, 8].map(|width| {
                let mut bytes = intact.clone();
                let end = (at + width).min(bytes.len());
                bytes[at..end].fill(0xff);
                bytes
            })
        });
        subject.bounded(file, cases);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}
