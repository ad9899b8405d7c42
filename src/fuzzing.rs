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
use crate::model::material::{ImportedKey, ImportedParts};

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

/// A request to the REST interface: method, target and body, each on a line of its own. The answer must be a JSON object,
/// or nothing.
#[cfg(feature = "rest")]
pub fn rest(data: &[u8]) {
    use std::sync::OnceLock;

    use crate::model::options::CreateKeyOptions;
    use crate::model::permission::{Permission, Permissions};
    use crate::model::spec::{Curve, OctKeySize};
    use crate::rest::{AnyToken, RestService};
    use crate::vault::VaultOptions;

    static SERVICE: OnceLock<RestService> = OnceLock::new();
    let service = SERVICE.get_or_init(|| {
        let vault = VaultOptions::new()
            .create_in_memory()
            .expect("memory is there");
        let keys = [
            ("ec", CreateKeyOptions::ec(Curve::P256)),
            ("oct", CreateKeyOptions::oct(OctKeySize::Bits256)),
        ];
        for (name, options) in keys {
            let name = name.parse().expect("a name");
            vault.create_key(&name, options).expect("a key");
        }
        // What would make more and more keys is refused after it was read.
        let permissions = Permissions::from([
            Permission::Get,
            Permission::List,
            Permission::Update,
            Permission::Restore,
            Permission::Encrypt,
            Permission::Decrypt,
            Permission::Sign,
            Permission::Verify,
            Permission::WrapKey,
            Permission::UnwrapKey,
            Permission::Rng,
        ]);
        RestService::new(vault.restricted(permissions), AnyToken::new())
    });
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (Some(method), Some(target), Some(body)) = (lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let request = http::Request::builder()
        .method(method)
        .uri(target)
        .header("authorization", "Bearer t")
        .body(body.to_vec());
    let Ok(request) = request else {
        return;
    };
    let response = service.handle(request);
    if !response.body().is_empty() {
        let answer: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(response.body()).expect("an answer is a JSON object");
        assert_eq!(
            response.status().as_u16() >= 400,
            answer.contains_key("error")
        );
    }
}
