//! Versions of keys, in their records and in backups.

use super::key_version;
use super::{backup_payload, backup_payload::BackupPayload};
use crate::error::ErrorKind;
use crate::model::attributes::Validity;
use crate::model::key::{BackendId, KeyBlob, KeyTag, Origin, VersionAttributes, VersionBody};
use crate::model::key::{Deletion, VersionRecord};
use crate::model::material::PublicParts;
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::release_policy::ReleasePolicy;
use crate::model::rotation_policy::{PolicyDates, RotationPolicy, StoredRotationPolicy};
use crate::model::spec::{Curve, KeySpec, OctKeyLength, RsaKeySize};
use crate::model::tags::Tags;
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::secret::SecretBytes;

const POLICY: &str =
    r#"{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[{"claim":"a","equals":1}]}]}"#;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn ec_version(curve: Curve) -> VersionRecord {
    let mut tags = Tags::new();
    tags.insert("t", "uv").unwrap();
    VersionRecord {
        version: KeyVersion::from_bytes([1; 16]),
        ordinal: 2,
        attributes: VersionAttributes {
            enabled: true,
            validity: Validity::new(Some(at(3)), Some(at(4))).unwrap(),
            operations: KeyOperations::from([KeyOperation::Sign, KeyOperation::Verify]),
            tags,
            release_policy: None,
            created: at(5),
            updated: at(6),
        },
        body: VersionBody {
            tag: KeyTag::from_bytes([7; 16]),
            spec: KeySpec::Ec(curve),
            hsm: false,
            backend: BackendId::from_static("bk"),
            origin: Origin::Imported,
            backup_allowed: true,
            public: Some(PublicParts::Ec {
                curve,
                x: vec![8; 2],
                y: vec![9; 3],
            }),
            blob: KeyBlob::new(SecretBytes::from(vec![10; 4])),
            rejection_secret: None,
        },
    }
}

fn rsa_version() -> VersionRecord {
    let ec = ec_version(Curve::P256);
    VersionRecord {
        attributes: VersionAttributes {
            enabled: false,
            validity: Validity::default(),
            tags: Tags::new(),
            ..ec.attributes
        },
        body: VersionBody {
            spec: KeySpec::Rsa(RsaKeySize::Bits3072),
            hsm: true,
            origin: Origin::Generated,
            backup_allowed: false,
            public: Some(PublicParts::Rsa {
                n: vec![8; 2],
                e: vec![9; 3],
            }),
            rejection_secret: Some(SecretBytes::from(vec![11; 32])),
            ..ec.body
        },
        ..ec
    }
}

fn oct_version() -> VersionRecord {
    let rsa = rsa_version();
    VersionRecord {
        body: VersionBody {
            spec: KeySpec::Oct(OctKeyLength::try_from(24).unwrap()),
            public: None,
            rejection_secret: None,
            ..rsa.body
        },
        ..rsa
    }
}

fn exportable(mut record: VersionRecord) -> VersionRecord {
    let policy = ReleasePolicy::from_json(POLICY.as_bytes()).unwrap();
    record.attributes.release_policy = Some(policy.immutable());
    record
}

fn u64_bytes(number: usize) -> [u8; 8] {
    u64::try_from(number).unwrap().to_be_bytes()
}

/// A length of eight bytes and the bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u64_bytes(bytes.len()), bytes].concat()
}

/// The bytes of [`ec_version`] after the layout number, with this number of the curve.
fn ec_bytes(curve: u8) -> Vec<u8> {
    [
        &[1; 16][..],
        &[0, 0, 0, 2],
        // Enabled, from 3 until 4, sign and verify.
        &[1, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 4, 12],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &counted(b"t"),
        &counted(b"uv"),
        &u64_bytes(5),
        &u64_bytes(6),
        &[7; 16],
        // On a curve.
        &[0, 0, 0, 1, curve],
        &[0],
        &counted(b"bk"),
        // Imported, and backups may carry it.
        &[1, 1],
        &[1, 0, 0, 0, 1],
        &counted(&[8; 2]),
        &counted(&[9; 3]),
        &counted(&[10; 4]),
        &counted(&[]),
    ]
    .concat()
}

/// The bytes of a disabled version without dates and tags.
fn plain_bytes(spec: &[u8], public: &[u8], rejection_secret: &[u8]) -> Vec<u8> {
    [
        &[1; 16][..],
        &[0, 0, 0, 2],
        &[0, 0, 0, 12],
        &u64_bytes(0),
        &u64_bytes(5),
        &u64_bytes(6),
        &[7; 16],
        spec,
        &[1],
        &counted(b"bk"),
        &[0, 0],
        public,
        &counted(&[10; 4]),
        &counted(rejection_secret),
    ]
    .concat()
}

fn rsa_public() -> Vec<u8> {
    [&[1, 0, 0, 0, 0][..], &counted(&[8; 2]), &counted(&[9; 3])].concat()
}

const RSA_SPEC: [u8; 6] = [0, 0, 0, 0, 0x0c, 0];
const OCT_SPEC: [u8; 5] = [0, 0, 0, 2, 24];

fn release_policy_bytes() -> Vec<u8> {
    let mut bytes = counted(b"application/json; charset=utf-8");
    bytes.extend(counted(POLICY.as_bytes()));
    bytes.push(1);
    bytes
}

fn with_layout(layout: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[0, layout], &parts.concat()[..]].concat()
}

#[test]
fn versions_of_every_family_are_encoded_as_the_format_says_and_read_back() {
    let mut cases = vec![
        (
            rsa_version(),
            with_layout(1, &[&plain_bytes(&RSA_SPEC, &rsa_public(), &[11; 32])]),
        ),
        (
            oct_version(),
            with_layout(1, &[&plain_bytes(&OCT_SPEC, &[0], &[])]),
        ),
        (
            exportable(ec_version(Curve::P256)),
            with_layout(2, &[&ec_bytes(1), &release_policy_bytes()]),
        ),
    ];
    let curves = [Curve::P256, Curve::P384, Curve::P521, Curve::P256K];
    for (number, curve) in (1..).zip(curves) {
        cases.push((ec_version(curve), with_layout(1, &[&ec_bytes(number)])));
    }
    for (record, bytes) in cases {
        assert_eq!(*key_version::encode(&record).unwrap(), bytes);
        let read = key_version::decode(&bytes).unwrap();
        assert_eq!((read.version, read.ordinal), (record.version, 2));
        assert_eq!(read.attributes, record.attributes);
        assert_eq!(read.body.public, record.body.public);
        assert_eq!(*key_version::encode(&read).unwrap(), bytes);
    }
}

#[test]
fn versions_that_nobody_writes_are_corrupt_or_newer() {
    let kind = |bytes: &[u8]| {
        key_version::decode(bytes)
            .map(drop)
            .map_err(|error| error.kind())
    };
    let good = with_layout(2, &[&ec_bytes(1), &release_policy_bytes()]);
    assert_eq!(kind(&good), Ok(()));
    for length in 0..good.len() {
        assert_eq!(kind(&good[..length]), Err(ErrorKind::Corrupt), "{length}");
    }
    assert_eq!(kind(&[&good[..], &[0]].concat()), Err(ErrorKind::Corrupt));
    for layout in [0, 3] {
        let other = with_layout(layout, &[&ec_bytes(1)]);
        assert_eq!(kind(&other), Err(ErrorKind::NewerFormat));
    }
    let ec_public = [&[1, 0, 0, 0, 1][..], &counted(&[8; 2]), &counted(&[9; 3])].concat();
    for impossible in [
        ec_bytes(0),
        ec_bytes(5),
        // Public parts of another family, and a symmetric key with one.
        plain_bytes(&RSA_SPEC, &ec_public, &[]),
        plain_bytes(&RSA_SPEC, &[0], &[]),
        plain_bytes(&[0, 0, 0, 1, 1], &rsa_public(), &[]),
        plain_bytes(&[0, 0, 0, 1, 1], &[0], &[]),
        plain_bytes(&OCT_SPEC, &rsa_public(), &[]),
        plain_bytes(&OCT_SPEC, &ec_public, &[]),
        // Sizes that there are not.
        plain_bytes(&[0, 0, 0, 0, 0x0c, 1], &rsa_public(), &[]),
        plain_bytes(&[0, 0, 0, 2, 0], &[0], &[]),
    ] {
        assert_eq!(
            kind(&with_layout(1, &[&impossible])),
            Err(ErrorKind::Corrupt)
        );
    }
}

fn payload(versions: Vec<(VersionRecord, u64)>) -> BackupPayload {
    BackupPayload {
        name: "ab".parse().unwrap(),
        object_id: [12; 16],
        created: at(13),
        updated: at(14),
        deletion: None,
        rotation_policy: None,
        versions,
    }
}

/// The bytes of a payload with these versions and their numbers of GCM encryptions.
fn payload_bytes(versions: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut bytes = [
        &counted(b"ab")[..],
        &[12; 16],
        &u64_bytes(13),
        &u64_bytes(14),
        &u64_bytes(versions.len()),
    ]
    .concat();
    for (version, gcm_count) in versions {
        bytes.extend_from_slice(version);
        bytes.extend_from_slice(&u64_bytes(*gcm_count));
    }
    bytes
}

/// The bytes of a version with another id and ordinal.
fn numbered(bytes: &[u8], id: u8, ordinal: u8) -> Vec<u8> {
    [&[id; 16][..], &[0, 0, 0, ordinal], &bytes[20..]].concat()
}

fn renumbered(mut record: VersionRecord, id: u8, ordinal: u32) -> VersionRecord {
    record.version = KeyVersion::from_bytes([id; 16]);
    record.ordinal = ordinal;
    record
}

#[test]
fn payloads_of_backups_are_encoded_as_the_format_says_and_read_back() {
    let two = || {
        payload(vec![
            (oct_version(), 15),
            (renumbered(oct_version(), 2, 9), 0),
        ])
    };
    let oct = plain_bytes(&OCT_SPEC, &[0], &[]);
    let two_bytes = payload_bytes(&[(oct.clone(), 15), (numbered(&oct, 2, 9), 0)]);
    let no_policy = [0];
    let days = |days: u8| {
        let mut duration = [0; 24];
        duration[11] = days;
        duration
    };
    let dates = [&u64_bytes(16)[..], &u64_bytes(17)].concat();
    let rotation = [&[1][..], &dates, &[0], &days(30), &[0]].concat();
    let stored = StoredRotationPolicy {
        policy: RotationPolicy::new(),
        dates: PolicyDates {
            created: at(16),
            updated: at(17),
        },
    };
    let release = [&[1][..], &release_policy_bytes()].concat();
    let ec = ec_bytes(1);
    let cases = [
        (two(), with_layout(1, &[&two_bytes])),
        (
            BackupPayload {
                rotation_policy: Some(stored),
                ..two()
            },
            with_layout(2, &[&two_bytes, &rotation, &u64_bytes(2), &[0, 0]]),
        ),
        (
            payload(vec![
                (ec_version(Curve::P256), 0),
                (renumbered(exportable(ec_version(Curve::P256)), 3, 4), 0),
            ]),
            with_layout(
                2,
                &[
                    &payload_bytes(&[(ec.clone(), 0), (numbered(&ec, 3, 4), 0)]),
                    &no_policy,
                    &u64_bytes(2),
                    &[0],
                    &release,
                ],
            ),
        ),
    ];
    for (payload, bytes) in cases {
        assert_eq!(*backup_payload::encode(&payload).unwrap(), bytes);
        let read = backup_payload::decode(&bytes).unwrap();
        assert_eq!(*backup_payload::encode(&read).unwrap(), bytes);
        assert_eq!(read.rotation_policy, payload.rotation_policy);
        for ((read, _), (written, _)) in read.versions.iter().zip(&payload.versions) {
            assert_eq!(read.attributes, written.attributes);
        }
        for length in 0..bytes.len() {
            let error = backup_payload::decode(&bytes[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidBackup, "{length}");
        }
    }
    // The deletion of a key is not a part of its payload.
    let deleted = BackupPayload {
        deletion: Some(Deletion {
            deleted: at(1),
            scheduled_purge: at(2),
        }),
        ..two()
    };
    let bytes = backup_payload::encode(&deleted).unwrap();
    assert_eq!(*bytes, with_layout(1, &[&two_bytes]));
}

#[test]
fn payloads_have_versions_in_their_order_each_once() {
    let oct = plain_bytes(&OCT_SPEC, &[0], &[]);
    let kind = |versions: &[(u8, u8)]| {
        let versions: Vec<_> = versions
            .iter()
            .map(|(id, ordinal)| (numbered(&oct, *id, *ordinal), 0))
            .collect();
        let bytes = with_layout(1, &[&payload_bytes(&versions)]);
        backup_payload::decode(&bytes)
            .map(|payload| payload.versions.len())
            .map_err(|error| error.kind())
    };
    let invalid = Err(ErrorKind::InvalidBackup);
    assert_eq!(kind(&[(1, 1)]), Ok(1));
    assert_eq!(kind(&[(3, 1), (1, 2), (2, 7)]), Ok(3));
    assert_eq!(kind(&[]), invalid);
    assert_eq!(kind(&[(1, 2), (2, 2)]), invalid);
    assert_eq!(kind(&[(1, 2), (2, 1)]), invalid);
    assert_eq!(kind(&[(1, 1), (2, 2), (1, 3)]), invalid);
}

#[test]
fn each_version_of_a_payload_has_its_place_for_a_release_policy() {
    let versions = payload_bytes(&[(ec_bytes(1), 0)]);
    let kind = |layout, rest: &[&[u8]]| {
        let bytes = with_layout(layout, &[&versions, &rest.concat()]);
        backup_payload::decode(&bytes)
            .map(drop)
            .map_err(|error| error.kind())
    };
    let release = [&[1][..], &release_policy_bytes()].concat();
    assert_eq!(kind(2, &[&[0], &u64_bytes(1), &release]), Ok(()));
    for rest in [
        [&[0][..], &u64_bytes(0), &[]],
        [&[0], &u64_bytes(2), &[0, 0]],
    ] {
        assert_eq!(kind(2, &rest), Err(ErrorKind::InvalidBackup));
    }
    assert_eq!(kind(3, &[]), Err(ErrorKind::NewerFormat));
    assert_eq!(kind(0, &[]), Err(ErrorKind::NewerFormat));
}
