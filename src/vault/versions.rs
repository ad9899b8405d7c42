//! New versions: created, imported, rotated; and what they may come after.

use super::intents::Creation;
use super::records::{Removal, StoredKey};
use super::{Act, Inner, Operation, Subject};
use crate::backend::{BackendResult, Capabilities, KeyBackend, KeyRequest, NewKey};
use crate::crypto::limits::{MAX_RSA_EXPONENT, MIN_RSA_EXPONENT, is_rsa_exponent};
use crate::error::{Error, ErrorKind, Result};
use crate::model::attributes::Validity;
use crate::model::key::{
    KeyBlob, KeyObject, KeyTag, Origin, VaultLabel, VersionAttributes, VersionBody, VersionRecord,
};
use crate::model::material::{KeyMaterial, PublicParts};
use crate::model::name::KeyName;
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::options::VersionOptions;
use crate::model::release_policy::ReleasePolicy;
use crate::model::results::KeyBundle;
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
    exportable: bool,
    release_policy: Option<ReleasePolicy>,
}

/// Whether a backend can do something. One that cannot be reached does nothing, and says why; one that can be reached
/// after all is asked again.
pub(super) fn is_able(
    backend: &dyn KeyBackend,
    able: impl Fn(&Capabilities) -> bool,
) -> Result<bool> {
    if able(&backend.capabilities()) {
        return Ok(true);
    }
    backend.check()?;
    Ok(able(&backend.capabilities()))
}

impl Inner {
    pub(super) fn create(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        spec: KeySpec,
        public_exponent: Option<u64>,
        options: VersionOptions,
    ) -> Result<KeyBundle> {
        check_public_exponent(spec, public_exponent)?;
        let backend = self.place(&options.placement)?;
        if !is_able(backend.as_ref(), |able| able.generates(spec))? {
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
            act,
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

    pub(super) fn import(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        material: &KeyMaterial,
        options: VersionOptions,
    ) -> Result<KeyBundle> {
        let spec = material.spec();
        let backend = self.place(&options.placement)?;
        if !is_able(backend.as_ref(), |able| able.imports(spec))? {
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
            act,
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
        act: &Act<'_>,
        name: &KeyName,
        spec: KeySpec,
        origin: Origin,
        options: VersionOptions,
        backend: &dyn KeyBackend,
        make: impl FnOnce(KeyRequest<'_>) -> BackendResult<NewKey>,
        succession: Succession,
    ) -> Result<Option<KeyBundle>> {
        let mut operations = policy::settle_operations(spec, options.operations)?;
        if options.exportable && options.operations.is_none() {
            operations = operations.with(KeyOperation::Export);
        }
        self.require_release(backend, spec, &options)?;
        let validity = options.validity()?;
        let tags = options.tags?;
        // What can be refused is refused before the backend works; it is asked again under the lock.
        self.store.read(|view| {
            let admission = self.admit(view, name, spec, succession)?;
            admission.release_policy(options.exportable, options.release_policy.as_ref())
        })?;
        let (tag, label) = (KeyTag::random(&*self.entropy)?, self.label());
        let request = KeyRequest::new(tag, spec, policy::backend_operations(operations), &label)
            .with_backup_allowed(options.backup_allowed)
            .with_exportable(options.exportable);
        let creation = self.begin_creation(backend, vec![tag])?;
        let complete = |new: NewKey| {
            let (blob, public) = new.into_parts();
            if blob.expose().len() > KeyBlob::MAX_LENGTH {
                return Err(Error::new(
                    ErrorKind::BackendRejected,
                    "the backend gave a blob that is longer than a record can hold",
                ));
            }
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
                exportable: options.exportable,
                release_policy: options.release_policy,
            };
            self.add_version(act, name, version, succession, &creation)
        };
        let made = make(request).map_err(Error::from).and_then(complete);
        self.finish_creation(&creation, matches!(made, Ok(Some(_))));
        made
    }

    fn require_release(
        &self,
        backend: &dyn KeyBackend,
        spec: KeySpec,
        options: &VersionOptions,
    ) -> Result<()> {
        if options.exportable && !backend.releases(spec) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the backend {} does not make keys of {spec} that can be released",
                    backend.id()
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn rotate(&self, act: &Act<'_>, name: &KeyName) -> Result<KeyBundle> {
        self.rotate_for(act, name, Reason::Asked)?
            .ok_or_else(outrun)
    }

    /// Rotates a key if its policy says that it is time. `None` if it is not, or not any more.
    pub(super) fn rotate_if_due(&self, act: &Act<'_>, name: &KeyName) -> Result<Option<KeyBundle>> {
        self.rotate_for(act, name, Reason::Due)
    }

    fn rotate_for(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        reason: Reason,
    ) -> Result<Option<KeyBundle>> {
        // The new key is made without a lock. Each further turn means that another change of this key came
        // through meanwhile.
        loop {
            let (key, newest) = self.store.read(|view| {
                let key = self.load_active(view, name)?;
                let newest = self.load_newest(view, &key)?;
                Ok((key, newest))
            })?;
            if !self.calls_for(reason, &key.object, &newest) {
                return Ok(None);
            }
            if let Some(bundle) = self.try_rotate(act, name, newest, reason)? {
                return Ok(Some(bundle));
            }
        }
    }

    fn calls_for(&self, reason: Reason, object: &KeyObject, newest: &VersionRecord) -> bool {
        let now = self.now();
        match reason {
            Reason::Asked => true,
            Reason::Due => policy::schedule(object, newest)
                .rotation
                .is_some_and(|time| time <= now),
        }
    }

    fn try_rotate(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        newest: VersionRecord,
        reason: Reason,
    ) -> Result<Option<KeyBundle>> {
        let VersionRecord {
            attributes, body, ..
        } = newest;
        if body.hsm && body.origin == Origin::Imported {
            return Err(Error::bad_parameter(
                "an imported -HSM key is rotated by importing its successor",
            ));
        }
        let backend = self.backend(&body.backend)?;
        if !is_able(backend.as_ref(), |able| able.generates(body.spec))? {
            return Err(Error::bad_parameter(format!(
                "a key of {} is not generated here; rotate it by importing its successor",
                body.spec
            )));
        }
        let options = VersionOptions {
            operations: Some(attributes.operations),
            exportable: attributes.release_policy.is_some(),
            backup_allowed: body.backup_allowed,
            ..VersionOptions::default()
        };
        let exponent = body.public.as_ref().and_then(public_exponent);
        let make =
            |request: KeyRequest<'_>| backend.generate(&request.with_public_exponent(exponent));
        self.make_version(
            act,
            name,
            body.spec,
            Origin::Generated,
            options,
            backend.as_ref(),
            make,
            Succession::Rotation(reason),
        )
    }

    /// Gives a version its id and its place, and commits it.
    fn add_version(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        mut new: NewVersion,
        succession: Succession,
        creation: &Creation<'_>,
    ) -> Result<Option<KeyBundle>> {
        let _guard = self.locks.lock(name);
        let now = self.now();
        let id = KeyVersion::random(&*self.entropy)?;
        let admission = self
            .store
            .read(|view| self.admit(view, name, new.body.spec, succession))?;
        if let (Succession::Rotation(reason), Admission::Follows { key, newest }) =
            (succession, &admission)
            && (!new.succeeds(newest) || !self.calls_for(reason, &key.object, newest))
        {
            return Ok(None);
        }
        new.release_policy =
            admission.release_policy(new.exportable, new.release_policy.as_ref())?;
        let (mut key, ordinal) = match admission {
            Admission::Follows { key, newest } => {
                let ordinal = newest.ordinal.checked_add(1).ok_or_else(|| {
                    Error::internal("a key has more versions than can be counted")
                })?;
                if let Succession::Rotation(_) = succession {
                    new.tags = newest.attributes.tags;
                    let life = key.object.rotation_policy().life();
                    new.validity = Validity::new(None, life.map(|life| life.after(now)))?;
                }
                (*key, ordinal)
            }
            Admission::First { gone } => {
                if let Some(gone) = gone {
                    let purge = act.beside(Operation::PurgeDeletedKey, Subject::from(name));
                    self.commit_purge(&purge, name, gone, now)?;
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
            exportable: _,
            release_policy,
        } = new;
        let record = VersionRecord {
            version: id,
            ordinal,
            attributes: VersionAttributes {
                enabled,
                validity,
                operations,
                tags,
                release_policy,
                created: now,
                updated: now,
            },
            body,
        };
        let sealing = self.header.sealing();
        let mut changes = vec![
            self.put_version(&key, &record)?,
            self.put_key(&sealing, &key)?,
        ];
        changes.extend(creation.end());
        act.note_version(id);
        self.commit(act, name, changes)?;
        drop(sealing);
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
                rotation_policy: None,
                announced: None,
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
            Succession::Rotation(_) => {
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

    /// How this vault's objects in devices are labelled.
    pub(super) fn label(&self) -> VaultLabel {
        let mut first = [0; 8];
        first.copy_from_slice(&self.hierarchy.vault_id()[..8]);
        VaultLabel::from_bytes(first)
    }

    pub(super) fn rejection_secret(&self, spec: KeySpec) -> Result<Option<SecretBytes>> {
        match spec.family() {
            KeyFamily::Rsa => {
                SecretBytes::random(REJECTION_SECRET_LENGTH, &*self.entropy).map(Some)
            }
            KeyFamily::Ec | KeyFamily::Oct => Ok(None),
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
    Rotation(Reason),
}

/// Why a key is rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Asked,
    /// Its policy says so; that must still be so when the new version is committed.
    Due,
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
    First { gone: Option<Removal> },
}

impl Admission {
    fn follows(key: StoredKey, newest: VersionRecord) -> Self {
        Self::Follows {
            key: Box::new(key),
            newest: Box::new(newest),
        }
    }
}

impl Admission {
    /// The release policy of the new version: the given one, or that of the newest.
    ///
    /// Errors: `BadParameter` for an exportable version that has none, and for one that needs none.
    fn release_policy(
        &self,
        exportable: bool,
        given: Option<&ReleasePolicy>,
    ) -> Result<Option<ReleasePolicy>> {
        let inherited = match self {
            Self::Follows { newest, .. } => newest.attributes.release_policy.as_ref(),
            Self::First { .. } => None,
        };
        policy::settle_release_policy(exportable, given, inherited).map(|policy| policy.cloned())
    }
}

impl NewVersion {
    /// Whether this is what a rotation of `newest` makes.
    fn succeeds(&self, newest: &VersionRecord) -> bool {
        let exponent = |body: &VersionBody| body.public.as_ref().and_then(public_exponent);
        self.body.spec == newest.body.spec
            && self.body.backend == newest.body.backend
            && self.body.backup_allowed == newest.body.backup_allowed
            && self.exportable == newest.attributes.release_policy.is_some()
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

/// Before any backend is asked: devices differ in what they take.
fn check_public_exponent(spec: KeySpec, exponent: Option<u64>) -> Result<()> {
    match exponent {
        Some(_) if spec.family() != KeyFamily::Rsa => Err(Error::bad_parameter(
            "only an RSA key has a public exponent",
        )),
        Some(e) if !is_rsa_exponent(e) => Err(Error::bad_parameter(format!(
            "a public exponent is odd and between {MIN_RSA_EXPONENT} and {MAX_RSA_EXPONENT}, but {e} was given"
        ))),
        _ => Ok(()),
    }
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
