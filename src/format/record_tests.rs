use super::record::*;
use crate::error::ErrorKind;

const N: [u8; 16] = [0xab, 0xcd, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const V: [u8; 16] = [0x55; 16];
const ZERO: [u8; 16] = [0; 16];

type Place = (IndexKey, u8, [u8; 16], u8, [u8; 16]);

/// Every constructor, with the namespace, `n`, class and `v` of the format.
fn places() -> Vec<Place> {
    let nameless = |class: u8, number: [u8; 8]| {
        let mut n = ZERO;
        n[0] = class;
        n[8..].copy_from_slice(&number);
        n
    };
    let mut bucket = ZERO;
    bucket[..2].copy_from_slice(&[0x0f, 0xff]);
    let number = 0x0102_0304_0506_0708;
    let digits = [1, 2, 3, 4, 5, 6, 7, 8];
    vec![
        (IndexKey::state(), 0, ZERO, b'S', ZERO),
        (IndexKey::bucket(0), 1, ZERO, b'B', ZERO),
        (IndexKey::bucket(4_095), 1, bucket, b'B', ZERO),
        (IndexKey::key_object(N), 2, N, b'M', ZERO),
        (IndexKey::key_version(N, V), 2, N, b'V', V),
        (IndexKey::gcm_counter(N, V), 2, N, b'G', V),
        (
            IndexKey::settings(number),
            3,
            nameless(b'C', digits),
            b'C',
            ZERO,
        ),
        (
            IndexKey::audit(number),
            3,
            nameless(b'A', digits),
            b'A',
            ZERO,
        ),
        (IndexKey::intent(V), 3, nameless(b'I', [0; 8]), b'I', V),
        (
            IndexKey::redo(number),
            3,
            nameless(b'R', digits),
            b'R',
            ZERO,
        ),
    ]
}

#[test]
fn index_keys_are_namespace_name_class_and_version() {
    for (key, namespace, n, class, v) in places() {
        let bytes = [&[namespace][..], &n, &[class], &v].concat();
        assert_eq!(key.as_bytes()[..], bytes);
        assert_eq!(IndexKey::from_bytes(*key.as_bytes()), Some(key));
        assert_eq!((key.namespace(), key.n(), key.v()), (namespace, n, v));
        assert_eq!(key.class().byte(), class);
        assert_eq!(key.context_bytes()[..], [&[namespace][..], &n, &v].concat());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("IndexKey({:?} {hex})", key.class()));
    }
    assert_eq!(
        IndexKey::redo(0x0102_0304_0506_0708).number(),
        0x0102_0304_0506_0708
    );
    assert_eq!(IndexKey::audit(u64::MAX).number(), u64::MAX);
    // The first twelve bits of the name.
    assert_eq!(IndexKey::key_object(N).bucket_number(), 0xabc);
    assert_eq!(IndexKey::key_object([0xff; 16]).bucket_number(), 0xfff);
}

#[test]
fn classes_are_the_bytes_of_the_format() {
    let known = *b"ABCGIMRSV";
    for byte in 0..=u8::MAX {
        let class = Class::from_byte(byte);
        assert_eq!(class.is_some(), known.contains(&byte), "{byte}");
        assert!(class.is_none_or(|class| class.byte() == byte));
        let mut key = *IndexKey::state().as_bytes();
        key[17] = byte;
        assert_eq!(IndexKey::from_bytes(key).is_some(), class.is_some());
    }
    let members = Class::ALL.map(Class::is_bucket_member);
    let expected = Class::ALL.map(|class| b"GMV".contains(&class.byte()));
    assert_eq!(members, expected);
}

/// What a constructor makes is a place of a record. What differs from it in one byte is one exactly where the format
/// leaves that byte free.
#[test]
fn only_constructors_make_places_of_records() {
    for (key, namespace, _, class, _) in places() {
        assert!(key.is_place_of_a_record(), "{key:?}");
        for at in 0..IndexKey::LENGTH {
            for mask in [1, 0x80] {
                let mut bytes = *key.as_bytes();
                bytes[at] ^= mask;
                let Some(other) = IndexKey::from_bytes(bytes) else {
                    assert_eq!(at, 17);
                    continue;
                };
                let free = match (namespace, class, at) {
                    // The number of a bucket, below 4096.
                    (1, _, 1 | 2) => bytes[1] < 0x10,
                    (2, _, 1..=16) => true,
                    (2, b'V' | b'G', 18..) => true,
                    (3, b'C' | b'A' | b'R' | b'I', 9..=16) => true,
                    (3, b'I', 18..) => true,
                    _ => false,
                };
                assert_eq!(other.is_place_of_a_record(), free, "{other:?}");
            }
        }
    }
}

#[test]
fn each_namespace_has_its_classes_only() {
    for (key, namespace, _, own, v) in places() {
        for class in Class::ALL {
            let mut bytes = *key.as_bytes();
            bytes[17] = class.byte();
            let other = IndexKey::from_bytes(bytes).unwrap();
            let expected = class.byte() == own
                || namespace == 2
                    && match class {
                        Class::KeyObject => v == ZERO,
                        Class::KeyVersion | Class::GcmCounter => true,
                        _ => false,
                    };
            assert_eq!(other.is_place_of_a_record(), expected, "{other:?}");
        }
        for namespace in 4..=u8::MAX {
            let mut bytes = *key.as_bytes();
            bytes[0] = namespace;
            assert!(!IndexKey::from_bytes(bytes).unwrap().is_place_of_a_record());
        }
    }
    let beyond_the_last_bucket = IndexKey::bucket(BUCKET_COUNT);
    assert!(!beyond_the_last_bucket.is_place_of_a_record());
    // A class of the nameless that has no records there, with its own byte in front.
    for class in [Class::Bucket, Class::State, Class::KeyObject] {
        let mut bytes = *IndexKey::settings(0).as_bytes();
        bytes[1] = class.byte();
        bytes[17] = class.byte();
        assert!(!IndexKey::from_bytes(bytes).unwrap().is_place_of_a_record());
    }
}

fn record(body: usize) -> Vec<u8> {
    let header = record_header(
        3,
        Class::KeyVersion,
        0x0102_0304,
        u32::try_from(body).unwrap(),
    );
    let body = (0..=u8::MAX).cycle().take(body);
    header.into_iter().chain(body).collect()
}

#[test]
fn a_record_begins_with_the_fields_of_the_format_and_gives_its_parts() {
    let bytes = record(300);
    let header = *b"SRMR\x01\x03V\x01\x01\x02\x03\x04\x00\x00\x01\x2c";
    assert_eq!(bytes[..16], header);
    let framed = SealedRecord::from_parts(header, &bytes[16..]).unwrap();
    let parsed = SealedRecord::parse(bytes.clone()).unwrap();
    assert_eq!(framed, parsed);
    assert_eq!(parsed.as_bytes(), bytes);
    assert_eq!(parsed.header(), header);
    assert_eq!(parsed.body(), &bytes[16..]);
    assert_eq!(parsed.salt(), bytes[16..40]);
    assert_eq!(parsed.salt_and_commitment(), &bytes[16..72]);
    assert_eq!((parsed.suite(), parsed.term()), (3, 0x0102_0304));
    assert_eq!(parsed.class(), Some(Class::KeyVersion));
    // Not a byte of the contents is shown.
    assert_eq!(format!("{parsed:?}"), "SealedRecord(316 bytes)");
}

#[test]
fn the_parts_are_counted_with_the_header() {
    for (body, parts) in [
        (MIN_RECORD_BODY, 1),
        (6_144 - 16, 1),
        (6_144 - 15, 2),
        (2 * 6_144 - 16, 2),
        (2 * 6_144 - 15, 3),
        (MAX_RECORD_BODY, 11),
    ] {
        let bytes = record(body);
        assert_eq!(usize::from(bytes[7]), parts, "{body}");
        assert_eq!(
            SealedRecord::parse(bytes.clone()).unwrap().body().len(),
            body
        );
        for other in [parts - 1, parts + 1] {
            let mut altered = bytes.clone();
            altered[7] = u8::try_from(other).unwrap();
            let error = SealedRecord::parse(altered).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
    assert_eq!(MAX_PARTS, 11);
    assert_eq!((MIN_RECORD_BODY, MAX_RECORD_BODY), (72, 65_672));
}

#[test]
fn a_record_has_the_length_that_it_declares_within_the_bounds() {
    let kind = |bytes: Vec<u8>| SealedRecord::parse(bytes).map(drop).map_err(|e| e.kind());
    assert_eq!(kind(record(72)), Ok(()));
    assert_eq!(kind(record(65_672)), Ok(()));
    for bytes in [
        Vec::new(),
        record(72)[..15].to_vec(),
        record(0),
        record(71),
        record(65_673),
        record(72)[..87].to_vec(),
        [record(72), vec![0]].concat(),
    ] {
        let length = bytes.len();
        assert_eq!(kind(bytes), Err(ErrorKind::Corrupt), "{length}");
    }
}

#[test]
fn records_of_other_formats_and_classes_are_newer_and_without_the_magic_corrupt() {
    let kind_with = |at: usize, byte| {
        let mut bytes = record(72);
        bytes[at] = byte;
        SealedRecord::parse(bytes).map(drop).map_err(|e| e.kind())
    };
    for at in 0..4 {
        assert_eq!(kind_with(at, 0), Err(ErrorKind::Corrupt));
    }
    assert_eq!(kind_with(4, 0), Err(ErrorKind::NewerFormat));
    assert_eq!(kind_with(4, 2), Err(ErrorKind::NewerFormat));
    assert_eq!(kind_with(6, b'Z'), Err(ErrorKind::NewerFormat));
    assert_eq!(kind_with(6, b'M'), Ok(()));
    // Which suites there are, another floor knows.
    assert_eq!(kind_with(5, 99), Ok(()));
}
