//! Which key does which algorithm: the library's table against a second one, written down from the
//! documentation of the service, for every kind of key and every operation with every algorithm; and the
//! vault against both.

use strongroom::{
    AlgorithmRules, Ciphertext, CryptoOperation, Curve, EncryptOptions, ErrorKind, KeyName,
    KeyOperation, KeyOperations, KeySpec, OctKeyLength, RsaKeySize, SignatureAlgorithm, Vault,
};

use super::SIX;
use crate::make;
use crate::support::{fixed_oct, fixed_rsa, memory_vault, name, refused};

const RSA_ENCRYPTION: &[&str] = &["RSA-OAEP", "RSA-OAEP-256", "RSA1_5"];
const RSA_SIGNATURE: &[&str] = &[
    "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "RSNULL",
];
const HMAC: &[&str] = &["HS256", "HS384", "HS512"];

/// The names of the algorithms of one operation of one kind of key.
fn documented(spec: KeySpec, operation: KeyOperation) -> &'static [&'static str] {
    use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
    match (spec, operation) {
        (KeySpec::Rsa(_), Encrypt | Decrypt | WrapKey | UnwrapKey) => RSA_ENCRYPTION,
        (KeySpec::Rsa(_), Sign | Verify) => RSA_SIGNATURE,
        (KeySpec::Ec(curve), Sign | Verify) => match curve.as_str() {
            "P-256" => &["ES256"],
            "P-384" => &["ES384"],
            "P-521" => &["ES512"],
            "P-256K" => &["ES256K"],
            other => panic!("unknown curve {other}"),
        },
        (KeySpec::Oct(length), Encrypt | Decrypt) => match length.bits() {
            128 => &["A128GCM", "A128CBC", "A128CBCPAD"],
            192 => &["A192GCM", "A192CBC", "A192CBCPAD"],
            256 => &["A256GCM", "A256CBC", "A256CBCPAD"],
            _ => &[],
        },
        (KeySpec::Oct(length), WrapKey | UnwrapKey) => match length.bits() {
            128 => &[
                "A128KW",
                "A128KWPAD",
                "CKM_AES_KEY_WRAP",
                "CKM_AES_KEY_WRAP_PAD",
            ],
            192 => &[
                "A192KW",
                "A192KWPAD",
                "CKM_AES_KEY_WRAP",
                "CKM_AES_KEY_WRAP_PAD",
            ],
            256 => &[
                "A256KW",
                "A256KWPAD",
                "CKM_AES_KEY_WRAP",
                "CKM_AES_KEY_WRAP_PAD",
            ],
            _ => &[],
        },
        (KeySpec::Oct(_), Sign | Verify) => HMAC,
        _ => &[],
    }
}

fn every_spec() -> Vec<KeySpec> {
    let rsa = RsaKeySize::ALL.map(KeySpec::Rsa);
    let ec = Curve::ALL.map(KeySpec::Ec);
    let oct = (16..=64).map(|bytes| KeySpec::Oct(OctKeyLength::try_from(bytes).unwrap()));
    rsa.into_iter().chain(ec).chain(oct).collect()
}

#[test]
fn the_table_is_the_documented_one() {
    let mut pairs = 0;
    let mut fitting = 0;
    for spec in every_spec() {
        for operation in CryptoOperation::all() {
            let listed = documented(spec, operation.operation()).contains(&operation.algorithm());
            assert_eq!(operation.fits(spec), listed, "{spec}, {operation}");
            pairs += 1;
            fitting += usize::from(listed);
        }
    }
    assert_eq!(pairs, 56 * 2 * (12 + 14 + 11));
    // 3 RSA sizes, 4 curves, 49 lengths with HMAC, 3 of them AES.
    assert_eq!(fitting, 3 * 2 * 13 + 4 * 2 + 49 * 2 * 3 + 3 * 2 * 7);
}

#[test]
fn every_algorithm_of_the_service_is_there() {
    let mut names: Vec<&str> = CryptoOperation::all()
        .map(CryptoOperation::algorithm)
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut documented = vec![
        "RSA-OAEP",
        "RSA-OAEP-256",
        "RSA1_5",
        "A128GCM",
        "A192GCM",
        "A256GCM",
        "A128KW",
        "A192KW",
        "A256KW",
        "A128CBC",
        "A192CBC",
        "A256CBC",
        "A128CBCPAD",
        "A192CBCPAD",
        "A256CBCPAD",
        "CKM_AES_KEY_WRAP",
        "CKM_AES_KEY_WRAP_PAD",
        "A128KWPAD",
        "A192KWPAD",
        "A256KWPAD",
        "PS256",
        "PS384",
        "PS512",
        "RS256",
        "RS384",
        "RS512",
        "RSNULL",
        "ES256",
        "ES384",
        "ES512",
        "ES256K",
        "HS256",
        "HS384",
        "HS512",
    ];
    documented.sort_unstable();
    assert_eq!(names, documented);
}

/// Does an operation with input that is right for the algorithm in form, though not in contents.
fn attempt(vault: &Vault, key: &KeyName, operation: CryptoOperation) -> Option<ErrorKind> {
    let digest_length = |algorithm: SignatureAlgorithm| match algorithm.as_str() {
        name if name.ends_with("384") => 48,
        name if name.ends_with("512") => 64,
        _ => 32,
    };
    let outcome = match operation {
        CryptoOperation::Encrypt(algorithm) => vault
            .encrypt(key, algorithm, &[1; 16], EncryptOptions::new())
            .map(drop),
        CryptoOperation::Decrypt(algorithm) => {
            let text = algorithm.as_str();
            let mut ciphertext = Ciphertext::new(&[1; 16]);
            if text.ends_with("GCM") {
                ciphertext = ciphertext.iv(&[1; 12]).tag(&[1; 16]);
            } else if text.contains("CBC") {
                ciphertext = ciphertext.iv(&[1; 16]);
            }
            vault.decrypt(key, algorithm, ciphertext).map(drop)
        }
        CryptoOperation::Sign(algorithm) => vault
            .sign(key, algorithm, &vec![1; digest_length(algorithm)])
            .map(drop),
        CryptoOperation::Verify(algorithm) => {
            vault.verify(key, algorithm, &vec![1; digest_length(algorithm)], &[1; 64])
        }
        CryptoOperation::WrapKey(algorithm) => vault.wrap_key(key, algorithm, &[1; 16]).map(drop),
        CryptoOperation::UnwrapKey(algorithm) => {
            vault.unwrap_key(key, algorithm, &[1; 24]).map(drop)
        }
    };
    outcome.err().map(|error| error.kind())
}

#[test]
fn the_vault_refuses_exactly_what_does_not_fit() {
    let (vault, _clock) = memory_vault();
    vault
        .set_algorithm_rules(AlgorithmRules::default().permit("RSNULL").unwrap())
        .unwrap();
    let mut keys = Vec::new();
    for size in RsaKeySize::ALL {
        let key = name(&format!("rsa-{}", size.bits()));
        vault
            .import_key(&key, make::import(fixed_rsa(size)))
            .unwrap();
        keys.push((key, KeySpec::Rsa(size)));
    }
    for curve in Curve::ALL {
        let key = name(&format!("ec-{curve}"));
        vault.create_key(&key, make::ec(curve)).unwrap();
        keys.push((key, KeySpec::Ec(curve)));
    }
    for length in 16..=64 {
        let key = name(&format!("oct-{length}"));
        let spec = KeySpec::Oct(OctKeyLength::try_from(length).unwrap());
        let operations: KeyOperations = spec
            .possible_operations()
            .iter()
            .filter(|operation| SIX.contains(operation))
            .collect();
        vault
            .import_key(&key, make::import(fixed_oct(length)).operations(operations))
            .unwrap();
        keys.push((key, spec));
    }
    for (key, spec) in &keys {
        for operation in CryptoOperation::all() {
            let listed = documented(*spec, operation.operation()).contains(&operation.algorithm());
            let outcome = attempt(&vault, key, operation);
            if listed {
                let legal = match operation {
                    CryptoOperation::Decrypt(_) | CryptoOperation::UnwrapKey(_) => [
                        None,
                        Some(ErrorKind::DecryptFailed),
                        Some(ErrorKind::BadParameter),
                    ]
                    .contains(&outcome),
                    CryptoOperation::Verify(_) => outcome == Some(ErrorKind::InvalidSignature),
                    _ => outcome.is_none(),
                };
                assert!(legal, "{spec}, {operation}: {outcome:?}");
            } else {
                assert_eq!(
                    outcome,
                    Some(ErrorKind::AlgorithmMismatch),
                    "{spec}, {operation}"
                );
            }
        }
    }
}

#[test]
fn default_and_possible_key_ops_are_the_documented_ones() {
    for spec in every_spec() {
        let mut possible: Vec<KeyOperation> = SIX
            .into_iter()
            .filter(|operation| !documented(spec, *operation).is_empty())
            .collect();
        let default: Vec<KeyOperation> = spec.default_operations().iter().collect();
        let expected_default: &[&str] = match spec {
            KeySpec::Rsa(_) => &[
                "encrypt",
                "decrypt",
                "sign",
                "verify",
                "wrapKey",
                "unwrapKey",
            ],
            KeySpec::Ec(_) => &["sign", "verify"],
            KeySpec::Oct(length) if [16, 24, 32].contains(&length.bytes()) => {
                &["encrypt", "decrypt", "wrapKey", "unwrapKey"]
            }
            KeySpec::Oct(_) => &["sign", "verify"],
        };
        let names: Vec<&str> = default.iter().map(|operation| operation.as_str()).collect();
        assert_eq!(names, expected_default, "{spec}");
        if matches!(spec, KeySpec::Rsa(_)) {
            possible.push(KeyOperation::Import);
        }
        possible.push(KeyOperation::Export);
        let all: Vec<KeyOperation> = spec.possible_operations().iter().collect();
        assert_eq!(all, possible, "{spec}");
    }
}

#[test]
fn refused_algorithms_are_refused_for_every_operation_and_permitted_again() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    vault
        .import_key(&key, make::import(fixed_rsa(RsaKeySize::Bits2048)))
        .unwrap();
    let sign_anything = || vault.sign(&key, SignatureAlgorithm::RsNull, b"anything");
    assert_eq!(
        refused(sign_anything()),
        ErrorKind::AlgorithmRefused,
        "RSNULL is off in a new vault"
    );
    vault
        .set_algorithm_rules(AlgorithmRules::default().permit("RSNULL").unwrap())
        .unwrap();
    let signed = sign_anything().unwrap();
    vault
        .verify(
            &key,
            SignatureAlgorithm::RsNull,
            b"anything",
            signed.signature(),
        )
        .unwrap();
    for algorithm in ["RSA1_5", "PS256"] {
        let rules = AlgorithmRules::default().refuse(algorithm).unwrap();
        vault.set_algorithm_rules(rules).unwrap();
        assert_eq!(vault.algorithm_rules(), rules);
        for operation in CryptoOperation::all() {
            if !operation.fits(KeySpec::Rsa(RsaKeySize::Bits2048)) {
                continue;
            }
            let banned = [algorithm, "RSNULL"].contains(&operation.algorithm());
            let outcome = attempt(&vault, &key, operation);
            assert_eq!(
                outcome == Some(ErrorKind::AlgorithmRefused),
                banned,
                "{operation} with {algorithm} refused"
            );
        }
    }
    assert_eq!(
        refused(AlgorithmRules::default().refuse("rsa1_5")),
        ErrorKind::BadParameter,
        "names are compared with case"
    );
}
