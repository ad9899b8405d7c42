//! The records of the vault itself: STATE and buckets, and any plaintext under its seal.

use std::sync::LazyLock;

use super::fixture::{FixedEntropy, Input, edited, hierarchy};
use crate::error::ErrorKind;
use crate::format::bucket::Bucket;
use crate::format::record::{Class, IndexKey, MAX_RECORD_PLAINTEXT, SealedRecord};
use crate::format::state::State;
use crate::seal::hierarchy::Hierarchy;

static HIERARCHY: LazyLock<Hierarchy> = LazyLock::new(hierarchy);

/// The two layouts; or a plaintext that is sealed, opened, altered and moved.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 3 {
        0 => {
            let state = State::decode(bytes);
            if let Ok(state) = &state {
                assert_eq!(state.encode()[..], *bytes);
            }
            state.is_ok()
        }
        1 => {
            let bucket = Bucket::decode(bytes);
            if let Ok(bucket) = &bucket {
                assert_eq!(bucket.encode()[..], *bytes);
                assert!(bucket.m_prev <= bucket.m_count && bucket.m_count <= bucket.members);
            }
            bucket.is_ok()
        }
        _ => sealed(Input::new(bytes)),
    }
}

fn sealed(mut input: Input<'_>) -> bool {
    let place = place(&mut input);
    let length = usize::from(input.u8());
    let edits = input.take(length);
    let plaintext = input.rest;
    let key = HIERARCHY.meta_key().expect("they were not let go of");
    let term = u32::from(place.class().byte());
    let record = HIERARCHY.seal_record(&key, &place, term, plaintext, &FixedEntropy::default());
    let Ok(record) = record else {
        assert!(plaintext.len() >= MAX_RECORD_PLAINTEXT);
        return false;
    };
    let opened = HIERARCHY.open_record(&key, &place, &record);
    assert_eq!(*opened.expect("it was just sealed"), plaintext);
    assert_eq!(record.term(), term);

    // At another place, and altered, it does not open.
    let elsewhere = IndexKey::settings(u64::from(input.u32()) + 1);
    assert!(HIERARCHY.open_record(&key, &elsewhere, &record).is_err());
    let altered = edited(record.as_bytes(), edits);
    let unchanged = altered == record.as_bytes();
    match SealedRecord::parse(altered) {
        Ok(altered) => {
            let opened = HIERARCHY.open_record(&key, &place, &altered);
            assert_eq!(opened.is_ok(), unchanged);
            if let Err(error) = opened {
                assert!(matches!(
                    error.kind(),
                    ErrorKind::Tampered | ErrorKind::Corrupt | ErrorKind::NewerFormat
                ));
            }
        }
        Err(_) => assert!(!unchanged),
    }
    true
}

/// A place of any class.
fn place(input: &mut Input<'_>) -> IndexKey {
    let class = Class::ALL[usize::from(input.u8()) % Class::ALL.len()];
    let n = [input.u8(); 16];
    let place = match class {
        Class::State => IndexKey::state(),
        Class::Bucket => IndexKey::bucket(u16::from(n[0])),
        Class::Audit => IndexKey::audit(u64::from(n[0])),
        Class::Settings => IndexKey::settings(0),
        Class::Intent => IndexKey::intent(n),
        Class::Redo => IndexKey::redo(u64::from(n[0])),
        Class::KeyObject => IndexKey::key_object(n),
        Class::KeyVersion => IndexKey::key_version(n, n),
        Class::GcmCounter => IndexKey::gcm_counter(n, n),
    };
    assert!(place.is_place_of_a_record());
    assert_eq!(IndexKey::from_bytes(*place.as_bytes()), Some(place));
    place
}
