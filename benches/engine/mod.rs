//! The storage engine alone, on a copy of a vault's records.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The storage engine alone, on a copy of the vault's own records.
pub(crate) struct BareEngine {
    pub(crate) tree: sled::Tree,
    _database: sled::Db,
}

impl BareEngine {
    pub(crate) fn open(path: &Path) -> Self {
        let config = sled::Config::new()
            .path(path)
            .segment_size(512 * 1024)
            .cache_capacity(256 << 20)
            .flush_every_ms(None);
        // It keeps its lock for moments after it was dropped.
        let database = (0..500)
            .find_map(|_| {
                let opened = config.open().ok();
                if opened.is_none() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened
            })
            .expect("the engine opens");
        Self {
            tree: database.open_tree(b"r").expect("the tree"),
            _database: database,
        }
    }

    /// The places of the key object and of the version of each key, which is what `get_key` reads.
    pub(crate) fn records_of_keys(&self) -> Vec<[sled::IVec; 2]> {
        let places = |class: u8| {
            self.tree
                .iter()
                .keys()
                .map(|key| key.expect("the engine reads"))
                .filter(move |key| key[0] == 2 && key[17] == class && key[34] == 0)
        };
        places(b'M')
            .zip(places(b'V'))
            .map(|(object, version)| [object, version])
            .collect()
    }
}

pub(crate) fn bare_copy(path: &Path) -> PathBuf {
    let copy = path.with_extension("bare");
    if !copy.exists() {
        std::fs::create_dir(&copy).expect("a directory");
        for entry in std::fs::read_dir(path).expect("the vault's files") {
            let entry = entry.expect("the vault's files");
            if entry.file_type().expect("a type").is_file() {
                std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
            }
        }
    }
    copy
}
