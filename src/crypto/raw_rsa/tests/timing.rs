//! A tripwire, not a proof: whether two kinds of blocks take measurably different times, asked in the manner
//! of dudect. It has to notice decoders that leak on purpose.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use aws_lc_rs::digest::SHA256;

use super::*;
use crate::secret::SecretBytes;

const SIZE: RsaKeySize = RsaKeySize::Bits2048;
const K: usize = SIZE.modulus_length();
const PAIRS: usize = 800;
const ROUNDS: usize = 3;
/// A search that stops early is beyond this by far, with and without optimisation.
const LEAK: f64 = 20.0;
/// Without a leak even a busy machine stays below this by far.
const NOISE: f64 = 10.0;
const TRIES: usize = 5;

/// Two measurements at once would disturb each other.
static ALONE: Mutex<()> = Mutex::new(());

/// Student's t of the differences between the times that `run` takes for the two kinds of blocks, with
/// the extreme fifths of the differences trimmed (Yuen's test).
///
/// Other work on the machine comes and goes slowly compared with one run, and only ever makes it slower:
/// so each difference is between the best of a few runs that alternate.
fn t_of_differences<T>(kinds: [&[u8]; 2], run: impl Fn(EncodedMessage) -> T) -> f64 {
    let mut random = Random(40);
    let mut differences: Vec<f64> = (0..PAIRS)
        .map(|_| {
            let first = random.below(2);
            let mut best = [f64::INFINITY; 2];
            for kind in [first, 1 - first].repeat(ROUNDS) {
                let block = message(SIZE, kinds[kind]);
                let start = Instant::now();
                drop(black_box(run(black_box(block))));
                best[kind] = best[kind].min(start.elapsed().as_nanos() as f64);
            }
            best[0] - best[1]
        })
        .collect();
    differences.sort_by(f64::total_cmp);

    let cut = PAIRS / 5;
    let kept = &differences[cut..PAIRS - cut];
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    // The trimmed ones count as the outermost that were kept.
    let (lowest, highest) = (kept[0], kept[kept.len() - 1]);
    let winsorized = differences
        .iter()
        .map(|difference| difference.clamp(lowest, highest));
    let center = winsorized.clone().sum::<f64>() / PAIRS as f64;
    let squares: f64 = winsorized
        .map(|difference| (difference - center).powi(2))
        .sum();
    // Equal times on a coarse clock have no variance: then a nanosecond is none either.
    let variance = squares / (kept.len() as f64 - 1.0) / kept.len() as f64;
    mean / (variance + 0.01).sqrt()
}

fn assert_silent<T>(what: &str, kinds: [&[u8]; 2], run: impl Fn(EncodedMessage) -> T) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let t = t_of_differences(kinds, &run);
        if t.abs() < NOISE {
            eprintln!("{what}: {t}");
            return;
        }
        seen.push(t);
    }
    panic!("{what} can be told by the time: {seen:?}");
}

fn assert_leaks<T>(what: &str, kinds: [&[u8]; 2], run: impl Fn(EncodedMessage) -> T) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let t = t_of_differences(kinds, &run);
        if t.abs() > LEAK {
            eprintln!("{what}: {t}");
            return;
        }
        seen.push(t);
    }
    panic!("{what} is not noticed: {seen:?}");
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
