//! What a new version is to be, before a backend makes its key, and what the backend made of it.

use super::Inner;
use super::ability::is_able;
use crate::backend::{BackendResult, KeyBackend, KeyRequest, NewKey};
use crate::crypto::limits::{MAX_RSA_EXPONENT, MIN_RSA_EXPONENT, is_rsa_exponent};
use crate::error::{Error, ErrorKind, Result};
use crate::model::attributes::Validity;
use crate::model::key::{KeyBlob, KeyTag, Origin, VaultLabel, VersionBody, VersionRecord};
use crate::model::material::{KeyMaterial, PublicParts};
use crate::model::name::KeyName;
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::options::VersionOptions;
use crate::model::release_policy::ReleasePolicy;
use crate::model::spec::{KeyFamily, KeySpec};
use crate::model::tags::Tags;
use crate::policy;
use crate::secret::SecretBytes;

/// Length of the secret of implicit rejection, in bytes.
const REJECTION_SECRET_LENGTH: usize = 32;

/// Where the key of a new version comes from.
pub(super) enum Source {
    Generated { public_exponent: Option<u64> },
    Imported(KeyMaterial),
}

/// A version that is to be made. What the vault itself can refuse was refused.
pub(super) struct Draft<'a> {
    backend: &'a dyn KeyBackend,
    source: Source,
    spec: KeySpec,
    tag: KeyTag,
    label: VaultLabel,
    operations: KeyOperations,
    enabled: bool,
    validity: Validity,
    tags: Tags,
    backup_allowed: bool,
    exportable: bool,
    release_policy: Option<ReleasePolicy>,
    succession: Succession,
}

/// A version that has a backend's blob and waits for its place in the key.
pub(super) struct NewVersion {
    pub(super) body: VersionBody,
    pub(super) enabled: bool,
    pub(super) validity: Validity,
    pub(super) operations: KeyOperations,
    pub(super) tags: Tags,
    pub(super) exportable: bool,
    pub(super) release_policy: Option<ReleasePolicy>,
    pub(super) succession: Succession,
}

impl Inner {
    /// What [`Vault::create_key`](crate::Vault::create_key) is asked for.
    pub(super) fn draft_generated(
        &self,
        name: &KeyName,
        spec: KeySpec,
        public_exponent: Option<u64>,
        options: VersionOptions,
    ) -> Result<Draft<'_>> {
        check_public_exponent(spec, public_exponent)?;
        let backend = self.place(&options.placement)?.as_ref();
        if !is_able(backend, |able| able.generates(spec))? {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the backend {} does not make keys of {spec}", backend.id()),
            ));
        }
        let source = Source::Generated { public_exponent };
        let succession = options.succession();
        self.draft(name, spec, source, options, backend, succession)
    }

    /// What [`Vault::import_key`](crate::Vault::import_key) is asked for.
    pub(super) fn draft_imported(
        &self,
        name: &KeyName,
        material: KeyMaterial,
        options: VersionOptions,
    ) -> Result<Draft<'_>> {
        let spec = material.spec();
        let backend = self.place(&options.placement)?.as_ref();
        if !is_able(backend, |able| able.imports(spec))? {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the backend {} does not import keys of {spec}",
                    backend.id()
                ),
            ));
        }
        let source = Source::Imported(material);
        let succession = options.succession();
        self.draft(name, spec, source, options, backend, succession)
    }

    pub(super) fn draft<'a>(
        &self,
        name: &KeyName,
        spec: KeySpec,
        source: Source,
        options: VersionOptions,
        backend: &'a dyn KeyBackend,
        succession: Succession,
    ) -> Result<Draft<'a>> {
        let mut operations = policy::settle_operations(spec, options.operations)?;
        if options.exportable && options.operations.is_none() {
            operations = operations.with(KeyOperation::Export);
        }
        require_release(backend, spec, &options)?;
        let validity = options.validity()?;
        let tags = options.tags?;
        // What can be refused is refused before the backend works; it is asked again under the lock.
        self.store.read(|view| {
            let admission = self.admit(view, name, spec, succession)?;
            admission.release_policy(options.exportable, options.release_policy.as_ref())
        })?;
        Ok(Draft {
            backend,
            source,
            spec,
            tag: KeyTag::random(&*self.entropy)?,
            label: self.label(),
            operations,
            enabled: options.enabled,
            validity,
            tags,
            backup_allowed: options.backup_allowed,
            exportable: options.exportable,
            release_policy: options.release_policy,
            succession,
        })
    }

    /// Lets the backend make the key. What is about to be made must be written down before, see
    /// [`Inner::begin_creation`].
    pub(super) fn make_drafted(&self, draft: Draft<'_>) -> Result<NewVersion> {
        let (blob, public) = draft.make()?.into_parts();
        if blob.expose().len() > KeyBlob::MAX_LENGTH {
            return Err(Error::new(
                ErrorKind::BackendRejected,
                "the backend gave a blob that is longer than a record can hold",
            ));
        }
        Ok(NewVersion {
            body: VersionBody {
                tag: draft.tag,
                spec: draft.spec,
                hsm: draft.backend.is_hardware(),
                backend: draft.backend.id().clone(),
                origin: match draft.source {
                    Source::Generated { .. } => Origin::Generated,
                    Source::Imported(_) => Origin::Imported,
                },
                backup_allowed: draft.backup_allowed,
                rejection_secret: self.rejection_secret(draft.spec)?,
                public,
                blob,
            },
            enabled: draft.enabled,
            validity: draft.validity,
            operations: draft.operations,
            tags: draft.tags,
            exportable: draft.exportable,
            release_policy: draft.release_policy,
            succession: draft.succession,
        })
    }

    fn rejection_secret(&self, spec: KeySpec) -> Result<Option<SecretBytes>> {
        match spec.family() {
            KeyFamily::Rsa => {
                SecretBytes::random(REJECTION_SECRET_LENGTH, &*self.entropy).map(Some)
            }
            KeyFamily::Ec | KeyFamily::Oct => Ok(None),
        }
    }
}

impl<'a> Draft<'a> {
    pub(super) fn backend(&self) -> &'a dyn KeyBackend {
        self.backend
    }

    pub(super) fn tag(&self) -> KeyTag {
        self.tag
    }

    fn make(&self) -> BackendResult<NewKey> {
        let operations = policy::backend_operations(self.operations);
        let request = KeyRequest::new(self.tag, self.spec, operations, &self.label)
            .with_backup_allowed(self.backup_allowed)
            .with_exportable(self.exportable);
        match &self.source {
            Source::Generated { public_exponent } => self
                .backend
                .generate(&request.with_public_exponent(*public_exponent)),
            Source::Imported(material) => self.backend.import(&request, material),
        }
    }
}

impl NewVersion {
    /// Whether this is what a rotation of `newest` makes.
    pub(super) fn succeeds(&self, newest: &VersionRecord) -> bool {
        let exponent = |body: &VersionBody| body.public.as_ref().and_then(public_exponent);
        self.body.spec == newest.body.spec
            && self.body.backend == newest.body.backend
            && self.body.backup_allowed == newest.body.backup_allowed
            && self.exportable == newest.attributes.release_policy.is_some()
            && exponent(&self.body) == exponent(&newest.body)
            && self.operations == newest.attributes.operations
    }
}

impl VersionOptions {
    fn succession(&self) -> Succession {
        Succession::Any {
            type_change_allowed: self.type_change_allowed,
        }
    }
}

fn require_release(
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

pub(super) fn public_exponent(public: &PublicParts) -> Option<u64> {
    match public {
        PublicParts::Rsa { e, .. } if e.len() <= 8 => Some(
            e.iter()
                .fold(0, |exponent, byte| exponent << 8 | u64::from(*byte)),
        ),
        _ => None,
    }
}

/// What a new version may come after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Succession {
    /// Nothing, or a version that the options permit.
    Any { type_change_allowed: bool },
    /// Only a version like it: the key must exist when the new version is committed, not only when the
    /// rotation began.
    Rotation(Reason),
}

/// Why a key is rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    Asked,
    /// Its policy says so; that must still be so when the new version is committed.
    Due,
}
