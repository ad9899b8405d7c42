//! What the records say of keys in backends, against what the backends hold.

use std::collections::{BTreeMap, BTreeSet};

use super::backend_finding::{
    BackendFinding, BackendFindingKind, empty_device, missing, nameless, unavailable, unknown,
    wrong_device,
};
use super::intents::{Settled, by_backend};
use super::{Inner, OpenFinding, Operation, Subject, Vault};
use crate::backend::{HeldKey, KeyBackend};
use crate::error::Result;
use crate::format::intent::Intent;
use crate::model::key::{BackendId, BackendInstance, KeyTag};
use crate::model::name::KeyName;
use crate::model::version::KeyVersion;

/// How many key objects one step looks at.
const STEP: usize = 256;

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
        self.act(Operation::ReconcileBackends, Subject::Vault, |act| {
            act.inner().reconcile(true)
        })
    }
}

/// A version whose key needs a backend's device.
#[derive(Debug)]
struct Dependent {
    name: KeyName,
    version: KeyVersion,
    /// The device, if the blob tells.
    instance: Option<BackendInstance>,
    /// Whether the device holds the key itself.
    held: bool,
}

/// The versions whose keys need a device, by backend and tag.
type Known = BTreeMap<BackendId, BTreeMap<KeyTag, Dependent>>;

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
            self.dependent_versions()?
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
                findings.push(
                    BackendFinding::new(
                        id,
                        BackendFindingKind::NotAttached,
                        format!("{} key versions need this backend", versions.len()),
                    )
                    .with_key_count(versions.len()),
                );
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
        let attached = match backend.check().and_then(|()| backend.instance()) {
            Ok(attached) => attached,
            Err(error) => {
                findings.push(unavailable(backend.id(), &error));
                return Ok(());
            }
        };
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
        let after = self.dependent_versions()?;
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
        let lasting = before.iter().filter(|(tag, _)| after.contains_key(tag));
        report_absent(backend.id(), attached.as_ref(), lasting, &held, findings);
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

    fn dependent_versions(&self) -> Result<Known> {
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
                        if !body.hsm {
                            continue;
                        }
                        let backend = self.backend(&body.backend).ok();
                        let held = backend.is_none_or(|it| it.holds_keys(Some(&body.blob)));
                        let instance = backend.and_then(|it| it.instance_of(&body.blob));
                        if held || instance.is_some() {
                            let dependent = Dependent {
                                name: key.object.name.clone(),
                                version: version.version,
                                instance,
                                held,
                            };
                            found.push((body.backend, body.tag, dependent));
                        }
                    }
                }
                Ok((found, objects.last().map(|(n, _)| *n)))
            })?;
            let (found, last) = last;
            for (backend, tag, dependent) in found {
                known.entry(backend).or_default().insert(tag, dependent);
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(known),
            }
        }
    }
}

/// Reports the keys that are not where the backend is connected to: one by one, unless it is the wrong device.
fn report_absent<'a>(
    id: &BackendId,
    attached: Option<&BackendInstance>,
    keys: impl Iterator<Item = (&'a KeyTag, &'a Dependent)>,
    held: &BTreeSet<KeyTag>,
    findings: &mut Vec<BackendFinding>,
) {
    let lives_elsewhere = |key: &Dependent| match (attached, &key.instance) {
        (Some(attached), Some(instance)) => attached != instance,
        _ => false,
    };
    let (elsewhere, here): (Vec<_>, Vec<_>) = keys.partition(|(_, key)| lives_elsewhere(key));
    if !elsewhere.is_empty() {
        let devices: BTreeSet<_> = elsewhere
            .iter()
            .filter_map(|(_, key)| key.instance.as_ref())
            .collect();
        findings.push(wrong_device(id, attached, &devices, elsewhere.len()));
    }
    let expected: Vec<_> = here.into_iter().filter(|(_, key)| key.held).collect();
    // Of one key more can be told.
    if expected.len() > 1 && held.is_empty() {
        findings.push(empty_device(id, expected.len()));
        return;
    }
    for (tag, Dependent { name, version, .. }) in expected {
        if !held.contains(tag) {
            findings.push(missing(id, name, *version).with_tag(*tag));
        }
    }
}
