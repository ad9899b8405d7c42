//! Mutations without coverage: a seed, changed in a few places in the ways in which parsers go wrong.

use std::collections::VecDeque;

/// SplitMix64, from a name.
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(name: &str) -> Self {
        let state = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { state }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}

/// Numbers at the edges of lengths, counts and types.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x0001_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// How many accepted mutations are mutated further.
const LEARNED: usize = 64;
const LONGEST: usize = 64 * 1_024;

pub(super) struct Mutator {
    random: Random,
    seeds: Vec<Vec<u8>>,
    corpus: Vec<Vec<u8>>,
    learned: VecDeque<Vec<u8>>,
}

impl Mutator {
    pub(super) fn new(name: &str, seeds: Vec<Vec<u8>>, corpus: Vec<Vec<u8>>) -> Self {
        assert!(!seeds.is_empty());
        Self {
            random: Random::new(name),
            seeds,
            corpus,
            learned: VecDeque::new(),
        }
    }

    /// What was accepted leads further than what was not.
    pub(super) fn learn(&mut self, input: Vec<u8>, accepted: bool) {
        if accepted && self.random.below(4) == 0 {
            if self.learned.len() == LEARNED {
                self.learned.pop_front();
            }
            self.learned.push_back(input);
        }
    }

    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut input = if !self.learned.is_empty() && self.random.below(4) == 0 {
            self.learned[self.random.below(self.learned.len())].clone()
        } else {
            self.seed().clone()
        };
        for _ in 0..=self.random.below(4) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    /// A seed, which is whole, or every third time one of what fuzzing has found, which need not be.
    fn seed(&mut self) -> &Vec<u8> {
        let from = if self.corpus.is_empty() || self.random.below(3) > 0 {
            &self.seeds
        } else {
            &self.corpus
        };
        &from[self.random.below(from.len())]
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let random = &mut self.random;
        let at = random.below(input.len() + 1);
        match random.below(12) {
            0 => input.truncate(at),
            1 | 2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            3 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.byte();
                }
            }
            // A number where one may be, of any width and order.
            4..=6 => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                let width = 1 << random.below(4);
                let bytes = number.to_be_bytes();
                let mut bytes = bytes[8 - width..].to_vec();
                if random.below(4) == 0 {
                    bytes.reverse();
                }
                let places = input[at..].iter_mut();
                places.zip(bytes).for_each(|(place, new)| *place = new);
            }
            // One more or less.
            7 => {
                if let Some(byte) = input.get_mut(at) {
                    let up = random.below(2) == 0;
                    *byte = byte.wrapping_add(if up { 1 } else { 0xff });
                }
            }
            8 => {
                let length = random.below(17);
                let new: Vec<u8> = (0..length).map(|_| random.byte()).collect();
                input.splice(at..at, new);
            }
            9 => {
                let end = (at + 1 + random.below(16)).min(input.len());
                input.drain(at.min(end)..end);
            }
            // Twice what is there.
            10 => {
                let end = (at + 1 + random.below(64)).min(input.len());
                let piece = input[at.min(end)..end].to_vec();
                input.splice(at..at, piece);
            }
            // A piece of another seed.
            _ => {
                let seeds = self.seeds.len();
                let other = &self.seeds[random.below(seeds)];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(256)).min(other.len());
                let piece = other[from..to].to_vec();
                let end = (at + piece.len()).min(input.len());
                input.splice(at..end, piece);
            }
        }
    }
}
