//! Sequences of operations on a vault in memory, against a model of a page: what is where, which versions there are,
//! and which of the rules refuses. The model of `tests/it/model` says more and is slower.

use std::sync::Arc;

use super::fixture::{Input, vault};
use crate::backend::testing::FakeClock;
use crate::error::{ErrorKind, Result};
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::material::ImportedKey;
use crate::model::name::KeyName;
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::options::{
    Ciphertext, CreateKeyOptions, EncryptOptions, ImportKeyOptions, UpdateKeyOptions,
};
use crate::model::spec::{Curve, KeyFamily, OctKeySize};
use crate::model::version::KeyVersion;
use crate::secret::SecretBytes;
use crate::vault::{KeyBackup, MaintenanceOptions, Vault};

const NAMES: [&str; 3] = ["one", "Two", "three-3"];
const STEPS: usize = 40;
/// Retention of deleted keys, in days.
const RETENTION: u32 = 90;

#[derive(Clone)]
struct Version {
    id: KeyVersion,
    family: KeyFamily,
    enabled: bool,
    operations: KeyOperations,
    made: Made,
}

#[derive(Clone, Copy, PartialEq)]
enum Made {
    Here,
    Imported,
}

#[derive(Clone)]
struct Key {
    versions: Vec<Version>,
    /// Days until it is gone.
    deleted: Option<u32>,
}

struct World {
    vault: Vault,
    clock: Arc<FakeClock>,
    keys: [Option<Key>; 3],
    backups: Vec<(usize, Key, KeyBackup)>,
    succeeded: usize,
}

/// Up to 40 operations.
pub(super) fn run(data: &[u8]) -> bool {
    let (vault, clock) = vault();
    let mut world = World {
        vault,
        clock,
        keys: [None, None, None],
        backups: Vec::new(),
        succeeded: 0,
    };
    let mut input = Input::new(data);
    for step in 0..STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        if step % 8 == 7 {
            world.compare();
        }
    }
    world.compare();
    let report = world.vault.check().expect("memory can be read");
    assert!(report.is_sound(), "{report:?}");
    world.succeeded > 0
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let (step, at) = (input.u8(), input.u8());
        let at = usize::from(at) % NAMES.len();
        match step % 17 {
            0 | 1 => self.create(at, input.u8()),
            2 => self.import(at, input.u8()),
            3 => self.rotate(at),
            4 => self.update(at, input.u8(), input.u8()),
            5 => {
                let result = self.vault.delete_key(&name(at));
                if self.expect(result, self.active(at).err()).is_some()
                    && let Some(key) = &mut self.keys[at]
                {
                    key.deleted = Some(RETENTION);
                }
            }
            6 => {
                let result = self.vault.recover_deleted_key(&name(at));
                if self.expect(result, self.deleted(at).err()).is_some()
                    && let Some(key) = &mut self.keys[at]
                {
                    key.deleted = None;
                }
            }
            7 => {
                let result = self.vault.purge_deleted_key(&name(at));
                if self.expect(result, self.deleted(at).err()).is_some() {
                    self.keys[at] = None;
                }
            }
            8 => {
                let result = self.vault.backup_key(&name(at));
                if let Some(backup) = self.expect(result, self.active(at).err())
                    && let Some(key) = self.keys[at].clone()
                {
                    self.backups.push((at, key, backup));
                }
            }
            9 => self.restore(input.u8()),
            10 => self.sign(at, input.u8()),
            11 => self.encrypt(at, input.u8()),
            12 => self.wrap(at, input.u8()),
            13 => self.pass(u32::from(input.u8())),
            14 => {
                let result = self.vault.get_deleted_key(&name(at));
                self.expect(result, self.deleted(at).err());
            }
            15 => self.old_version(at, input.u8()),
            _ => {
                let result = self.vault.maintain(MaintenanceOptions::new());
                self.expect(result, None);
            }
        }
    }

    fn active(&self, at: usize) -> Result<&Key, ErrorKind> {
        self.keys[at]
            .as_ref()
            .filter(|key| key.deleted.is_none())
            .ok_or(ErrorKind::KeyNotFound)
    }

    fn deleted(&self, at: usize) -> Result<&Key, ErrorKind> {
        self.keys[at]
            .as_ref()
            .filter(|key| key.deleted.is_some())
            .ok_or(ErrorKind::DeletedKeyNotFound)
    }

    /// The result, which must be an error of this kind, if any.
    fn expect<T>(&mut self, result: Result<T>, refusal: Option<ErrorKind>) -> Option<T> {
        match (result, refusal) {
            (Ok(value), None) => {
                self.succeeded += 1;
                Some(value)
            }
            (Err(error), Some(expected)) => {
                assert_eq!(error.kind(), expected, "{error}");
                None
            }
            (Ok(_), Some(expected)) => panic!("done, and not refused with {expected:?}"),
            (Err(error), None) => panic!("refused: {error}"),
        }
    }

    /// What making a version of this family under the name is refused with.
    fn refusal_of_new(&self, at: usize, family: KeyFamily) -> Option<ErrorKind> {
        let key = self.keys[at].as_ref()?;
        if key.deleted.is_some() {
            return Some(ErrorKind::KeyDeleted);
        }
        let newest = key.versions.last()?;
        (newest.family != family).then_some(ErrorKind::BadParameter)
    }

    fn add(&mut self, at: usize, version: Version) {
        let key = self.keys[at].get_or_insert_with(|| Key {
            versions: Vec::new(),
            deleted: None,
        });
        key.versions.push(version);
    }

    fn create(&mut self, at: usize, choice: u8) {
        let (family, options) = if choice & 1 == 0 {
            (KeyFamily::Ec, CreateKeyOptions::ec(Curve::P256))
        } else {
            (KeyFamily::Oct, CreateKeyOptions::oct(OctKeySize::Bits256))
        };
        let options = options.backup_allowed().enabled(choice & 2 == 0);
        let refusal = self.refusal_of_new(at, family);
        let result = self.vault.create_key(&name(at), options);
        if let Some(bundle) = self.expect(result, refusal) {
            let version = Version {
                id: bundle.properties().version(),
                family,
                enabled: choice & 2 == 0,
                operations: bundle.key().key_ops(),
                made: Made::Here,
            };
            self.add(at, version);
        }
    }

    fn import(&mut self, at: usize, choice: u8) {
        // 64 bytes are a key for HMAC, and no length that can be generated.
        let key = ImportedKey::oct(SecretBytes::from(vec![choice | 1; 64]));
        let options = ImportKeyOptions::new(key).backup_allowed();
        let refusal = self.refusal_of_new(at, KeyFamily::Oct);
        let result = self.vault.import_key(&name(at), options);
        if let Some(bundle) = self.expect(result, refusal) {
            let version = Version {
                id: bundle.properties().version(),
                family: KeyFamily::Oct,
                enabled: true,
                operations: bundle.key().key_ops(),
                made: Made::Imported,
            };
            self.add(at, version);
        }
    }

    fn rotate(&mut self, at: usize) {
        let newest = self.active(at).map(|key| key.versions.last().cloned());
        let refusal = match &newest {
            Err(kind) => Some(*kind),
            Ok(Some(newest)) if newest.made == Made::Imported => Some(ErrorKind::BadParameter),
            Ok(_) => None,
        };
        let result = self.vault.rotate_key(&name(at));
        if let (Some(bundle), Ok(Some(newest))) = (self.expect(result, refusal), newest) {
            let version = Version {
                id: bundle.properties().version(),
                enabled: true,
                ..newest
            };
            self.add(at, version);
        }
    }

    fn update(&mut self, at: usize, which: u8, choice: u8) {
        let mut options = UpdateKeyOptions::new().enabled(choice & 1 == 0);
        let narrowed = KeyOperations::from([KeyOperation::Sign]);
        if choice & 2 != 0 {
            options = options.operations(narrowed);
        }
        let index = self
            .active(at)
            .map(|key| usize::from(which) % key.versions.len());
        let id = match (&self.keys[at], &index) {
            (Some(key), Ok(index)) => key.versions[*index].id,
            _ => KeyVersion::from_bytes([which; 16]),
        };
        let name = name(at);
        let result = self.vault.update_key_properties((&name, id), options);
        let done = self.expect(result, index.err());
        if let (Some(_), Ok(index), Some(key)) = (done, index, &mut self.keys[at]) {
            let version = &mut key.versions[index];
            version.enabled = choice & 1 == 0;
            if choice & 2 != 0 {
                version.operations = narrowed;
            }
        }
    }

    fn restore(&mut self, which: u8) {
        if self.backups.is_empty() {
            return;
        }
        let (at, key, blob) = &self.backups[usize::from(which) % self.backups.len()];
        let (at, key) = (*at, key.clone());
        let refusal = match &self.keys[at] {
            None => None,
            Some(present) if present.deleted.is_some() => Some(ErrorKind::KeyDeleted),
            Some(_) => Some(ErrorKind::KeyExists),
        };
        let result = self.vault.restore_key(blob);
        if let Some(result) = self.expect(result, refusal) {
            assert_eq!(result.version_count(), key.versions.len());
            self.keys[at] = Some(key);
        }
    }

    /// What using the newest version is refused with.
    fn refusal_of_use(
        &self,
        at: usize,
        family: KeyFamily,
        operation: KeyOperation,
    ) -> Option<ErrorKind> {
        let key = match self.active(at) {
            Ok(key) => key,
            Err(kind) => return Some(kind),
        };
        let newest = key.versions.last()?;
        if newest.family != family {
            Some(ErrorKind::AlgorithmMismatch)
        } else if !newest.enabled {
            Some(ErrorKind::KeyDisabled)
        } else if !newest.operations.contains(operation) {
            Some(ErrorKind::OperationNotPermitted)
        } else {
            None
        }
    }

    fn sign(&mut self, at: usize, byte: u8) {
        let (name, digest) = (name(at), [byte; 32]);
        let algorithm = SignatureAlgorithm::Es256;
        let refusal = self.refusal_of_use(at, KeyFamily::Ec, KeyOperation::Sign);
        let result = self.vault.sign(&name, algorithm, &digest);
        if let Some(signed) = self.expect(result, refusal) {
            let id = signed.key_id().clone();
            let refusal = self.refusal_of_use(at, KeyFamily::Ec, KeyOperation::Verify);
            let verified = self
                .vault
                .verify(&id, algorithm, &digest, signed.signature());
            self.expect(verified, refusal);
            let other = [byte ^ 1; 32];
            let refusal = refusal.unwrap_or(ErrorKind::InvalidSignature);
            let verified = self
                .vault
                .verify(&id, algorithm, &other, signed.signature());
            self.expect(verified, Some(refusal));
        }
    }

    fn encrypt(&mut self, at: usize, byte: u8) {
        let name = name(at);
        let algorithm = EncryptionAlgorithm::A256Gcm;
        let plaintext = vec![byte; usize::from(byte)];
        let refusal = self.refusal_of_cipher(at, KeyOperation::Encrypt);
        let options = EncryptOptions::new();
        let result = self.vault.encrypt(&name, algorithm, &plaintext, options);
        if let Some(sealed) = self.expect(result, refusal) {
            let refusal = self.refusal_of_cipher(at, KeyOperation::Decrypt);
            let opened = self
                .vault
                .decrypt(&name, algorithm, Ciphertext::from(&sealed));
            if let Some(opened) = self.expect(opened, refusal) {
                assert_eq!(opened.expose(), plaintext);
            }
        }
    }

    fn wrap(&mut self, at: usize, byte: u8) {
        let (name, key) = (name(at), [byte; 16]);
        let algorithm = WrapAlgorithm::A256Kw;
        let refusal = self.refusal_of_cipher(at, KeyOperation::WrapKey);
        let result = self.vault.wrap_key(&name, algorithm, &key);
        if let Some(wrapped) = self.expect(result, refusal) {
            let refusal = self.refusal_of_cipher(at, KeyOperation::UnwrapKey);
            let wrapped = wrapped.wrapped_key();
            let opened = self.vault.unwrap_key(&name, algorithm, wrapped);
            if let Some(opened) = self.expect(opened, refusal) {
                assert_eq!(opened.expose(), key);
            }
        }
    }

    /// With AES, which keys of 64 bytes are not for.
    fn refusal_of_cipher(&self, at: usize, operation: KeyOperation) -> Option<ErrorKind> {
        let newest = self.active(at).ok().and_then(|key| key.versions.last());
        if newest.is_some_and(|newest| newest.made == Made::Imported) {
            return Some(ErrorKind::AlgorithmMismatch);
        }
        self.refusal_of_use(at, KeyFamily::Oct, operation)
    }

    fn old_version(&mut self, at: usize, which: u8) {
        let id = match self.active(at) {
            Ok(key) => Ok(key.versions[usize::from(which) % key.versions.len()].id),
            Err(kind) => Err(kind),
        };
        let unknown = KeyVersion::from_bytes([which; 16]);
        let name = name(at);
        let result = self.vault.get_key((&name, id.unwrap_or(unknown)));
        if let (Some(bundle), Ok(id)) = (self.expect(result, id.err()), id) {
            assert_eq!(bundle.properties().version(), id);
        }
        let result = self.vault.get_key((&name, unknown));
        self.expect(result, Some(ErrorKind::KeyNotFound));
    }

    /// Days pass; what was deleted long enough ago is gone.
    fn pass(&mut self, days: u32) {
        self.clock.advance_days(u64::from(days));
        // Nothing is destroyed on the word of a clock that jumped.
        let confirmed = MaintenanceOptions::new().confirm_clock();
        self.vault
            .maintain(confirmed)
            .expect("memory can be written");
        for key in &mut self.keys {
            let left = key.as_ref().and_then(|key| key.deleted);
            match left {
                Some(left) if left <= days => *key = None,
                Some(left) => {
                    if let Some(key) = key {
                        key.deleted = Some(left - days);
                    }
                }
                None => {}
            }
        }
    }

    /// What can be seen is what the model has.
    fn compare(&self) {
        let mut active = 0;
        let mut deleted = 0;
        for (at, key) in self.keys.iter().enumerate() {
            let name = name(at);
            let seen = self.vault.get_key(&name);
            match key {
                Some(key) if key.deleted.is_none() => {
                    active += 1;
                    let seen = seen.expect("the key is in use");
                    let newest = key.versions.last().expect("a key has a version");
                    assert_eq!(seen.properties().version(), newest.id);
                    assert_eq!(seen.properties().enabled(), newest.enabled);
                    assert_eq!(seen.key().key_ops(), newest.operations);
                    let versions = self.vault.list_key_properties_versions(&name);
                    assert_eq!(
                        versions.expect("the key is in use").count(),
                        key.versions.len()
                    );
                }
                other => {
                    deleted += usize::from(other.is_some());
                    let refused = seen.expect_err("the key is not in use");
                    assert_eq!(refused.kind(), ErrorKind::KeyNotFound);
                }
            }
        }
        assert_eq!(self.vault.list_key_properties().count(), active);
        assert_eq!(self.vault.list_deleted_key_properties().count(), deleted);
    }
}

fn name(at: usize) -> KeyName {
    KeyName::from_static(NAMES[at])
}
