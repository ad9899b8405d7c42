//! Tokens that lack mechanisms: what the library makes up for shows as a fallback and works, and the rest is
//! unsupported before anything is made. With fallbacks forbidden, they are unsupported, too.

use std::sync::Arc;

use hsm_softhsm_tests::{Configuration, SoftHsm, Token, TokenUnderTest};
use strongroom::backend::pkcs11::Pkcs11Backend;
use strongroom::backend::testing::check_conformance;
use strongroom::backend::{Capabilities, KeyBackend, Support};
use strongroom::{
    CreateKeyOptions, CryptoOperation, Curve, EncryptOptions, EncryptionAlgorithm, Error,
    ErrorKind, ImportKeyOptions, KeyOperation, KeySpec, OctKeyLength, OctKeySize, RsaKeySize,
    SignatureAlgorithm, Vault, VaultOptions, WrapAlgorithm,
};

use crate::backends::{options, own_options};
use crate::support::{fixed_oct, fixed_rsa, name, refused};

const OAEP: &str = "CKM_RSA_PKCS_OAEP";
const PSS: &str = "CKM_RSA_PKCS_PSS";
const RAW: &str = "CKM_RSA_X_509";
const PKCS1: &str = "CKM_RSA_PKCS";
const GCM: &str = "CKM_AES_GCM";
const KEY_WRAP: &str = "CKM_AES_KEY_WRAP";
const KEY_WRAP_PAD: &str = "CKM_AES_KEY_WRAP_PAD";
const ECB: &str = "CKM_AES_ECB";

const ALL_PSS: [&str; 3] = ["PS256", "PS384", "PS512"];
const ALL_PKCS1: [&str; 4] = ["RS256", "RS384", "RS512", "RSNULL"];
const ALL_GCM: [&str; 3] = ["A128GCM", "A192GCM", "A256GCM"];
const ALL_KW: [&str; 4] = ["A128KW", "A192KW", "A256KW", "CKM_AES_KEY_WRAP"];
const ALL_KWP: [&str; 4] = [
    "A128KWPAD",
    "A192KWPAD",
    "A256KWPAD",
    "CKM_AES_KEY_WRAP_PAD",
];

const BY_RAW_SIGNING: Support = Support::Fallback("padded by the library, signed by CKM_RSA_X_509");
const BY_RAW_OPENING: Support =
    Support::Fallback("opened by CKM_RSA_X_509, unpadded by the library");
const BY_BLOCKS: Support = Support::Fallback("by the library over CKM_AES_ECB");

/// What becomes of the private operations of these algorithms.
type Change<'a> = (&'a [&'a str], Support);

fn token_without(mechanisms: &[&str]) -> Token {
    SoftHsm::copy(&Configuration::new().without(mechanisms)).new_token()
}

fn backend(token: &Token) -> Pkcs11Backend {
    let backend = Pkcs11Backend::new(own_options(token));
    backend.check().unwrap();
    backend
}

fn strict_backend(token: &Token) -> Pkcs11Backend {
    let backend = Pkcs11Backend::new(own_options(token).forbid_fallbacks());
    backend.check().unwrap();
    backend
}

fn specs() -> Vec<KeySpec> {
    let rsa = RsaKeySize::ALL.into_iter().map(KeySpec::Rsa);
    let ec = Curve::ALL.into_iter().map(KeySpec::Ec);
    let oct = (OctKeyLength::MIN_BYTES..=OctKeyLength::MAX_BYTES)
        .map(|bytes| KeySpec::Oct(OctKeyLength::try_from(bytes).unwrap()));
    rsa.chain(ec).chain(oct).collect()
}

/// Encrypting, wrapping and verifying with a public key needs no token.
fn is_public(spec: KeySpec, operation: CryptoOperation) -> bool {
    !matches!(spec, KeySpec::Oct(_))
        && matches!(
            operation,
            CryptoOperation::Encrypt(_) | CryptoOperation::WrapKey(_) | CryptoOperation::Verify(_)
        )
}

/// Compares every kind of key with every operation; gives how many were compared.
fn compare(
    found: &Capabilities,
    expected: impl Fn(KeySpec, CryptoOperation) -> Support,
    what: &str,
) -> usize {
    let mut compared = 0;
    for spec in specs() {
        for operation in CryptoOperation::all().filter(|operation| operation.fits(spec)) {
            assert_eq!(
                found.support(spec, operation),
                expected(spec, operation),
                "{what}: {operation} with {spec}"
            );
            compared += 1;
        }
    }
    compared
}

/// A token without these mechanisms differs from a complete one by the changes and by nothing else; it conforms;
/// and what it does not do alone is gone when fallbacks are forbidden.
fn lacks(mechanisms: &[&str], changes: &[Change<'_>]) {
    let complete = Token::new();
    let complete = backend(&complete).capabilities();
    let token = token_without(mechanisms);
    let backend = backend(&token);
    let capabilities = backend.capabilities();
    let expected = |spec: KeySpec, operation: CryptoOperation| {
        let changed = changes
            .iter()
            .find(|(algorithms, _)| algorithms.contains(&operation.algorithm()));
        match changed {
            Some((_, support)) if !is_public(spec, operation) => *support,
            _ => complete.support(spec, operation),
        }
    };
    assert!(compare(&capabilities, expected, "with fallbacks") > 300);
    let report = check_conformance(&backend);
    assert_eq!(report.failures(), &[] as &[String]);

    let strict = strict_backend(&token);
    compare(
        &strict.capabilities(),
        |spec, operation| match expected(spec, operation) {
            Support::Native => Support::Native,
            _ => Support::Unsupported,
        },
        "without fallbacks",
    );
}

#[test]
fn without_oaep_the_library_unpads() {
    lacks(&[OAEP], &[(&["RSA-OAEP", "RSA-OAEP-256"], BY_RAW_OPENING)]);
}

#[test]
fn without_pss_the_library_pads() {
    lacks(&[PSS], &[(&ALL_PSS, BY_RAW_SIGNING)]);
}

#[test]
fn without_pkcs1_the_library_pads() {
    lacks(&[PKCS1], &[(&ALL_PKCS1, BY_RAW_SIGNING)]);
}

#[test]
fn without_gcm_there_is_no_gcm() {
    lacks(&[GCM], &[(&ALL_GCM, Support::Unsupported)]);
}

#[test]
fn without_key_wrap_the_library_wraps_block_by_block() {
    lacks(&[KEY_WRAP], &[(&ALL_KW, BY_BLOCKS)]);
}

#[test]
fn without_raw_rsa_what_needs_it_is_gone() {
    lacks(
        &[RAW, OAEP, PSS],
        &[
            (&ALL_PSS, Support::Unsupported),
            (
                &["RSA-OAEP", "RSA-OAEP-256", "RSA1_5"],
                Support::Unsupported,
            ),
        ],
    );
}

#[test]
fn without_several_each_has_its_own_way() {
    lacks(
        &[OAEP, PSS, GCM, KEY_WRAP],
        &[
            (&["RSA-OAEP", "RSA-OAEP-256"], BY_RAW_OPENING),
            (&ALL_PSS, BY_RAW_SIGNING),
            (&ALL_GCM, Support::Unsupported),
            (&ALL_KW, BY_BLOCKS),
        ],
    );
}

#[test]
fn without_blocks_no_key_wrap_is_left() {
    lacks(
        &[KEY_WRAP, KEY_WRAP_PAD, ECB],
        &[
            (&ALL_KW, Support::Unsupported),
            (&ALL_KWP, Support::Unsupported),
        ],
    );
}

#[test]
fn a_backend_without_fallbacks_conforms() {
    let token = TokenUnderTest::get();
    let whole = Pkcs11Backend::new(options(&token).forbid_fallbacks());
    whole.check().unwrap();
    let token = token_without(&[OAEP, PSS, GCM, KEY_WRAP]);
    for backend in [whole, strict_backend(&token)] {
        let report = check_conformance(&backend);
        assert_eq!(report.failures(), &[] as &[String]);
    }
}

fn vault(backend: Pkcs11Backend) -> Vault {
    VaultOptions::new()
        .backend(Arc::new(backend))
        .create_in_memory()
        .unwrap()
}

/// Refused as unsupported, with a sentence that names what is not done.
#[track_caller]
fn unsupported<T>(outcome: strongroom::Result<T>, what: &str) {
    let error: Error = match outcome {
        Ok(_) => panic!("{what} succeeded"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains(what), "{error}");
}

#[test]
fn a_key_refuses_what_its_token_cannot_do_and_does_the_rest() {
    let token = token_without(&[RAW, OAEP, PSS, GCM]);
    let vault = vault(backend(&token));
    let (rsa, oct) = (name("rsa"), name("oct"));
    let import = ImportKeyOptions::new(fixed_rsa(RsaKeySize::Bits2048)).hsm();
    vault.import_key(&rsa, import).unwrap();
    vault
        .create_key(&oct, CreateKeyOptions::oct(OctKeySize::Bits256).hsm())
        .unwrap();
    let digest = [7; 32];
    unsupported(
        vault.sign(&rsa, SignatureAlgorithm::Ps256, &digest),
        "PS256",
    );
    let signed = vault.sign(&rsa, SignatureAlgorithm::Rs256, &digest);
    vault
        .verify(
            &rsa,
            SignatureAlgorithm::Rs256,
            &digest,
            signed.unwrap().signature(),
        )
        .unwrap();
    for algorithm in [
        EncryptionAlgorithm::RsaOaep,
        EncryptionAlgorithm::RsaOaep256,
        EncryptionAlgorithm::Rsa1_5,
    ] {
        let made = vault
            .encrypt(&rsa, algorithm, b"text", EncryptOptions::new())
            .unwrap();
        unsupported(
            vault.decrypt(&rsa, algorithm, (&made).into()),
            algorithm.as_str(),
        );
    }
    let gcm = EncryptionAlgorithm::A256Gcm;
    unsupported(
        vault.encrypt(&oct, gcm, b"text", EncryptOptions::new()),
        "A256GCM",
    );
    let made = vault
        .encrypt(
            &oct,
            EncryptionAlgorithm::A256CbcPad,
            b"text",
            EncryptOptions::new(),
        )
        .unwrap();
    let opened = vault.decrypt(&oct, EncryptionAlgorithm::A256CbcPad, (&made).into());
    assert_eq!(opened.unwrap().expose(), b"text");
}

#[test]
fn key_wrap_is_refused_when_fallbacks_are_forbidden() {
    let token = Token::new();
    let vault = vault(strict_backend(&token));
    let key = name("k");
    vault
        .create_key(&key, CreateKeyOptions::oct(OctKeySize::Bits128).hsm())
        .unwrap();
    for algorithm in ["A128KW", "A128KWPAD", "CKM_AES_KEY_WRAP"] {
        let wrap: WrapAlgorithm = algorithm.parse().unwrap();
        unsupported(vault.wrap_key(&key, wrap, &[1; 16]), algorithm);
        unsupported(vault.unwrap_key(&key, wrap, &[1; 24]), algorithm);
    }
}

#[test]
fn keys_that_a_token_cannot_have_are_refused_and_leave_nothing() {
    let token = token_without(&[
        "CKM_EC_KEY_PAIR_GEN",
        "CKM_ECDSA",
        "CKM_RSA_PKCS_KEY_PAIR_GEN",
        "CKM_AES_KEY_GEN",
        "CKM_SHA256_HMAC",
        "CKM_SHA384_HMAC",
        "CKM_SHA512_HMAC",
    ]);
    let vault = vault(backend(&token));
    let key = name("k");
    let create = |options: CreateKeyOptions| vault.create_key(&key, options.hsm());
    unsupported(create(CreateKeyOptions::ec(Curve::P256)), "EC P-256");
    unsupported(
        create(CreateKeyOptions::rsa(RsaKeySize::Bits3072)),
        "RSA 3072",
    );
    unsupported(
        create(CreateKeyOptions::oct(OctKeySize::Bits256)),
        "oct 256",
    );
    let mac = ImportKeyOptions::new(fixed_oct(40)).hsm();
    unsupported(vault.import_key(&key, mac), "oct 320");
    assert_eq!(refused(vault.get_key(&key)), ErrorKind::KeyNotFound);
    assert_eq!(vault.status().unwrap().record_count(), 0);
    assert_eq!(token.object_files(), 0);
    // What is only generated elsewhere comes in.
    let aes = ImportKeyOptions::new(fixed_oct(32)).hsm();
    vault
        .import_key(&key, aes.operations([KeyOperation::WrapKey]))
        .unwrap();
    vault
        .wrap_key(&key, WrapAlgorithm::A256Kw, &[1; 16])
        .unwrap();
}
