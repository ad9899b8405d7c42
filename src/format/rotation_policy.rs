//! A rotation policy inside key objects and backups.

use serde::{Deserialize, Serialize};

use super::layout;
use crate::error::Result;
use crate::model::duration::CalendarDuration;
use crate::model::rotation_policy::{
    PolicyDates, RotationPolicy, RotationTrigger, StoredRotationPolicy,
};
use crate::model::time::Timestamp;

/// Years, months, days, hours, minutes, seconds.
type Duration1 = [u32; 6];

#[derive(Serialize, Deserialize)]
pub(super) struct RotationPolicy1 {
    created: u64,
    updated: u64,
    rotate: Option<Trigger1>,
    notify_before_expiry: Duration1,
    expiry_time: Option<Duration1>,
}

#[derive(Serialize, Deserialize)]
enum Trigger1 {
    TimeAfterCreate(Duration1),
    TimeBeforeExpiry(Duration1),
}

impl From<&StoredRotationPolicy> for RotationPolicy1 {
    fn from(stored: &StoredRotationPolicy) -> Self {
        let StoredRotationPolicy { policy, dates } = stored;
        Self {
            created: dates.created.unix_seconds(),
            updated: dates.updated.unix_seconds(),
            rotate: policy.rotation().map(|trigger| match trigger {
                RotationTrigger::TimeAfterCreate(after) => {
                    Trigger1::TimeAfterCreate(after.counts())
                }
                RotationTrigger::TimeBeforeExpiry(before) => {
                    Trigger1::TimeBeforeExpiry(before.counts())
                }
            }),
            notify_before_expiry: policy.notice().counts(),
            expiry_time: policy.life().map(CalendarDuration::counts),
        }
    }
}

impl RotationPolicy1 {
    /// Errors: `Corrupt` for a policy that nobody can set.
    pub(super) fn into_stored(self) -> Result<StoredRotationPolicy> {
        let duration = CalendarDuration::from_counts;
        let mut policy =
            RotationPolicy::new().notify_before_expiry(duration(self.notify_before_expiry));
        if let Some(trigger) = self.rotate {
            policy = policy.rotate(match trigger {
                Trigger1::TimeAfterCreate(after) => {
                    RotationTrigger::TimeAfterCreate(duration(after))
                }
                Trigger1::TimeBeforeExpiry(before) => {
                    RotationTrigger::TimeBeforeExpiry(duration(before))
                }
            });
        }
        if let Some(life) = self.expiry_time {
            policy = policy.expiry_time(duration(life));
        }
        policy
            .check()
            .map_err(|_| layout::corrupt("a key has an impossible rotation policy"))?;
        Ok(StoredRotationPolicy {
            policy,
            dates: PolicyDates {
                created: Timestamp::from_unix_seconds(self.created),
                updated: Timestamp::from_unix_seconds(self.updated),
            },
        })
    }
}
