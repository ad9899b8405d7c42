//! From what was drawn to what is done: names, versions, dates and earlier products are chosen by the state
//! of the model, so that most calls have something to do.

use strongroom::KeyOperation;

use super::steps::{Action, New, Patch, Reading, Selected, Serial, Update, Which};
use super::tables::{ENCRYPT, Kind, SIGN, WRAP};
use super::transitions::{Change, Choice, Name, Target, Transition, Wish};
use super::world::{Key, World};

/// What a name had better be.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    Active,
    Deleted,
}

impl World {
    pub(super) fn make_concrete(&self, transition: &Transition) -> (Action, Option<String>) {
        let on = |name: &Name, wanted, action: fn(String) -> Action| {
            let name = self.spell(*name, wanted);
            let touched = Some(name.to_lowercase());
            (action(name), touched)
        };
        let at = |target: &Target| {
            let selected = self.find(*target);
            let touched = Some(selected.name.to_lowercase());
            (selected, touched)
        };
        match transition {
            Transition::Create(name, wish) => {
                let name = self.spell(*name, Wanted::Any);
                let touched = Some(name.to_lowercase());
                (Action::Create(name, self.dated(wish)), touched)
            }
            Transition::Import(name, wish) => {
                let name = self.spell(*name, Wanted::Any);
                let touched = Some(name.to_lowercase());
                (Action::Import(name, self.dated(wish)), touched)
            }
            // A rotation would generate an RSA key, which takes too long for so many runs.
            Transition::Rotate(name)
                if self
                    .active(&self.spell(*name, Wanted::Active))
                    .is_ok_and(|key| key.newest().kind == Kind::Rsa2048) =>
            {
                (Action::Nothing, None)
            }
            Transition::Rotate(name) => on(name, Wanted::Active, Action::Rotate),
            Transition::Update(target, change) => {
                let (selected, touched) = at(target);
                (Action::Update(selected, self.dated_change(change)), touched)
            }
            Transition::Get(target) => {
                let (selected, touched) = at(target);
                (Action::Get(selected), touched)
            }
            Transition::GetDeleted(name) => on(name, Wanted::Deleted, Action::GetDeleted),
            Transition::Delete(name) => on(name, Wanted::Active, Action::Delete),
            Transition::Recover(name) => on(name, Wanted::Deleted, Action::Recover),
            Transition::Purge(name) => on(name, Wanted::Deleted, Action::Purge),
            Transition::Backup(name) => on(name, Wanted::Active, Action::Backup),
            Transition::Restore { slot, damaged } => self.pick_backup(*slot, *damaged),
            Transition::Make(operation, target, number) => {
                let (selected, touched) = at(target);
                let kind = self.selected(&selected).map(|version| version.kind).ok();
                let (operation, algorithm) = pick_algorithm(kind, *operation, *number);
                let action = match operation {
                    KeyOperation::Sign => Action::Sign(selected, algorithm),
                    KeyOperation::Encrypt => Action::Encrypt(selected, algorithm),
                    _ => Action::Wrap(selected, algorithm),
                };
                (action, touched)
            }
            Transition::Read {
                slot,
                other,
                tampered,
            } => self.pick_reading(*slot, *other, *tampered),
            Transition::MoveClock(seconds) => {
                let clock = self.clock.saturating_add_signed(*seconds);
                (Action::SetClock(clock * 1_000), None)
            }
            Transition::Maintain { confirm } => (Action::Maintain { confirm: *confirm }, None),
            Transition::Protect => (Action::Protect, None),
            Transition::Rules(refused) => (Action::Rules(*refused), None),
            Transition::Reopen => (Action::Reopen, None),
            Transition::Crash => (Action::Crash, None),
            Transition::RotateKek => (Action::RotateKek, None),
            Transition::Lack(permission) => (Action::Lack(*permission), None),
        }
    }

    fn spell(&self, name: Name, wanted: Wanted) -> String {
        let good: Vec<&String> = self
            .keys
            .keys()
            .filter(|lowered| match wanted {
                Wanted::Any => false,
                Wanted::Active => self.active(lowered).is_ok(),
                Wanted::Deleted => self.deleted(lowered).is_ok(),
            })
            .collect();
        let text = if name.lucky && !good.is_empty() {
            good[usize::from(name.number) % good.len()].clone()
        } else {
            format!("key-{}", name.number)
        };
        if name.upper {
            text.to_uppercase()
        } else {
            text
        }
    }

    fn find(&self, target: Target) -> Selected {
        let name = self.spell(target.name, Wanted::Active);
        let pick = |serials: Vec<Serial>, number: u8| {
            if serials.is_empty() {
                Which::Unknown
            } else {
                Which::Exact(serials[usize::from(number) % serials.len()])
            }
        };
        let serials = |key: &Key| -> Vec<Serial> {
            key.versions.iter().map(|version| version.serial).collect()
        };
        let which = match target.choice {
            Choice::Newest => Which::Newest,
            Choice::Unknown => Which::Unknown,
            Choice::OfKey(number) => pick(
                self.keys
                    .get(&name.to_lowercase())
                    .map(serials)
                    .unwrap_or_default(),
                number,
            ),
            Choice::Any(number) => pick(self.keys.values().flat_map(serials).collect(), number),
        };
        Selected { name, which }
    }

    /// Every other time a backup whose name is free, if there is one.
    fn pick_backup(&self, slot: u8, damaged: bool) -> (Action, Option<String>) {
        let luck = Name {
            number: slot % 4,
            upper: false,
            lucky: true,
        };
        let free = |slot: &usize| {
            let holder = self.keys.get(&self.backups[*slot].0);
            holder.is_none_or(|key| self.is_gone(key))
        };
        let all: Vec<usize> = (0..self.backups.len()).collect();
        let good: Vec<usize> = all.iter().copied().filter(free).collect();
        let from = if slot.is_multiple_of(2) && !good.is_empty() {
            good
        } else {
            all
        };
        if from.is_empty() {
            let name = self.spell(luck, Wanted::Active);
            let touched = Some(name.to_lowercase());
            return (Action::Backup(name), touched);
        }
        let slot = from[usize::from(slot / 2) % from.len()];
        let touched = Some(self.backups[slot].0.clone());
        (Action::Restore { slot, damaged }, touched)
    }

    fn pick_reading(
        &self,
        slot: u8,
        other: Option<Target>,
        tampered: bool,
    ) -> (Action, Option<String>) {
        if self.products.is_empty() {
            let selected = Selected {
                name: format!("key-{}", slot % 4),
                which: Which::Newest,
            };
            return (Action::Sign(selected, "ES256"), None);
        }
        let slot = usize::from(slot) % self.products.len();
        let product = &self.products[slot];
        let selected = match other {
            Some(target) => self.find(target),
            None => Selected {
                name: product.name.clone(),
                which: Which::Exact(product.serial),
            },
        };
        let touched = Some(selected.name.to_lowercase());
        let reading = Reading { slot, tampered };
        let action = match product.operation {
            KeyOperation::Sign => Action::Verify(selected, reading),
            KeyOperation::Encrypt => Action::Decrypt(selected, reading),
            _ => Action::Unwrap(selected, reading),
        };
        (action, touched)
    }

    fn date(&self, offset: i64) -> u64 {
        self.now().saturating_add_signed(offset)
    }

    fn dated(&self, wish: &Wish) -> New {
        New {
            kind: wish.kind,
            operations: wish.operations,
            enabled: wish.enabled,
            not_before: wish.not_before.map(|offset| self.date(offset)),
            expires_on: wish.expires_on.map(|offset| self.date(offset)),
            tags: wish.tags,
            type_change: wish.type_change,
        }
    }

    fn dated_change(&self, change: &Change) -> Update {
        let date = |change: Option<Option<i64>>| patch(change, |offset| self.date(offset));
        Update {
            enabled: change.enabled,
            operations: change.operations,
            not_before: date(change.not_before),
            expires_on: date(change.expires_on),
            tags: patch(change.tags, |tags| tags),
        }
    }
}

fn patch<A, B>(change: Option<Option<A>>, convert: impl Fn(A) -> B) -> Patch<B> {
    match change {
        None => Patch::Keep,
        Some(None) => Patch::Clear,
        Some(Some(value)) => Patch::Set(convert(value)),
    }
}

/// Mostly an operation and an algorithm that fit, sometimes any.
fn pick_algorithm(
    kind: Option<Kind>,
    operation: KeyOperation,
    number: u8,
) -> (KeyOperation, &'static str) {
    let at = usize::from(number);
    let fitting = kind
        .filter(|_| number < 220)
        .into_iter()
        .flat_map(|kind| {
            [operation, KeyOperation::Sign, KeyOperation::Encrypt]
                .map(|operation| (operation, kind.fitting(operation)))
        })
        .find(|(_, algorithms)| !algorithms.is_empty());
    match (fitting, operation) {
        (Some((operation, algorithms)), _) => (operation, algorithms[at % algorithms.len()]),
        (None, KeyOperation::Sign) => (operation, SIGN[at % SIGN.len()]),
        (None, KeyOperation::Encrypt) => (operation, ENCRYPT[at % ENCRYPT.len()]),
        (None, _) => (operation, WRAP[at % WRAP.len()]),
    }
}
