//! The store as the vault uses it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use self::copies::{copy_directory, copy_of_one_moment};
use super::*;
use crate::env::{OsEntropy, SystemClock};
use crate::format::record::{IndexKey, SealedRecord};
use crate::seal::Suite;
use crate::secret::Key32;

mod audit;
mod compact;
mod copies;
pub(crate) mod disk;
mod faults;
mod files;
pub(crate) mod fire;
mod journal;
mod marker;
mod power_cuts;
pub(crate) mod programme;
mod queue;
mod reads;
mod schedules;
mod spare;
mod tampering;
mod use_cases;

/// A vault's directory below a temporary one, with the keys to it.
pub(super) struct Place {
    _temporary: tempfile::TempDir,
    pub(super) path: PathBuf,
    pub(super) config: StoreConfig,
}

pub(super) fn config() -> StoreConfig {
    let root = Key32::copied_from(&[7; 32]).unwrap();
    StoreConfig {
        hierarchy: Arc::new(Hierarchy::derive(&root, [9; 16], Suite::Aes256Gcm)),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
        header: HeaderFacts {
            seq: 1,
            mac: [5; 32],
            kek_term: 1,
        },
        generation_before: 0,
        cache_capacity: 16 << 20,
    }
}

impl Place {
    pub(super) fn new() -> Self {
        Self::with(Vec::new())
    }

    pub(super) fn with(initial: Vec<Change>) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("vault");
        let building = temporary.path().join("vault.new-1");
        let config = config();
        let dir = VaultDir::create(&building).unwrap();
        header_file::write(&dir, &[1; 20_480]).unwrap();
        Store::create(&dir, config.clone(), initial).unwrap();
        dir.publish(&path).unwrap();
        Self {
            _temporary: temporary,
            path,
            config,
        }
    }

    pub(super) fn try_open(&self) -> Result<(Store, OpenReport)> {
        Store::open(VaultDir::open(&self.path)?, self.config.clone())
    }

    pub(super) fn open(&self) -> Store {
        self.try_open().unwrap().0
    }

    pub(super) fn open_with(&self, mode: OpenMode) -> Store {
        let dir = VaultDir::open(&self.path).unwrap();
        Store::open_with(dir, self.config.clone(), mode).unwrap().0
    }

    /// The error with which the store does not open.
    pub(super) fn refusal(&self) -> ErrorKind {
        match self.try_open() {
            Ok(_) => panic!("the store opened"),
            Err(error) => error.kind(),
        }
    }

    /// Works on the stored values behind the store's back.
    pub(super) fn with_tree<T>(&self, work: impl FnOnce(&sled::Tree) -> T) -> T {
        let database = loop {
            let opened = sled::Config::new()
                .path(&self.path)
                .segment_size(512 * 1024)
                .flush_every_ms(None)
                .open();
            match opened {
                Ok(database) => break database,
                Err(sled::Error::Io(_)) => thread::sleep(std::time::Duration::from_millis(5)),
                Err(error) => panic!("{error}"),
            }
        };
        let tree = database.open_tree("r").unwrap();
        let outcome = work(&tree);
        tree.flush().unwrap();
        outcome
    }
}

/// `n` in the bucket of the number's low bits, different for each number.
pub(super) fn n(number: u64) -> [u8; 16] {
    let mut n = [0; 16];
    n[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    n[8..].copy_from_slice(&number.to_be_bytes());
    n
}

pub(super) fn key_object(number: u64) -> IndexKey {
    IndexKey::key_object(n(number))
}

pub(super) fn version(number: u64, version: u64) -> IndexKey {
    let mut v = [0; 16];
    v[8..].copy_from_slice(&version.to_be_bytes());
    IndexKey::key_version(n(number), v)
}

/// A sealed record of about this length; the store cannot tell under which key.
pub(super) fn record(index: &IndexKey, length: usize) -> SealedRecord {
    record_in_term(index, length, 1)
}

pub(super) fn record_in_term(index: &IndexKey, length: usize, term: u32) -> SealedRecord {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let term = if index.class() == crate::format::record::Class::KeyObject {
        term
    } else {
        0
    };
    let config = config();
    let mut plaintext = vec![0; length];
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    plaintext[..8].copy_from_slice(&count.to_be_bytes());
    config
        .hierarchy
        .seal_record(
            &config.hierarchy.meta_key().unwrap(),
            index,
            term,
            &plaintext,
            &OsEntropy,
        )
        .unwrap()
}

pub(super) fn put(index: IndexKey, length: usize) -> Change {
    Change::Put(index, record(&index, length))
}

pub(super) fn get(store: &Store, index: &IndexKey) -> Result<Option<SealedRecord>> {
    store.read(|view| view.record(index))
}

/// The record that a change puts.
pub(super) fn of(change: &Change) -> SealedRecord {
    change.record().unwrap().clone()
}
