//! What the vault and its backend cost on top of the bare calls of the token.
//!
//! `cargo bench -p hsm-softhsm-tests` measures operations with keys in a SoftHSM2 token on open sessions and known
//! handles: through the vault, and as the same sequence of cryptoki's calls with the same objects. For AES-GCM both
//! draw a fresh IV from the system each time, as nobody may do without. Then it fills a token with 10,000 keys
//! by copying their files and measures again, and lets a vault with as many wrapped keys use them all.

#[path = "../../benches/pairs/mod.rs"]
mod pairs;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use criterion::Criterion;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use hsm_softhsm_tests::Token;
use pairs::{Pair, print_ratios};
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{
    KeyKeeping, PinSource, Pkcs11Backend, Pkcs11Options, TokenSelector,
};
use strongroom::{
    CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, Entropy, KeyName, KeyOperation,
    OctKeySize, OsEntropy, Pin, RsaKeySize, SignatureAlgorithm, Vault, VaultOptions, WrapAlgorithm,
};

const DIGEST: [u8; 32] = [0x5a; 32];
const TEXT: [u8; 1_024] = [0x33; 1_024];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test" || argument == "--list");
    let mut criterion = Criterion::default().configure_from_args();
    let token = Token::alone();
    let session = login(&token);
    let resident = vault(&token, KeyKeeping::Resident);
    let wrapped = vault(&token, KeyKeeping::Wrapped);
    let mut all = Vec::new();
    operations(&resident.0, &session, "resident", &mut all);
    operations(&wrapped.0, &session, "wrapped", &mut all);
    for pair in &mut all {
        pair.bench(&mut criterion);
    }
    if !quick {
        print_ratios(&mut all);
    }
    drop(all);
    let many = if quick { 100 } else { 10_000 };
    ten_thousand_wrapped(&wrapped, many);
    ten_thousand_resident(many);
    criterion.final_summary();
}

fn vault(token: &Token, keeping: KeyKeeping) -> (Vault, Arc<Pkcs11Backend>) {
    let selector = TokenSelector::Serial(token.serial().to_owned());
    let pin = PinSource::value(Pin::new(token.user_pin()).expect("a PIN"));
    let options = Pkcs11Options::new(token.module(), selector, pin).keeping(keeping);
    let backend = Arc::new(Pkcs11Backend::new(options));
    let vault = VaultOptions::new()
        .backend(Arc::clone(&backend) as _)
        .create_in_memory()
        .expect("a vault");
    (vault, backend)
}

fn login(token: &Token) -> Session {
    let session = token
        .pkcs11()
        .open_rw_session(token.slot())
        .expect("a session");
    let pin = AuthPin::new(token.user_pin().into());
    // The vault may be logged in already, which counts for all sessions.
    let _ = session.login(UserType::User, Some(&pin));
    session
}

fn name(text: &str) -> KeyName {
    text.parse().expect("a legal name")
}

fn operations<'a>(
    vault: &'a Vault,
    session: &'a Session,
    how: &'static str,
    pairs: &mut Vec<Pair<'a>>,
) {
    let resident = how == "resident";
    let label = |operation: &str| -> &'static str { format!("{operation}_{how}").leak() };

    let ec = name("ec");
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let bare = object_of(session, resident, &private, || {
        let options = CreateKeyOptions::ec(Curve::P256).hsm();
        vault.create_key(&ec, options).expect("a key");
        let signed = vault.sign(&ec, SignatureAlgorithm::Es256, &DIGEST);
        drop(signed.expect("a signature"));
    });
    pairs.push(Pair::new(
        label("sign_es256"),
        move || {
            let signed = vault.sign(&ec, SignatureAlgorithm::Es256, &DIGEST);
            drop(black_box(signed.expect("a signature")));
        },
        move || {
            let signed = session.sign(&Mechanism::Ecdsa, bare, &DIGEST);
            drop(black_box(signed.expect("a signature")));
        },
    ));

    let rsa = name("rsa");
    let bare = object_of(session, resident, &private, || {
        let options = CreateKeyOptions::rsa(RsaKeySize::Bits2048).hsm();
        vault.create_key(&rsa, options).expect("a key");
        let signed = vault.sign(&rsa, SignatureAlgorithm::Rs256, &DIGEST);
        drop(signed.expect("a signature"));
    });
    let info = [&DIGEST_INFO[..], &DIGEST].concat();
    pairs.push(Pair::new(
        label("sign_rs256_2048"),
        move || {
            let signed = vault.sign(&rsa, SignatureAlgorithm::Rs256, &DIGEST);
            drop(black_box(signed.expect("a signature")));
        },
        move || {
            let signed = session.sign(&Mechanism::RsaPkcs, bare, &info);
            drop(black_box(signed.expect("a signature")));
        },
    ));

    let aes = name("aes");
    let all = [
        KeyOperation::Encrypt,
        KeyOperation::Decrypt,
        KeyOperation::WrapKey,
        KeyOperation::UnwrapKey,
    ];
    let secret = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
    ];
    let gcm = EncryptionAlgorithm::A256Gcm;
    let bare = object_of(session, resident, &secret, || {
        let options = CreateKeyOptions::oct(OctKeySize::Bits256)
            .operations(all)
            .hsm();
        vault.create_key(&aes, options).expect("a key");
        let sealed = vault.encrypt(&aes, gcm, &TEXT, EncryptOptions::new());
        drop(sealed.expect("a ciphertext"));
    });
    let by_name = aes.clone();
    pairs.push(Pair::new(
        label("encrypt_a256gcm_1k"),
        move || {
            let sealed = vault.encrypt(&by_name, gcm, &TEXT, EncryptOptions::new());
            drop(black_box(sealed.expect("a ciphertext")));
        },
        move || {
            let mut iv = [0; 12];
            OsEntropy::default().fill(&mut iv).expect("random bytes");
            let parameters = GcmParams::new(&mut iv, &[], 128.into()).expect("parameters");
            let sealed = session.encrypt(&Mechanism::AesGcm(parameters), bare, &TEXT);
            drop(black_box(sealed.expect("a ciphertext")));
        },
    ));
    pairs.push(Pair::new(
        label("wrap_a256kw"),
        move || {
            let wrapped = vault.wrap_key(&aes, WrapAlgorithm::A256Kw, &DIGEST);
            drop(black_box(wrapped.expect("a wrapped key")));
        },
        move || {
            let object = session
                .create_object(&[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::GENERIC_SECRET),
                    Attribute::Token(false),
                    Attribute::Private(true),
                    Attribute::Sensitive(false),
                    Attribute::Extractable(true),
                    Attribute::Value(DIGEST.to_vec()),
                ])
                .expect("an object");
            let wrapped = session.wrap_key(&Mechanism::AesKeyWrap, bare, object);
            drop(black_box(wrapped.expect("a wrapped key")));
            session.destroy_object(object).expect("the object goes");
        },
    ));

    let mac = name("mac");
    let secret = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
    ];
    let bare = object_of(session, resident, &secret, || {
        let options = CreateKeyOptions::oct(OctKeySize::Bits256)
            .operations([KeyOperation::Sign, KeyOperation::Verify])
            .hsm();
        vault.create_key(&mac, options).expect("a key");
        let signed = vault.sign(&mac, SignatureAlgorithm::Hs256, &DIGEST);
        drop(signed.expect("a MAC"));
    });
    pairs.push(Pair::new(
        label("sign_hs256"),
        move || {
            let signed = vault.sign(&mac, SignatureAlgorithm::Hs256, &DIGEST);
            drop(black_box(signed.expect("a MAC")));
        },
        move || {
            let signed = session.sign(&Mechanism::Sha256Hmac, bare, &DIGEST);
            drop(black_box(signed.expect("a MAC")));
        },
    ));
}

/// The object of the key that `make` creates and uses. It is told apart as the one that was not there before.
fn object_of(
    session: &Session,
    resident: bool,
    kind: &[Attribute],
    make: impl FnOnce(),
) -> ObjectHandle {
    let template = [kind, &[Attribute::Token(resident)]].concat();
    let find = || session.find_objects(&template).expect("a search");
    let before = find();
    make();
    let new: Vec<_> = find()
        .into_iter()
        .filter(|object| !before.contains(object))
        .collect();
    assert_eq!(new.len(), 1, "one new object");
    new[0]
}

/// DigestInfo of SHA-256, RFC 8017 section 9.2, before the digest.
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// Creating and using so many wrapped keys that their objects have to be given up all the time.
fn ten_thousand_wrapped(vault: &(Vault, Arc<Pkcs11Backend>), many: usize) {
    let (vault, backend) = vault;
    let key = |number: usize| name(&format!("wrapped-{number}"));
    let before = resident_kib();
    let start = Instant::now();
    for number in 0..many {
        let options = CreateKeyOptions::ec(Curve::P256).hsm();
        vault.create_key(&key(number), options).expect("a key");
    }
    let created = start.elapsed();
    let filled = resident_kib();
    let start = Instant::now();
    for number in 0..many {
        let signed = vault.sign(&key(number), SignatureAlgorithm::Es256, &DIGEST);
        drop(signed.expect("a signature"));
    }
    let used = start.elapsed();
    println!(
        "\n{many} wrapped keys: created in {:.0} us each, each signed once in {:.0} us, {} unwrapped at the end; \
         resident memory {before} KiB before, {filled} KiB with the keys, {} KiB after using all",
        created.as_secs_f64() * 1e6 / many as f64,
        used.as_secs_f64() * 1e6 / many as f64,
        backend.unwrapped_keys(),
        resident_kib(),
    );
}

/// A token with many more keys, made by copying the files of one. A second instance of the module finds them.
fn ten_thousand_resident(many: usize) {
    let token = Token::alone();
    let (created_among_few, few) = create_and_sign(token.module(), &token);
    copy_object_files(token.directory(), many);
    let instance = token.softhsm().second_instance();
    let (created_among_many, with_many) = create_and_sign(instance.module(), &token);
    println!(
        "\nES256 with a resident key: {few:.0} us with few objects in the token, {with_many:.0} us with {many} more; creating a \
         key took {created_among_few:.0} ms and {created_among_many:.0} ms"
    );
}

/// Milliseconds for making a key, and microseconds for each signature.
fn create_and_sign(module: &Path, token: &Token) -> (f64, f64) {
    let selector = TokenSelector::Serial(token.serial().to_owned());
    let pin = PinSource::value(Pin::new(token.user_pin()).expect("a PIN"));
    let backend = Pkcs11Backend::new(Pkcs11Options::new(module, selector, pin));
    KeyBackend::check(&backend).expect("the token answers");
    let vault = VaultOptions::new()
        .backend(Arc::new(backend))
        .create_in_memory()
        .expect("a vault");
    let key = name("timed");
    let start = Instant::now();
    let options = CreateKeyOptions::ec(Curve::P256).hsm();
    vault.create_key(&key, options).expect("a key");
    let created = start.elapsed().as_secs_f64() * 1e3;
    let times = 2_000;
    let start = Instant::now();
    for _ in 0..times {
        let signed = vault.sign(&key, SignatureAlgorithm::Es256, &DIGEST);
        drop(signed.expect("a signature"));
    }
    (
        created,
        start.elapsed().as_secs_f64() * 1e6 / f64::from(times),
    )
}

fn copy_object_files(directory: &Path, many: usize) {
    let source = fs::read_dir(directory)
        .expect("the token's directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".object") && name != "token.object"
        })
        .expect("an object");
    let bytes = fs::read(&source).expect("the object");
    for number in 0..many {
        let name = format!("00000000-0000-0000-0000-{number:012x}.object");
        fs::write(directory.join(name), &bytes).expect("a copy");
    }
}

/// VmRSS.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
