//! What the records say of keys in backends, against what the backends hold.

use std::collections::{BTreeMap, BTreeSet};

use super::intents::{Settled, by_backend};
use super::{Inner, OpenFinding, Vault};
use crate::backend::{BackendError, HeldKey, KeyBackend};
use crate::error::Result;
use crate::format::intent::Intent;
use crate::model::key::{BackendId, KeyTag};
use crate::model::name::KeyName;
use crate::model::version::KeyVersion;

/// How many key objects one step looks at.
const STEP: usize = 256;

/// Something about a backend that the vault cannot mend, or will not without being asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendFinding {
    backend: BackendId,
    kind: BackendFindingKind,
    tag: Option<KeyTag>,
    key: Option<(KeyName, KeyVersion)>,
    message: String,
}

/// The kinds of [`BackendFinding`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BackendFindingKind {
    /// Keys or unfinished calls name a backend that was not given to
    /// [`VaultOptions::backend`](crate::VaultOptions::backend).
    NotAttached,
    /// The backend did not answer, so nothing is known of its keys.
    Unavailable,
    /// A creation or destruction that was cut short is not settled yet.
    Unsettled,
    /// The key of a creation that was cut short is in use by another copy of this vault: this copy is older.
    UsedByAnotherCopy,
    /// The backend holds a key with this vault's label that no record knows.
    UnknownKey,
    /// The backend holds an object that nobody can be found for, as an interrupted generation leaves it.
    NamelessObject,
    /// A record's key is not in the backend.
    MissingKey,
}

impl BackendFinding {
    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &BackendId {
        &self.backend
    }

    /// What was found.
    #[must_use]
    pub fn kind(&self) -> BackendFindingKind {
        self.kind
    }

    /// The name of the key towards its backend.
    #[must_use]
    pub fn tag(&self) -> Option<KeyTag> {
        self.tag
    }

    /// The key and its version, where records tell.
    #[must_use]
    pub fn key(&self) -> Option<(&KeyName, KeyVersion)> {
        self.key.as_ref().map(|(name, version)| (name, *version))
    }

    /// What it means, for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    fn new(backend: &BackendId, kind: BackendFindingKind, message: impl Into<String>) -> Self {
        Self {
            backend: backend.clone(),
            kind,
            tag: None,
            key: None,
            message: message.into(),
        }
    }

    fn with_tag(mut self, tag: KeyTag) -> Self {
        self.tag = Some(tag);
        self
    }
}

impl Vault {
    /// Settles calls to backends that were cut short, and compares what the hardware backends hold with the
    /// records: what opening the vault does, again.
    ///
    /// Only a key whose creation or destruction this vault has noted is ever destroyed; everything else is
    /// reported. A vault whose anchor was rebuilt settles nothing, because it may be an older copy.
    ///
    /// **Blocking:** it reads every version record, and asks each hardware backend for all its keys.
    ///
    /// # Errors
    ///
    /// The errors of storage; a backend that fails is a finding.
    pub fn reconcile_backends(&self) -> Result<Vec<BackendFinding>> {
        let _operation = self.inner.enter("reconcile_backends")?;
        self.inner
            .reconcile(true)
            .map_err(|error| error.with_operation("reconcile_backends"))
    }
}

/// The versions whose keys a backend holds, by backend and tag.
type Known = BTreeMap<BackendId, BTreeMap<KeyTag, (KeyName, KeyVersion)>>;

impl Inner {
    /// Settles if `settle` allows it and the vault is certain to be the newest, and compares.
    pub(super) fn reconcile(&self, settle: bool) -> Result<Vec<BackendFinding>> {
        let settle = settle && self.may_settle();
        let mut findings = Vec::new();
        let mut intents = by_backend(self.pending_intents()?);
        let hardware: Vec<_> = self
            .backends
            .iter()
            .filter(|backend| backend.is_hardware())
            .collect();
        let before = if hardware.is_empty() {
            Known::new()
        } else {
            self.held_versions()?
        };
        for backend in &hardware {
            let pending = intents.remove(backend.id()).unwrap_or_default();
            self.reconcile_one(backend.as_ref(), pending, settle, &before, &mut findings)?;
        }
        for backend in self
            .backends
            .iter()
            .filter(|backend| !backend.is_hardware())
        {
            if let Some(pending) = intents.remove(backend.id()) {
                self.settle_or_report(backend.as_ref(), pending, settle, &mut findings)?;
            }
        }
        for (id, pending) in intents {
            findings.push(BackendFinding::new(
                &id,
                BackendFindingKind::NotAttached,
                format!(
                    "{} creations or destructions wait for this backend: open the vault with it",
                    pending.len()
                ),
            ));
        }
        for (id, versions) in &before {
            if !self.backends.iter().any(|backend| backend.id() == id) {
                findings.push(BackendFinding::new(
                    id,
                    BackendFindingKind::NotAttached,
                    format!("{} key versions need this backend", versions.len()),
                ));
            }
        }
        Ok(findings)
    }

    /// How many intents were settled, and how many still wait.
    pub(super) fn settle_everywhere(&self) -> Result<(usize, usize)> {
        let (mut done, mut waiting) = (0, 0);
        for (id, pending) in by_backend(self.pending_intents()?) {
            let backend = self.backend(&id).ok().filter(|_| self.may_settle());
            let Some(backend) = backend else {
                waiting += pending.len();
                continue;
            };
            let settled = self.settle_intents(backend.as_ref(), pending)?;
            done += settled.done + settled.in_use_elsewhere.len();
            waiting += settled.failed.len();
        }
        Ok((done, waiting))
    }

    /// A vault whose anchor was rebuilt may be an older copy.
    fn may_settle(&self) -> bool {
        !self.open_report.contains(OpenFinding::AnchorRebuilt)
    }

    fn reconcile_one(
        &self,
        backend: &dyn KeyBackend,
        pending: Vec<Intent>,
        settle: bool,
        before: &Known,
        findings: &mut Vec<BackendFinding>,
    ) -> Result<()> {
        if let Err(error) = backend.check() {
            findings.push(unavailable(backend.id(), &error));
            return Ok(());
        }
        let unsettled = self.settle_or_report(backend, pending, settle, findings)?;
        let mut excused = self.under_way.tags();
        let held = match backend.inventory(&self.label()) {
            Ok(held) => held,
            Err(error) => {
                findings.push(unavailable(backend.id(), &error));
                return Ok(());
            }
        };
        excused.extend(self.under_way.tags());
        excused.extend(unsettled);
        excused.extend(self.pending_intents()?.iter().map(|intent| intent.tag));
        // Keys come and go meanwhile: only what the records say before and after is held against the backend.
        let after = self.held_versions()?;
        // Two backends may lead to one device.
        let elsewhere = |tag: &KeyTag| {
            let mut known = before.iter().chain(&after);
            known.any(|(id, tags)| id != backend.id() && tags.contains_key(tag))
        };
        let none = BTreeMap::new();
        let elsewhere_known: BTreeSet<KeyTag> = held
            .iter()
            .filter_map(HeldKey::tag)
            .filter(elsewhere)
            .collect();
        let before = before.get(backend.id()).unwrap_or(&none);
        let after = after.get(backend.id()).unwrap_or(&none);
        let mut to_confirm = Vec::new();
        let mut suspects = BTreeSet::new();
        for key in &held {
            match key.tag() {
                Some(tag) if before.contains_key(&tag) || after.contains_key(&tag) => {
                    if key.is_provisional() {
                        to_confirm.push(tag);
                    }
                }
                Some(tag) if excused.contains(&tag) || elsewhere_known.contains(&tag) => {}
                tag => {
                    suspects.insert(tag);
                }
            }
        }
        if !suspects.is_empty() {
            self.report_strangers(backend, &suspects, findings)?;
        }
        if settle && !to_confirm.is_empty() {
            // Their records are durable; an error leaves them for the next time.
            let _ = backend.confirm(&to_confirm);
        }
        let held: BTreeSet<_> = held.iter().filter_map(HeldKey::tag).collect();
        for (tag, (name, version)) in before {
            if after.contains_key(tag) && !held.contains(tag) {
                findings.push(BackendFinding {
                    key: Some((name.clone(), *version)),
                    ..BackendFinding::new(
                        backend.id(),
                        BackendFindingKind::MissingKey,
                        format!(
                            "the backend does not hold version {version} of {name}; the record stays, in \
                             case the key comes back"
                        ),
                    )
                    .with_tag(*tag)
                });
            }
        }
        Ok(())
    }

    /// Reports the suspects that the backend still holds: a key may have been made and purged, or an object have got
    /// its name, while the records were looked at.
    fn report_strangers(
        &self,
        backend: &dyn KeyBackend,
        suspects: &BTreeSet<Option<KeyTag>>,
        findings: &mut Vec<BackendFinding>,
    ) -> Result<()> {
        // Read before the backend is asked again: a purge whose intent has ended by then has destroyed its key.
        let pending: BTreeSet<_> = self
            .pending_intents()?
            .iter()
            .map(|intent| intent.tag)
            .collect();
        let held = match backend.inventory(&self.label()) {
            Ok(held) => held,
            Err(error) => {
                findings.push(unavailable(backend.id(), &error));
                return Ok(());
            }
        };
        for key in held.iter().filter(|key| suspects.contains(&key.tag())) {
            match key.tag() {
                Some(tag) if pending.contains(&tag) => {}
                Some(tag) => findings.push(unknown(backend.id(), key).with_tag(tag)),
                None => findings.push(nameless(backend.id(), key)),
            }
        }
        Ok(())
    }

    /// Gives the tags that stay unsettled.
    fn settle_or_report(
        &self,
        backend: &dyn KeyBackend,
        pending: Vec<Intent>,
        settle: bool,
        findings: &mut Vec<BackendFinding>,
    ) -> Result<Vec<KeyTag>> {
        if !settle {
            let tags: Vec<_> = pending.iter().map(|intent| intent.tag).collect();
            findings.extend(tags.iter().map(|tag| {
                BackendFinding::new(
                    backend.id(),
                    BackendFindingKind::Unsettled,
                    "a creation or destruction was cut short and is not settled",
                )
                .with_tag(*tag)
            }));
            return Ok(tags);
        }
        let Settled {
            in_use_elsewhere,
            failed,
            ..
        } = self.settle_intents(backend, pending)?;
        findings.extend(in_use_elsewhere.into_iter().map(|tag| {
            BackendFinding::new(
                backend.id(),
                BackendFindingKind::UsedByAnotherCopy,
                "a key whose creation this vault never finished is in use: another copy of this vault is \
                 newer; nothing was destroyed",
            )
            .with_tag(tag)
        }));
        let mut tags = Vec::new();
        for (tag, error) in failed {
            findings.push(
                BackendFinding::new(
                    backend.id(),
                    BackendFindingKind::Unsettled,
                    format!(
                        "a creation or destruction that was cut short cannot be settled: {error}"
                    ),
                )
                .with_tag(tag),
            );
            tags.push(tag);
        }
        Ok(tags)
    }

    fn held_versions(&self) -> Result<Known> {
        let mut known = Known::new();
        let mut after = None;
        loop {
            let last = self.store.read(|view| {
                let objects = view.key_objects(after, STEP)?;
                let mut found = Vec::new();
                for (n, record) in &objects {
                    let key = self.open_key(*n, record)?;
                    for version in self.load_versions(view, &key)? {
                        let body = version.body;
                        let holds = body.hsm
                            && self
                                .backend(&body.backend)
                                .map_or(true, |backend| backend.holds_keys(Some(&body.blob)));
                        if holds {
                            let at = (key.object.name.clone(), version.version);
                            found.push((body.backend, body.tag, at));
                        }
                    }
                }
                Ok((found, objects.last().map(|(n, _)| *n)))
            })?;
            let (found, last) = last;
            for (backend, tag, at) in found {
                known.entry(backend).or_default().insert(tag, at);
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(known),
            }
        }
    }
}

fn unavailable(id: &BackendId, error: &BackendError) -> BackendFinding {
    BackendFinding::new(
        id,
        BackendFindingKind::Unavailable,
        format!("the backend cannot be asked about its keys: {error}"),
    )
}

fn nameless(id: &BackendId, key: &HeldKey) -> BackendFinding {
    BackendFinding::new(
        id,
        BackendFindingKind::NamelessObject,
        format!(
            "an object without an id, perhaps of an interrupted generation, of which vault nobody can tell: {}",
            key.description()
        ),
    )
}

fn unknown(id: &BackendId, key: &HeldKey) -> BackendFinding {
    BackendFinding::new(
        id,
        BackendFindingKind::UnknownKey,
        format!(
            "a key with this vault's label that no record knows, perhaps of a newer or older copy of this \
             vault: {}",
            key.description()
        ),
    )
}
