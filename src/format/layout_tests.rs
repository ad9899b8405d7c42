use super::layout::{Bounded, decode, encode, encode_record};
use super::record::MAX_RECORD_PLAINTEXT;
use crate::error::ErrorKind;

#[test]
fn an_encoding_may_fill_its_limit_with_number_and_head_and_no_more() {
    for head in [&[][..], &[7; 1], &[7; 32]] {
        let length = 2 + head.len() + 8;
        let kind = |limit| {
            encode(1, head, &5_u64, limit)
                .map(|bytes| bytes.len())
                .map_err(|error| error.kind())
        };
        assert_eq!(kind(length), Ok(length));
        assert_eq!(kind(length + 1), Ok(length));
        for limit in [length - 1, 8, 1, 0] {
            assert_eq!(kind(limit), Err(ErrorKind::TooLarge));
        }
        let bytes = encode(0x0102, head, &5_u64, length).unwrap();
        let expected = [&[1, 2], head, &[0, 0, 0, 0, 0, 0, 0, 5]].concat();
        assert_eq!(*bytes, expected);
        assert_eq!(bytes.capacity(), length);
    }
}

/// Padding needs a byte at least.
#[test]
fn a_record_holds_one_byte_less_than_its_padded_plaintext() {
    let encoded = |text: usize| {
        encode_record(1, &[], &"x".repeat(text - 10))
            .map(|bytes| bytes.len())
            .map_err(|error| error.kind())
    };
    assert_eq!(encoded(MAX_RECORD_PLAINTEXT - 2), Ok(65_534));
    assert_eq!(encoded(MAX_RECORD_PLAINTEXT - 1), Ok(65_535));
    assert_eq!(encoded(MAX_RECORD_PLAINTEXT), Err(ErrorKind::TooLarge));
}

#[test]
fn a_bounded_sequence_takes_as_many_as_it_says() {
    for (count, possible) in [(0, true), (2, true), (3, true), (4, false), (5, false)] {
        let bytes = encode(1, &[], &vec![6_u8; count], 100).unwrap();
        let read = decode::<Bounded<u8, 3>>(&bytes[2..]).map(|read| read.0);
        let expected = possible.then(|| vec![6; count]).ok_or(ErrorKind::Corrupt);
        assert_eq!(read.map_err(|error| error.kind()), expected);
    }
}
