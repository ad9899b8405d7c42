//! What the vault tells about its backends.

use std::collections::BTreeSet;

use crate::backend::{BackendError, HeldKey};
use crate::model::key::{BackendId, BackendInstance, KeyTag};
use crate::model::name::KeyName;
use crate::model::version::KeyVersion;

/// Something about a backend that the vault cannot mend, or will not without being asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendFinding {
    backend: BackendId,
    kind: BackendFindingKind,
    tag: Option<KeyTag>,
    key: Option<(KeyName, KeyVersion)>,
    key_count: Option<usize>,
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
    /// The backend is connected to another device than the one that has keys of this vault, or to one that has lost all
    /// of them, as a token does that is initialised anew. One finding for all these keys.
    WrongDevice,
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

    /// How many key versions it is about, where it is about several: for
    /// [`WrongDevice`](BackendFindingKind::WrongDevice), and for [`NotAttached`](BackendFindingKind::NotAttached) where
    /// keys need the backend.
    #[must_use]
    pub fn key_count(&self) -> Option<usize> {
        self.key_count
    }

    /// What it means, for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn new(
        backend: &BackendId,
        kind: BackendFindingKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            backend: backend.clone(),
            kind,
            tag: None,
            key: None,
            key_count: None,
            message: message.into(),
        }
    }

    pub(super) fn with_key_count(mut self, count: usize) -> Self {
        self.key_count = Some(count);
        self
    }

    pub(super) fn with_key(mut self, name: &KeyName, version: KeyVersion) -> Self {
        self.key = Some((name.clone(), version));
        self
    }

    pub(super) fn with_tag(mut self, tag: KeyTag) -> Self {
        self.tag = Some(tag);
        self
    }
}

pub(super) fn missing(id: &BackendId, name: &KeyName, version: KeyVersion) -> BackendFinding {
    BackendFinding::new(
        id,
        BackendFindingKind::MissingKey,
        format!(
            "the backend does not hold version {version} of {name}; the record stays, in case the key comes back"
        ),
    )
    .with_key(name, version)
}

pub(super) fn wrong_device(
    id: &BackendId,
    attached: Option<&BackendInstance>,
    devices: &BTreeSet<&BackendInstance>,
    keys: usize,
) -> BackendFinding {
    let attached = attached.map_or_else(String::new, |it| format!(" {it}"));
    let mut named: Vec<_> = devices.iter().take(3).map(ToString::to_string).collect();
    if devices.len() > named.len() {
        named.push("others".to_owned());
    }
    BackendFinding::new(
        id,
        BackendFindingKind::WrongDevice,
        format!(
            "the device{attached} is not the one that has {keys} key versions of this vault: they are in {}; open the vault \
             with that one",
            named.join(", ")
        ),
    )
    .with_key_count(keys)
}

pub(super) fn empty_device(id: &BackendId, keys: usize) -> BackendFinding {
    BackendFinding::new(
        id,
        BackendFindingKind::WrongDevice,
        format!(
            "the device has nothing of this vault, whose records tell of {keys} key versions in it: it is another device, \
             or was initialised anew; the records stay, in case the keys come back"
        ),
    )
    .with_key_count(keys)
}

pub(super) fn unavailable(id: &BackendId, error: &BackendError) -> BackendFinding {
    BackendFinding::new(
        id,
        BackendFindingKind::Unavailable,
        format!("the backend cannot be asked about its keys: {error}"),
    )
}

pub(super) fn nameless(id: &BackendId, key: &HeldKey) -> BackendFinding {
    BackendFinding::new(
        id,
        BackendFindingKind::NamelessObject,
        format!(
            "an object without an id, perhaps of an interrupted generation, of which vault nobody can tell: {}",
            key.description()
        ),
    )
}

pub(super) fn unknown(id: &BackendId, key: &HeldKey) -> BackendFinding {
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
