//! The keys between what unlocks a vault and what is in it, for tests that search memory for them.

use std::path::Path;

use super::{Vault, VaultOptions};
use crate::error::Result;
use crate::format::header::choose;
use crate::seal::hash32;
use crate::seal::header::{OpenLimits, open_first};
use crate::seal::slot::Unlock;
use crate::secret::SecretBytes;
use crate::store::{VaultDir, header_file};

/// More keys than a test has.
const MOST_KEYS: usize = 256;

impl Vault {
    /// What the holder of the files and of a way to unlock them can compute: root key, its sub-keys, KEK, SDK and
    /// KDKs, each with a name.
    ///
    /// # Errors
    ///
    /// Those of [`VaultOptions::open`].
    #[doc(hidden)]
    pub fn at_rest_keys(path: &Path, unlock: Unlock<'_>) -> Result<Vec<(String, SecretBytes)>> {
        let dir = VaultDir::open(path)?;
        let [copy_a, copy_b] = header_file::read(&dir)?;
        let header = open_first(
            choose(&copy_a, &copy_b, hash32)?,
            unlock,
            OpenLimits::default(),
        )?;
        drop(dir);
        let copied = |bytes: &[u8; 32]| SecretBytes::copied_from(bytes);
        let mut keys = vec![("root key".to_owned(), copied(header.root.expose()))];
        for (name, key) in header.hierarchy.expose_all()? {
            keys.push((name.to_owned(), key));
        }
        let kek = &header.kek_ring.current_key;
        keys.push(("KEK".to_owned(), copied(kek.expose())));
        for (epoch, key) in &header.sdk_ring.epochs {
            keys.push((format!("SDK {epoch}"), copied(key.expose())));
        }
        let vault = VaultOptions::new().open(path, unlock)?;
        let inner = &vault.inner;
        let stored = inner.store.read(|view| {
            let objects = view.key_objects(None, MOST_KEYS)?;
            objects
                .iter()
                .map(|(n, record)| inner.open_key(*n, record))
                .collect::<Result<Vec<_>>>()
        })?;
        for key in stored {
            keys.push((
                format!("KDK of {}", key.object.name),
                copied(key.data_key.expose()),
            ));
        }
        vault.close()?;
        Ok(keys)
    }
}
