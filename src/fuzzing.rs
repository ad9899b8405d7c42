//! Doors for the fuzz targets to parsers that are not public. Only there with `cfg(fuzzing)`, no part of
//! the API.
//!
//! Besides not panicking, what decodes must encode again to the same meaning: where a layout has one
//! encoding only, to the same bytes.

use crate::crypto::validation;
use crate::env::OsEntropy;
use crate::format::anchor::Anchor;
use crate::format::bucket::Bucket;
use crate::format::gcm_counter::GcmCounter;
use crate::format::header::StoredHeader;
use crate::format::record::SealedRecord;
use crate::format::ring::{KekRing, SdkRing};
use crate::format::state::State;
use crate::format::vault_stream::{StreamEnd, StreamHead};
use crate::format::{backup_payload, domain_file, key_object, key_version, material, settings};
use crate::model::jwt::Token;
use crate::model::material::{ImportedKey, ImportedParts};
use crate::model::release_policy::ReleasePolicy;
use crate::model::rotation_policy::RotationPolicy;
use crate::model::strict_json::Json;

/// The framing of a record, or one of the plaintexts and fixed layouts, by the first byte.
pub fn record(data: &[u8]) {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    match selector % 13 {
        0 => {
            if let Ok(record) = SealedRecord::parse(bytes.to_vec()) {
                assert_eq!(record.as_bytes(), bytes);
                assert!(record.class().is_some());
            }
        }
        1 => {
            if let Ok((key, object)) = key_object::decode(bytes) {
                let again = key_object::encode(&key, &object).expect("it fitted before");
                assert_eq!(*again, bytes);
            }
        }
        2 => {
            if let Ok(version) = key_version::decode(bytes) {
                // Tags may come unsorted or twice; they leave sorted and once.
                let once = key_version::encode(&version).expect("it fitted before");
                let version = key_version::decode(&once).expect("it was just encoded");
                let twice = key_version::encode(&version).expect("it fitted before");
                assert_eq!(*once, *twice);
            }
        }
        3 => same(
            GcmCounter::decode(bytes).map(|counter| counter.encode()),
            bytes,
        ),
        4 => same(State::decode(bytes).map(|state| state.encode()), bytes),
        5 => same(Bucket::decode(bytes).map(|bucket| bucket.encode()), bytes),
        6 => {
            if let Ok(deletion) = settings::decode_deletion(bytes) {
                let again = settings::encode_deletion(deletion).expect("it fitted before");
                assert_eq!(*again, bytes);
            }
        }
        7 => {
            if let Ok(rules) = settings::decode_algorithms(bytes) {
                settings::encode_algorithms(&rules).expect("it fitted before");
            }
        }
        8 => {
            if let Ok(tombstones) = settings::decode_tombstones(bytes) {
                let again = settings::encode_tombstones(&tombstones).expect("it fitted before");
                assert_eq!(*again, bytes);
            }
        }
        9 => {
            if let Ok(material) = material::decode(bytes) {
                let again = material::encode(&material).expect("it fitted before");
                assert_eq!(again.expose(), bytes);
            }
        }
        10 => {
            if let Ok((anchor, mac)) = Anchor::decode(bytes) {
                assert_eq!(anchor.encode(&mac)[..], *bytes);
            }
        }
        11 => {
            // A checksum that every input can meet.
            let checksum = |_: &[u8]| [0; 32];
            if let Ok(header) = StoredHeader::decode(bytes, checksum) {
                assert_eq!(header.encode(checksum), bytes);
            }
        }
        _ => {
            if let Ok(ring) = KekRing::decode(bytes) {
                assert_eq!(*ring.encode(), bytes);
            }
            if let Ok(ring) = SdkRing::decode(bytes) {
                assert_eq!(*ring.encode().expect("it fitted before"), bytes);
            }
        }
    }
}

fn same<const N: usize>(encoded: crate::error::Result<[u8; N]>, bytes: &[u8]) {
    if let Ok(encoded) = encoded {
        assert_eq!(encoded[..], *bytes);
    }
}

/// The payload of a backup, a domain file or the ends of a stream, after their seals.
pub fn backup_payload(bytes: &[u8]) {
    if let Ok((id, ring)) = domain_file::decode(bytes) {
        let again = domain_file::encode(&id, &ring).expect("it fitted before");
        assert_eq!(*again, bytes);
    }
    if let Ok(head) = StreamHead::decode(bytes) {
        assert_eq!(head.encode()[..], *bytes);
    }
    if let Ok(end) = StreamEnd::decode(bytes) {
        assert_eq!(end.encode()[..], *bytes);
    }
    if let Ok(payload) = backup_payload::decode(bytes) {
        let once = backup_payload::encode(&payload).expect("it fitted before");
        let payload = backup_payload::decode(&once).expect("it was just encoded");
        let twice = backup_payload::encode(&payload).expect("it fitted before");
        assert_eq!(*once, *twice);
    }
}

/// The validation of an imported key; what it lets pass must be stored and read back.
pub fn validate(key: ImportedKey) {
    // Primality tests of RSA take too long for a useful number of runs.
    if matches!(key.parts, ImportedParts::Rsa { .. }) {
        return;
    }
    if let Ok(valid) = validation::validate(key, &OsEntropy::default()) {
        let blob = material::encode(&valid).expect("valid material is short");
        let again = material::decode(blob.expose()).expect("it was just encoded");
        assert_eq!(again.spec(), valid.spec());
    }
}

/// A token, whoever signed it, and a policy that is held against it: the bytes before the first zero are the token.
pub fn attestation_token(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (token, policy) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let token = String::from_utf8_lossy(token);
    if let Ok(token) = Token::parse(&token)
        && let Ok(rules) = ReleasePolicy::from_json(policy).and_then(|policy| policy.rules())
    {
        let issuer = token.claims.member("iss").and_then(Json::as_text);
        let issuer = issuer.unwrap_or_default();
        assert!(rules.names(issuer) || !rules.are_met_by(issuer, &token.claims));
    }
}

/// A release policy, which is kept as it is.
pub fn release_policy(bytes: &[u8]) {
    if let Ok(policy) = ReleasePolicy::from_json(bytes) {
        assert_eq!(policy.json(), bytes);
        let wire = serde_json::to_vec(&policy).expect("it is text");
        let again: ReleasePolicy = serde_json::from_slice(&wire).expect("it was just written");
        assert_eq!(again, policy);
    }
}

/// A rotation policy as it comes over the wire; what it says is what is stored.
pub fn rotation_policy(bytes: &[u8]) {
    if let Ok(policy) = serde_json::from_slice::<RotationPolicy>(bytes) {
        let wire = serde_json::to_vec(&policy).expect("it is text");
        let again: RotationPolicy = serde_json::from_slice(&wire).expect("it was just written");
        assert_eq!(again, policy);
    }
}
