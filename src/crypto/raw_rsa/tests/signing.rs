use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, KeyPair, RsaKeyPair, UnparsedPublicKey};
use rsa::traits::SignatureScheme;
use rsa::{Pkcs1v15Sign, Pss};
use sha2::{Sha256, Sha384, Sha512};

use super::*;
use crate::crypto::hash;
use crate::model::algorithm::SignatureAlgorithm::{
    self, Es256, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512, RsNull,
};

const MESSAGE: &[u8] = b"signed by a device that knows no padding";

fn digest_of(algorithm: SignatureAlgorithm) -> Vec<u8> {
    hash::digest(algorithm.digest().unwrap(), MESSAGE)
}

#[test]
fn pss_blocks_signed_raw_verify_elsewhere() {
    let mut random = Random(30);
    for key in &*KEYS {
        let other = RsaKeyPair::from_pkcs8(&key.pkcs8).unwrap();
        for (algorithm, parameters) in [
            (Ps256, &signature::RSA_PSS_2048_8192_SHA256),
            (Ps384, &signature::RSA_PSS_2048_8192_SHA384),
            (Ps512, &signature::RSA_PSS_2048_8192_SHA512),
        ] {
            let digest = digest_of(algorithm);
            // Many salts, so that both values of the bit that does not fit come up.
            for _ in 0..4 {
                let salt = random.bytes(digest.len());
                let block = pss_encode(algorithm, key.size, &digest, &salt).unwrap();
                assert_eq!(block.len(), key.size.modulus_length());
                check_ciphertext(&key.modulus(), &block).unwrap();
                let signed = key.raw(&block);
                UnparsedPublicKey::new(parameters, other.public_key().as_ref())
                    .verify(MESSAGE, &signed)
                    .unwrap();
                key.public().verify(algorithm, &digest, &signed).unwrap();
                let strict = match algorithm {
                    Ps256 => Pss::<Sha256>::new().verify(key.key.as_ref(), &digest, &signed),
                    Ps384 => Pss::<Sha384>::new().verify(key.key.as_ref(), &digest, &signed),
                    _ => Pss::<Sha512>::new().verify(key.key.as_ref(), &digest, &signed),
                };
                strict.unwrap();
            }
        }
    }
}

#[test]
fn a_pss_block_holds_the_salt_and_changes_with_it_and_with_the_digest() {
    let (digest, size) = (digest_of(Ps256), RsaKeySize::Bits2048);
    let salt: Vec<u8> = (0..32).collect();
    let block = pss_encode(Ps256, size, &digest, &salt).unwrap();
    let (masked, hash) = (&block[..223], &block[223..255]);
    let mut data = xor(masked, &mask(&digest::SHA256, hash, 223));
    data[0] &= 0x7f;
    assert_eq!(data, [vec![0; 190].as_slice(), &[1], &salt].concat());
    assert_eq!(block[0] & 0x80, 0);
    assert_eq!(block[255], 0xbc);

    assert_eq!(block, pss_encode(Ps256, size, &digest, &salt).unwrap());
    assert_ne!(block, pss_encode(Ps256, size, &digest, &[9; 32]).unwrap());
    assert_ne!(block, pss_encode(Ps256, size, &[7; 32], &salt).unwrap());
}

#[test]
fn pkcs1_blocks_signed_raw_are_the_signatures_of_others() {
    let random = SystemRandom::new();
    for key in &*KEYS {
        let other = RsaKeyPair::from_pkcs8(&key.pkcs8).unwrap();
        let cases: [(_, &'static dyn signature::RsaEncoding, _); 3] = [
            (
                Rs256,
                &signature::RSA_PKCS1_SHA256,
                Pkcs1v15Sign::new::<Sha256>(),
            ),
            (
                Rs384,
                &signature::RSA_PKCS1_SHA384,
                Pkcs1v15Sign::new::<Sha384>(),
            ),
            (
                Rs512,
                &signature::RSA_PKCS1_SHA512,
                Pkcs1v15Sign::new::<Sha512>(),
            ),
        ];
        for (algorithm, encoding, scheme) in cases {
            let digest = digest_of(algorithm);
            let block = pkcs1v15_encode(algorithm, key.size, &digest).unwrap();
            let mut expected = vec![0; key.size.modulus_length()];
            other
                .sign(encoding, &random, MESSAGE, &mut expected)
                .unwrap();
            assert_eq!(key.raw(&block), expected);

            let info = pkcs1v15_digest_info(algorithm, key.size, &digest).unwrap();
            assert_eq!(info, [&scheme.prefix, digest.as_slice()].concat());
            assert!(block.ends_with(&[&[0xff, 0], info.as_slice()].concat()));
        }
    }
}

#[test]
fn rsnull_takes_values_of_every_length_that_leaves_eight_bytes_of_padding() {
    let mut random = Random(31);
    let key = &KEYS[0];
    for length in 0..=245 {
        let value = random.bytes(length);
        let info = pkcs1v15_digest_info(RsNull, key.size, &value).unwrap();
        assert_eq!(info, value);
        let block = pkcs1v15_encode(RsNull, key.size, &value).unwrap();
        let padding = vec![0xff; 253 - length];
        assert_eq!(block, [&[0, 1], padding.as_slice(), &[0], &value].concat());
        if length % 49 == 0 {
            let signed = key.raw(&block);
            key.public().verify(RsNull, &value, &signed).unwrap();
        }
    }
    for too_long in [246, 256, 300] {
        let result = pkcs1v15_encode(RsNull, key.size, &vec![1; too_long]);
        assert!(matches!(result, Err(CryptoError::InvalidInput(_))));
        let result = pkcs1v15_digest_info(RsNull, key.size, &vec![1; too_long]);
        assert!(matches!(result, Err(CryptoError::InvalidInput(_))));
    }
}

#[test]
fn digests_and_salts_of_other_lengths_and_other_algorithms_are_refused() {
    let size = RsaKeySize::Bits2048;
    for length in [0, 31, 33, 48] {
        for result in [
            pss_encode(Ps256, size, &vec![1; length], &[2; 32]),
            pkcs1v15_encode(Rs256, size, &vec![1; length]),
            pkcs1v15_digest_info(Rs256, size, &vec![1; length]),
        ] {
            assert!(matches!(result, Err(CryptoError::InvalidInput(_))));
        }
        let result = pss_encode(Ps256, size, &[1; 32], &vec![2; length]);
        assert!(matches!(result, Err(CryptoError::Internal(_))));
    }
    for result in [
        pss_encode(Rs256, size, &[1; 32], &[2; 32]),
        pss_encode(RsNull, size, &[1; 32], &[2; 32]),
        pss_encode(Es256, size, &[1; 32], &[2; 32]),
        pkcs1v15_encode(Ps256, size, &[1; 32]),
        pkcs1v15_encode(Es256, size, &[1; 32]),
        pkcs1v15_digest_info(Ps256, size, &[1; 32]),
    ] {
        assert!(matches!(result, Err(CryptoError::Unsupported)));
    }
}
