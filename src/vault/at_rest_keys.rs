//! The keys between what unlocks a vault and what is in it, for tests that search memory for them.

use std::path::Path;

use super::tombstones::open_setting;
use super::{Vault, VaultOptions};
use crate::error::Result;
use crate::format::header::choose;
use crate::format::material;
use crate::format::settings::{self, IDENTITY_KEY};
use crate::model::key::KeyBlob;
use crate::model::material::MaterialParts;
use crate::seal::hash32;
use crate::seal::header::{OpenLimits, open_first};
use crate::seal::slot::Unlock;
use crate::secret::SecretBytes;
use crate::store::{VaultDir, header_file};

/// More keys than a test has.
const MOST_KEYS: usize = 256;

impl Vault {
    /// What the holder of the files and of a way to unlock them can compute: root key, its sub-keys, KEK, SDK and
    /// KDKs, each with a name; and the private keys that software holds on curves, that of the vault too, with names
    /// that begin with `private: `.
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
                .map(|(n, record)| {
                    let key = inner.open_key(*n, record)?;
                    let versions = inner.load_versions(view, &key)?;
                    Ok((key, versions))
                })
                .collect::<Result<Vec<_>>>()
        })?;
        for (key, versions) in stored {
            let name = &key.object.name;
            keys.push((format!("KDK of {name}"), copied(key.data_key.expose())));
            for version in &versions {
                keys.extend(scalar(format!("private: {name}"), &version.body.blob)?);
            }
        }
        let identity = inner
            .store
            .read(|view| open_setting(&inner.hierarchy, view, IDENTITY_KEY))?;
        if let Some(plaintext) = identity {
            let (_, blob) = settings::decode_identity(&plaintext)?;
            keys.extend(scalar("private: the vault".to_owned(), &blob)?);
        }
        vault.close()?;
        Ok(keys)
    }
}

fn scalar(name: String, blob: &KeyBlob) -> Result<Option<(String, SecretBytes)>> {
    Ok(match material::decode(blob.expose())?.parts {
        MaterialParts::Ec(key) => Some((name, key.d)),
        MaterialParts::Rsa(_) | MaterialParts::Oct { .. } => None,
    })
}
