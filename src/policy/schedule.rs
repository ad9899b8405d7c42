//! What time will make due for a key.

use crate::model::key::{KeyObject, VersionRecord};
use crate::model::rotation_policy::RotationTrigger;
use crate::model::time::Timestamp;

/// When something is to happen to a key; `None` for never, as things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct KeySchedule {
    /// The scheduled purge of a deleted key.
    pub(crate) purge: Option<Timestamp>,
    /// The next rotation by the policy of a key in use.
    pub(crate) rotation: Option<Timestamp>,
    /// The announcement that its newest version expires.
    pub(crate) announcement: Option<Timestamp>,
}

/// The schedule of a key in use with its newest version.
///
/// A disabled version is not rotated: its successor would be enabled, and who disabled it did not ask for one.
pub(crate) fn schedule(object: &KeyObject, newest: &VersionRecord) -> KeySchedule {
    let policy = object.rotation_policy();
    let attributes = &newest.attributes;
    let expiry = attributes.validity.expires_on();
    let rotation = match policy.rotation() {
        Some(RotationTrigger::TimeAfterCreate(after)) => Some(after.after(attributes.created)),
        Some(RotationTrigger::TimeBeforeExpiry(before)) => {
            expiry.map(|expiry| before.before(expiry))
        }
        None => None,
    };
    KeySchedule {
        purge: None,
        rotation: rotation.filter(|_| attributes.enabled),
        announcement: expiry
            .filter(|_| object.announced != Some(newest.version))
            .map(|expiry| policy.notice().before(expiry)),
    }
}

impl KeySchedule {
    /// The schedule of a deleted key, which nothing awaits but its purge; `None` for a key in use.
    pub(crate) fn of_deleted(object: &KeyObject) -> Option<Self> {
        object.deletion.map(|deletion| Self {
            purge: Some(deletion.scheduled_purge),
            ..Self::default()
        })
    }

    /// Whether anything is due at `now`.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        [self.purge, self.rotation, self.announcement]
            .into_iter()
            .flatten()
            .any(|time| time <= now)
    }
}
