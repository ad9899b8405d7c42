//! A tripwire, not a proof: whether the time of a decryption tells what is in the block that a token gives back for
//! unpadding. The module is a fake one that answers with chosen blocks; a leak that is planted in it has to be
//! noticed, and without it there must be none.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use hsm_softhsm_tests::Proxy;
use strongroom::backend::pkcs11::Pkcs11Backend;
use strongroom::timing::Question;
use strongroom::{
    Ciphertext, CreateKeyOptions, EncryptOptions, EncryptionAlgorithm, KeyName, RsaKeySize, Vault,
    VaultOptions,
};

use crate::backends::own_options;

/// Length of a modulus of 2048 bits.
const K: usize = 256;
const QUESTION: Question = Question::about_milliseconds();
/// A sixth of what the decryption itself takes: the smallest that is found on a busy machine every time.
const PLANTED: Duration = Duration::from_micros(250);

struct Fixture {
    proxy: Proxy,
    vault: Vault,
    name: KeyName,
    algorithm: EncryptionAlgorithm,
    ciphertext: Vec<u8>,
}

impl Fixture {
    fn new(algorithm: EncryptionAlgorithm) -> Self {
        let proxy = Proxy::new();
        let token = proxy.new_token();
        let backend = Pkcs11Backend::new(own_options(&token));
        let vault = VaultOptions::new()
            .backend(Arc::new(backend))
            .create_in_memory()
            .unwrap();
        let name = KeyName::from_static("timed");
        let options = CreateKeyOptions::rsa(RsaKeySize::Bits2048).hsm();
        vault.create_key(&name, options).unwrap();
        let sealed = vault.encrypt(&name, algorithm, b"text", EncryptOptions::new());
        let ciphertext = sealed.unwrap().ciphertext().to_vec();
        // The token outlives the test inside the proxy's module.
        std::mem::forget(token);
        Self {
            proxy,
            vault,
            name,
            algorithm,
            ciphertext,
        }
    }

    fn answer(&self, block: &[u8], delay: Option<Duration>) {
        let block = block.to_vec();
        self.proxy.rewrite_raw_decryption(move |_, _| {
            if let Some(delay) = delay {
                let start = Instant::now();
                while start.elapsed() < delay {
                    std::hint::spin_loop();
                }
            }
            Ok(block.clone())
        });
    }

    fn decrypt(&self) -> bool {
        let ciphertext = Ciphertext::new(&self.ciphertext);
        let opened = self.vault.decrypt(&self.name, self.algorithm, ciphertext);
        black_box(&opened).is_ok()
    }

    fn assert_silent(&self, what: &str, blocks: [&[u8]; 2]) {
        QUESTION.assert_silent(
            what,
            |kind| self.answer(blocks[kind], None),
            |_, ()| self.decrypt(),
        );
    }

    fn assert_leaks(&self, what: &str, blocks: [&[u8]; 2]) {
        let answer = |kind: usize| self.answer(blocks[kind], (kind == 1).then_some(PLANTED));
        QUESTION.assert_leaks(what, answer, |_, ()| self.decrypt());
    }
}

/// EM of RSAES-OAEP with SHA-256 around this data block.
fn oaep(first: u8, data: &[u8]) -> Vec<u8> {
    let seed = [0x31; 32];
    let masked = xor(data, &mgf1(&seed, data.len()));
    let masked_seed = xor(&seed, &mgf1(&masked, 32));
    [&[first], &masked_seed[..], &masked].concat()
}

fn mgf1(seed: &[u8], length: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|counter| {
            let block = digest(&SHA256, &[seed, &counter.to_be_bytes()].concat());
            block.as_ref().to_vec()
        })
        .take(length)
        .collect()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(a, b)| a ^ b).collect()
}

/// lHash ‖ zeros ‖ 01 at this place ‖ message.
fn data_block(separator: usize) -> Vec<u8> {
    let mut data = vec![0; K - 33];
    data[..32].copy_from_slice(digest(&SHA256, b"").as_ref());
    data[separator] = 1;
    data[separator + 1..].fill(0x61);
    data
}

#[test]
fn the_time_of_an_oaep_decryption_does_not_tell_what_is_wrong_with_the_block() {
    let fixture = Fixture::new(EncryptionAlgorithm::RsaOaep256);
    let good = oaep(0, &data_block(40));
    fixture.answer(&good, None);
    assert!(fixture.decrypt(), "the blocks of this test are OAEP");
    let wrong_first = oaep(1, &data_block(40));
    let mut wrong_label = data_block(40);
    wrong_label[0] ^= 1;
    let wrong_label = oaep(0, &wrong_label);
    let early = oaep(1, &data_block(32));
    let late = oaep(1, &data_block(K - 35));
    for block in [&wrong_first, &wrong_label, &early, &late] {
        fixture.answer(block, None);
        assert!(!fixture.decrypt());
    }
    fixture.assert_leaks("a planted leak", [&wrong_first, &wrong_label]);
    fixture.assert_silent("first byte or label", [&wrong_first, &wrong_label]);
    fixture.assert_silent("an early or late separator", [&early, &late]);
}

#[test]
fn the_time_of_an_rsa1_5_decryption_does_not_tell_whether_the_padding_is_right() {
    let fixture = Fixture::new(EncryptionAlgorithm::Rsa1_5);
    let block = |head: [u8; 2], separator: usize| {
        let mut block = vec![0x77; K];
        block[..2].copy_from_slice(&head);
        block[separator] = 0;
        block
    };
    let good = block([0, 2], 200);
    fixture.answer(&good, None);
    assert!(fixture.decrypt());
    let wrong_head = block([0, 1], 200);
    let (early, late) = (block([0, 2], 11), block([0, 2], K - 2));
    let none = vec![0x77; K];
    fixture.assert_leaks("a planted leak", [&good, &wrong_head]);
    fixture.assert_silent("a right or wrong head", [&good, &wrong_head]);
    fixture.assert_silent("an early or late separator", [&early, &late]);
    fixture.assert_silent("a block of padding or of nothing", [&good, &none]);
}
