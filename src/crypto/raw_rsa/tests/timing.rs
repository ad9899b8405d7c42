//! A tripwire, not a proof: whether two kinds of blocks take measurably different times, asked in the manner
//! of dudect. It has to notice decoders that leak on purpose.

use std::hint::black_box;

use aws_lc_rs::digest::SHA256;

use super::*;
use crate::secret::SecretBytes;
use crate::timing::Question;

const SIZE: RsaKeySize = RsaKeySize::Bits2048;
const K: usize = SIZE.modulus_length();
const QUESTION: Question = Question::about_microseconds();

fn assert_silent<T>(what: &str, kinds: [&[u8]; 2], run: impl Fn(EncodedMessage) -> T) {
    QUESTION.assert_silent(
        what,
        |kind| message(SIZE, kinds[kind]),
        |_, block| run(block),
    );
}

fn assert_leaks<T>(what: &str, kinds: [&[u8]; 2], run: impl Fn(EncodedMessage) -> T) {
    QUESTION.assert_leaks(
        what,
        |kind| message(SIZE, kinds[kind]),
        |_, block| run(block),
    );
}

fn oaep_block(first: u8, data: &[u8]) -> Vec<u8> {
    oaep::block(&SHA256, first, &[0x31; 32], data)
}

/// Data whose separator stands early or late.
fn separated_at(place: usize) -> Vec<u8> {
    let mut data = oaep::data(&SHA256, SIZE, b"");
    data[32..].fill(0);
    data[place] = 1;
    data
}

/// Returns at the first defect.
fn leaky_oaep(encoded: EncodedMessage) -> Option<SecretBytes> {
    let block = &*encoded.bytes;
    if block[0] != 0 {
        return None;
    }
    leaky_oaep_search(encoded)
}

/// Stops the search where it finds the separator.
fn leaky_oaep_search(mut encoded: EncodedMessage) -> Option<SecretBytes> {
    let (first, masked) = encoded.bytes.split_at_mut(1);
    let (seed, block) = masked.split_at_mut(32);
    mgf1::mgf1_xor::<sha2::Sha256>(block, seed);
    mgf1::mgf1_xor::<sha2::Sha256>(seed, block);
    let rest = &block[32..];
    let separator = rest.iter().position(|byte| bool::from(!byte.ct_eq(&0)));
    let message = SecretBytes::copied_from(&rest[1..]);
    (first[0] == 0 && separator.is_some_and(|place| rest[place] == 1)).then_some(message)
}

#[test]
fn t7_the_time_of_oaep_tells_nothing_about_the_block() {
    let run = |encoded| oaep_decode(OaepHash::Sha256, encoded);
    let longest = oaep::data(&SHA256, SIZE, &[0x61; K - 66]);
    let good = oaep_block(0, &longest);
    let wrong_first = oaep_block(1, &longest);
    let mut wrong_label = longest.clone();
    wrong_label[0] ^= 1;
    let wrong_label = oaep_block(0, &wrong_label);
    // Wrong in the first byte, so that nothing comes out of either.
    let early = oaep_block(1, &separated_at(32));
    let late = oaep_block(1, &separated_at(K - 34));

    assert_leaks(
        "a first byte looked at alone",
        [&good, &wrong_first],
        leaky_oaep,
    );
    assert_leaks(
        "the place where a search stops",
        [&early, &late],
        leaky_oaep_search,
    );
    assert_silent("validity", [&good, &wrong_first], run);
    assert_silent("the defect", [&wrong_label, &wrong_first], run);
    assert_silent("the separator", [&early, &late], run);
}

/// Rejects with bytes that only a rejected block needs.
fn leaky_pkcs1(encoded: EncodedMessage, ciphertext: &[u8]) -> SecretBytes {
    let separator = encoded.bytes[2..].iter().position(|byte| *byte == 0);
    match separator {
        Some(place) if encoded.bytes[..2] == [0, 2] && place >= 8 => {
            SecretBytes::copied_from(&encoded.bytes[place + 3..])
        }
        _ => pkcs1v15_decode_implicit(encoded, ciphertext, &[3; 32]),
    }
}

/// Stops the search where it finds the separator, and otherwise does the same for all blocks.
fn leaky_pkcs1_search(encoded: EncodedMessage, ciphertext: &[u8]) -> SecretBytes {
    let mut bytes = encoded.bytes[2..].iter();
    black_box(bytes.position(|byte| bool::from(byte.ct_eq(&0))));
    pkcs1v15_decode_implicit(encoded, ciphertext, &[3; 32])
}

#[test]
fn t7_the_time_of_implicit_rejection_tells_nothing_about_the_block() {
    let mut random = Random(41);
    let ciphertext = random.bytes(K);
    let run = |encoded| pkcs1v15_decode_implicit(encoded, &ciphertext, &[3; 32]);
    // A message as long as the alternative: the length of the result may be seen.
    let wrong = pkcs1v15::block(&mut random, SIZE, [1, 2], None);
    let length = run(message(SIZE, &wrong)).len();
    let good = pkcs1v15::block(&mut random, SIZE, [0, 2], Some(K - 1 - length));
    assert_eq!(run(message(SIZE, &good)).len(), length);
    let mut wrong = good.clone();
    wrong[1] = 3;
    let early = pkcs1v15::block(&mut random, SIZE, [0, 3], Some(10));
    let late = pkcs1v15::block(&mut random, SIZE, [0, 3], Some(K - 1));

    assert_leaks("a rejection made when needed", [&good, &wrong], |encoded| {
        leaky_pkcs1(encoded, &ciphertext)
    });
    assert_leaks(
        "the place where a search stops",
        [&early, &late],
        |encoded| leaky_pkcs1_search(encoded, &ciphertext),
    );
    assert_silent("validity", [&good, &wrong], run);
    assert_silent("the separator", [&early, &late], run);
}

#[test]
fn the_time_of_moving_an_answer_does_not_tell_its_length() {
    let lengths = [K, K - 7];
    // The lengths travel in the first byte of the block.
    let kinds = [0, 1].map(|kind| {
        let mut block = vec![0x2a; K];
        block[0] = kind;
        block
    });
    let kinds = [kinds[0].as_slice(), kinds[1].as_slice()];
    assert_leaks("a plain move", kinds, |mut encoded| {
        let length = lengths[usize::from(encoded.bytes[0])];
        for _ in length..K {
            encoded.bytes.rotate_right(1);
            encoded.bytes[0] = 0;
        }
    });
    assert_silent("the length of the answer", kinds, |mut encoded| {
        let length = lengths[usize::from(encoded.bytes[0])];
        left_pad_constant_time(&mut encoded.bytes, length)
    });
}
