//! Wrong input gets the same kind of error from both engines.

use super::*;
use crate::crypto::CryptoResult;
use crate::error::Error;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::material::PublicParts;
use crate::model::spec::{Curve, RsaKeySize};

type Outcome = Result<Vec<u8>, ErrorKind>;

/// Signatures with fresh randomness differ; whether there is one does not.
fn outcome<T>(result: CryptoResult<T>, bytes: impl Fn(T) -> Vec<u8>) -> Outcome {
    result.map(bytes).map_err(|error| Error::from(error).kind())
}

fn alike(label: &str, outcomes: &[Outcome; 2]) {
    assert_eq!(outcomes[0], outcomes[1], "{label}");
}

/// Algorithm and lengths, fitting and not.
#[test]
fn of_private_operations() {
    let specs = [KeySpec::Rsa(RsaKeySize::Bits2048)]
        .into_iter()
        .chain(Curve::ALL.into_iter().map(KeySpec::Ec));
    for spec in specs {
        let material = generate(&*aws_lc(), spec);
        let keys = engines().map(|engine| engine.load(&material).unwrap());
        let (mut outcomes, mut refused) = (0, 0);
        let mut count = |label: &str, both: [Outcome; 2]| {
            alike(label, &both);
            outcomes += 1;
            refused += usize::from(both[0].is_err());
        };
        for length in [0, 1, 20, 31, 32, 33, 48, 64, 65, 190, 245, 246, 256, 300] {
            let bytes = vec![0x41; length];
            for &algorithm in SignatureAlgorithm::ALL {
                let label = format!("{spec} {algorithm} {length}");
                count(
                    &label,
                    keys.each_ref()
                        .map(|key| outcome(key.sign(algorithm, &bytes), |_| Vec::new())),
                );
                count(
                    &label,
                    keys.each_ref().map(|key| {
                        outcome(key.sign_deterministic(algorithm, &bytes), |signature| {
                            signature
                        })
                    }),
                );
                count(
                    &label,
                    keys.each_ref()
                        .map(|key| outcome(key.verify(algorithm, &bytes, &bytes), |()| Vec::new())),
                );
            }
            for &algorithm in EncryptionAlgorithm::ALL {
                for (iv, aad, tag) in [(0, 0, 0), (12, 0, 0), (0, 1, 0), (0, 0, 16)] {
                    let label = format!("{spec} {algorithm} {length} {iv} {aad} {tag}");
                    let (iv, aad, tag) = (vec![1; iv], vec![1; aad], vec![1; tag]);
                    count(
                        &label,
                        keys.each_ref().map(|key| {
                            outcome(key.decrypt(algorithm, &bytes, &iv, &aad, &tag), |text| {
                                text.expose().to_vec()
                            })
                        }),
                    );
                    count(
                        &label,
                        keys.each_ref().map(|key| {
                            outcome(key.encrypt(algorithm, &bytes, &iv, &aad), |made| {
                                made.into_parts().0
                            })
                        }),
                    );
                }
            }
            for &algorithm in WrapAlgorithm::ALL {
                let label = format!("{spec} {algorithm} {length}");
                count(
                    &label,
                    keys.each_ref()
                        .map(|key| outcome(key.wrap_key(algorithm, &bytes), |wrapped| wrapped)),
                );
                count(
                    &label,
                    keys.each_ref().map(|key| {
                        outcome(key.unwrap_key(algorithm, &bytes), |key| {
                            key.expose().to_vec()
                        })
                    }),
                );
            }
        }
        assert!(outcomes > 500 && refused > outcomes / 2 && refused < outcomes);
    }
}

/// 0, 1, n - 1, n, n + 1 and all ones: where raw RSA has fixed points or none.
#[test]
fn of_ciphertexts_and_signatures_at_the_ends_of_the_range() {
    let material = generate(&*aws_lc(), KeySpec::Rsa(RsaKeySize::Bits2048));
    let Some(PublicParts::Rsa { n, .. }) = material.public_parts() else {
        panic!("not an RSA key");
    };
    let keys = engines().map(|engine| engine.load(&material).unwrap());
    let publics = engines().map(|engine| public(&*engine, &material));
    let number = |last: u8| {
        let mut bytes = vec![0; 256];
        bytes[255] = last;
        bytes
    };
    let mut below = n.clone();
    below[255] -= 1;
    let mut above = n.clone();
    above[254] = above[254].wrapping_add(1);
    for bytes in [
        number(0),
        number(1),
        number(2),
        below,
        n,
        above,
        vec![0xff; 256],
    ] {
        for algorithm in [
            EncryptionAlgorithm::RsaOaep,
            EncryptionAlgorithm::RsaOaep256,
            EncryptionAlgorithm::Rsa1_5,
        ] {
            let both = keys.each_ref().map(|key| {
                outcome(key.decrypt(algorithm, &bytes, &[], &[], &[]), |text| {
                    text.expose().to_vec()
                })
            });
            alike(algorithm.as_str(), &both);
            if algorithm != EncryptionAlgorithm::Rsa1_5 {
                assert_eq!(both[0], Err(ErrorKind::DecryptFailed));
            }
        }
        for algorithm in [SignatureAlgorithm::Rs256, SignatureAlgorithm::Ps256] {
            for public in &publics {
                let error = public.verify(algorithm, &[7; 32], &bytes).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidSignature);
            }
        }
    }
}

#[test]
fn of_public_operations() {
    let specs = RsaKeySize::ALL
        .into_iter()
        .map(KeySpec::Rsa)
        .chain(Curve::ALL.into_iter().map(KeySpec::Ec));
    for spec in specs {
        let material = generate(&*aws_lc(), spec);
        let publics = engines().map(|engine| public(&*engine, &material));
        for length in [
            0, 1, 31, 32, 48, 64, 96, 132, 190, 245, 256, 384, 446, 470, 501, 512,
        ] {
            let bytes = vec![0x41; length];
            for &algorithm in SignatureAlgorithm::ALL {
                let label = format!("{spec} {algorithm} {length}");
                for digest in [32, 48, 64, 400] {
                    let digest = vec![1; digest];
                    let [first, second] = publics
                        .each_ref()
                        .map(|key| key.verify(algorithm, &digest, &bytes).unwrap_err().kind());
                    assert_eq!(first, second, "{label}");
                }
            }
            for &algorithm in EncryptionAlgorithm::ALL {
                let [first, second] = publics.each_ref().map(|key| {
                    key.encrypt(algorithm, &bytes)
                        .map(|ciphertext| ciphertext.len())
                        .map_err(|error| (error.kind(), error.to_string()))
                });
                assert_eq!(first, second, "{spec} {algorithm} {length}");
            }
        }
    }
}
