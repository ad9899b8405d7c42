//! What several tests share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::{
    Clock, ErrorKind, ImportedKey, KeyName, MasterKey, RsaKeySize, SecretBytes, Timestamp, Unlock,
    Vault, VaultOptions,
};

use crate::make::Home;

/// A moment in 2026, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_780_000_000_000;

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct FakeClock {
    now_ms: AtomicU64,
}

impl FakeClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            now_ms: AtomicU64::new(START_MS),
        })
    }

    pub(crate) fn advance_seconds(&self, seconds: u64) {
        self.now_ms.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    pub(crate) fn advance_days(&self, days: u64) {
        self.advance_seconds(days * 86_400);
    }

    pub(crate) fn set_ms(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn unix_milliseconds(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}

/// A master key that is the same in every run.
pub(crate) fn master_key() -> MasterKey {
    let bytes: Vec<u8> = (1..=32).collect();
    MasterKey::from_bytes(&bytes).unwrap()
}

/// A place for one vault on the disk, removed at the end.
#[derive(Debug)]
pub(crate) struct Place {
    _directory: Option<tempfile::TempDir>,
    pub(crate) path: PathBuf,
    pub(crate) clock: Arc<FakeClock>,
    keys: Home,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::in_home(&Home::new())
    }

    /// A place of a vault whose keys live with those of others.
    pub(crate) fn in_home(home: &Home) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            path: directory.path().join("vault"),
            _directory: Some(directory),
            clock: FakeClock::new(),
            keys: home.clone(),
        }
    }

    /// A place that somebody else removes.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            _directory: None,
            path,
            clock: FakeClock::new(),
            keys: Home::new(),
        }
    }

    pub(crate) fn options(&self) -> VaultOptions {
        self.keys
            .vault_options()
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    pub(crate) fn create(&self) -> Vault {
        self.options()
            .create(&self.path, Unlock::raw_key(&master_key()))
            .unwrap()
    }

    pub(crate) fn open(&self) -> strongroom::Result<Vault> {
        self.options()
            .open(&self.path, Unlock::raw_key(&master_key()))
    }
}

pub(crate) fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert!(
        text.len().is_multiple_of(2),
        "hexadecimal text of odd length"
    );
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A vault in memory with a clock that stands.
pub(crate) fn memory_vault() -> (Vault, Arc<FakeClock>) {
    memory_vault_in(&Home::new())
}

/// The same, with the keys in this home.
pub(crate) fn memory_vault_in(home: &Home) -> (Vault, Arc<FakeClock>) {
    let clock = FakeClock::new();
    let vault = home
        .vault_options()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .create_in_memory()
        .unwrap();
    (vault, clock)
}

/// The kind of error that a call must give.
#[track_caller]
pub(crate) fn refused<T>(result: strongroom::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("the call succeeded and must not"),
        Err(error) => error.kind(),
    }
}

/// The moment `seconds` after the start of a [`FakeClock`].
pub(crate) fn start_plus(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(START_MS / 1_000 + seconds)
}

/// One fixed RSA key of each size, as PKCS#8.
pub(crate) fn fixed_rsa(size: RsaKeySize) -> ImportedKey {
    ImportedKey::from_pem(match size {
        RsaKeySize::Bits2048 => include_str!("data/rsa-2048.pem"),
        RsaKeySize::Bits3072 => include_str!("data/rsa-3072.pem"),
        RsaKeySize::Bits4096 => include_str!("data/rsa-4096.pem"),
        other => panic!("there is no fixed key of {other:?}"),
    })
    .unwrap()
}

/// A symmetric key of this length that is the same in every run.
pub(crate) fn fixed_oct(length: usize) -> ImportedKey {
    ImportedKey::oct(SecretBytes::from(
        (1..=length)
            .map(|byte| u8::try_from(byte).unwrap())
            .collect::<Vec<u8>>(),
    ))
}

/// A variable of the environment: tests may read it, the library may not.
#[allow(
    clippy::disallowed_methods,
    reason = "how a test run is told what to do"
)]
pub(crate) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}
