//! New versions: created, imported, rotated; and what they may come after.

use super::ability::is_able;
use super::drafts::{Draft, NewVersion, Reason, Source, Succession, public_exponent};
use super::header::Sealing;
use super::intents::Creation;
use super::records::{Removal, StoredKey};
use super::{Act, Inner, Operation, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::model::attributes::Validity;
use crate::model::key::{KeyObject, Origin, VaultLabel, VersionAttributes, VersionRecord};
use crate::model::material::KeyMaterial;
use crate::model::name::KeyName;
use crate::model::options::VersionOptions;
use crate::model::release_policy::ReleasePolicy;
use crate::model::results::KeyBundle;
use crate::model::spec::KeySpec;
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::policy::{self, Lifecycle};
use crate::secret::Key32;
use crate::store::{Change, View};

impl Inner {
    pub(super) fn create(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        spec: KeySpec,
        public_exponent: Option<u64>,
        options: VersionOptions,
    ) -> Result<KeyBundle> {
        let draft = self.draft_generated(name, spec, public_exponent, options)?;
        self.make_version(act, name, draft)?.ok_or_else(outrun)
    }

    pub(super) fn import(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        material: KeyMaterial,
        options: VersionOptions,
    ) -> Result<KeyBundle> {
        let draft = self.draft_imported(name, material, options)?;
        self.make_version(act, name, draft)?.ok_or_else(outrun)
    }

    /// Lets the backend make the key and adds it as a version. `None` is for rotations: the key has changed
    /// meanwhile, and what was made does not succeed it any more.
    fn make_version(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        draft: Draft<'_>,
    ) -> Result<Option<KeyBundle>> {
        let creation = self.begin_creation(draft.backend(), vec![draft.tag()])?;
        let made = self
            .make_drafted(draft)
            .and_then(|version| self.add_version(act, name, version, &creation));
        self.finish_creation(&creation, matches!(made, Ok(Some(_))));
        made
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
        let source = Source::Generated {
            public_exponent: body.public.as_ref().and_then(public_exponent),
        };
        let succession = Succession::Rotation(reason);
        let draft = self.draft(
            name,
            body.spec,
            source,
            options,
            backend.as_ref(),
            succession,
        )?;
        self.make_version(act, name, draft)
    }

    /// Gives a version its id and its place, and commits it.
    fn add_version(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        new: NewVersion,
        creation: &Creation<'_>,
    ) -> Result<Option<KeyBundle>> {
        let _guard = self.locks.lock(name);
        let Some(placed) = self.place_version(act, name, new)? else {
            return Ok(None);
        };
        let sealing = self.header.sealing();
        let changes = self.seal_placed(&sealing, &placed, creation)?;
        self.commit(act, name, changes)?;
        drop(sealing);
        Ok(Some(self.placed_bundle(placed)))
    }

    /// Gives a version its id and its place in the key. `None` as [`Inner::make_version`]. The caller holds the lock of the
    /// name, until the version is committed.
    pub(super) fn place_version(
        &self,
        act: &Act<'_>,
        name: &KeyName,
        mut new: NewVersion,
    ) -> Result<Option<PlacedVersion>> {
        let now = self.now();
        let id = KeyVersion::random(&*self.entropy)?;
        let succession = new.succession;
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
            succession: _,
        } = new;
        act.note_version(id);
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
        Ok(Some(PlacedVersion { key, record }))
    }

    /// The changes that make a version durable, and the creation of its key complete.
    pub(super) fn seal_placed(
        &self,
        sealing: &Sealing<'_>,
        placed: &PlacedVersion,
        creation: &Creation<'_>,
    ) -> Result<Vec<Change>> {
        let mut changes = vec![
            self.put_version(&placed.key, &placed.record)?,
            self.put_key(sealing, &placed.key)?,
        ];
        changes.extend(creation.end());
        Ok(changes)
    }

    pub(super) fn placed_bundle(&self, placed: PlacedVersion) -> KeyBundle {
        self.bundle(&placed.key.object, placed.record)
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

    pub(super) fn admit(
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
}

/// A version with its place in its key, not committed yet.
pub(super) struct PlacedVersion {
    key: StoredKey,
    record: VersionRecord,
}

/// Whether a version may be added under a name, and after what.
pub(super) enum Admission {
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
    pub(super) fn release_policy(
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

pub(super) fn outrun() -> Error {
    Error::internal("only a rotation can be outrun by another change")
}

pub(super) fn name_is_deleted() -> Error {
    Error::new(
        ErrorKind::KeyDeleted,
        "a deleted key holds this name: recover it with recover_deleted_key, or purge it first",
    )
}
