//! The count of GCM encryptions of each version: reserved on disk before it is used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Inner;
use super::ability::is_able;
use super::cache::{KeyChange, OpenVersion};
use super::gcm_counter::GcmCounter;
use crate::backend::Support;
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{AesMode, CryptoOperation, EncryptionAlgorithm};
use crate::model::identifier::KeyIdentifier;
use crate::model::name::KeyName;

/// With random IVs of 96 bits, the probability that two of them are equal stays below 2^-32 up to
/// 2^32 encryptions; this is nine tenths of it.
pub(crate) const MAX_GCM_ENCRYPTIONS: u64 = 3_865_470_566;

/// How many counters are kept in memory. A forgotten one loses only what it had reserved.
const MAX_COUNTERS: usize = 65_536;

/// The counters of this handle.
#[derive(Debug, Default)]
pub(super) struct GcmCounters {
    counters: Mutex<HashMap<KeyIdentifier, Arc<GcmCounter>>>,
}

impl GcmCounters {
    fn counter(&self, id: &KeyIdentifier) -> Arc<GcmCounter> {
        let mut counters = lock(&self.counters);
        if let Some(counter) = counters.get(id) {
            return Arc::clone(counter);
        }
        if counters.len() >= MAX_COUNTERS
            && let Some(victim) = counters.keys().next().cloned()
        {
            counters.remove(&victim);
        }
        let counter = Arc::<GcmCounter>::default();
        counters.insert(id.clone(), Arc::clone(&counter));
        counter
    }

    fn forget(&self, name: &KeyName) {
        lock(&self.counters).retain(|id, _| id.name() != name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exhausted() -> Error {
    Error::new(
        ErrorKind::KeyExhausted,
        "this version has done as many AES-GCM encryptions as are safe under one key; rotate it",
    )
}

impl Inner {
    /// Forgets what is reserved for a key, because its counts change otherwise: from before the commit, so that nobody
    /// goes on with the old reservation after it. The caller holds the lock of the key, which a new reservation waits
    /// for.
    pub(super) fn forget_gcm_counter(&self, name: &KeyName) -> KeyChange<'_> {
        // The versions in the cache know their counters.
        let change = self.cache.change(name);
        self.gcm.forget(name);
        change
    }

    /// Why a version of which `stored` encryptions are used or reserved encrypts no more.
    pub(super) fn gcm_refusal(
        &self,
        id: &KeyIdentifier,
        operation: CryptoOperation,
        stored: u64,
    ) -> Option<Error> {
        let CryptoOperation::Encrypt(algorithm) = operation else {
            return None;
        };
        let left = || {
            let counters = lock(&self.gcm.counters);
            let counter = counters.get(id);
            counter.map_or(0, |counter| counter.left())
        };
        (algorithm.aes_mode() == Some(AesMode::Gcm) && stored >= MAX_GCM_ENCRYPTIONS && left() == 0)
            .then(exhausted)
    }

    /// Counts one encryption with this version.
    ///
    /// Errors: `KeyExhausted` at the limit; `Unsupported` when the key's backend does not encrypt so.
    pub(super) fn count_gcm_encryption(
        &self,
        version: &OpenVersion,
        algorithm: EncryptionAlgorithm,
    ) -> Result<()> {
        let counter = version
            .gcm_counter
            .get_or_init(|| self.gcm.counter(&version.id));
        counter.take(|count| self.reserve_gcm(version, algorithm, count))
    }

    /// Moves the stored count up and gives what lies between.
    fn reserve_gcm(
        &self,
        version: &OpenVersion,
        algorithm: EncryptionAlgorithm,
        count: u64,
    ) -> Result<(u64, u64)> {
        let id = &version.id;
        // Before the lock: a device may be slow to say what it can do.
        self.require_gcm(version, algorithm)?;
        let _guard = self.locks.lock(id.name());
        let (key, start) = self.store.read(|view| {
            let key = self.load_active(view, id.name())?;
            let start = self.load_gcm_count(view, &key, id.version())?;
            Ok((key, start))
        })?;
        let end = start.saturating_add(count).min(MAX_GCM_ENCRYPTIONS);
        if start >= end {
            return Err(exhausted().with_key(id.name()));
        }
        self.store
            .commit(vec![self.put_gcm_count(&key, id.version(), end)?])?;
        self.note_time();
        Ok((start, end))
    }

    /// A reservation for what the backend refuses would be a write for nothing. Without one there is no count to use,
    /// so it is not asked at every encryption.
    fn require_gcm(&self, version: &OpenVersion, algorithm: EncryptionAlgorithm) -> Result<()> {
        let id = &version.id;
        let backend = self.store.read(|view| {
            let key = self.load_active(view, id.name())?;
            Ok(self.load_selected(view, &key, id.into())?.body.backend)
        })?;
        let operation = CryptoOperation::Encrypt(algorithm);
        let offered = is_able(self.backend(&backend)?.as_ref(), |able| {
            able.support(version.spec, operation) != Support::Unsupported
        })?;
        if offered {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "backend {backend} does not offer {operation} to keys of {}, as its capabilities show",
                version.spec
            ),
        ))
    }

    /// Writes the exact counts back, at a clean close.
    pub(super) fn settle_gcm_counts(&self) -> Result<()> {
        let counters: Vec<_> = lock(&self.gcm.counters).drain().collect();
        for (id, counter) in counters {
            // A closed vault refuses to reserve anew.
            let Some((reserved, used)) = counter.settle() else {
                continue;
            };
            let _guard = self.locks.lock(id.name());
            let change = self.store.read(|view| {
                let Some(key) = self.load_key(view, id.name())? else {
                    return Ok(None);
                };
                // Another reservation above ours means that ours cannot be given back.
                if self.load_gcm_count(view, &key, id.version())? != reserved {
                    return Ok(None);
                }
                self.put_gcm_count(&key, id.version(), used).map(Some)
            })?;
            if let Some(change) = change {
                self.store.commit(vec![change])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::software::SoftwareBackend;
    use crate::backend::{
        BackendId, BackendResult, Capabilities, KeyBackend, KeyBlob, KeyHandle, KeyReference,
        KeyRequest, KeyTag, NewKey,
    };
    use crate::error::ErrorKind;
    use crate::model::algorithm::WrapAlgorithm;
    use crate::model::material::KeyMaterial;
    use crate::model::options::{Ciphertext, CreateKeyOptions, EncryptOptions};
    use crate::model::results::EncryptResult;
    use crate::model::spec::KeySpec;
    use crate::model::spec::OctKeySize;
    use crate::seal::slot::Unlock;
    use crate::secret::MasterKey;
    use crate::vault::gcm_counter::{FIRST_RESERVATION, LARGEST_RESERVATION};
    use crate::vault::{Vault, VaultOptions};

    const K: KeyName = KeyName::from_static("k");
    const GCM: EncryptionAlgorithm = EncryptionAlgorithm::A256Gcm;

    fn memory() -> Vault {
        VaultOptions::new().create_in_memory().unwrap()
    }

    fn add_key(vault: &Vault) -> KeyIdentifier {
        vault
            .create_key(&K, CreateKeyOptions::oct(OctKeySize::Bits256))
            .unwrap()
            .id()
            .clone()
    }

    fn encrypt(vault: &Vault) -> Result<EncryptResult> {
        vault.encrypt(&K, GCM, b"text", EncryptOptions::new())
    }

    fn stored(vault: &Vault, id: &KeyIdentifier) -> u64 {
        let inner = &vault.inner;
        inner
            .store
            .read(|view| {
                let key = inner.load_active(view, id.name())?;
                inner.load_gcm_count(view, &key, id.version())
            })
            .unwrap()
    }

    fn store(vault: &Vault, id: &KeyIdentifier, count: u64) {
        let inner = &vault.inner;
        let key = inner
            .store
            .read(|view| inner.load_active(view, id.name()))
            .unwrap();
        let change = inner.put_gcm_count(&key, id.version(), count).unwrap();
        inner.store.commit(vec![change]).unwrap();
    }

    #[test]
    fn counts_are_reserved_ahead_and_double_up_to_the_largest() {
        let vault = memory();
        let id = add_key(&vault);
        assert_eq!(stored(&vault, &id), 0);
        let (mut used, mut reserved, mut step) = (0, 0, FIRST_RESERVATION);
        while used < 3 * LARGEST_RESERVATION {
            let counter = vault.inner.gcm.counter(&id);
            if used == reserved {
                reserved += step;
                step = (2 * step).min(LARGEST_RESERVATION);
            }
            encrypt(&vault).unwrap();
            used += 1;
            if used % 251 == 0 || used == reserved {
                assert_eq!(stored(&vault, &id), reserved, "after {used}");
                assert_eq!(counter.left(), reserved - used);
            }
            // The rest of a long reservation need not be encrypted one by one.
            if reserved - used > 300 && used % 256 == 0 {
                let skipped = reserved - used - 3;
                counter.skip(skipped);
                used += skipped;
            }
        }
        assert_eq!(step, LARGEST_RESERVATION);
    }

    #[test]
    fn a_version_is_exhausted_at_the_limit_and_a_rotation_helps() {
        let vault = memory();
        let id = add_key(&vault);
        store(&vault, &id, MAX_GCM_ENCRYPTIONS - 3);
        let last: Vec<_> = (0..3).map(|_| encrypt(&vault).unwrap()).collect();
        for _ in 0..3 {
            let error = encrypt(&vault).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::KeyExhausted);
            assert!(error.to_string().contains("rotate"), "{error}");
            let azure = error.azure().unwrap();
            assert_eq!((azure.status(), azure.code()), (403, "Forbidden"));
        }
        assert_eq!(stored(&vault, &id), MAX_GCM_ENCRYPTIONS);
        // Everything else goes on.
        for sealed in &last {
            vault.decrypt(&id, GCM, Ciphertext::from(sealed)).unwrap();
        }
        vault.wrap_key(&K, WrapAlgorithm::A256Kw, &[1; 16]).unwrap();
        vault.rotate_key(&K).unwrap();
        encrypt(&vault).unwrap();
        let error = vault
            .encrypt(&id, GCM, b"text", EncryptOptions::new())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyExhausted, "the old version");
    }

    #[test]
    fn an_exhausted_version_stays_exhausted_in_backups_and_after_recovery() {
        let vault = memory();
        let id = add_key(&vault);
        store(&vault, &id, MAX_GCM_ENCRYPTIONS);
        let backup = vault.backup_key(&K).unwrap();
        vault.delete_key(&K).unwrap();
        vault.recover_deleted_key(&K).unwrap();
        assert_eq!(encrypt(&vault).unwrap_err().kind(), ErrorKind::KeyExhausted);
        vault.delete_key(&K).unwrap();
        vault.purge_deleted_key(&K).unwrap();
        vault.restore_key(&backup).unwrap();
        assert_eq!(stored(&vault, &id), MAX_GCM_ENCRYPTIONS);
        assert_eq!(encrypt(&vault).unwrap_err().kind(), ErrorKind::KeyExhausted);
    }

    #[test]
    fn hazmat_encryptions_count_too() {
        let vault = memory();
        let id = add_key(&vault);
        store(&vault, &id, MAX_GCM_ENCRYPTIONS - 1);
        let options = EncryptOptions::new();
        let with_iv =
            || crate::vault::hazmat::encrypt_with_iv(&vault, &K, GCM, b"x", &[7; 12], options);
        with_iv().unwrap();
        assert_eq!(with_iv().unwrap_err().kind(), ErrorKind::KeyExhausted);
    }

    #[test]
    fn a_purge_forgets_what_was_reserved_in_memory() {
        let vault = memory();
        let id = add_key(&vault);
        encrypt(&vault).unwrap();
        let backup = vault.backup_key(&K).unwrap();
        assert_eq!(stored(&vault, &id), 256);
        vault.delete_key(&K).unwrap();
        vault.purge_deleted_key(&K).unwrap();
        vault.restore_key(&backup).unwrap();
        encrypt(&vault).unwrap();
        assert_eq!(
            stored(&vault, &id),
            512,
            "the restored count is the floor, and a new reservation comes on top"
        );
    }

    #[test]
    fn a_clean_close_writes_the_exact_count_and_a_crash_keeps_the_reserved_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault");
        let master = MasterKey::generate().unwrap();
        let unlock = Unlock::raw_key(&master);
        let vault = VaultOptions::new().create(&path, unlock).unwrap();
        let id = add_key(&vault);
        for _ in 0..5 {
            encrypt(&vault).unwrap();
        }
        assert_eq!(stored(&vault, &id), 256);
        vault.close().unwrap();
        drop(vault);
        let vault = VaultOptions::new().open(&path, unlock).unwrap();
        assert_eq!(stored(&vault, &id), 5);
        encrypt(&vault).unwrap();
        assert_eq!(stored(&vault, &id), 5 + 256);
        // As if the process had ended here: nobody settles.
        lock(&vault.inner.gcm.counters).clear();
        drop(vault);
        let vault = VaultOptions::new().open(&path, unlock).unwrap();
        assert_eq!(stored(&vault, &id), 5 + 256);
    }

    /// A backend in software that claims everything but GCM, as a token without the mechanism does.
    #[derive(Debug)]
    struct WithoutGcm(BackendId, SoftwareBackend);

    impl KeyBackend for WithoutGcm {
        fn id(&self) -> &BackendId {
            &self.0
        }

        fn capabilities(&self) -> Arc<Capabilities> {
            let all = self.1.capabilities();
            let others = all.iter().filter(|(_, operation, _)| match operation {
                CryptoOperation::Encrypt(algorithm) => !algorithm.is_authenticated(),
                _ => true,
            });
            let capabilities = others.fold(
                Capabilities::new().with_generation(KeySpec::Oct(OctKeySize::Bits256.into())),
                |capabilities, (spec, operation, support)| {
                    capabilities.with(spec, operation, support)
                },
            );
            Arc::new(capabilities)
        }

        fn check(&self) -> BackendResult<()> {
            Ok(())
        }

        fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey> {
            self.1.generate(request)
        }

        fn import(&self, request: &KeyRequest<'_>, key: &KeyMaterial) -> BackendResult<NewKey> {
            self.1.import(request, key)
        }

        fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
            self.1.open(key)
        }

        fn destroy(&self, tag: KeyTag, blob: Option<&KeyBlob>) -> BackendResult<()> {
            self.1.destroy(tag, blob)
        }
    }

    #[test]
    fn what_a_backend_does_not_offer_uses_no_count_and_writes_nothing() {
        let id: BackendId = "partial".parse().unwrap();
        let vault = VaultOptions::new()
            .backend(Arc::new(WithoutGcm(id.clone(), SoftwareBackend::new())))
            .create_in_memory()
            .unwrap();
        let options = CreateKeyOptions::oct(OctKeySize::Bits256).backend(&id);
        let id = vault.create_key(&K, options).unwrap().id().clone();
        let before = vault.status().unwrap().generation();
        for _ in 0..3 {
            let error = encrypt(&vault).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("A256GCM"), "{error}");
        }
        assert_eq!(stored(&vault, &id), 0);
        assert_eq!(vault.status().unwrap().generation(), before);
        let other = EncryptOptions::new();
        vault
            .encrypt(&K, EncryptionAlgorithm::A256CbcPad, b"text", other)
            .unwrap();
    }

    #[test]
    fn an_iv_of_the_wrong_length_uses_no_count() {
        let vault = memory();
        let id = add_key(&vault);
        let options = EncryptOptions::new();
        let error = crate::vault::hazmat::encrypt_with_iv(&vault, &K, GCM, b"x", &[7; 11], options)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter);
        assert_eq!(stored(&vault, &id), 0);
    }

    #[test]
    fn threads_share_one_count() {
        let vault = memory();
        let id = add_key(&vault);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        encrypt(&vault).unwrap();
                    }
                });
            }
        });
        vault.inner.settle_gcm_counts().unwrap();
        assert_eq!(stored(&vault, &id), 4_000);
    }
}
