//! Lengths of time as rotation policies have them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::calendar;
use super::time::Timestamp;
use crate::error::{Error, Result};

/// A length of time in the form of ISO 8601 that Azure takes: `P90D`, `P3M`, `P1Y10D`, `PT48H`.
///
/// Months and years are those of the calendar, in UTC: one month after 31 January is the last day of February. Years
/// and months count first, then days, then hours, minutes and seconds. Weeks and fractions are not accepted.
///
/// # Examples
///
/// ```
/// use strongroom::{CalendarDuration, Timestamp};
///
/// let january_31 = Timestamp::from_unix_seconds(1_769_817_600);
/// let month: CalendarDuration = "P1M".parse()?;
/// assert_eq!(month.after(january_31), january_31.plus_days(28));
/// assert_eq!(CalendarDuration::days(90).to_string(), "P90D");
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CalendarDuration {
    /// Years, months, days, hours, minutes, seconds.
    counts: [u32; PARTS],
}

const PARTS: usize = 6;
/// The date, and the time after `T`.
const LETTERS: [char; PARTS] = ['Y', 'M', 'D', 'H', 'M', 'S'];
const DATE_PARTS: usize = 3;
/// The most digits of one number.
const MAX_DIGITS: usize = 9;

impl CalendarDuration {
    /// So many days of 86,400 seconds.
    #[must_use]
    pub const fn days(days: u32) -> Self {
        Self {
            counts: [0, 0, days, 0, 0, 0],
        }
    }

    /// So many months of the calendar.
    #[must_use]
    pub const fn months(months: u32) -> Self {
        Self {
            counts: [0, months, 0, 0, 0, 0],
        }
    }

    /// So many years of the calendar.
    #[must_use]
    pub const fn years(years: u32) -> Self {
        Self {
            counts: [years, 0, 0, 0, 0, 0],
        }
    }

    /// The moment this long after `moment`; it stops at the last representable one.
    #[must_use]
    pub fn after(self, moment: Timestamp) -> Timestamp {
        let (months, days, seconds) = self.totals();
        calendar::shifted(moment, months, days, seconds)
    }

    /// The moment this long before `moment`; it stops at the first representable one.
    #[must_use]
    pub fn before(self, moment: Timestamp) -> Timestamp {
        let (months, days, seconds) = self.totals();
        calendar::shifted(moment, -months, -days, -seconds)
    }

    fn totals(self) -> (i64, i64, i64) {
        let [years, months, days, hours, minutes, seconds] = self.counts.map(i64::from);
        (
            years * 12 + months,
            days,
            hours * 3_600 + minutes * 60 + seconds,
        )
    }

    /// The shortest that it can be, in whole days, wherever it begins.
    pub(crate) fn least_days(self) -> u64 {
        self.whole_days(365, 28)
    }

    /// The longest that it can be, in whole days and rounded up.
    pub(crate) fn most_days(self) -> u64 {
        let (_, _, seconds) = self.totals();
        self.whole_days(366, 31) + u64::from(seconds % 86_400 != 0)
    }

    fn whole_days(self, per_year: i64, per_month: i64) -> u64 {
        let (months, days, seconds) = self.totals();
        let days = months / 12 * per_year + months % 12 * per_month + days + seconds / 86_400;
        u64::try_from(days).unwrap_or_default()
    }

    pub(crate) const fn counts(self) -> [u32; PARTS] {
        self.counts
    }

    pub(crate) const fn from_counts(counts: [u32; PARTS]) -> Self {
        Self { counts }
    }
}

impl fmt::Display for CalendarDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counts == [0; PARTS] {
            return f.write_str("P0D");
        }
        f.write_str("P")?;
        for (place, (count, letter)) in self.counts.iter().zip(LETTERS).enumerate() {
            if place == DATE_PARTS && self.counts[DATE_PARTS..] != [0; PARTS - DATE_PARTS] {
                f.write_str("T")?;
            }
            if *count != 0 {
                write!(f, "{count}{letter}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CalendarDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CalendarDuration({self})")
    }
}

impl FromStr for CalendarDuration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::bad_parameter(
                "a duration is written in the form of ISO 8601, as P90D, P3M, P1Y10D or PT48H, with whole numbers of \
                 at most nine digits",
            )
        })
    }
}

fn parse(text: &str) -> Option<CalendarDuration> {
    let text = text.strip_prefix('P')?;
    let (date, time) = match text.split_once('T') {
        None => (text, None),
        Some((date, time)) => (date, Some(time)),
    };
    let mut counts = [0; PARTS];
    let (date_counts, time_counts) = counts.split_at_mut(DATE_PARTS);
    let found = parse_parts(date, &LETTERS[..DATE_PARTS], date_counts)?;
    let found = match time {
        None => found,
        // After a T something must follow.
        Some(time) => parse_parts(time, &LETTERS[DATE_PARTS..], time_counts)?,
    };
    found.then_some(CalendarDuration { counts })
}

/// Numbers with their letters, in this order, each at most once; whether there was one.
fn parse_parts(mut text: &str, letters: &[char], counts: &mut [u32]) -> Option<bool> {
    let found = !text.is_empty();
    for (letter, count) in letters.iter().zip(counts) {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        if let Some(rest) = rest.strip_prefix(*letter) {
            if number.len() > MAX_DIGITS {
                return None;
            }
            *count = number.parse().ok()?;
            text = rest;
        }
    }
    text.is_empty().then_some(found)
}

impl Serialize for CalendarDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CalendarDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> CalendarDuration {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_reads_back_and_nothing_else_is_read() {
        for text in [
            "P90D",
            "P3M",
            "P1Y10D",
            "PT48H",
            "P1Y2M3DT4H5M6S",
            "PT1M",
            "P0D",
            "P999999999Y",
        ] {
            assert_eq!(duration(text).to_string(), text);
        }
        assert_eq!(duration("P0Y90D").to_string(), "P90D");
        for text in [
            "",
            "P",
            "PT",
            "P1",
            "90D",
            "P-1D",
            "+P1D",
            "P1.5D",
            "P1W",
            "P1DT",
            "P1D2M",
            "P1D1D",
            "p1d",
            "P 1D",
            "P1D ",
            "PD",
            "PT1D",
            "P1H",
            "P1000000000D",
            "P٣D",
            "P1Y1Y",
            "PT1M1H",
            "P1YT1Y",
        ] {
            assert!(text.parse::<CalendarDuration>().is_err(), "{text}");
        }
    }

    /// Computed with `datetime` and `dateutil.relativedelta` of Python.
    #[test]
    fn moments_are_those_of_another_implementation() {
        for line in include_str!("duration_vectors.txt").lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [moment, text, after, before] = fields[..] else {
                panic!("{line}");
            };
            let time = |text: &str| Timestamp::from_unix_seconds(text.parse().unwrap());
            assert_eq!(duration(text).after(time(moment)), time(after), "{line}");
            assert_eq!(duration(text).before(time(moment)), time(before), "{line}");
        }
    }

    #[test]
    fn bounds_in_days_hold_wherever_a_duration_begins() {
        for text in [
            "P1M", "P2M", "P11M", "P1Y", "P13M", "P4Y", "P1Y10D", "PT25H", "P1MT1S",
        ] {
            let duration = duration(text);
            for day in 0..3_000 {
                let start = Timestamp::from_unix_seconds(1_700_000_000 + day * 86_400);
                let seconds = duration.after(start).unix_seconds() - start.unix_seconds();
                assert!(duration.least_days() * 86_400 <= seconds, "{text}");
                assert!(seconds <= duration.most_days() * 86_400, "{text}");
            }
        }
    }
}
