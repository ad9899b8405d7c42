//! The counts of AES-GCM encryptions of versions that a backup brings and the vault has.
//!
//! A copy of the vault may have gone on counting where this one did not. The larger count wins: nobody may begin again
//! at the smaller one.

use super::gcm::MAX_GCM_ENCRYPTIONS;
use super::records::StoredKey;
use super::{Act, Inner};
use crate::error::Result;
use crate::format::backup_payload::BackupPayload;
use crate::model::key::VersionRecord;
use crate::model::version::KeyVersion;
use crate::store::View;

/// How often versions encrypted with AES-GCM, as a backup has it.
pub(super) type GcmCounts = Vec<(KeyVersion, u64)>;

pub(super) fn counts_of(versions: &[(VersionRecord, u64)]) -> GcmCounts {
    versions
        .iter()
        .map(|(record, count)| (record.version, *count))
        .collect()
}

impl Inner {
    /// Of the versions that the key has, those that encrypted more often where the backup was made than is counted
    /// here, with the count to which theirs must rise.
    pub(super) fn counts_behind(
        &self,
        view: &View<'_>,
        key: &StoredKey,
        counts: &[(KeyVersion, u64)],
    ) -> Result<GcmCounts> {
        let mut behind = GcmCounts::new();
        for (version, count) in counts {
            let count = (*count).min(MAX_GCM_ENCRYPTIONS);
            if count > self.load_gcm_count(view, key, *version)?
                && self.load_version(view, key, *version)?.is_some()
            {
                behind.push((*version, count));
            }
        }
        Ok(behind)
    }

    /// The key of the backup is here with all its versions: only its counts may be behind.
    ///
    /// Errors: those of the store.
    pub(super) fn raise_gcm_counts(&self, act: &Act<'_>, payload: &BackupPayload) -> Result<()> {
        let counts = counts_of(&payload.versions);
        if counts.iter().all(|(_, count)| *count == 0) {
            return Ok(());
        }
        let name = &payload.name;
        let _guard = self.locks.lock(name);
        let found = self.store.read(|view| {
            let Some(key) = self
                .load_key(view, name)?
                .filter(|key| key.object.object_id == payload.object_id)
            else {
                return Ok(None);
            };
            let comparison = self.compare(view, &key, &payload.versions)?;
            if comparison.diverged || !comparison.missing.is_empty() {
                return Ok(None);
            }
            let behind = self.counts_behind(view, &key, &counts)?;
            Ok(Some((key, behind)))
        })?;
        // A key that changed at this moment is not the one that was passed over.
        let Some((key, behind)) = found else {
            return Ok(());
        };
        if behind.is_empty() {
            return Ok(());
        }
        let changes = behind
            .iter()
            .map(|(version, count)| self.put_gcm_count(&key, *version, *count))
            .collect::<Result<Vec<_>>>()?;
        let _change = self.forget_gcm_counter(name);
        self.commit(act, name, changes)
    }
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind;
    use crate::format::backup_payload;
    use crate::model::algorithm::EncryptionAlgorithm;
    use crate::model::identifier::KeyIdentifier;
    use crate::model::name::KeyName;
    use crate::model::options::{CreateKeyOptions, EncryptOptions};
    use crate::model::spec::OctKeySize;
    use crate::seal::slot::Unlock;
    use crate::secret::MasterKey;
    use crate::vault::gcm::MAX_GCM_ENCRYPTIONS;
    use crate::vault::{BackupOptions, RestoreOptions, Vault, VaultOptions};

    const K: KeyName = KeyName::from_static("k");

    fn stored(vault: &Vault, id: &KeyIdentifier) -> u64 {
        let inner = &vault.inner;
        inner
            .store
            .read(|view| {
                let key = inner.load_key(view, id.name())?.unwrap();
                inner.load_gcm_count(view, &key, id.version())
            })
            .unwrap()
    }

    fn set(vault: &Vault, id: &KeyIdentifier, count: u64) {
        let inner = &vault.inner;
        let key = inner
            .store
            .read(|view| inner.load_key(view, id.name()))
            .unwrap()
            .unwrap();
        let change = inner.put_gcm_count(&key, id.version(), count).unwrap();
        inner.store.commit(vec![change]).unwrap();
    }

    fn encrypt(vault: &Vault) -> crate::error::Result<()> {
        let gcm = EncryptionAlgorithm::A256Gcm;
        vault
            .encrypt(&K, gcm, b"text", EncryptOptions::new())
            .map(drop)
    }

    fn stream_of(vault: &Vault) -> Vec<u8> {
        let mut stream = Vec::new();
        vault
            .backup_to(&mut stream, &BackupOptions::new(), |_| ())
            .unwrap();
        stream
    }

    /// Two vaults of one domain with the same key of two versions, the ids of both, and where the second vault is.
    fn copies() -> (Vault, Vault, [KeyIdentifier; 2], tempfile::TempDir) {
        let vault = VaultOptions::new().create_in_memory().unwrap();
        let created = vault
            .create_key(&K, CreateKeyOptions::oct(OctKeySize::Bits256))
            .unwrap();
        let first = created.id().clone();
        let second = vault.rotate_key(&K).unwrap().id().clone();
        let directory = tempfile::tempdir().unwrap();
        let master = MasterKey::generate().unwrap();
        let copy = VaultOptions::new()
            .create_in_domain(
                directory.path().join("vault"),
                Unlock::raw_key(&master),
                &vault.security_domain().unwrap(),
            )
            .unwrap();
        copy.restore_key(vault.backup_key(&K).unwrap()).unwrap();
        (vault, copy, [first, second], directory)
    }

    #[test]
    fn the_larger_count_wins_when_versions_are_merged() {
        let (vault, copy, [first, second], _directory) = copies();
        set(&vault, &first, 1_000);
        set(&vault, &second, 50);
        set(&copy, &first, 70);
        set(&copy, &second, 2_000);
        let merging = RestoreOptions::new().merge_missing_versions();
        // None is missing, then one is.
        for missing in [0, 1] {
            let third = (missing == 1).then(|| {
                let id = vault.rotate_key(&K).unwrap().id().clone();
                set(&vault, &first, 1_500);
                set(&vault, &id, 9);
                id
            });
            let backup = vault.backup_key(&K).unwrap();
            let before = copy.status().unwrap().generation();
            let restored = copy.restore_key_with(&backup, &merging).unwrap();
            assert_eq!(restored.restored_versions(), missing);
            assert_eq!(stored(&copy, &first), [1_000, 1_500][missing]);
            assert_eq!(stored(&copy, &second), 2_000);
            if let Some(third) = third {
                assert_eq!(stored(&copy, &third), 9);
            }
            assert_eq!(copy.status().unwrap().generation(), before + 1, "one group");
            // Nothing is behind any more, so nothing is written.
            copy.restore_key_with(&backup, &merging).unwrap();
            assert_eq!(copy.status().unwrap().generation(), before + 1);
        }
        assert!(copy.check().unwrap().is_clean());
    }

    #[test]
    fn the_larger_count_wins_when_a_whole_vault_finds_its_keys_present() {
        let (vault, copy, [first, second], _directory) = copies();
        set(&vault, &first, 1_000);
        set(&copy, &second, 2_000);
        let report = copy
            .restore_all_from(&stream_of(&vault)[..], &RestoreOptions::new(), |_| ())
            .unwrap();
        assert_eq!((report.restored(), report.present()), (0, 1));
        assert_eq!(
            (stored(&copy, &first), stored(&copy, &second)),
            (1_000, 2_000)
        );
        // Of deleted keys, too: they can be recovered.
        set(&vault, &first, 3_000);
        vault.delete_key(&K).unwrap();
        copy.delete_key(&K).unwrap();
        let stream = stream_of(&vault);
        let plan = copy
            .restore_all_plan(&stream[..], &RestoreOptions::new(), |_| ())
            .unwrap();
        assert_eq!(plan.present(), 1);
        assert_eq!(stored(&copy, &first), 1_000, "a plan changes nothing");
        copy.restore_all_from(&stream[..], &RestoreOptions::new(), |_| ())
            .unwrap();
        assert_eq!(stored(&copy, &first), 3_000);
        assert!(copy.check().unwrap().is_clean());
    }

    #[test]
    fn what_was_reserved_under_the_smaller_count_is_not_used_up() {
        let (vault, copy, [_, newest], _directory) = copies();
        encrypt(&copy).unwrap();
        assert_eq!(
            stored(&copy, &newest),
            256,
            "255 of them are left in memory"
        );
        set(&vault, &newest, MAX_GCM_ENCRYPTIONS);
        let merging = RestoreOptions::new().merge_missing_versions();
        copy.restore_key_with(vault.backup_key(&K).unwrap(), &merging)
            .unwrap();
        assert_eq!(encrypt(&copy).unwrap_err().kind(), ErrorKind::KeyExhausted);
        // A close writes back what was not used, and not below this.
        copy.inner.settle_gcm_counts().unwrap();
        assert_eq!(stored(&copy, &newest), MAX_GCM_ENCRYPTIONS);
    }

    #[test]
    fn no_count_rises_above_the_most_that_there_is_or_for_a_version_that_is_not_there() {
        let (vault, copy, [first, second], _directory) = copies();
        let mut payload = {
            let inner = &vault.inner;
            let payload = inner
                .store
                .read(|view| {
                    let key = inner.load_key(view, &K)?.unwrap();
                    inner.load_payload(view, key)
                })
                .unwrap();
            let bytes = inner.export_payload(payload).unwrap();
            backup_payload::decode(bytes.expose()).unwrap()
        };
        payload.versions[0].1 = u64::MAX;
        let raise = |payload: &_| {
            copy.act(crate::vault::Operation::RestoreKey, &K, |act| {
                act.inner().raise_gcm_counts(act, payload)
            })
            .unwrap();
        };
        raise(&payload);
        assert_eq!(stored(&copy, &first), MAX_GCM_ENCRYPTIONS);
        assert_eq!(stored(&copy, &second), 0);
        payload.versions[1].0.version = first.version();
        payload.versions[0].0.version = crate::model::version::KeyVersion::from_bytes([7; 16]);
        payload.versions[1].1 = 5;
        let records = copy.status().unwrap().record_count();
        raise(&payload);
        assert_eq!(copy.status().unwrap().record_count(), records);
        assert!(copy.check().unwrap().is_clean());
    }
}
