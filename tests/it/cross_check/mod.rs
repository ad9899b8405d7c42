//! Both directions against implementations that share no code with ours: what one side makes, the other
//! opens or verifies, and where the result is determined it is the same to the byte.
//!
//! With aws-lc 1,000 operations per algorithm (400 in a token), with the `openssl` command 100 for what aws-lc lacks: AES Key
//! Wrap with 192 bits, RSNULL, public exponents other than 65537, and other makers of key files. In a long run 10,000 with
//! aws-lc.

mod aws_lc;
mod aws_lc_symmetric;
mod openssl;

use strongroom::{KeyName, Vault};

use crate::make;
use crate::programme::cases;

/// Operations per algorithm in each of the two directions: whole hundreds.
fn per_direction() -> usize {
    cases(make::CROSS_CHECKS, 5_000).div_ceil(100) * 100
}

fn vault() -> Vault {
    make::vault_options().create_in_memory().unwrap()
}

fn key_name(number: usize) -> KeyName {
    format!("key-{number}").parse().unwrap()
}

/// Inputs that look random and are the same in every run.
struct Inputs {
    seed: String,
    drawn: u64,
}

impl Inputs {
    fn new(seed: &str) -> Self {
        Self {
            seed: seed.to_owned(),
            drawn: 0,
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 32);
        while bytes.len() < length {
            self.drawn += 1;
            let input = format!("{} {}", self.seed, self.drawn);
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, input.as_bytes());
            bytes.extend(digest.as_ref());
        }
        bytes.truncate(length);
        bytes
    }

    /// Bytes of a length up to and with `longest`.
    fn up_to(&mut self, longest: usize) -> Vec<u8> {
        self.between(0, longest)
    }

    fn between(&mut self, shortest: usize, longest: usize) -> Vec<u8> {
        let bytes: [u8; 4] = self.bytes(4).try_into().unwrap();
        let spread = u32::try_from(longest - shortest + 1).unwrap();
        let extra = u32::from_be_bytes(bytes) % spread;
        self.bytes(shortest + usize::try_from(extra).unwrap())
    }
}
