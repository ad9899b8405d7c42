//! A vault is the same on both engines: either opens what the other wrote, and backups and blobs move between them.

use strongroom::backend::software::SoftwareBackend;
use strongroom::backend::testing::check_conformance;
use strongroom::{
    Ciphertext, CreateKeyOptions, CryptoEngine, CryptoOperation, Curve, EncryptOptions,
    EncryptionAlgorithm, KeyName, OctKeySize, PublicKey, RsaKeySize, SignatureAlgorithm, Unlock,
    Vault, VaultOptions,
};

use crate::support::{Place, master_key, name};

const ENGINES: [CryptoEngine; 2] = [CryptoEngine::AwsLc, CryptoEngine::RustCrypto];

#[test]
fn the_backend_does_what_it_claims_and_denies_the_rest() {
    let backend = SoftwareBackend::new().with_engine(CryptoEngine::AwsLc);
    let report = check_conformance(&backend);
    assert_eq!(report.failures(), &[] as &[String]);
    // As on the built-in engine: 13 kinds of key, each with every operation and 4 properties, and the check.
    assert_eq!(
        report.passed(),
        13 * (CryptoOperation::all().count() + 4) + 1
    );
}

fn signers() -> [(&'static str, CreateKeyOptions, SignatureAlgorithm); 7] {
    let rsa = || CreateKeyOptions::rsa(RsaKeySize::Bits2048);
    [
        ("rsa", rsa(), SignatureAlgorithm::Ps256),
        (
            "rsa-other-exponent",
            rsa().public_exponent(65_539),
            SignatureAlgorithm::Rs512,
        ),
        (
            "p256",
            CreateKeyOptions::ec(Curve::P256),
            SignatureAlgorithm::Es256,
        ),
        (
            "p384",
            CreateKeyOptions::ec(Curve::P384),
            SignatureAlgorithm::Es384,
        ),
        (
            "p521",
            CreateKeyOptions::ec(Curve::P521),
            SignatureAlgorithm::Es512,
        ),
        (
            "p256k",
            CreateKeyOptions::ec(Curve::P256K),
            SignatureAlgorithm::Es256K,
        ),
        (
            "mac",
            CreateKeyOptions::oct(OctKeySize::Bits256).operations([
                strongroom::KeyOperation::Sign,
                strongroom::KeyOperation::Verify,
            ]),
            SignatureAlgorithm::Hs256,
        ),
    ]
}

/// What was made with one engine, by key.
struct Made {
    key: KeyName,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
}

fn make(vault: &Vault) -> (Vec<Made>, Vec<u8>) {
    let made = signers().map(|(text, options, algorithm)| {
        let key = name(text);
        vault.create_key(&key, options).unwrap();
        let signed = vault.sign_data(&key, algorithm, b"data").unwrap();
        let signature = signed.signature().to_vec();
        Made {
            key,
            algorithm,
            signature,
        }
    });
    let sealed = vault.encrypt(
        &name("rsa"),
        EncryptionAlgorithm::RsaOaep,
        b"text",
        EncryptOptions::new(),
    );
    (made.into(), sealed.unwrap().ciphertext().to_vec())
}

fn check(vault: &Vault, made: &[Made], sealed: &[u8]) {
    for made in made {
        vault
            .verify_data(&made.key, made.algorithm, b"data", &made.signature)
            .unwrap();
        let signed = vault.sign_data(&made.key, made.algorithm, b"more").unwrap();
        if made.algorithm == SignatureAlgorithm::Hs256 {
            continue;
        }
        let bundle = vault.get_key(&made.key).unwrap();
        let public = PublicKey::from_jwk(bundle.key()).unwrap();
        for engine in ENGINES {
            public
                .with_engine(engine)
                .unwrap()
                .verify_data(made.algorithm, b"more", signed.signature())
                .unwrap();
        }
    }
    let opened = vault.decrypt(
        &name("rsa"),
        EncryptionAlgorithm::RsaOaep,
        Ciphertext::new(sealed),
    );
    assert_eq!(opened.unwrap().expose(), b"text");
}

#[test]
fn a_vault_that_one_engine_wrote_opens_with_the_other() {
    for [first, second] in [ENGINES, [ENGINES[1], ENGINES[0]]] {
        let place = Place::new();
        let master = master_key();
        let unlock = Unlock::raw_key(&master);
        let vault = place
            .options()
            .crypto_engine(first)
            .create(&place.path, unlock)
            .unwrap();
        let (made, sealed) = make(&vault);
        vault.close().unwrap();
        let vault = place
            .options()
            .crypto_engine(second)
            .open(&place.path, unlock)
            .unwrap();
        check(&vault, &made, &sealed);
        assert!(vault.check().unwrap().is_clean());
    }
}

#[test]
fn an_uncached_key_works_as_well() {
    let vault = VaultOptions::new()
        .crypto_engine(CryptoEngine::AwsLc)
        .key_cache(0)
        .create_in_memory()
        .unwrap();
    let (made, sealed) = make(&vault);
    check(&vault, &made, &sealed);
}

#[test]
fn many_threads_share_a_key() {
    let vault = VaultOptions::new()
        .crypto_engine(CryptoEngine::AwsLc)
        .create_in_memory()
        .unwrap();
    let (made, sealed) = make(&vault);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    check(&vault, &made, &sealed);
                }
            });
        }
    });
}
