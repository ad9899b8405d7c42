//! What the model tells the system under test to do, and what must come of it.

use std::collections::BTreeSet;

use strongroom::{ErrorKind, KeyOperations, Permission};

use super::tables::Kind;

/// A version, by the order in which versions were made in a run.
pub(super) type Serial = u32;

/// Which version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Newest,
    /// This one, whatever key it belongs to.
    Exact(Serial),
    /// One that never was.
    Unknown,
}

/// A key, by a spelling of its name, and a version of it.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) name: String,
    pub(super) which: Which,
}

/// What a new version is to have. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) kind: Kind,
    pub(super) operations: Option<KeyOperations>,
    pub(super) enabled: bool,
    pub(super) not_before: Option<u64>,
    pub(super) expires_on: Option<u64>,
    pub(super) tags: u8,
    pub(super) type_change: bool,
}

/// Keep, set or clear.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patch<T> {
    Keep,
    Set(T),
    Clear,
}

#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) enabled: Option<bool>,
    pub(super) operations: Option<KeyOperations>,
    pub(super) not_before: Patch<u64>,
    pub(super) expires_on: Patch<u64>,
    pub(super) tags: Patch<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Nothing,
    Create(String, New),
    Import(String, New),
    Rotate(String),
    Update(Selected, Update),
    Get(Selected),
    GetDeleted(String),
    Delete(String),
    Recover(String),
    Purge(String),
    Backup(String),
    Restore {
        slot: usize,
        damaged: bool,
    },
    Sign(Selected, &'static str),
    Encrypt(Selected, &'static str),
    Wrap(Selected, &'static str),
    Verify(Selected, Reading),
    Decrypt(Selected, Reading),
    Unwrap(Selected, Reading),
    /// Milliseconds since 1970.
    SetClock(u64),
    Maintain {
        confirm: bool,
    },
    Protect,
    /// Refuse one algorithm, or none.
    Rules(Option<&'static str>),
    Reopen,
    Crash,
    RotateKek,
    /// A permission that the handle lacks from now on.
    Lack(Option<Permission>),
}

impl Action {
    /// The permission that it needs; none for what only a full handle does.
    pub(super) fn needs(&self) -> Option<Permission> {
        Some(match self {
            Self::Create(..) => Permission::Create,
            Self::Import(..) => Permission::Import,
            Self::Rotate(_) => Permission::Rotate,
            Self::Update(..) => Permission::Update,
            Self::Get(_) | Self::GetDeleted(_) => Permission::Get,
            Self::Delete(_) => Permission::Delete,
            Self::Recover(_) => Permission::Recover,
            Self::Purge(_) => Permission::Purge,
            Self::Backup(_) => Permission::Backup,
            Self::Restore { .. } => Permission::Restore,
            Self::Sign(..) => Permission::Sign,
            Self::Encrypt(..) => Permission::Encrypt,
            Self::Wrap(..) => Permission::WrapKey,
            Self::Verify(..) => Permission::Verify,
            Self::Decrypt(..) => Permission::Decrypt,
            Self::Unwrap(..) => Permission::UnwrapKey,
            Self::Nothing
            | Self::SetClock(_)
            | Self::Maintain { .. }
            | Self::Protect
            | Self::Rules(_)
            | Self::Reopen
            | Self::Crash
            | Self::RotateKek
            | Self::Lack(_) => return None,
        })
    }
}

/// The product of an earlier step that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) slot: usize,
    pub(super) tampered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Refused(ErrorKind),
    /// It succeeds, and shows this version if any.
    Shown(Option<Serial>),
    /// A version was made and gets this number.
    Made(Serial),
    /// This version did it, and the product goes into this slot.
    Produced(Serial, usize),
    /// A backup was made and goes into this slot.
    BackedUp(usize),
    Restored {
        newest: Serial,
        versions: usize,
        previously_purged: bool,
    },
    /// Names in lower case: of keys that are gone, and of those whose newest version is announced to expire.
    Maintained {
        purged: BTreeSet<String>,
        announced: BTreeSet<String>,
    },
}

/// The last step: what was to be done, and what the model expects of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) expected: Outcome,
    /// Keys whose visible state is compared afterwards; in lower case.
    pub(super) touched: Option<String>,
}
