//! Keys and their versions: the public calls, and how a key is found and shown.

use super::records::{StoredKey, reference};
use super::{Act, Inner, Operation, Vault};
use crate::crypto::validation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::attributes::Validity;
use crate::model::identifier::KeySelector;
use crate::model::jwk::JsonWebKey;
use crate::model::key::{KeyObject, VersionAttributes, VersionRecord};
use crate::model::name::KeyName;
use crate::model::options::{CreateKeyOptions, ImportKeyOptions, UpdateKeyOptions};
use crate::model::results::{KeyBundle, KeyProperties};
use crate::policy::{self, Lifecycle};
use crate::store::View;

impl Vault {
    /// Makes a key, or a new version of an existing one, which becomes its newest: Azure's
    /// [Create Key](https://learn.microsoft.com/rest/api/keyvault/keys/create-key/create-key).
    ///
    /// **Durability:** the key survives a power cut once this returns. **Blocking:** key generation
    /// (RSA up to seconds) and one write to disk.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](ErrorKind::BadParameter) for options that contradict each other or the type of the
    /// key's newest version; [`KeyDeleted`](ErrorKind::KeyDeleted) when a deleted key holds the name;
    /// [`ClockJump`](ErrorKind::ClockJump) when a deleted key holds it whose scheduled purge date has come by a
    /// clock that is not believed, see [`Vault::maintain`];
    /// [`Unsupported`](ErrorKind::Unsupported) and [`BackendUnavailable`](ErrorKind::BackendUnavailable) from the
    /// backend; [`RandomUnavailable`](ErrorKind::RandomUnavailable); and the errors of storage.
    pub fn create_key(&self, name: &KeyName, options: CreateKeyOptions) -> Result<KeyBundle> {
        let CreateKeyOptions {
            spec,
            public_exponent,
            common,
        } = options;
        self.act(Operation::CreateKey, name, |act| {
            act.inner().create(act, name, spec, public_exponent, common)
        })
    }

    /// Stores a key that exists already, as a new version: Azure's
    /// [Import Key](https://learn.microsoft.com/rest/api/keyvault/keys/import-key/import-key).
    ///
    /// The material is validated completely first: consistency, primality, point on curve, known
    /// weaknesses. **Blocking:** validation (RSA up to hundreds of milliseconds) and one write to disk.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyMaterial`](ErrorKind::InvalidKeyMaterial), and those of [`Vault::create_key`].
    pub fn import_key(&self, name: &KeyName, options: ImportKeyOptions) -> Result<KeyBundle> {
        let ImportKeyOptions { key, common } = options;
        self.act(Operation::ImportKey, name, |act| {
            let material = validation::validate(key, &*act.inner().entropy)?;
            act.inner().import(act, name, material, common)
        })
    }

    /// Makes a new version of the same kind as the newest one, with its `key_ops` and tags, enabled
    /// and without dates: Azure's
    /// [Rotate Key](https://learn.microsoft.com/rest/api/keyvault/keys/rotate-key/rotate-key).
    ///
    /// It works for a disabled or expired key too: it is the remedy. The old versions stay as they are
    /// and go on to decrypt, unwrap and verify.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound), and those of [`Vault::create_key`].
    pub fn rotate_key(&self, name: &KeyName) -> Result<KeyBundle> {
        self.act(Operation::RotateKey, name, |act| {
            act.inner().rotate(act, name)
        })
    }

    /// The public part and the properties of a version: Azure's
    /// [Get Key](https://learn.microsoft.com/rest/api/keyvault/keys/get-key/get-key).
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound), and the errors of storage.
    pub fn get_key<'a>(&self, key: impl Into<KeySelector<'a>>) -> Result<KeyBundle> {
        let selector = key.into();
        self.act(Operation::GetKey, selector, |act| {
            act.inner().get(act, selector)
        })
    }

    /// Changes the properties of a version: Azure's
    /// [Update Key](https://learn.microsoft.com/rest/api/keyvault/keys/update-key/update-key).
    ///
    /// **Durability:** the change survives a power cut once this returns, and every operation that
    /// begins afterwards obeys it.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound); [`BadParameter`](ErrorKind::BadParameter) for operations that the
    /// key cannot do, an empty set, a window that ends before it begins, and for another release policy in the place of an
    /// immutable one or of none; and the errors of storage.
    pub fn update_key_properties<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        options: UpdateKeyOptions,
    ) -> Result<KeyBundle> {
        let selector = key.into();
        self.act(Operation::UpdateKeyProperties, selector, |act| {
            act.inner().update(act, selector, options)
        })
    }
}

impl Inner {
    pub(super) fn get(&self, act: &Act<'_>, selector: KeySelector<'_>) -> Result<KeyBundle> {
        let (stored, version) = self.store.read(|view| {
            let stored = self.load_active(view, selector.name())?;
            let version = self.load_selected(view, &stored, selector)?;
            Ok((stored, version))
        })?;
        act.note_version(version.version);
        Ok(self.bundle(&stored.object, version))
    }

    fn update(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        options: UpdateKeyOptions,
    ) -> Result<KeyBundle> {
        let name = selector.name();
        let _guard = self.locks.lock(name);
        let (key, mut version) = self.store.read(|view| {
            let key = self.load_active(view, name)?;
            let version = self.load_selected(view, &key, selector)?;
            Ok((key, version))
        })?;
        let UpdateKeyOptions {
            enabled,
            operations,
            not_before,
            expires_on,
            tags,
            release_policy,
            exportable,
        } = options;
        let attributes = &mut version.attributes;
        if exportable.is_some_and(|exportable| exportable != attributes.release_policy.is_some()) {
            return Err(Error::bad_parameter(
                "whether a version is exportable is decided when it is made: make a new one",
            ));
        }
        if let Some(policy) = release_policy {
            policy::settle_new_release_policy(attributes.release_policy.as_ref(), &policy)?;
            attributes.release_policy = Some(policy);
        }
        if let Some(requested) = operations {
            let operations = policy::settle_operations(version.body.spec, Some(requested))?;
            if policy::is_for_imports(attributes.operations) && operations != attributes.operations
            {
                return Err(Error::bad_parameter(
                    "a key for imports stays that: whoever could decrypt with it could read every key that came under it",
                ));
            }
            if operations
                .iter()
                .any(|operation| !attributes.operations.contains(operation))
                && let Ok(backend) = self.backend(&version.body.backend)
            {
                self.store.ensure_writable()?;
                let operations = policy::backend_operations(operations);
                backend.permit(&reference(&version.body), operations)?;
            }
            attributes.operations = operations;
        }
        attributes.validity = Validity::new(
            not_before.apply(attributes.validity.not_before()),
            expires_on.apply(attributes.validity.expires_on()),
        )?;
        attributes.enabled = enabled.unwrap_or(attributes.enabled);
        attributes.tags = tags
            .apply(Some(std::mem::take(&mut attributes.tags)))
            .unwrap_or_default();
        attributes.updated = self.now();
        act.note_version(version.version);
        self.commit(act, name, vec![self.put_version(&key, &version)?])?;
        Ok(self.bundle(&key.object, version))
    }

    /// The key of this name, if it is in use.
    pub(super) fn load_active(&self, view: &View<'_>, name: &KeyName) -> Result<StoredKey> {
        self.load_key(view, name)?
            .filter(|key| policy::lifecycle(&key.object, self.now()) == Lifecycle::Active)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::KeyNotFound,
                    "no key of this name is in this vault; if it was deleted, it may be recoverable \
                     with recover_deleted_key",
                )
            })
    }

    pub(super) fn load_selected(
        &self,
        view: &View<'_>,
        key: &StoredKey,
        selector: KeySelector<'_>,
    ) -> Result<VersionRecord> {
        match selector.version() {
            None => self.load_newest(view, key),
            Some(version) => self.load_version(view, key, version)?.ok_or_else(|| {
                Error::new(
                    ErrorKind::KeyNotFound,
                    "the key has no such version; list_key_properties_versions shows those it has",
                )
            }),
        }
    }

    pub(super) fn bundle(&self, object: &KeyObject, version: VersionRecord) -> KeyBundle {
        let id = self.identifier(&object.name, version.version);
        let key_type = version.body.spec.key_type(version.body.hsm);
        let key = JsonWebKey::new(
            Some(id),
            key_type,
            version.attributes.operations,
            version.body.public.as_ref(),
        );
        KeyBundle {
            key,
            properties: self.properties(object, version),
        }
    }

    pub(super) fn properties(&self, object: &KeyObject, version: VersionRecord) -> KeyProperties {
        let settings = self.deletion_settings();
        let VersionAttributes {
            enabled,
            validity,
            operations: _,
            tags,
            release_policy,
            created,
            updated,
        } = version.attributes;
        KeyProperties {
            id: self.identifier(&object.name, version.version),
            key_type: version.body.spec.key_type(version.body.hsm),
            enabled,
            not_before: validity.not_before(),
            expires_on: validity.expires_on(),
            created_on: created,
            updated_on: updated,
            recoverable_days: settings.soft_delete().recoverable_days(),
            recovery_level: settings.recovery_level(),
            tags,
            backend: version.body.backend,
            release_policy,
        }
    }
}
