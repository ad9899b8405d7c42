//! Creating, importing, rotating, reading and updating keys.

use super::lifecycle::GoneKey;
use super::records::StoredKey;
use super::{Inner, Vault};
use crate::backend::{BackendResult, KeyBackend, KeyRequest, NewKey};
use crate::crypto::validation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::attributes::Validity;
use crate::model::identifier::KeySelector;
use crate::model::jwk::JsonWebKey;
use crate::model::key::{KeyObject, KeyTag, Origin, VersionAttributes, VersionBody, VersionRecord};
use crate::model::material::{KeyMaterial, PublicParts};
use crate::model::name::KeyName;
use crate::model::operation::KeyOperations;
use crate::model::options::{CreateKeyOptions, ImportKeyOptions, UpdateKeyOptions, VersionOptions};
use crate::model::results::{KeyBundle, KeyProperties};
use crate::model::spec::{KeyFamily, KeySpec};
use crate::model::tags::Tags;
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::policy::{self, Lifecycle};
use crate::secret::{Key32, SecretBytes};
use crate::store::View;

/// Length of the secret of implicit rejection, in bytes.
const REJECTION_SECRET_LENGTH: usize = 32;

/// A version that has a backend's blob and waits for its place in the key.
struct NewVersion {
    body: VersionBody,
    enabled: bool,
    validity: Validity,
    operations: KeyOperations,
    tags: Tags,
}

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
        self.inner
            .create(name, spec, public_exponent, common)
            .map_err(|error| error.with_key(name).with_operation("create_key"))
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
        let import = || {
            let material = validation::validate(key, &*self.inner.entropy)?;
            self.inner.import(name, &material, common)
        };
        import().map_err(|error| error.with_key(name).with_operation("import_key"))
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
        self.inner
            .rotate(name)
            .map_err(|error| error.with_key(name).with_operation("rotate_key"))
    }

    /// The public part and the properties of a version: Azure's
    /// [Get Key](https://learn.microsoft.com/rest/api/keyvault/keys/get-key/get-key).
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound), and the errors of storage.
    pub fn get_key<'a>(&self, key: impl Into<KeySelector<'a>>) -> Result<KeyBundle> {
        let selector = key.into();
        let get = || {
            let (stored, version) = self.inner.store.read(|view| {
                let stored = self.inner.load_active(view, selector.name())?;
                let version = self.inner.load_selected(view, &stored, selector)?;
                Ok((stored, version))
            })?;
            Ok(self.inner.bundle(&stored.object, version))
        };
        get().map_err(|error: Error| error.with_key(selector).with_operation("get_key"))
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
    /// key cannot do, an empty set, or a window that ends before it begins; and the errors of storage.
    pub fn update_key_properties<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        options: UpdateKeyOptions,
    ) -> Result<KeyBundle> {
        let selector = key.into();
        self.inner.update(selector, options).map_err(|error| {
            error
                .with_key(selector)
                .with_operation("update_key_properties")
        })
    }
}

impl Inner {
    fn create(
        &self,
        name: &KeyName,
        spec: KeySpec,
        public_exponent: Option<u64>,
        options: VersionOptions,
    ) -> Result<KeyBundle> {
        if public_exponent.is_some() && spec.family() != KeyFamily::Rsa {
            return Err(Error::bad_parameter(
                "only an RSA key has a public exponent",
            ));
        }
        let backend = self.place(&options.placement)?;
        if !backend.capabilities().generates(spec) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the backend {} does not make keys of {spec}", backend.id()),
            ));
        }
        let make = |request: KeyRequest<'_>| {
            backend.generate(&request.with_public_exponent(public_exponent))
        };
        let succession = options.succession();
        self.make_version(
            name,
            spec,
            Origin::Generated,
            options,
            backend.as_ref(),
            make,
            succession,
        )?
        .ok_or_else(outrun)
    }

    fn import(
        &self,
        name: &KeyName,
        material: &KeyMaterial,
        options: VersionOptions,
    ) -> Result<KeyBundle> {
        let spec = material.spec();
        let backend = self.place(&options.placement)?;
        if !backend.capabilities().imports(spec) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the backend {} does not import keys of {spec}",
                    backend.id()
                ),
            ));
        }
        let make = |request: KeyRequest<'_>| backend.import(&request, material);
        let succession = options.succession();
        self.make_version(
            name,
            spec,
            Origin::Imported,
            options,
            backend.as_ref(),
            make,
            succession,
        )?
        .ok_or_else(outrun)
    }

    /// Lets `make` produce the key and adds it as a version. `None` is for rotations: the key has changed
    /// meanwhile, and what was made does not succeed it any more.
    #[expect(
        clippy::too_many_arguments,
        reason = "two callers, right above and below"
    )]
    fn make_version(
        &self,
        name: &KeyName,
        spec: KeySpec,
        origin: Origin,
        options: VersionOptions,
        backend: &dyn KeyBackend,
        make: impl FnOnce(KeyRequest<'_>) -> BackendResult<NewKey>,
        succession: Succession,
    ) -> Result<Option<KeyBundle>> {
        let operations = policy::settle_operations(spec, options.operations)?;
        let validity = options.validity()?;
        let tags = options.tags?;
        // What can be refused is refused before the backend works; it is asked again under the lock.
        self.store
            .read(|view| self.admit(view, name, spec, succession).map(drop))?;
        let (tag, label) = self.new_tag()?;
        let request = KeyRequest::new(tag, spec, operations, &label)
            .with_backup_allowed(options.backup_allowed);
        let (blob, public) = make(request)?.into_parts();
        let version = NewVersion {
            body: VersionBody {
                tag,
                spec,
                hsm: backend.is_hardware(),
                backend: backend.id().clone(),
                origin,
                backup_allowed: options.backup_allowed,
                rejection_secret: self.rejection_secret(spec)?,
                public,
                blob,
            },
            enabled: options.enabled,
            validity,
            operations,
            tags,
        };
        self.add_version(name, version, succession)
    }

    fn rotate(&self, name: &KeyName) -> Result<KeyBundle> {
        // The new key is made without a lock. Each further turn means that another change of this key came
        // through meanwhile.
        loop {
            if let Some(bundle) = self.try_rotate(name)? {
                return Ok(bundle);
            }
        }
    }

    fn try_rotate(&self, name: &KeyName) -> Result<Option<KeyBundle>> {
        let VersionRecord {
            attributes, body, ..
        } = self.store.read(|view| {
            let key = self.load_active(view, name)?;
            self.load_newest(view, &key)
        })?;
        if body.hsm && body.origin == Origin::Imported {
            return Err(Error::bad_parameter(
                "an imported -HSM key is rotated by importing its successor",
            ));
        }
        let backend = self.backend(&body.backend)?;
        if !backend.capabilities().generates(body.spec) {
            return Err(Error::bad_parameter(format!(
                "a key of {} is not generated here; rotate it by importing its successor",
                body.spec
            )));
        }
        let options = VersionOptions {
            operations: Some(attributes.operations),
            backup_allowed: body.backup_allowed,
            ..VersionOptions::default()
        };
        let exponent = body.public.as_ref().and_then(public_exponent);
        let make =
            |request: KeyRequest<'_>| backend.generate(&request.with_public_exponent(exponent));
        self.make_version(
            name,
            body.spec,
            Origin::Generated,
            options,
            backend.as_ref(),
            make,
            Succession::Rotation,
        )
    }

    fn update(&self, selector: KeySelector<'_>, options: UpdateKeyOptions) -> Result<KeyBundle> {
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
        } = options;
        let attributes = &mut version.attributes;
        if let Some(requested) = operations {
            attributes.operations = policy::settle_operations(version.body.spec, Some(requested))?;
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
        self.commit(name, vec![self.put_version(&key, &version)?])?;
        Ok(self.bundle(&key.object, version))
    }

    /// Gives a version its id and its place, and commits it.
    fn add_version(
        &self,
        name: &KeyName,
        mut new: NewVersion,
        succession: Succession,
    ) -> Result<Option<KeyBundle>> {
        let _guard = self.locks.lock(name);
        let now = self.now();
        let id = KeyVersion::random(&*self.entropy)?;
        let admission = self
            .store
            .read(|view| self.admit(view, name, new.body.spec, succession))?;
        let (mut key, ordinal) = match admission {
            Admission::Follows { newest, .. }
                if succession == Succession::Rotation && !new.succeeds(&newest) =>
            {
                return Ok(None);
            }
            Admission::Follows { key, newest } => {
                let ordinal = newest.ordinal.checked_add(1).ok_or_else(|| {
                    Error::internal("a key has more versions than can be counted")
                })?;
                if succession == Succession::Rotation {
                    new.tags = newest.attributes.tags;
                }
                (*key, ordinal)
            }
            Admission::First { gone } => {
                if let Some(gone) = gone {
                    self.commit_purge(name, gone.removal, &gone.object_id, now)?;
                }
                (self.new_key(name, id, now)?, 1)
            }
        };
        key.object.newest = id;
        key.object.version_count += 1;
        key.object.updated = now;
        let NewVersion {
            body,
            enabled,
            validity,
            operations,
            tags,
        } = new;
        let record = VersionRecord {
            version: id,
            ordinal,
            attributes: VersionAttributes {
                enabled,
                validity,
                operations,
                tags,
                created: now,
                updated: now,
            },
            body,
        };
        let changes = vec![self.put_version(&key, &record)?, self.put_key(&key)?];
        self.commit(name, changes)?;
        Ok(Some(self.bundle(&key.object, record)))
    }

    fn new_key(&self, name: &KeyName, newest: KeyVersion, now: Timestamp) -> Result<StoredKey> {
        let mut object_id = [0; 16];
        self.entropy.fill(&mut object_id)?;
        Ok(StoredKey {
            n: self.hierarchy.name_prf(name),
            data_key: Key32::random(&*self.entropy)?,
            object: KeyObject {
                name: name.clone(),
                object_id,
                created: now,
                updated: now,
                newest,
                version_count: 0,
                deletion: None,
            },
        })
    }

    fn admit(
        &self,
        view: &View<'_>,
        name: &KeyName,
        spec: KeySpec,
        succession: Succession,
    ) -> Result<Admission> {
        let type_change_allowed = match succession {
            Succession::Rotation => {
                let key = self.load_active(view, name)?;
                let newest = self.load_newest(view, &key)?;
                return Ok(Admission::follows(key, newest));
            }
            Succession::Any {
                type_change_allowed,
            } => type_change_allowed,
        };
        let Some(key) = self.load_key(view, name)? else {
            return Ok(Admission::First { gone: None });
        };
        match policy::lifecycle(&key.object, self.now()) {
            Lifecycle::Active => {
                let newest = self.load_newest(view, &key)?;
                policy::settle_family(newest.body.spec, spec.family(), type_change_allowed)?;
                Ok(Admission::follows(key, newest))
            }
            Lifecycle::Deleted => Err(name_is_deleted()),
            Lifecycle::Gone => Ok(Admission::First {
                gone: Some(self.gone_key(view, &key)?),
            }),
        }
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

    pub(super) fn new_tag(&self) -> Result<(KeyTag, String)> {
        let tag = KeyTag::random(&*self.entropy)?;
        let vault = KeyTag::from_bytes(*self.hierarchy.vault_id());
        let label = format!("strongroom/{}/{tag}", &vault.to_string()[..16]);
        Ok((tag, label))
    }

    pub(super) fn rejection_secret(&self, spec: KeySpec) -> Result<Option<SecretBytes>> {
        match spec.family() {
            KeyFamily::Rsa => {
                SecretBytes::random(REJECTION_SECRET_LENGTH, &*self.entropy).map(Some)
            }
            KeyFamily::Ec | KeyFamily::Oct => Ok(None),
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
        }
    }
}

/// What a new version may come after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Succession {
    /// Nothing, or a version that the options permit.
    Any { type_change_allowed: bool },
    /// Only a version like it: the key must exist when the new version is committed, not only when the
    /// rotation began.
    Rotation,
}

impl VersionOptions {
    fn succession(&self) -> Succession {
        Succession::Any {
            type_change_allowed: self.type_change_allowed,
        }
    }
}

/// Whether a version may be added under a name, and after what.
enum Admission {
    /// The key exists.
    Follows {
        key: Box<StoredKey>,
        newest: Box<VersionRecord>,
    },
    /// The name is free, perhaps after a purge that is due.
    First { gone: Option<GoneKey> },
}

impl Admission {
    fn follows(key: StoredKey, newest: VersionRecord) -> Self {
        Self::Follows {
            key: Box::new(key),
            newest: Box::new(newest),
        }
    }
}

impl NewVersion {
    /// Whether this is what a rotation of `newest` makes.
    fn succeeds(&self, newest: &VersionRecord) -> bool {
        let exponent = |body: &VersionBody| body.public.as_ref().and_then(public_exponent);
        self.body.spec == newest.body.spec
            && self.body.backend == newest.body.backend
            && self.body.backup_allowed == newest.body.backup_allowed
            && exponent(&self.body) == exponent(&newest.body)
            && self.operations == newest.attributes.operations
    }
}

fn outrun() -> Error {
    Error::internal("only a rotation can be outrun by another change")
}

pub(super) fn name_is_deleted() -> Error {
    Error::new(
        ErrorKind::KeyDeleted,
        "a deleted key holds this name: recover it with recover_deleted_key, or purge it first",
    )
}

fn public_exponent(public: &PublicParts) -> Option<u64> {
    match public {
        PublicParts::Rsa { e, .. } if e.len() <= 8 => Some(
            e.iter()
                .fold(0, |exponent, byte| exponent << 8 | u64::from(*byte)),
        ),
        _ => None,
    }
}
