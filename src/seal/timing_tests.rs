//! A tripwire, not a proof: whether the time of opening tells how much of a commitment is right. Who could see that
//! could make one up byte by byte.

use std::hint::black_box;

use super::*;
use crate::env::OsEntropy;
use crate::timing::Question;

const SUITE: Suite = Suite::Aes256Gcm;
const QUESTION: Question = Question::about_microseconds();

/// Compares byte by byte and stops at the first difference; often enough to be a hundredth of the whole.
fn leak(one: &[u8], other: &[u8]) {
    for _ in 0..40 {
        let equal = black_box(one).iter().zip(black_box(other));
        black_box(equal.take_while(|(one, other)| one == other).count());
    }
}

#[test]
fn the_time_of_opening_does_not_tell_how_much_of_the_commitment_is_right() {
    let key = Key32::copied_from(&[7; 32]).unwrap();
    let good = seal(SUITE, &key, &[b"place"], &[1; 256], &OsEntropy).unwrap();
    let wrong_at = |at: usize| {
        let mut sealed = good.clone();
        sealed[SALT_LENGTH + at] ^= 1;
        sealed
    };
    let kinds = [wrong_at(0), wrong_at(COMMITMENT_LENGTH - 1)];
    let run = |sealed: &[u8]| open(SUITE, &key, &[b"place"], sealed).unwrap_err();
    assert_eq!(run(&kinds[0]), OpenError::WrongKeyOrContext);
    assert_eq!(run(&kinds[1]), OpenError::WrongKeyOrContext);
    QUESTION.assert_leaks(
        "a comparison that stops early",
        |kind| &kinds[kind],
        |_, sealed| {
            leak(
                &good[SALT_LENGTH..][..COMMITMENT_LENGTH],
                &sealed[SALT_LENGTH..],
            );
            run(sealed)
        },
    );
    QUESTION.assert_silent(
        "the first wrong byte of a commitment",
        |kind| &kinds[kind],
        |_, sealed| run(sealed),
    );
}

#[test]
fn the_time_of_opening_does_not_tell_how_much_of_a_tag_is_right() {
    let key = Key32::copied_from(&[7; 32]).unwrap();
    let good = seal(SUITE, &key, &[b"place"], &[1; 256], &OsEntropy).unwrap();
    let wrong_at = |from_end: usize| {
        let mut sealed = good.clone();
        let at = sealed.len() - from_end;
        sealed[at] ^= 1;
        sealed
    };
    let kinds = [wrong_at(TAG_LENGTH), wrong_at(1)];
    let run = |sealed: &[u8]| open(SUITE, &key, &[b"place"], sealed).unwrap_err();
    assert_eq!(run(&kinds[0]), OpenError::Damaged);
    let tag = |sealed: &[u8]| sealed[sealed.len() - TAG_LENGTH..].to_vec();
    QUESTION.assert_leaks(
        "a comparison that stops early",
        |kind| &kinds[kind],
        |_, sealed| {
            leak(&tag(&good), &tag(sealed));
            run(sealed)
        },
    );
    QUESTION.assert_silent(
        "the first wrong byte of a tag",
        |kind| &kinds[kind],
        |_, sealed| run(sealed),
    );
}
