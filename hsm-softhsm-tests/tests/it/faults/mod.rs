//! Tokens that fail, disappear, lock, are read-only or are changed by others, below a vault: nothing is lost, nothing
//! is destroyed that belongs to somebody, no call hangs, and every error tells what happened.

mod again;
mod attach;
mod away;
mod behind;
mod codes;
mod death;
mod exchanged;
mod fork;
mod kill;
mod pin;
mod read_only;
mod shared;
mod soak;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use hsm_softhsm_tests::proxy::Proxy;
use hsm_softhsm_tests::{SoftHsm, Token};
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{KeyKeeping, Pkcs11Backend, Pkcs11Options};
use strongroom::{
    BackendFinding, BackendFindingKind, CreateKeyOptions, Curve, Error, ErrorKind, KeyName,
    MaintenanceOptions, MasterKey, SignatureAlgorithm, Unlock, Vault, VaultOptions,
};

use crate::backends::own_options;

/// A token behind a proxy, which the backend under test initializes itself, and a place for vaults.
struct Bench {
    proxy: Proxy,
    token: Token,
}

impl Bench {
    fn new() -> Self {
        let proxy = Proxy::new();
        let token = proxy.new_token();
        // What a backend did not initialize it does not restart.
        proxy.softhsm().finalize();
        Self { proxy, token }
    }

    fn options(&self) -> Pkcs11Options {
        own_options(&self.token).session_patience(Duration::from_secs(20))
    }

    fn resident(&self) -> Pkcs11Backend {
        Pkcs11Backend::new(self.options())
    }

    fn wrapped(&self) -> Pkcs11Backend {
        Pkcs11Backend::new(self.options().keeping(KeyKeeping::Wrapped))
    }

    fn path(&self) -> PathBuf {
        place_of(self.token.softhsm())
    }

    /// The one vault of the bench, with resident keys.
    fn vault(&self) -> Vault {
        self.vault_with(self.resident())
    }

    fn vault_with(&self, backend: impl KeyBackend + 'static) -> Vault {
        open(self.path(), backend)
    }
}

/// A directory for a vault beside the tokens of an instance: in memory where they are, and removed with them.
fn place_of(softhsm: &SoftHsm) -> PathBuf {
    softhsm.tokens().with_file_name("vault")
}

fn open(path: PathBuf, backend: impl KeyBackend + 'static) -> Vault {
    try_open(path, backend).unwrap()
}

fn try_open(path: PathBuf, backend: impl KeyBackend + 'static) -> strongroom::Result<Vault> {
    let master = master_key();
    VaultOptions::new()
        .backend(Arc::new(backend))
        .open_or_create(path, Unlock::raw_key(&master))
}

fn master_key() -> MasterKey {
    let bytes: Vec<u8> = (1..=32).collect();
    MasterKey::from_bytes(&bytes).unwrap()
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn signer() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256).hsm()
}

fn sign(vault: &Vault, key: &KeyName) -> strongroom::Result<Vec<u8>> {
    let signed = vault.sign_data(key, SignatureAlgorithm::Es256, b"text")?;
    Ok(signed.into_signature())
}

/// The key signs, and what it signs verifies.
#[track_caller]
fn works(vault: &Vault, key: &KeyName) {
    let signature = sign(vault, key).unwrap();
    verifies(vault, key, &signature);
}

#[track_caller]
fn verifies(vault: &Vault, key: &KeyName, signature: &[u8]) {
    vault
        .verify_data(key, SignatureAlgorithm::Es256, b"text", signature)
        .unwrap();
}

/// The error that a call must give, of this kind and with these words.
#[track_caller]
fn fails<T>(result: strongroom::Result<T>, kind: ErrorKind, words: &str) -> Error {
    match result {
        Ok(_) => panic!("the call succeeded and must not"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            error
        }
    }
}

fn kinds(findings: &[BackendFinding]) -> Vec<BackendFindingKind> {
    findings.iter().map(BackendFinding::kind).collect()
}

/// How many versions the records have, those of deleted keys too.
fn versions(vault: &Vault) -> usize {
    usize::try_from(vault.check().unwrap().versions()).unwrap()
}

/// Nothing waits, nothing is missing or too much, and each key object of the token is confirmed.
#[track_caller]
fn settled(vault: &Vault, token: &Token) {
    assert_eq!(vault.reconcile_backends().unwrap(), []);
    let report = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((report.settled(), report.unsettled()), (0, 0));
    assert_eq!(markers(token), 0);
}

/// The labels of the key objects that the token holds, past any proxy.
fn labels(token: &Token) -> Vec<String> {
    let session = token.session();
    let mut labels = Vec::new();
    for class in [
        ObjectClass::PRIVATE_KEY,
        ObjectClass::SECRET_KEY,
        ObjectClass::PUBLIC_KEY,
    ] {
        let template = [Attribute::Class(class), Attribute::Token(true)];
        for object in session.find_objects(&template).unwrap() {
            let attributes = session
                .get_attributes(object, &[AttributeType::Label])
                .unwrap();
            labels.extend(attributes.into_iter().map(|attribute| match attribute {
                Attribute::Label(label) => String::from_utf8(label).unwrap(),
                other => panic!("{:?} was not asked for", other.attribute_type()),
            }));
        }
    }
    labels
}

/// How many keys of the token are not confirmed.
fn markers(token: &Token) -> usize {
    let session = token.session();
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
    ];
    let objects = session.find_objects(&template).unwrap();
    let labels = objects.into_iter().flat_map(|object| {
        session
            .get_attributes(object, &[AttributeType::Label])
            .unwrap()
    });
    labels
        .filter(|attribute| match attribute {
            Attribute::Label(label) => label.starts_with(b"strongroom/new/"),
            _ => false,
        })
        .count()
}

/// Tries again until it works: after a failed attempt to connect, backends pause.
#[track_caller]
fn eventually<T>(mut attempt: impl FnMut() -> strongroom::Result<T>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if start.elapsed() > Duration::from_secs(60) => panic!("{error}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Does `work`; if that takes longer than `patience`, something hangs, and the process ends.
fn within<T>(patience: Duration, work: impl FnOnce() -> T) -> T {
    let (done, ended) = mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            eprintln!("a call hangs: not done after {patience:?}");
            std::process::abort();
        }
    });
    let value = work();
    drop(done);
    guard.join().unwrap();
    value
}
