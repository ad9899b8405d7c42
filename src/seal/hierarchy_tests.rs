use aws_lc_rs::{hkdf, hmac};

use super::tests::{Counting, key, sha256_hex};
use super::*;
use crate::env::OsEntropy;
use crate::error::ErrorKind;
use crate::format::record::{Class, IndexKey, MAX_RECORD_PLAINTEXT, SealedRecord};
use crate::format::ring::{KekRing, SdkRing};
use crate::model::name::KeyName;
use crate::model::version::KeyVersion;
use hierarchy::Hierarchy;

const VAULT: [u8; 16] = [0xaa; 16];
const NAME: KeyName = KeyName::from_static("Invoice-Signer");
const VERSION: KeyVersion = KeyVersion::from_bytes([0xcd; 16]);

fn hierarchy() -> Hierarchy {
    Hierarchy::derive(&key(1), VAULT, Suite::Aes256Gcm)
}

/// HKDF-Expand by another library.
fn sub_key(label: &str) -> [u8; 32] {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut derived = [0; 32];
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA512, &[1; 32])
        .expand(
            &[b"strongroom/v1/", label.as_bytes(), b"\0", &VAULT],
            Length,
        )
        .unwrap()
        .fill(&mut derived)
        .unwrap();
    derived
}

fn hmac_by(label: &str, message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA512, &sub_key(label));
    hmac::sign(&key, message).as_ref().to_vec()
}

#[test]
fn the_audit_chain_is_a_mac_over_the_value_before_the_number_and_the_entry() {
    let mut message = vec![7; 32];
    message.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 2]);
    message.extend_from_slice(b"entry");
    assert_eq!(
        hierarchy().audit_link(&[7; 32], 258, b"entry"),
        hmac_by("audit", &message)[..32]
    );
}

fn place(class: Class) -> IndexKey {
    match class {
        Class::KeyObject => IndexKey::key_object([1; 16]),
        Class::KeyVersion => IndexKey::key_version([1; 16], [2; 16]),
        Class::GcmCounter => IndexKey::gcm_counter([1; 16], [2; 16]),
        Class::Settings => IndexKey::settings(3),
        Class::Redo => IndexKey::redo(4),
        Class::Bucket => IndexKey::bucket(5),
        Class::State => IndexKey::state(),
        Class::Audit | Class::Intent => {
            let mut bytes = *IndexKey::settings(6).as_bytes();
            bytes[1] = class.byte();
            bytes[17] = class.byte();
            IndexKey::from_bytes(bytes).unwrap()
        }
    }
}

#[test]
fn sub_keys_and_prfs_agree_with_another_library() {
    let hierarchy = hierarchy();
    assert_eq!(hierarchy.meta_key().unwrap().expose(), &sub_key("meta"));
    assert_eq!(hierarchy.fingerprint(), sub_key("fingerprint"));
    assert_eq!(
        hierarchy.header_mac(b"text")[..],
        hmac_by("header", b"text")
    );
    assert_eq!(
        hierarchy.anchor_mac(b"text"),
        hmac_by("anchor", b"text")[..32]
    );
    assert_eq!(
        hierarchy.name_prf(&NAME),
        hmac_by("index", b"\x01\x0einvoice-signer")[..16]
    );
    assert_eq!(
        hierarchy.version_prf(&NAME, VERSION),
        hmac_by(
            "index",
            b"\x02\x0einvoice-signercdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
        )[..16]
    );
    let tombstone = [&[3][..], &[0xee; 16]].concat();
    assert_eq!(
        hierarchy.tombstone_prf(&[0xee; 16]),
        hmac_by("index", &tombstone)[..16]
    );

    let index = place(Class::KeyVersion);
    let record = hierarchy
        .seal_record(&key(2), &index, 0, b"material", &OsEntropy)
        .unwrap();
    let member = [&index.as_bytes()[..], &record.as_bytes()[16..72]].concat();
    assert_eq!(
        hierarchy.member_digest(&index, &record),
        hmac_by("set", &member)[..32]
    );
}

#[test]
fn names_that_differ_in_case_only_have_one_prf() {
    let lower = KeyName::from_static("invoice-signer");
    assert_eq!(hierarchy().name_prf(&NAME), hierarchy().name_prf(&lower));
    let other = KeyName::from_static("invoice-signer2");
    assert_ne!(hierarchy().name_prf(&NAME), hierarchy().name_prf(&other));
}

#[test]
fn every_class_round_trips_at_the_edges_of_its_padding() {
    let steps = [256, 512, 1_024, 2_048, 4_096, 8_192, 16_320, 32_640, 65_536];
    for class in Class::ALL {
        let padded = !matches!(
            class,
            Class::State | Class::Bucket | Class::GcmCounter | Class::Redo
        );
        let lengths = steps.iter().flat_map(|step| [step - 2, step - 1, *step]);
        for length in [0, 1].into_iter().chain(lengths) {
            // Ends in what looks like padding.
            let mut plaintext = vec![0x5a; length];
            if let Some(end) = plaintext.get_mut(length.saturating_sub(3)..) {
                end.copy_from_slice(&[0x80, 0, 0][..end.len()]);
            }
            let index = place(class);
            let sealed = hierarchy().seal_record(&key(2), &index, 9, &plaintext, &OsEntropy);
            if padded && length == MAX_RECORD_PLAINTEXT {
                assert_eq!(sealed.unwrap_err().kind(), ErrorKind::TooLarge);
                continue;
            }
            let record = sealed.unwrap();
            let inside = if padded {
                *steps.iter().find(|step| **step > length).unwrap()
            } else {
                length
            };
            assert_eq!(record.as_bytes().len(), 16 + sealed_length(inside));
            assert_eq!((record.term(), record.class()), (9, Some(class)));
            let opened = hierarchy().open_record(&key(2), &index, &record).unwrap();
            assert_eq!(*opened, plaintext, "{class:?} {length}");
        }
        let too_long = vec![0; MAX_RECORD_PLAINTEXT + 1];
        let sealed = hierarchy().seal_record(&key(2), &place(class), 9, &too_long, &OsEntropy);
        assert_eq!(sealed.unwrap_err().kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn every_flipped_byte_of_a_record_is_refused_with_a_typed_error() {
    let hierarchy = hierarchy();
    let index = place(Class::KeyObject);
    let record = hierarchy
        .seal_record(&key(2), &index, 1, b"metadata", &OsEntropy)
        .unwrap();
    for at in 0..record.as_bytes().len() {
        for mask in [0x01, 0x02, 0x80, 0xff] {
            let mut bytes = record.as_bytes().to_vec();
            bytes[at] ^= mask;
            let kind = SealedRecord::parse(bytes)
                .and_then(|altered| hierarchy.open_record(&key(2), &index, &altered))
                .unwrap_err()
                .kind();
            let expected: &[ErrorKind] = match at {
                0..4 | 7 | 12..16 => &[ErrorKind::Corrupt],
                4 => &[ErrorKind::NewerFormat],
                5 | 6 => &[ErrorKind::NewerFormat, ErrorKind::Tampered],
                8..12 | 16..72 => &[ErrorKind::Tampered],
                _ => &[ErrorKind::Corrupt],
            };
            assert!(expected.contains(&kind), "byte {at}: {kind:?}");
        }
    }
}

#[test]
fn a_record_opens_at_its_own_place_only() {
    let hierarchy = hierarchy();
    let index = IndexKey::key_version([1; 16], [2; 16]);
    let record = hierarchy
        .seal_record(&key(2), &index, 0, b"material", &OsEntropy)
        .unwrap();
    let opened = hierarchy.open_record(&key(2), &index, &record).unwrap();
    assert_eq!(*opened, b"material");
    let elsewhere = [
        IndexKey::key_version([3; 16], [2; 16]),
        IndexKey::key_version([1; 16], [3; 16]),
        IndexKey::gcm_counter([1; 16], [2; 16]),
        IndexKey::key_object([1; 16]),
    ];
    for place in elsewhere {
        let error = hierarchy.open_record(&key(2), &place, &record).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered);
    }
    let others = [
        Hierarchy::derive(&key(1), [0xab; 16], Suite::Aes256Gcm),
        Hierarchy::derive(&key(1), VAULT, Suite::ChaCha20Poly1305),
    ];
    for other in others {
        let error = other.open_record(&key(2), &index, &record).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered);
    }
    let error = hierarchy.open_record(&key(3), &index, &record).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered);
}

#[test]
fn contents_with_other_padding_are_corrupt() {
    let hierarchy = hierarchy();
    let index = place(Class::KeyObject);
    let mut zeros = vec![0; 256];
    let mut wrong_marker = zeros.clone();
    wrong_marker[7] = 0x81;
    let mut too_long = vec![0; 512];
    too_long[7] = 0x80;
    let not_a_step = vec![0x80; 300];
    zeros.truncate(256);
    for contents in [zeros, wrong_marker, too_long, not_a_step] {
        let length = u32::try_from(sealed_length(contents.len())).unwrap();
        let header = crate::format::record::record_header(2, Class::KeyObject, 1, length);
        let context = [
            &b"strongroom/v1/rec\0"[..],
            &VAULT,
            &header,
            &index.context_bytes(),
        ];
        let body = seal(Suite::Aes256Gcm, &key(2), &context, &contents, &OsEntropy).unwrap();
        let record = SealedRecord::from_parts(header, &body).unwrap();
        let error = hierarchy.open_record(&key(2), &index, &record).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn rings_open_under_their_own_header_only() {
    let hierarchy = hierarchy();
    let kek_ring = KekRing {
        current_term: 2,
        current_key: key(2).into(),
        previous: Some((1, key(1).into())),
    };
    let sdk_ring = SdkRing {
        current_epoch: 1,
        epochs: vec![(1, key(5).into())],
    };
    let kek = hierarchy.seal_kek_ring(&kek_ring, 7, &OsEntropy).unwrap();
    let sdk = hierarchy.seal_sdk_ring(&sdk_ring, 7, &OsEntropy).unwrap();
    assert_eq!((kek.len(), sdk.len()), (152, 1_520));
    let opened = hierarchy.open_kek_ring(&kek, 7).unwrap();
    assert_eq!(opened.key(1).unwrap().expose(), &[1; 32]);
    let opened = hierarchy.open_sdk_ring(&sdk, 7).unwrap();
    assert_eq!(opened.key(1).unwrap().expose(), &[5; 32]);
    assert_eq!(
        hierarchy.open_kek_ring(&kek, 8).unwrap_err().kind(),
        ErrorKind::Tampered
    );
    assert_eq!(
        hierarchy.open_sdk_ring(&sdk, 6).unwrap_err().kind(),
        ErrorKind::Tampered
    );
    assert_eq!(
        hierarchy.open_kek_ring(&sdk, 7).unwrap_err().kind(),
        ErrorKind::Tampered
    );
    assert_eq!(
        hierarchy.open_kek_ring(&kek[..151], 7).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

// The digest was also computed by a separate program from the format document alone.
#[test]
fn record_bytes_are_those_of_the_first_release() {
    let index = IndexKey::key_object(hierarchy().name_prf(&NAME));
    let record = hierarchy()
        .seal_record(&key(2), &index, 1, b"golden", &Counting::default())
        .unwrap();
    assert_eq!(
        sha256_hex(record.as_bytes()),
        "f80319d3a62abd9a4f60f301c3f8d629db58265cc284dec2cb27bc0594c0b0af"
    );
}

#[test]
fn keys_that_were_let_go_seal_and_open_nothing() {
    let hierarchy = hierarchy();
    let kek_ring = KekRing {
        current_term: 1,
        current_key: key(1).into(),
        previous: None,
    };
    let sealed = hierarchy.seal_kek_ring(&kek_ring, 7, &OsEntropy).unwrap();
    assert!(hierarchy.open_kek_ring(&sealed, 7).is_ok());
    hierarchy.let_go();
    assert!(hierarchy.open_kek_ring(&sealed, 7).is_err());
    assert!(hierarchy.seal_kek_ring(&kek_ring, 7, &OsEntropy).is_err());
    assert_eq!(hierarchy.header_mac(b"header"), [0; 64]);
    // Not a key is printed, neither before nor after.
    assert_eq!(format!("{hierarchy:?}"), "Hierarchy(..)");
}
