//! Hundreds of operations per algorithm in each direction, of every size and curve.

use super::*;
use crate::crypto::hash;
use crate::crypto::limits::check_digest;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::spec::{Curve, RsaKeySize};
use crate::secret::SecretBytes;

/// One key in both engines, parsed.
struct Sides {
    keys: [Box<dyn CryptoKey>; 2],
    publics: [PublicKey; 2],
}

impl Sides {
    fn new(material: &KeyMaterial) -> Self {
        let keys = engines().map(|engine| engine.load(material).unwrap());
        let publics = engines().map(|engine| public(&*engine, material));
        assert!(is_own(&*keys[0]) && !is_own(&*keys[1]));
        assert_eq!(publics[0], publics[1]);
        Self { keys, publics }
    }
}

/// Bytes that depend on all that is given.
fn inputs(algorithm: &str, round: usize) -> Vec<u8> {
    let seed = format!("{algorithm} {round}");
    hash::digest(
        crate::model::algorithm::HashAlgorithm::Sha512,
        seed.as_bytes(),
    )
}

/// What one side makes, both verify; with a bit changed, neither does.
fn signatures(sides: &Sides, algorithm: SignatureAlgorithm, rounds: usize) {
    for round in 0..rounds {
        let digest = match algorithm.digest() {
            Some(hash) => hash::digest(hash, &inputs(algorithm.as_str(), round)),
            None => inputs(algorithm.as_str(), round)[..round % 60].to_vec(),
        };
        check_digest(algorithm, &digest).unwrap();
        for key in &sides.keys {
            let mut signature = key.sign(algorithm, &digest).unwrap();
            for public in &sides.publics {
                public.verify(algorithm, &digest, &signature).unwrap();
            }
            let bit = (round * 37) % (signature.len() * 8);
            signature[bit / 8] ^= 1 << (bit % 8);
            for public in &sides.publics {
                let error = public.verify(algorithm, &digest, &signature).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidSignature);
            }
        }
        // Of one key, PKCS#1 v1.5 and RFC 6979 have one answer.
        let fixed: Vec<_> = match algorithm {
            SignatureAlgorithm::Rs256
            | SignatureAlgorithm::Rs384
            | SignatureAlgorithm::Rs512
            | SignatureAlgorithm::RsNull => (sides.keys.iter())
                .map(|key| key.sign(algorithm, &digest).unwrap())
                .collect(),
            _ if algorithm.curve().is_some() && round % 8 == 0 => (sides.keys.iter())
                .map(|key| key.sign_deterministic(algorithm, &digest).unwrap())
                .collect(),
            _ => continue,
        };
        assert_eq!(fixed[0], fixed[1]);
    }
}

/// What one side encrypts, both open; with a bit changed, both say the same.
fn encryption(
    sides: &Sides,
    encryption: EncryptionAlgorithm,
    wrapping: WrapAlgorithm,
    rounds: usize,
) {
    for round in 0..rounds {
        let text = &inputs(encryption.as_str(), round)[..round % 65];
        for public in &sides.publics {
            let ciphertexts = [
                public.encrypt(encryption, text).unwrap(),
                public.wrap_key(wrapping, text).unwrap(),
            ];
            for mut ciphertext in ciphertexts {
                for key in &sides.keys {
                    let opened = key.decrypt(encryption, &ciphertext, &[], &[], &[]);
                    assert_eq!(opened.unwrap().expose(), text);
                    let opened = key.unwrap_key(wrapping, &ciphertext);
                    assert_eq!(opened.unwrap().expose(), text);
                }
                // The first bits could make it too long, which is another case.
                let bit = 8 + (round * 37) % (ciphertext.len() * 8 - 8);
                ciphertext[bit / 8] ^= 1 << (bit % 8);
                let [first, second] = sides.keys.each_ref().map(|key| {
                    key.decrypt(encryption, &ciphertext, &[], &[], &[])
                        .map_err(|error| crate::Error::from(error).kind())
                });
                assert_eq!(first, second);
                if encryption == EncryptionAlgorithm::Rsa1_5 {
                    // Implicit rejection, with the same bytes.
                    first.unwrap();
                } else {
                    assert_eq!(first.unwrap_err(), ErrorKind::DecryptFailed);
                }
            }
        }
    }
}

/// With each engine as the maker of the key.
fn with_keys(spec: KeySpec, test: impl Fn(&Sides)) {
    for engine in engines() {
        test(&Sides::new(&generate(&*engine, spec)));
    }
}

const RSA_SIGNATURES: [SignatureAlgorithm; 7] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Rs384,
    SignatureAlgorithm::Rs512,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Ps384,
    SignatureAlgorithm::Ps512,
    SignatureAlgorithm::RsNull,
];

const RSA_ENCRYPTION: [(EncryptionAlgorithm, WrapAlgorithm); 3] = [
    (EncryptionAlgorithm::RsaOaep, WrapAlgorithm::RsaOaep),
    (EncryptionAlgorithm::RsaOaep256, WrapAlgorithm::RsaOaep256),
    (EncryptionAlgorithm::Rsa1_5, WrapAlgorithm::Rsa1_5),
];

fn rsa(size: RsaKeySize, rounds: usize) {
    with_keys(KeySpec::Rsa(size), |sides| {
        for algorithm in RSA_SIGNATURES {
            signatures(sides, algorithm, rounds);
        }
        for (algorithm, wrapping) in RSA_ENCRYPTION {
            encryption(sides, algorithm, wrapping, rounds.div_ceil(4));
        }
    });
}

#[test]
fn rsa_2048_is_the_same_on_both() {
    rsa(RsaKeySize::Bits2048, 60);
}

#[test]
fn rsa_3072_is_the_same_on_both() {
    rsa(RsaKeySize::Bits3072, 12);
}

#[test]
fn rsa_4096_is_the_same_on_both() {
    rsa(RsaKeySize::Bits4096, 5);
}

#[test]
fn ecdsa_is_the_same_on_both() {
    for (curve, algorithm) in [
        (Curve::P256, SignatureAlgorithm::Es256),
        (Curve::P384, SignatureAlgorithm::Es384),
        (Curve::P521, SignatureAlgorithm::Es512),
    ] {
        for _ in 0..10 {
            with_keys(KeySpec::Ec(curve), |sides| {
                signatures(sides, algorithm, 6);
            });
        }
    }
}

#[test]
fn what_an_engine_does_not_draw_itself_comes_from_the_given_source() {
    /// The same numbers in every run, and none twice.
    #[derive(Debug, Default)]
    struct Counting(std::sync::atomic::AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) -> crate::Result<()> {
            for byte in bytes {
                *byte = self.0.fetch_add(73, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        }
    }
    for curve in Curve::ALL {
        let [first, second] = engines().map(|engine| {
            let key = engine.generate(KeySpec::Ec(curve), None, &Counting::default());
            material::encode(&key.unwrap()).unwrap()
        });
        assert_eq!(first, second, "{curve}");
    }
    let blob = |engine: Arc<dyn Engine>| -> SecretBytes {
        let length = 32.try_into().unwrap();
        let key = engine.generate(KeySpec::Oct(length), None, &Counting::default());
        material::encode(&key.unwrap()).unwrap()
    };
    let [first, second] = engines().map(blob);
    assert_eq!(first, second);
}
