//! The model: keys as plain values in a map, and the rules of the service as functions on them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use strongroom::{ErrorKind, KeyOperation, KeyOperations, Permission};

use super::steps::{Action, Outcome, Selected, Serial, Step, Which};
use super::tables::Kind;
use super::transitions::{Transition, transition};
use crate::support::START_MS;

pub(super) const DAY: u64 = 86_400;
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) serial: Serial,
    pub(super) kind: Kind,
    /// Equal for versions with the same key bytes.
    pub(super) material: u32,
    pub(super) enabled: bool,
    pub(super) not_before: Option<u64>,
    pub(super) expires_on: Option<u64>,
    pub(super) operations: KeyOperations,
    /// A token gives a key no operation that it was not made with.
    pub(super) made_with: KeyOperations,
    pub(super) imported: bool,
    pub(super) tags: u8,
    pub(super) created: u64,
    pub(super) updated: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) spelled: String,
    pub(super) object: u32,
    /// Oldest first.
    pub(super) versions: Vec<Version>,
    /// When it was deleted, and when it is gone.
    pub(super) deletion: Option<(u64, u64)>,
    /// The version whose near expiry was announced last.
    pub(super) announced: Option<Serial>,
}

impl Key {
    pub(super) fn newest(&self) -> &Version {
        self.versions.last().expect("a key has a version")
    }

    /// Whether the expiry of the newest version is near and was not announced: 30 days before, as there is no policy
    /// that says otherwise.
    pub(super) fn is_to_be_announced(&self, now: u64) -> bool {
        let newest = self.newest();
        self.deletion.is_none()
            && self.announced != Some(newest.serial)
            && newest
                .expires_on
                .is_some_and(|expiry| now >= expiry.saturating_sub(30 * DAY))
    }
}

/// Something that a version made, to be read later.
#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) name: String,
    pub(super) serial: Serial,
    pub(super) material: u32,
    pub(super) operation: KeyOperation,
    pub(super) algorithm: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    /// By the lowered name.
    pub(super) keys: BTreeMap<String, Key>,
    /// 0 stands for no soft delete.
    pub(super) retention_days: u8,
    pub(super) purge_protection: bool,
    pub(super) leeway: u64,
    pub(super) refused: Option<&'static str>,
    /// What the handle may not do.
    pub(super) lacking: Option<Permission>,
    pub(super) clock: u64,
    pub(super) floor: u64,
    pub(super) backups: Vec<(String, Key)>,
    pub(super) next_backup: usize,
    pub(super) products: Vec<Product>,
    pub(super) next_product: usize,
    /// Objects with the time of their last purge.
    pub(super) tombstones: BTreeMap<u32, u64>,
    /// Versions that have encrypted with GCM since the vault was opened: closing writes their count.
    pub(super) counting: BTreeSet<(String, Serial)>,
    next: u32,
    pub(super) step: Step,
}

impl ReferenceStateMachine for World {
    type State = Self;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Self> {
        (
            prop_oneof![2 => Just(0), 3 => Just(7), 4 => Just(90)],
            proptest::bool::weighted(0.15),
            prop_oneof![3 => Just(0), 1 => Just(300)],
        )
            .prop_map(|(retention_days, protection, leeway)| Self {
                keys: BTreeMap::new(),
                retention_days,
                purge_protection: protection && retention_days != 0,
                leeway,
                refused: None,
                lacking: None,
                clock: START_MS / 1_000,
                floor: START_MS / 1_000,
                backups: Vec::new(),
                next_backup: 0,
                products: Vec::new(),
                next_product: 0,
                tombstones: BTreeMap::new(),
                counting: BTreeSet::new(),
                // Numbers below are for the fixed keys.
                next: 100,
                step: Step {
                    action: Action::Nothing,
                    expected: Outcome::Shown(None),
                    touched: None,
                },
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Transition> {
        transition()
    }

    fn apply(mut world: Self, transition: &Transition) -> Self {
        let (action, touched) = world.make_concrete(transition);
        let expected = world.perform(&action).unwrap_or_else(Outcome::Refused);
        world.step = Step {
            action,
            expected,
            touched,
        };
        world
    }
}

impl World {
    /// The later of the clock and the latest time that a commit has seen.
    pub(super) fn now(&self) -> u64 {
        self.clock.max(self.floor)
    }

    pub(super) fn is_plausible(&self) -> bool {
        self.clock.saturating_sub(self.floor) <= 32 * DAY
    }

    pub(super) fn committed(&mut self) {
        if self.is_plausible() {
            self.floor = self.now();
        }
    }

    pub(super) fn is_gone(&self, key: &Key) -> bool {
        key.deletion.is_some_and(|(_, gone)| self.now() >= gone)
    }

    /// A key in use.
    pub(super) fn active(&self, name: &str) -> Result<&Key, ErrorKind> {
        self.keys
            .get(&name.to_lowercase())
            .filter(|key| key.deletion.is_none())
            .ok_or(ErrorKind::KeyNotFound)
    }

    /// A key that can be recovered.
    pub(super) fn deleted(&self, name: &str) -> Result<&Key, ErrorKind> {
        self.keys
            .get(&name.to_lowercase())
            .filter(|key| key.deletion.is_some() && !self.is_gone(key))
            .ok_or(ErrorKind::DeletedKeyNotFound)
    }

    pub(super) fn selected(&self, selected: &Selected) -> Result<&Version, ErrorKind> {
        let key = self.active(&selected.name)?;
        match selected.which {
            Which::Newest => Some(key.newest()),
            Which::Exact(serial) => key.versions.iter().find(|version| version.serial == serial),
            Which::Unknown => None,
        }
        .ok_or(ErrorKind::KeyNotFound)
    }

    pub(super) fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub(super) fn remove(&mut self, name: &str) {
        let now = self.now();
        let name = name.to_lowercase();
        if let Some(key) = self.keys.remove(&name) {
            self.tombstones.insert(key.object, now);
            self.counting.retain(|(counting, _)| *counting != name);
        }
        self.committed();
    }

    /// Makes room for a new key under the name, if the name is free or was freed by time.
    pub(super) fn free_name(&mut self, name: &str, taken: ErrorKind) -> Result<(), ErrorKind> {
        match self.keys.get(&name.to_lowercase()) {
            None => Ok(()),
            Some(key) if key.deletion.is_none() => Err(taken),
            Some(key) if !self.is_gone(key) => Err(ErrorKind::KeyDeleted),
            Some(_) if !self.is_plausible() => Err(ErrorKind::ClockJump),
            Some(_) => {
                self.remove(name);
                Ok(())
            }
        }
    }
}
