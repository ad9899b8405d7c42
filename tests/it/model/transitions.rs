//! What can happen in a run, before the model has made it concrete.

use proptest::prelude::*;
use strongroom::{KeyOperation, KeyOperations, Permission};

use super::tables::Kind;

/// One of a few names, in lower or upper case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) number: u8,
    pub(super) upper: bool,
    /// Rather a name that the call can succeed with.
    pub(super) lucky: bool,
}

/// A version of a key, to be found by the model.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Newest,
    /// Counted through the versions of the key.
    OfKey(u8),
    /// Counted through all versions of the run.
    Any(u8),
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) name: Name,
    pub(super) choice: Choice,
}

/// Seconds from now.
type Offset = i64;

#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) kind: Kind,
    pub(super) operations: Option<KeyOperations>,
    pub(super) enabled: bool,
    pub(super) not_before: Option<Offset>,
    pub(super) expires_on: Option<Offset>,
    pub(super) tags: u8,
    pub(super) type_change: bool,
}

/// `Some(None)` clears.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) enabled: Option<bool>,
    pub(super) operations: Option<KeyOperations>,
    pub(super) not_before: Option<Option<Offset>>,
    pub(super) expires_on: Option<Option<Offset>>,
    pub(super) tags: Option<Option<u8>>,
}

#[derive(Clone, Debug)]
pub(super) enum Transition {
    Create(Name, Wish),
    Import(Name, Wish),
    Rotate(Name),
    Update(Target, Change),
    Get(Target),
    GetDeleted(Name),
    Delete(Name),
    Recover(Name),
    Purge(Name),
    Backup(Name),
    Restore {
        slot: u8,
        damaged: bool,
    },
    /// Sign, encrypt or wrap.
    Make(KeyOperation, Target, u8),
    /// Verify, decrypt or unwrap what was made before, usually with the version that made it.
    Read {
        slot: u8,
        other: Option<Target>,
        tampered: bool,
    },
    MoveClock(i64),
    Maintain {
        confirm: bool,
    },
    Protect,
    Rules(Option<&'static str>),
    Reopen,
    /// The process dies; what it had acknowledged is in the files.
    Crash,
    RotateKek,
    /// From now on, what is done with keys is done with a handle that lacks a permission, or by one that lacks none.
    Lack(Option<Permission>),
}

/// The permissions that single operations on keys need.
const PERMISSIONS: [Permission; 16] = [
    Permission::Create,
    Permission::Import,
    Permission::Rotate,
    Permission::Update,
    Permission::Get,
    Permission::Delete,
    Permission::Recover,
    Permission::Purge,
    Permission::Backup,
    Permission::Restore,
    Permission::Sign,
    Permission::Verify,
    Permission::Encrypt,
    Permission::Decrypt,
    Permission::WrapKey,
    Permission::UnwrapKey,
];

fn name() -> impl Strategy<Value = Name> {
    (0..4_u8, any::<bool>(), proptest::bool::weighted(0.8)).prop_map(|(number, upper, lucky)| {
        Name {
            number,
            upper,
            lucky,
        }
    })
}

fn target() -> impl Strategy<Value = Target> {
    let choice = prop_oneof![
        6 => Just(Choice::Newest),
        6 => any::<u8>().prop_map(Choice::OfKey),
        1 => any::<u8>().prop_map(Choice::Any),
        1 => Just(Choice::Unknown),
    ];
    (name(), choice).prop_map(|(name, choice)| Target { name, choice })
}

fn operations() -> impl Strategy<Value = KeyOperations> {
    use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
    prop_oneof![
        3 => Just([Sign, Verify].into()),
        3 => Just([Encrypt, Decrypt, Sign, Verify, WrapKey, UnwrapKey].into()),
        1 => Just(KeyOperations::NONE),
        2 => any::<u8>().prop_map(|bits| {
            KeyOperation::ALL
                .into_iter()
                .enumerate()
                .filter(|(at, _)| bits >> at & 1 == 1)
                .map(|(_, operation)| operation)
                .collect()
        }),
    ]
}

fn offset() -> impl Strategy<Value = Offset> {
    prop_oneof![Just(0), -1_000..1_000_i64, -400 * 86_400..400 * 86_400_i64,]
}

fn rarely<T: std::fmt::Debug>(
    strategy: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::weighted(0.15, strategy)
}

fn wish(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Wish> {
    (
        kind,
        proptest::option::weighted(0.4, operations()),
        proptest::bool::weighted(0.9),
        rarely(offset()),
        rarely(offset()),
        0..8_u8,
        proptest::bool::weighted(0.4),
    )
        .prop_map(
            |(kind, operations, enabled, not_before, expires_on, tags, type_change)| Wish {
                kind,
                operations,
                enabled,
                not_before,
                expires_on,
                tags,
                type_change,
            },
        )
}

fn change() -> impl Strategy<Value = Change> {
    let date = || proptest::option::weighted(0.3, proptest::option::weighted(0.6, offset()));
    (
        proptest::option::weighted(0.6, proptest::bool::weighted(0.7)),
        proptest::option::weighted(0.3, operations()),
        date(),
        date(),
        proptest::option::weighted(0.3, proptest::option::weighted(0.7, 0..8_u8)),
    )
        .prop_map(
            |(enabled, operations, not_before, expires_on, tags)| Change {
                enabled,
                operations,
                not_before,
                expires_on,
                tags,
            },
        )
}

fn make() -> impl Strategy<Value = Transition> {
    let operation = prop_oneof![
        Just(KeyOperation::Sign),
        Just(KeyOperation::Encrypt),
        Just(KeyOperation::WrapKey),
    ];
    (operation, target(), any::<u8>())
        .prop_map(|(operation, target, algorithm)| Transition::Make(operation, target, algorithm))
}

fn read() -> impl Strategy<Value = Transition> {
    (
        any::<u8>(),
        proptest::option::weighted(0.3, target()),
        proptest::bool::weighted(0.15),
    )
        .prop_map(|(slot, other, tampered)| Transition::Read {
            slot,
            other,
            tampered,
        })
}

fn clock() -> impl Strategy<Value = i64> {
    const DAY: i64 = 86_400;
    prop_oneof![
        4 => 1..600_i64,
        4 => (1..30_i64).prop_map(|days| days * DAY),
        1 => (31..35_i64).prop_map(|days| days * DAY),
        1 => 1..400 * DAY,
        1 => -40 * DAY..0_i64,
    ]
}

pub(super) fn transition() -> BoxedStrategy<Transition> {
    let created = prop_oneof![
        4 => Just(Kind::P256),
        2 => Just(Kind::P256K),
        2 => Just(Kind::Oct128),
        5 => Just(Kind::Oct256),
    ];
    let imported = prop_oneof![
        4 => Just(Kind::Mac64),
        4 => Just(Kind::Oct256),
        3 => Just(Kind::P256),
        1 => Just(Kind::Rsa2048),
    ];
    prop_oneof![
        16 => (name(), wish(created)).prop_map(|(name, wish)| Transition::Create(name, wish)),
        4 => (name(), wish(imported)).prop_map(|(name, wish)| Transition::Import(name, wish)),
        6 => name().prop_map(Transition::Rotate),
        10 => (target(), change()).prop_map(|(target, change)| Transition::Update(target, change)),
        4 => target().prop_map(Transition::Get),
        3 => name().prop_map(Transition::GetDeleted),
        8 => name().prop_map(Transition::Delete),
        6 => name().prop_map(Transition::Recover),
        8 => name().prop_map(Transition::Purge),
        4 => name().prop_map(Transition::Backup),
        8 => (any::<u8>(), proptest::bool::weighted(0.1))
            .prop_map(|(slot, damaged)| Transition::Restore { slot, damaged }),
        20 => make(),
        18 => read(),
        8 => clock().prop_map(Transition::MoveClock),
        4 => proptest::bool::weighted(0.3).prop_map(|confirm| Transition::Maintain { confirm }),
        1 => proptest::bool::weighted(0.2).prop_filter_map("seldom", |protect| {
            protect.then_some(Transition::Protect)
        }),
        2 => proptest::option::of(proptest::sample::select(vec!["ES256", "A256GCM", "A256KW", "HS256"]))
            .prop_map(Transition::Rules),
        4 => Just(Transition::Reopen),
        3 => Just(Transition::Crash),
        2 => Just(Transition::RotateKek),
        1 => proptest::sample::select(PERMISSIONS.to_vec()).prop_map(|one| Transition::Lack(Some(one))),
        3 => Just(Transition::Lack(None)),
    ]
    .boxed()
}
