//! Keys that a backend holds itself: what is about to be made or destroyed there is written down first, so
//! that no crash leaves a key in a device that no vault knows, or a record whose key is gone.
//!
//! Making: intent, durable → the backend makes a provisional key → its records, in one group with the end of
//! the intent → the backend confirms the key. Destroying: the records go in one group with the intent → the
//! backend destroys → the intent ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Inner;
use crate::backend::{Abandoned, KeyBackend};
use crate::error::{Error, ErrorKind, Result};
use crate::format::intent::{Action, Intent};
use crate::format::record::IndexKey;
use crate::model::key::{BackendId, KeyTag, VersionBody};
use crate::store::{Change, CommitOptions};

/// The tags of creations under way in this process, whose intents nobody else may settle.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    tags: Mutex<BTreeSet<KeyTag>>,
}

impl UnderWay {
    pub(super) fn tags(&self) -> BTreeSet<KeyTag> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<KeyTag>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that are being made in a backend.
#[derive(Debug)]
pub(super) struct Creation<'a> {
    backend: &'a dyn KeyBackend,
    tags: Vec<KeyTag>,
    under_way: &'a UnderWay,
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        for tag in &self.tags {
            under_way.remove(tag);
        }
    }
}

/// Keys that are about to be destroyed in backends.
#[derive(Debug, Default)]
pub(super) struct Destruction {
    intents: Vec<Intent>,
}

impl Creation<'_> {
    /// The changes that belong into the group with the records of the keys.
    pub(super) fn end(&self) -> impl Iterator<Item = Change> {
        self.tags
            .iter()
            .map(|tag| Change::Remove(IndexKey::intent(*tag.as_bytes())))
    }
}

impl Inner {
    /// Writes down that the backend is about to make keys under these tags, if it will hold them.
    pub(super) fn begin_creation<'a>(
        &'a self,
        backend: &'a dyn KeyBackend,
        tags: Vec<KeyTag>,
    ) -> Result<Creation<'a>> {
        let (creation, intents) = self.plan_creation(backend, tags)?;
        if !intents.is_empty() {
            self.store.commit(intents)?;
        }
        Ok(creation)
    }

    /// The same for several creations, each for itself; what is written down shares commits.
    pub(super) fn begin_creations<'a>(
        &'a self,
        wanted: impl IntoIterator<Item = (&'a dyn KeyBackend, KeyTag)>,
    ) -> Vec<Result<Creation<'a>>> {
        let mut requests = Vec::new();
        let creations: Vec<_> = wanted
            .into_iter()
            .map(|(backend, tag)| {
                let (creation, intents) = self.plan_creation(backend, vec![tag])?;
                requests.push((intents, CommitOptions::default()));
                Ok(creation)
            })
            .collect();
        let mut committed = self.store.commit_each(requests).into_iter();
        creations
            .into_iter()
            .map(|creation: Result<_>| {
                let creation = creation?;
                let unanswered = || Err(Error::internal("an intent was not committed"));
                committed.next().unwrap_or_else(unanswered)?;
                Ok(creation)
            })
            .collect()
    }

    /// A creation, and the intents that are to be durable before it begins.
    fn plan_creation<'a>(
        &'a self,
        backend: &'a dyn KeyBackend,
        tags: Vec<KeyTag>,
    ) -> Result<(Creation<'a>, Vec<Change>)> {
        let (tags, instance) = if backend.holds_keys(None) {
            // While the device is away each attempt would leave an intent that only the device can settle.
            backend.check()?;
            (tags, backend.instance()?)
        } else {
            (Vec::new(), None)
        };
        self.under_way.lock().extend(&tags);
        let creation = Creation {
            backend,
            tags,
            under_way: &self.under_way,
        };
        let intents = creation
            .tags
            .iter()
            .map(|tag| {
                self.put_intent(&Intent {
                    tag: *tag,
                    backend: backend.id().clone(),
                    action: Action::Creation(instance.clone()),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok((creation, intents))
    }

    /// After the records are durable, or after a failure: confirms or abandons what was made.
    ///
    /// What fails here is done when the vault is opened next, or by `maintain`.
    pub(super) fn finish_creation(&self, creation: &Creation<'_>, succeeded: bool) {
        let Creation { backend, tags, .. } = creation;
        if tags.is_empty() {
            return;
        }
        if succeeded {
            // The records are durable: an error here has no effect but that the key stays provisional.
            let _ = backend.confirm(tags);
        } else if self.store.ensure_usable().is_ok() {
            // Otherwise nobody knows whether the records are on the disk.
            let abandoned = tags
                .iter()
                .filter(|tag| backend.abandon(**tag).is_ok())
                .map(|tag| Change::Remove(IndexKey::intent(*tag.as_bytes())))
                .collect();
            let _ = self.store.commit(abandoned);
        }
    }

    /// Notes that a version's key is to be destroyed, if its backend holds it. A backend that is not attached
    /// may hold it.
    pub(super) fn note_destruction(&self, body: VersionBody, destruction: &mut Destruction) {
        let holds = self
            .backend(&body.backend)
            .map_or(true, |backend| backend.holds_keys(Some(&body.blob)));
        if holds {
            destruction.intents.push(Intent {
                tag: body.tag,
                backend: body.backend,
                action: Action::Destruction(body.blob),
            });
        }
    }

    /// The changes that belong into the group that removes the records.
    pub(super) fn begin_destruction(&self, destruction: &Destruction) -> Result<Vec<Change>> {
        destruction
            .intents
            .iter()
            .map(|intent| self.put_intent(intent))
            .collect()
    }

    /// After the records are gone. What fails stays noted and is tried again by `maintain` and at the next
    /// opening.
    pub(super) fn finish_destruction(&self, destruction: &Destruction) {
        let destroyed: Vec<Change> = destruction
            .intents
            .iter()
            .filter(|intent| {
                self.backend(&intent.backend)
                    .is_ok_and(|backend| settle(backend.as_ref(), intent).is_ok())
            })
            .map(|intent| Change::Remove(IndexKey::intent(*intent.tag.as_bytes())))
            .collect();
        if !destroyed.is_empty() {
            let _ = self.store.commit(destroyed);
        }
    }

    /// The intents of calls that were cut short, or whose backend could not carry them out.
    pub(super) fn pending_intents(&self) -> Result<Vec<Intent>> {
        let before: BTreeSet<KeyTag> = self.intents()?.iter().map(|intent| intent.tag).collect();
        if before.is_empty() {
            return Ok(Vec::new());
        }
        let under_way = self.under_way.tags();
        // A creation that ended between the two looks has ended its intent too.
        let mut intents = self.intents()?;
        intents.retain(|intent| before.contains(&intent.tag) && !under_way.contains(&intent.tag));
        Ok(intents)
    }

    fn intents(&self) -> Result<Vec<Intent>> {
        self.store.read(|view| {
            view.intents()?
                .iter()
                .map(|(index, record)| {
                    let plaintext =
                        self.hierarchy
                            .open_record(&*self.hierarchy.meta_key()?, index, record)?;
                    let intent = Intent::decode(&plaintext)?;
                    if IndexKey::intent(*intent.tag.as_bytes()) == *index {
                        Ok(intent)
                    } else {
                        Err(Error::new(
                            ErrorKind::Tampered,
                            "an intent stands at the place of another one",
                        ))
                    }
                })
                .collect()
        })
    }

    /// Carries out pending intents in one backend; gives those that could not be, and those that met a
    /// confirmed key.
    pub(super) fn settle_intents(
        &self,
        backend: &dyn KeyBackend,
        intents: impl IntoIterator<Item = Intent>,
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut ended = Vec::new();
        for intent in intents {
            match settle(backend, &intent) {
                Ok(Outcome::Done) => {
                    settled.done += 1;
                    ended.push(Change::Remove(IndexKey::intent(*intent.tag.as_bytes())));
                }
                Ok(Outcome::InUseElsewhere) => {
                    settled.in_use_elsewhere.push(intent.tag);
                    ended.push(Change::Remove(IndexKey::intent(*intent.tag.as_bytes())));
                }
                Err(error) => settled.failed.push((intent.tag, error)),
            }
        }
        if !ended.is_empty() {
            self.store.commit(ended)?;
        }
        Ok(settled)
    }

    fn put_intent(&self, intent: &Intent) -> Result<Change> {
        let index = IndexKey::intent(*intent.tag.as_bytes());
        let plaintext = intent.encode()?;
        let record = self.hierarchy.seal_record(
            &*self.hierarchy.meta_key()?,
            &index,
            0,
            &plaintext,
            &*self.entropy,
        )?;
        Ok(Change::Put(index, record))
    }
}

/// What [`Inner::settle_intents`] did.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) done: usize,
    pub(super) in_use_elsewhere: Vec<KeyTag>,
    pub(super) failed: Vec<(KeyTag, Error)>,
}

enum Outcome {
    Done,
    /// The key of an unfinished creation is confirmed: another copy of this vault went on from there.
    InUseElsewhere,
}

/// Errors: `BackendUnavailable` when the backend is connected to another device than the one that it is about.
fn settle(backend: &dyn KeyBackend, intent: &Intent) -> Result<Outcome> {
    let home = match &intent.action {
        Action::Creation(instance) => instance.clone(),
        Action::Destruction(blob) => backend.instance_of(blob),
    };
    if let Some(home) = home {
        let attached = backend.instance()?;
        if attached.as_ref() != Some(&home) {
            let attached = attached.map_or("one without a name".to_owned(), |it| it.to_string());
            return Err(Error::new(
                ErrorKind::BackendUnavailable,
                format!(
                    "it is about device {home}, and the backend is connected to {attached}; open the vault with the \
                     right one"
                ),
            ));
        }
    }
    match &intent.action {
        Action::Creation(_) => match backend.abandon(intent.tag)? {
            Abandoned::NothingLeft => Ok(Outcome::Done),
            Abandoned::Confirmed => Ok(Outcome::InUseElsewhere),
        },
        Action::Destruction(blob) => {
            backend.destroy(intent.tag, Some(blob))?;
            Ok(Outcome::Done)
        }
    }
}

/// Intents by the backend that they are for.
pub(super) fn by_backend(intents: Vec<Intent>) -> BTreeMap<BackendId, Vec<Intent>> {
    let mut grouped: BTreeMap<BackendId, Vec<Intent>> = BTreeMap::new();
    for intent in intents {
        grouped
            .entry(intent.backend.clone())
            .or_default()
            .push(intent);
    }
    grouped
}
