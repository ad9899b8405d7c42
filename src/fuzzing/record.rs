//! Framing of records, parts of them, and every plaintext and fixed layout behind the seal.

use super::fixture::Input;
use crate::error::Result;
use crate::format::anchor::Anchor;
use crate::format::bucket::Bucket;
use crate::format::gcm_counter::GcmCounter;
use crate::format::header::StoredHeader;
use crate::format::intent::Intent;
use crate::format::record::{IndexKey, MAX_PARTS, PART_LENGTH, SealedRecord};
use crate::format::ring::{KekRing, SdkRing};
use crate::format::state::State;
use crate::format::{key_object, key_version, material, settings};
#[cfg(feature = "pkcs11")]
use crate::format::{token_key::TokenKey, token_key_backup::TokenKeyBackup};
use crate::store::parts::{Joiner, cut};

/// The framing of a record, or one of the plaintexts and fixed layouts, by the first byte.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 23 {
        0 => {
            let record = SealedRecord::parse(bytes.to_vec());
            if let Ok(record) = &record {
                assert_eq!(record.as_bytes(), bytes);
                assert!(record.class().is_some());
                assert_eq!(record.header().len() + record.body().len(), bytes.len());
                assert!(cut(record).all(|(_, part)| part.len() <= PART_LENGTH));
            }
            record.is_ok()
        }
        1 => {
            let decoded = key_object::decode(bytes);
            if let Ok((key, object)) = &decoded {
                let again = key_object::encode(key, object).expect("it fitted before");
                assert_eq!(*again, bytes);
            }
            decoded.is_ok()
        }
        2 => {
            let decoded = key_version::decode(bytes);
            if let Ok(version) = &decoded {
                // Tags may come unsorted or twice; they leave sorted and once.
                settles(
                    bytes,
                    |_| key_version::encode(version),
                    |once| key_version::encode(&key_version::decode(once)?),
                );
            }
            decoded.is_ok()
        }
        3 => same(
            GcmCounter::decode(bytes).map(|counter| counter.encode()),
            bytes,
        ),
        4 => same(State::decode(bytes).map(|state| state.encode()), bytes),
        5 => same(Bucket::decode(bytes).map(|bucket| bucket.encode()), bytes),
        6 => same(
            settings::decode_deletion(bytes).and_then(settings::encode_deletion),
            bytes,
        ),
        7 => {
            let again =
                |bytes: &[u8]| settings::encode_algorithms(&settings::decode_algorithms(bytes)?);
            settles(bytes, again, again)
        }
        8 => same(
            settings::decode_tombstones(bytes)
                .and_then(|tombstones| settings::encode_tombstones(&tombstones)),
            bytes,
        ),
        9 => {
            let decoded = material::decode(bytes);
            if let Ok(material) = &decoded {
                let again = material::encode(material).expect("it fitted before");
                assert_eq!(again.expose(), bytes);
            }
            decoded.is_ok()
        }
        10 => {
            let decoded = Anchor::decode(bytes);
            if let Ok((anchor, mac)) = &decoded {
                assert_eq!(anchor.encode(mac)[..], *bytes);
            }
            decoded.is_ok()
        }
        11 => {
            // A checksum that every input can meet.
            let checksum = |_: &[u8]| [0; 32];
            same(
                StoredHeader::decode(bytes, checksum).map(|header| header.encode(checksum)),
                bytes,
            )
        }
        12 => {
            let sdk = same(SdkRing::decode(bytes).and_then(|ring| ring.encode()), bytes);
            same(KekRing::decode(bytes).map(|ring| ring.encode()), bytes) || sdk
        }
        13 => same(
            Intent::decode(bytes).and_then(|intent| intent.encode()),
            bytes,
        ),
        14 => {
            // Patterns may come twice or in another order.
            let again = |bytes: &[u8]| {
                let (principal, permissions) = settings::decode_access_policy(bytes)?;
                settings::encode_access_policy(&principal, &permissions)
            };
            settles(bytes, again, again)
        }
        15 => {
            let again = |bytes: &[u8]| {
                settings::encode_audit_options(&settings::decode_audit_options(bytes)?)
            };
            settles(bytes, again, again)
        }
        16 => same(
            settings::decode_identity(bytes)
                .and_then(|(public, blob)| settings::encode_identity(&public, &blob)),
            bytes,
        ),
        17 => same(
            settings::decode_domain_epochs(bytes)
                .and_then(|epochs| settings::encode_domain_epochs(&epochs)),
            bytes,
        ),
        18 => same(crate::store::reencoded_group(bytes), bytes),
        19 => token_key(bytes),
        20 => token_key_backup(bytes),
        21 => joined(bytes),
        _ => {
            let mut input = Input::new(bytes);
            let key = IndexKey::from_bytes(input.array());
            if let Some(key) = &key {
                assert_eq!(IndexKey::from_bytes(*key.as_bytes()).as_ref(), Some(key));
                if key.is_place_of_a_record() && key.class().is_bucket_member() {
                    assert!(key.bucket_number() < crate::format::record::BUCKET_COUNT);
                }
            }
            key.is_some_and(|key| key.is_place_of_a_record())
        }
    }
}

/// One encoding: what decodes is it.
fn same(encoded: Result<impl AsRef<[u8]>>, bytes: &[u8]) -> bool {
    if let Ok(encoded) = &encoded {
        assert!(encoded.as_ref() == bytes, "another encoding of the same");
    }
    encoded.is_ok()
}

/// Several encodings: what was encoded once stays as it is, and is no longer than what came.
fn settles<T: AsRef<[u8]>>(
    bytes: &[u8],
    first: impl Fn(&[u8]) -> Result<T>,
    again: impl Fn(&[u8]) -> Result<T>,
) -> bool {
    let Ok(once) = first(bytes) else {
        return false;
    };
    assert!(once.as_ref().len() <= bytes.len());
    let twice = again(once.as_ref()).expect("it was just encoded");
    assert!(
        once.as_ref() == twice.as_ref(),
        "another encoding of the same"
    );
    true
}

#[cfg(feature = "pkcs11")]
fn token_key(bytes: &[u8]) -> bool {
    let key = TokenKey::decode(bytes);
    if let Some(key) = &key {
        assert_eq!(key.encode().as_deref(), Some(bytes));
    }
    key.is_some()
}

#[cfg(feature = "pkcs11")]
fn token_key_backup(bytes: &[u8]) -> bool {
    let key = TokenKeyBackup::decode(bytes);
    if let Some(key) = &key {
        assert_eq!(key.encode().as_deref(), Some(bytes));
    }
    key.is_some()
}

#[cfg(not(feature = "pkcs11"))]
fn token_key(_: &[u8]) -> bool {
    false
}

#[cfg(not(feature = "pkcs11"))]
fn token_key_backup(_: &[u8]) -> bool {
    false
}

/// Parts of lengths that the input chooses: what they join to is what they were.
fn joined(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let length = PART_LENGTH - usize::from(input.u8() % 4) + 1;
    let mut parts = input.rest.chunks(length);
    let Some(Ok(mut joiner)) = parts.next().map(Joiner::start) else {
        return false;
    };
    let mut count = 1;
    while joiner.wants().is_some() {
        count += 1;
        assert!(count <= MAX_PARTS);
        if parts.next().is_none_or(|part| joiner.push(part).is_err()) {
            break;
        }
    }
    let record = joiner.finish();
    if let Ok(record) = &record {
        assert_eq!(record.as_bytes(), &input.rest[..record.as_bytes().len()]);
    }
    record.is_ok()
}
