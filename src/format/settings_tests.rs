//! The settings of a vault, in their records and in the backup of a whole vault, and the other parts of its stream.

use std::num::NonZeroU32;

use super::settings::*;
use super::vault_stream::{
    DeletionPrefix, Edition, FrameKind, StreamEnd, StreamHead, decode_settings, encode_settings,
};
use crate::error::{Error, ErrorKind};
use crate::model::attributes::SoftDelete;
use crate::model::audit::{AuditOptions, AuditReads};
use crate::model::key::{Deletion, KeyBlob};
use crate::model::material::PublicParts;
use crate::model::permission::{Permission, Permissions};
use crate::model::principal::Principal;
use crate::model::settings::{AlgorithmRules, DeletionSettings, VaultSettings};
use crate::model::spec::Curve;
use crate::model::time::Timestamp;
use crate::secret::SecretBytes;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u64::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

fn setting(parts: &[&[u8]]) -> Vec<u8> {
    [&[0, 1], &parts.concat()[..]].concat()
}

/// Cut short and prolonged it is corrupt, with another layout newer.
fn reads_strictly<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, Error>) -> T {
    let kind = |bytes: &[u8]| decode(bytes).err().map(|error| error.kind());
    for length in 0..bytes.len() {
        assert_eq!(kind(&bytes[..length]), Some(ErrorKind::Corrupt), "{length}");
    }
    assert_eq!(kind(&[bytes, &[0]].concat()), Some(ErrorKind::Corrupt));
    for number in [[0, 0], [0, 2], [1, 1]] {
        let other = [&number, &bytes[2..]].concat();
        assert_eq!(kind(&other), Some(ErrorKind::NewerFormat));
    }
    decode(bytes).unwrap()
}

fn deletion(soft_delete: SoftDelete, purge_protection: bool) -> DeletionSettings {
    DeletionSettings {
        soft_delete,
        purge_protection,
    }
}

#[test]
fn the_retention_is_a_number_of_days_and_purge_protection_a_flag() {
    let week = SoftDelete::days(7).unwrap();
    for (settings, bytes) in [
        (deletion(SoftDelete::OFF, false), [0, 1, 0, 0]),
        (deletion(week, true), [0, 1, 7, 1]),
        (deletion(SoftDelete::DEFAULT, false), [0, 1, 90, 0]),
    ] {
        assert_eq!(*encode_deletion(settings).unwrap(), bytes);
        assert_eq!(reads_strictly(&bytes, decode_deletion), settings);
    }
    for days in [1, 6, 91, 255] {
        let error = decode_deletion(&[0, 1, days, 0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{days}");
    }
}

#[test]
fn refused_algorithms_are_named_in_alphabetical_order() {
    let rules = AlgorithmRules::none_refused()
        .refuse("RSNULL")
        .and_then(|rules| rules.refuse("A128KW"))
        .unwrap();
    let bytes = setting(&[
        &2_u64.to_be_bytes(),
        &counted(b"A128KW"),
        &counted(b"RSNULL"),
    ]);
    assert_eq!(*encode_algorithms(&rules).unwrap(), bytes);
    assert_eq!(reads_strictly(&bytes, decode_algorithms), rules);
    let none = setting(&[&0_u64.to_be_bytes()]);
    let rules = reads_strictly(&none, decode_algorithms);
    assert_eq!(rules, AlgorithmRules::none_refused());
    let unknown = setting(&[&1_u64.to_be_bytes(), &counted(b"NEW")]);
    let error = decode_algorithms(&unknown).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
    // As many as there may be, and one more.
    for (count, possible) in [(128, true), (129, false)] {
        let names = counted(b"RSNULL").repeat(usize::try_from(count).unwrap());
        let bytes = setting(&[&u64::to_be_bytes(count), &names]);
        assert_eq!(decode_algorithms(&bytes).is_ok(), possible, "{count}");
    }
}

#[test]
fn epochs_and_tombstones_are_lists_with_their_times() {
    let epochs = DomainEpochs {
        floor: 2,
        made: vec![(3, at(4)), (5, at(6))],
    };
    let bytes = setting(&[
        &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4],
        &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6],
    ]);
    assert_eq!(*encode_domain_epochs(&epochs).unwrap(), bytes);
    assert_eq!(reads_strictly(&bytes, decode_domain_epochs), epochs);

    let tombstones = Tombstones {
        sequence: 7,
        entries: vec![([8; 16], at(9))],
    };
    let bytes = setting(&[
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1],
        &[8; 16],
        &[0, 0, 0, 0, 0, 0, 0, 9],
    ]);
    assert_eq!(*encode_tombstones(&tombstones).unwrap(), bytes);
    let read = reads_strictly(&bytes, decode_tombstones);
    assert_eq!((read.sequence, read.entries), (7, tombstones.entries));
    for (count, possible) in [(250, true), (251, false)] {
        let entries = [0; 24].repeat(usize::try_from(count).unwrap());
        let bytes = setting(&[&[0; 8], &u64::to_be_bytes(count), &entries]);
        assert_eq!(decode_tombstones(&bytes).is_ok(), possible, "{count}");
    }
}

fn principal(name: &str) -> Principal {
    name.parse().unwrap()
}

/// The bytes of a policy that gives the permission of the lowest bit on every key.
fn policy_bytes(name: &[u8], bits: [u8; 4]) -> Vec<u8> {
    setting(&[&counted(name), &bits, &[0]])
}

fn first_permission() -> Permissions {
    Permissions::from_bits(1).unwrap()
}

#[test]
fn an_access_policy_is_a_name_with_bits_and_patterns() {
    let alice = principal("alice");
    let bytes = policy_bytes(b"alice", [0, 0, 0, 1]);
    assert_eq!(
        *encode_access_policy(&alice, &first_permission()).unwrap(),
        bytes
    );
    let read = reads_strictly(&bytes, decode_access_policy);
    assert_eq!(read, (alice.clone(), first_permission()));

    let narrow = Permissions::none()
        .with(Permission::ALL[1])
        .for_names(["a*".parse().unwrap(), "b".parse().unwrap()])
        .unwrap();
    let bytes = setting(&[
        &counted(b"alice"),
        &narrow.to_bits().to_be_bytes(),
        &[1, 0, 0, 0, 0, 0, 0, 0, 2],
        &counted(b"a*"),
        &counted(b"b"),
    ]);
    assert_eq!(*encode_access_policy(&alice, &narrow).unwrap(), bytes);
    assert_eq!(
        reads_strictly(&bytes, decode_access_policy),
        (alice, narrow)
    );

    let kind = |bytes: &[u8]| decode_access_policy(bytes).unwrap_err().kind();
    let newer = policy_bytes(b"alice", [0x80, 0, 0, 0]);
    assert_eq!(kind(&newer), ErrorKind::NewerFormat);
    let nobody = policy_bytes(b"", [0, 0, 0, 1]);
    assert_eq!(kind(&nobody), ErrorKind::Corrupt);
}

#[test]
fn audit_options_say_which_reads_and_how_long() {
    let third = NonZeroU32::new(3).unwrap();
    let on = || AuditOptions::on().retain_entries(1_000).unwrap();
    for (options, bytes) in [
        (
            on().reads(AuditReads::Sampled(third)),
            setting(&[&[1, 0, 0, 0, 3, 0, 0, 3, 0xe8, 0]]),
        ),
        (
            on().reads(AuditReads::All).retain_days(30).unwrap(),
            setting(&[&[1, 0, 0, 0, 1, 0, 0, 3, 0xe8, 1, 0, 0, 0, 30]]),
        ),
        (
            AuditOptions::off()
                .reads(AuditReads::Off)
                .retain_entries(1_000)
                .unwrap(),
            setting(&[&[0, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0]]),
        ),
    ] {
        assert_eq!(*encode_audit_options(&options).unwrap(), bytes);
        assert_eq!(reads_strictly(&bytes, decode_audit_options), options);
    }
    let endless = setting(&[&[1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0]]);
    let error = decode_audit_options(&endless).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn the_identity_is_a_point_and_the_blob_of_its_key() {
    let public = |curve| PublicParts::Ec {
        curve,
        x: vec![1; 3],
        y: vec![2; 4],
    };
    let blob = KeyBlob::new(SecretBytes::from(vec![3; 5]));
    let bytes = setting(&[&counted(&[1; 3]), &counted(&[2; 4]), &counted(&[3; 5])]);
    assert_eq!(
        *encode_identity(&public(Curve::P256), &blob).unwrap(),
        bytes
    );
    let (read, read_blob) = reads_strictly(&bytes, decode_identity);
    assert_eq!(read, public(Curve::P256));
    assert_eq!(read_blob.expose(), [3; 5]);
    let error = encode_identity(&public(Curve::P384), &blob).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

fn vault_settings() -> VaultSettings {
    VaultSettings {
        deletion: deletion(SoftDelete::DEFAULT, true),
        algorithms: AlgorithmRules::none_refused(),
        audit: AuditOptions::on(),
        access_policies: [(principal("alice"), first_permission())].into(),
    }
}

fn settings_bytes(deletion: &[u8], policies: &[Vec<u8>]) -> Vec<u8> {
    let audit = encode_audit_options(&AuditOptions::on()).unwrap();
    let count = u64::try_from(policies.len()).unwrap();
    let policies: Vec<u8> = policies.iter().flat_map(|policy| counted(policy)).collect();
    setting(&[
        &counted(deletion),
        &counted(&setting(&[&[0; 8]])),
        &counted(&audit),
        &count.to_be_bytes(),
        &policies,
    ])
}

#[test]
fn settings_travel_in_the_words_of_their_records() {
    let policy = policy_bytes(b"alice", [0, 0, 0, 1]);
    let bytes = settings_bytes(&[0, 1, 90, 1], std::slice::from_ref(&policy));
    assert_eq!(*encode_settings(&vault_settings()).unwrap(), bytes);
    assert_eq!(decode_settings(&bytes).unwrap(), vault_settings());

    let kind = |bytes: &[u8]| decode_settings(bytes).err().map(|error| error.kind());
    let invalid = Some(ErrorKind::InvalidBackup);
    for length in 0..bytes.len() {
        assert_eq!(kind(&bytes[..length]), invalid, "{length}");
    }
    assert_eq!(kind(&[&bytes[..], &[0]].concat()), invalid);
    // Nobody has two policies.
    let twice = settings_bytes(&[0, 1, 90, 1], &[policy.clone(), policy.clone()]);
    assert_eq!(kind(&twice), invalid);
    // Purge protection needs something to protect.
    for (deletion, expected) in [
        ([0, 1, 0, 1], invalid),
        ([0, 1, 0, 0], None),
        ([0, 1, 7, 0], None),
        ([0, 1, 91, 0], invalid),
        ([0, 2, 90, 0], Some(ErrorKind::NewerFormat)),
    ] {
        assert_eq!(
            kind(&settings_bytes(&deletion, &[])),
            expected,
            "{deletion:?}"
        );
    }
    let newer_policy = policy_bytes(b"alice", [0x80, 0, 0, 0]);
    let newer_policy = settings_bytes(&[0, 1, 90, 1], &[newer_policy]);
    assert_eq!(kind(&newer_policy), Some(ErrorKind::NewerFormat));
    for number in [[0, 0], [0, 2], [1, 1]] {
        let other = [&number, &bytes[2..]].concat();
        assert_eq!(kind(&other), Some(ErrorKind::NewerFormat));
    }
}

#[test]
fn frames_have_the_kinds_of_their_edition_in_their_places() {
    let kinds = [
        (1, FrameKind::Key),
        (2, FrameKind::End),
        (3, FrameKind::DeletedKey),
        (4, FrameKind::Settings),
    ];
    for byte in 0..=u8::MAX {
        let known = kinds.iter().find(|(number, _)| *number == byte);
        match (FrameKind::from_byte(byte), known) {
            (Ok(kind), Some((_, expected))) => {
                assert_eq!((kind, kind.byte()), (*expected, byte));
            }
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::NewerFormat),
            other => panic!("{byte}: {other:?}"),
        }
    }
    for number in [0, 1, 2, u64::MAX] {
        for (_, kind) in kinds {
            let answer =
                |edition: Edition| edition.require(kind, number).map_err(|error| error.kind());
            let one = match kind {
                FrameKind::Key | FrameKind::End => Ok(()),
                FrameKind::DeletedKey | FrameKind::Settings => Err(ErrorKind::NewerFormat),
            };
            assert_eq!(answer(Edition::One), one);
            // The settings are the first frame, and the first frame is the settings.
            let two = match (kind, number) {
                (FrameKind::Settings, 0) => Ok(()),
                (FrameKind::Settings, _) | (_, 0) => Err(ErrorKind::InvalidBackup),
                _ => Ok(()),
            };
            assert_eq!(answer(Edition::Two), two, "{kind:?} at {number}");
        }
    }
}

/// As [`reads_strictly`], for what is read from a backup; zeros at `reserved` must be zeros.
fn reads_strictly_from_a_backup<T>(
    bytes: &[u8],
    reserved: std::ops::Range<usize>,
    decode: impl Fn(&[u8]) -> Result<T, Error>,
) -> T {
    let kind = |bytes: &[u8]| decode(bytes).err().map(|error| error.kind());
    let invalid = Some(ErrorKind::InvalidBackup);
    for length in 0..bytes.len() {
        assert_eq!(kind(&bytes[..length]), invalid, "{length}");
    }
    for at in reserved {
        let mut altered = bytes.to_vec();
        altered[at] = 1;
        assert_eq!(kind(&altered), invalid, "{at}");
    }
    for number in [[0, 0], [0, 3], [1, 1]] {
        let other = [&number, &bytes[2..]].concat();
        assert_eq!(kind(&other), Some(ErrorKind::NewerFormat));
    }
    decode(bytes).unwrap()
}

#[test]
fn the_ends_of_a_stream_are_encoded_as_the_format_says() {
    for (edition, number) in [(Edition::One, 1), (Edition::Two, 2)] {
        let head = StreamHead {
            edition,
            vault_id: [5; 16],
            expected_keys: 6,
        };
        let bytes = [&[0, number, 0, 0][..], &[5; 16], &[0, 0, 0, 0, 0, 0, 0, 6]].concat();
        assert_eq!(head.encode()[..], bytes);
        let read = reads_strictly_from_a_backup(&bytes, 2..4, StreamHead::decode);
        assert_eq!(read, head);
        assert!(StreamHead::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
    let end = StreamEnd {
        keys: 7,
        left_out: 8,
        chain: [9; 32],
    };
    let counts = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8];
    let bytes = [&[0, 1, 0, 0][..], &counts, &[9; 32]].concat();
    assert_eq!(end.encode()[..], bytes);
    let read = reads_strictly_from_a_backup(&bytes, 2..4, StreamEnd::decode);
    assert_eq!(read, end);
    assert!(StreamEnd::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn a_deleted_key_stands_behind_the_dates_of_a_possible_deletion() {
    const LONGEST: u64 = 90 * 86_400;
    let prefix = |deleted: u64, scheduled_purge: u64| DeletionPrefix {
        deletion: Deletion {
            deleted: at(deleted),
            scheduled_purge: at(scheduled_purge),
        },
    };
    let bytes = [
        0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3,
    ];
    assert_eq!(prefix(2, 3).encode(), bytes);
    let split = |bytes: &[u8]| DeletionPrefix::split(bytes).map(|(prefix, _)| prefix);
    let read = reads_strictly_from_a_backup(&bytes, 2..8, split);
    assert_eq!(read, prefix(2, 3));
    let with_payload = [&bytes[..], b"payload"].concat();
    let (read, payload) = DeletionPrefix::split(&with_payload).unwrap();
    assert_eq!((read, payload), (prefix(2, 3), &b"payload"[..]));
    for (deleted, scheduled_purge, possible) in [
        (5, 5, true),
        (5, 4, false),
        (5, 5 + LONGEST, true),
        (5, 6 + LONGEST, false),
        (0, u64::MAX, false),
        (u64::MAX, 0, false),
    ] {
        let bytes = prefix(deleted, scheduled_purge).encode();
        assert_eq!(
            split(&bytes).is_ok(),
            possible,
            "{deleted} {scheduled_purge}"
        );
    }
}
