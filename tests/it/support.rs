//! What several tests share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::{Clock, KeyName, MasterKey, Unlock, Vault, VaultOptions};

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
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            path: directory.path().join("vault"),
            _directory: Some(directory),
            clock: FakeClock::new(),
        }
    }

    /// A place that somebody else removes.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            _directory: None,
            path,
            clock: FakeClock::new(),
        }
    }

    pub(crate) fn options(&self) -> VaultOptions {
        VaultOptions::new().clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
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

/// A variable of the environment: tests may read it, the library may not.
#[allow(
    clippy::disallowed_methods,
    reason = "how a test run is told what to do"
)]
pub(crate) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}
