//! When a key is rotated by itself, and when somebody is told that it expires.

use serde::{Deserialize, Serialize};

use super::duration::CalendarDuration;
use super::json_object::Object;
use super::time::Timestamp;
use crate::error::{Error, Result};

/// The shortest life that a policy may give a new version, in days.
const MIN_EXPIRY_DAYS: u64 = 28;
/// How far a trigger is from the creation and from the expiry of a version at least, in days.
const MIN_TRIGGER_DAYS: u64 = 7;
/// How long before its expiry a version is announced, unless a policy says otherwise.
const DEFAULT_NOTICE: CalendarDuration = CalendarDuration::days(30);

/// When a version is succeeded by a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RotationTrigger {
    /// So long after it was made.
    TimeAfterCreate(CalendarDuration),
    /// So long before it expires. A version without an expiry is not rotated.
    TimeBeforeExpiry(CalendarDuration),
}

/// The rotation policy of a key: Azure's
/// [Key Rotation Policy](https://learn.microsoft.com/rest/api/keyvault/keys/update-key-rotation-policy/update-key-rotation-policy).
///
/// Every key has one. As long as nobody sets another it is [`RotationPolicy::new`]: no rotation, and a notice 30 days
/// before a version expires. A vault has no thread of its own: [`Vault::maintain`](crate::Vault::maintain) does
/// what the policies say.
///
/// In JSON it has Azure's form, `{"lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type":
/// "Rotate"}}], "attributes": {"expiryTime": "P1Y"}}`. What is read is checked; names of actions are compared without
/// case, and members that only the service writes are passed over.
///
/// # Examples
///
/// ```
/// use strongroom::{CalendarDuration, RotationPolicy, RotationTrigger};
///
/// let policy = RotationPolicy::new()
///     .rotate(RotationTrigger::TimeAfterCreate(CalendarDuration::months(3)))
///     .notify_before_expiry(CalendarDuration::days(14))
///     .expiry_time(CalendarDuration::years(1));
/// let json = serde_json::to_string(&policy)?;
/// assert_eq!(serde_json::from_str::<RotationPolicy>(&json)?, policy);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "RotationPolicyBody", try_from = "RotationPolicyBody")]
pub struct RotationPolicy {
    rotate: Option<RotationTrigger>,
    notify_before_expiry: CalendarDuration,
    expiry_time: Option<CalendarDuration>,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl RotationPolicy {
    /// No rotation and no expiry; a notice 30 days before a version expires.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rotate: None,
            notify_before_expiry: DEFAULT_NOTICE,
            expiry_time: None,
        }
    }

    /// Rotates the key. The trigger lies at least 7 days after the creation of a version, and at least 7 days before
    /// its expiry.
    #[must_use]
    pub const fn rotate(mut self, trigger: RotationTrigger) -> Self {
        self.rotate = Some(trigger);
        self
    }

    /// When somebody is told that a version expires: at least 7 days before.
    #[must_use]
    pub const fn notify_before_expiry(mut self, before: CalendarDuration) -> Self {
        self.notify_before_expiry = before;
        self
    }

    /// The life of versions that rotations make, by hand or by this policy, from their creation to their expiry: at
    /// least 28 days. Versions that exist already keep theirs.
    #[must_use]
    pub const fn expiry_time(mut self, life: CalendarDuration) -> Self {
        self.expiry_time = Some(life);
        self
    }

    /// When the key is rotated, if it is.
    #[must_use]
    pub const fn rotation(&self) -> Option<RotationTrigger> {
        self.rotate
    }

    /// How long before the expiry of a version somebody is told.
    #[must_use]
    pub const fn notice(&self) -> CalendarDuration {
        self.notify_before_expiry
    }

    /// The life of versions that rotations make.
    #[must_use]
    pub const fn life(&self) -> Option<CalendarDuration> {
        self.expiry_time
    }

    /// Azure's limits. Where the length of a duration depends on when it begins, they hold whenever that is.
    ///
    /// Errors: `BadParameter`.
    pub(crate) fn check(&self) -> Result<()> {
        let too_early = |what: &str, duration: CalendarDuration| {
            Error::bad_parameter(format!(
                "{what} is at least {MIN_TRIGGER_DAYS} days, but {duration} can be less"
            ))
        };
        if self.notify_before_expiry.least_days() < MIN_TRIGGER_DAYS {
            return Err(too_early(
                "timeBeforeExpiry of Notify",
                self.notify_before_expiry,
            ));
        }
        if let Some(life) = self.expiry_time
            && life.least_days() < MIN_EXPIRY_DAYS
        {
            return Err(Error::bad_parameter(format!(
                "expiryTime is at least {MIN_EXPIRY_DAYS} days, but {life} can be less"
            )));
        }
        let (name, duration) = match self.rotate {
            None => return Ok(()),
            Some(RotationTrigger::TimeAfterCreate(duration)) => ("timeAfterCreate", duration),
            Some(RotationTrigger::TimeBeforeExpiry(duration)) => {
                if self.expiry_time.is_none() {
                    return Err(Error::bad_parameter(
                        "a rotation by timeBeforeExpiry needs expiryTime: without it the new version would not expire",
                    ));
                }
                ("timeBeforeExpiry", duration)
            }
        };
        if duration.least_days() < MIN_TRIGGER_DAYS {
            return Err(too_early(&format!("{name} of Rotate"), duration));
        }
        match self.expiry_time {
            Some(life)
                if duration.most_days().saturating_add(MIN_TRIGGER_DAYS) > life.least_days() =>
            {
                Err(Error::bad_parameter(format!(
                    "a rotation is at least {MIN_TRIGGER_DAYS} days after the creation and before the expiry of a \
                     version, which {name} {duration} with expiryTime {life} may not be"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The rotation policy of a key as the vault keeps it. In JSON it is Azure's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(into = "RotationPolicyBody")]
pub struct KeyRotationPolicy {
    pub(crate) id: String,
    pub(crate) policy: RotationPolicy,
    pub(crate) dates: Option<PolicyDates>,
}

/// When a policy was first set, and when last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PolicyDates {
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// A policy that was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StoredRotationPolicy {
    pub(crate) policy: RotationPolicy,
    pub(crate) dates: PolicyDates,
}

impl KeyRotationPolicy {
    /// `{vault URL}/keys/{name}/rotationpolicy`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it says.
    #[must_use]
    pub fn policy(&self) -> &RotationPolicy {
        &self.policy
    }

    /// When a policy was first set; `None` for the default one.
    #[must_use]
    pub fn created_on(&self) -> Option<Timestamp> {
        self.dates.map(|dates| dates.created)
    }

    /// When a policy was last set; `None` for the default one.
    #[must_use]
    pub fn updated_on(&self) -> Option<Timestamp> {
        self.dates.map(|dates| dates.updated)
    }
}

/// Azure's form. It is checked only when it becomes a [`RotationPolicy`], so that an error can say what is wrong.
#[derive(Serialize, Deserialize)]
pub(crate) struct RotationPolicyBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "lifetimeActions", default)]
    lifetime_actions: Option<Vec<Object<WireAction>>>,
    #[serde(default)]
    attributes: Option<Object<WireAttributes>>,
}

#[derive(Serialize, Deserialize)]
struct WireAction {
    trigger: Object<WireTrigger>,
    action: Object<WireActionType>,
}

#[derive(Serialize, Deserialize)]
struct WireTrigger {
    #[serde(
        rename = "timeAfterCreate",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    after_create: Option<String>,
    #[serde(
        rename = "timeBeforeExpiry",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    before_expiry: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireActionType {
    #[serde(rename = "type")]
    name: String,
}

#[derive(Default, Serialize, Deserialize)]
struct WireAttributes {
    #[serde(
        rename = "expiryTime",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    expiry_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated: Option<Timestamp>,
}

const ROTATE: &str = "Rotate";
const NOTIFY: &str = "Notify";

impl From<RotationPolicy> for RotationPolicyBody {
    fn from(policy: RotationPolicy) -> Self {
        let action = |name: &str, trigger| {
            let (after_create, before_expiry) = match trigger {
                RotationTrigger::TimeAfterCreate(after) => (Some(after.to_string()), None),
                RotationTrigger::TimeBeforeExpiry(before) => (None, Some(before.to_string())),
            };
            Object(WireAction {
                trigger: Object(WireTrigger {
                    after_create,
                    before_expiry,
                }),
                action: Object(WireActionType {
                    name: name.to_owned(),
                }),
            })
        };
        let notice = RotationTrigger::TimeBeforeExpiry(policy.notify_before_expiry);
        Self {
            id: None,
            lifetime_actions: Some(
                policy
                    .rotate
                    .map(|trigger| action(ROTATE, trigger))
                    .into_iter()
                    .chain([action(NOTIFY, notice)])
                    .collect(),
            ),
            attributes: Some(Object(WireAttributes {
                expiry_time: policy.expiry_time.map(|life| life.to_string()),
                ..WireAttributes::default()
            })),
        }
    }
}

impl From<KeyRotationPolicy> for RotationPolicyBody {
    fn from(policy: KeyRotationPolicy) -> Self {
        let mut wire = Self::from(policy.policy);
        wire.id = Some(policy.id);
        if let (Some(Object(attributes)), Some(dates)) = (&mut wire.attributes, policy.dates) {
            attributes.created = Some(dates.created);
            attributes.updated = Some(dates.updated);
        }
        wire
    }
}

impl TryFrom<RotationPolicyBody> for RotationPolicy {
    type Error = Error;

    fn try_from(wire: RotationPolicyBody) -> Result<Self> {
        let actions = wire.lifetime_actions.unwrap_or_default();
        let twice = |name| Error::bad_parameter(format!("lifetimeActions has at most one {name}"));
        let (mut rotate, mut notify) = (None, None);
        for Object(action) in actions {
            let WireAction {
                trigger: Object(trigger),
                action: Object(action),
            } = action;
            let trigger = match (trigger.after_create, trigger.before_expiry) {
                (Some(after), None) => RotationTrigger::TimeAfterCreate(after.parse()?),
                (None, Some(before)) => RotationTrigger::TimeBeforeExpiry(before.parse()?),
                _ => {
                    return Err(Error::bad_parameter(
                        "a trigger is either timeAfterCreate or timeBeforeExpiry",
                    ));
                }
            };
            if action.name.eq_ignore_ascii_case(ROTATE) {
                if rotate.replace(trigger).is_some() {
                    return Err(twice(ROTATE));
                }
            } else if action.name.eq_ignore_ascii_case(NOTIFY) {
                let RotationTrigger::TimeBeforeExpiry(before) = trigger else {
                    return Err(Error::bad_parameter(
                        "the trigger of Notify is timeBeforeExpiry",
                    ));
                };
                if notify.replace(before).is_some() {
                    return Err(twice(NOTIFY));
                }
            } else {
                return Err(Error::bad_parameter("an action is Rotate or Notify"));
            }
        }
        let policy = Self {
            rotate,
            notify_before_expiry: notify.unwrap_or(DEFAULT_NOTICE),
            expiry_time: wire
                .attributes
                .and_then(|Object(attributes)| attributes.expiry_time)
                .map(|life| life.parse())
                .transpose()?,
        };
        policy.check()?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RotationPolicy, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn one(action: &str, trigger: &str, expiry: &str) -> Result<RotationPolicy, String> {
        read(&format!(
            r#"{{"lifetimeActions":[{{"trigger":{{{trigger}}},"action":{{"type":"{action}"}}}}],"attributes":{{{expiry}}}}}"#
        ))
    }

    #[test]
    fn the_shapes_of_azure_are_read_and_written() {
        let policy = one(
            "rotate",
            r#""timeAfterCreate":"P90D""#,
            r#""expiryTime":"P2Y""#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&policy).unwrap(),
            r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P2Y"}}"#
        );
        for blank in [
            "{}",
            r#"{"lifetimeActions":[],"attributes":{}}"#,
            r#"{"lifetimeActions":null}"#,
        ] {
            assert_eq!(read(blank).unwrap(), RotationPolicy::new());
        }
        let answer = KeyRotationPolicy {
            id: "https://v/keys/k/rotationpolicy".to_owned(),
            policy,
            dates: Some(PolicyDates {
                created: Timestamp::from_unix_seconds(1),
                updated: Timestamp::from_unix_seconds(2),
            }),
        };
        let json = serde_json::to_string(&answer).unwrap();
        assert!(json.contains(r#""attributes":{"expiryTime":"P2Y","created":1,"updated":2}"#));
        assert_eq!(read(&json).unwrap(), policy);
    }

    #[test]
    fn azures_minimums_hold() {
        let after = |text: &str, expiry: &str| {
            one("Rotate", &format!(r#""timeAfterCreate":"{text}""#), expiry).is_ok()
        };
        assert!(after("P7D", ""));
        assert!(after("PT168H", ""));
        assert!(!after("P6D", ""));
        assert!(!after("PT167H", ""));
        assert!(after("P21D", r#""expiryTime":"P28D""#));
        assert!(!after("P22D", r#""expiryTime":"P28D""#));
        assert!(!after("P7D", r#""expiryTime":"P27D""#));
        assert!(after("P23M", r#""expiryTime":"P24M""#));
        let before = |text: &str, expiry: &str| {
            one("Rotate", &format!(r#""timeBeforeExpiry":"{text}""#), expiry).is_ok()
        };
        assert!(!before("P30D", ""));
        assert!(before("P30D", r#""expiryTime":"P60D""#));
        assert!(!before("P6D", r#""expiryTime":"P60D""#));
        assert!(!before("P54D", r#""expiryTime":"P60D""#));
        let notify =
            |text: &str| one("Notify", &format!(r#""timeBeforeExpiry":"{text}""#), "").is_ok();
        assert!(notify("P7D"));
        assert!(!notify("P6D"));
    }

    #[test]
    fn policies_that_say_nothing_clear_are_refused() {
        for (action, trigger) in [
            ("Notify", r#""timeAfterCreate":"P30D""#),
            ("Rotate", ""),
            (
                "Rotate",
                r#""timeAfterCreate":"P30D","timeBeforeExpiry":"P30D""#,
            ),
            ("Delete", r#""timeAfterCreate":"P30D""#),
            ("Rotate", r#""timeAfterCreate":30"#),
        ] {
            assert!(
                one(action, trigger, r#""expiryTime":"P1Y""#).is_err(),
                "{action} {trigger}"
            );
        }
        let action = r#"{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}"#;
        assert!(read(&format!(r#"{{"lifetimeActions":[{action},{action}]}}"#)).is_err());
    }
}
