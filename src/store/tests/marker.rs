//! The control of the marker scan: what is not sealed is found in the files.
//!
//! The store takes sealed records as they are and opens none of a key. So the plaintext can stand where the sealed
//! body would be, and passes through the same commits, parts and engine as in a vault.

use super::*;
use crate::format::record::{Class, record_header};

const MARKER: &[u8] = b"MARKER-that-nobody-has-sealed-0123456789";

/// A record whose chunks are the plaintext itself.
fn unsealed(index: &IndexKey, plaintext: &[u8]) -> SealedRecord {
    // Salt and commitment, then one chunk with its tag.
    let mut body = vec![0; 56];
    OsEntropy.fill(&mut body).unwrap();
    body.extend_from_slice(plaintext);
    body.extend([0; 16]);
    let length = u32::try_from(body.len()).unwrap();
    let term = u32::from(index.class() == Class::KeyObject);
    let header = record_header(Suite::Aes256Gcm.byte(), index.class(), term, length);
    SealedRecord::from_parts(header, &body).unwrap()
}

fn files_contain(path: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .any(|path| {
            let contents = std::fs::read(path).unwrap();
            contents
                .windows(needle.len())
                .any(|window| window == needle)
        })
}

#[test]
fn what_is_not_sealed_is_found_in_the_files() {
    let hex: String = MARKER.iter().map(|byte| format!("{byte:02x}")).collect();
    let reversed: Vec<u8> = MARKER.iter().rev().copied().collect();
    for marker in [MARKER, hex.as_bytes(), &reversed] {
        for length in [300, 5_000, 20_000, 40_000] {
            for index in [key_object(1), version(1, 1)] {
                let place = Place::new();
                let mut plaintext = vec![0x5a; length];
                let middle = length / 2;
                plaintext[middle..middle + marker.len()].copy_from_slice(marker);
                let store = place.open();
                store
                    .commit(vec![Change::Put(index, unsealed(&index, &plaintext))])
                    .unwrap();
                // So far it may be in the journal alone, which is sealed.
                store.close().unwrap();
                assert!(files_contain(&place.path, marker), "{length} bytes");
            }
        }
    }
}

#[test]
fn the_same_plaintext_sealed_is_not_found() {
    let place = Place::new();
    let index = version(1, 1);
    let hierarchy = &place.config.hierarchy;
    let sealed = hierarchy
        .seal_record(
            &hierarchy.meta_key().unwrap(),
            &index,
            0,
            MARKER,
            &OsEntropy,
        )
        .unwrap();
    let store = place.open();
    store.commit(vec![Change::Put(index, sealed)]).unwrap();
    assert!(!files_contain(&place.path, MARKER));
    store.close().unwrap();
    assert!(!files_contain(&place.path, MARKER));
}
