//! The proleptic Gregorian calendar in UTC, as far as durations need it.

use super::time::Timestamp;

const SECONDS_PER_DAY: i128 = 86_400;
const DAYS_PER_ERA: i64 = 146_097;

/// Moves a moment by whole months, keeping the day of the month or taking the last one of a shorter month, then by
/// days and seconds. It stops at the first and the last representable moment.
pub(super) fn shifted(moment: Timestamp, months: i64, days: i64, seconds: i64) -> Timestamp {
    let unix_seconds = i128::from(moment.unix_seconds());
    let second_of_day = unix_seconds.rem_euclid(SECONDS_PER_DAY);
    // At most 2^64 / 86,400.
    let day = i64::try_from(unix_seconds.div_euclid(SECONDS_PER_DAY)).unwrap_or(i64::MAX);
    let day = i128::from(plus_months(day, months)) + i128::from(days);
    let shifted = day * SECONDS_PER_DAY + second_of_day + i128::from(seconds);
    let last = if shifted < 0 { 0 } else { u64::MAX };
    Timestamp::from_unix_seconds(u64::try_from(shifted).unwrap_or(last))
}

/// Days are counted from 1970-01-01.
fn plus_months(day: i64, months: i64) -> i64 {
    if months == 0 {
        return day;
    }
    let (year, month, day_of_month) = civil_from_days(day);
    let months = year * 12 + (month - 1) + months;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    days_from_civil(year, month, day_of_month.min(days_in_month(year, month)))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Years begin in March here, so that the leap day is their last, and 400 of them always have the same length.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    era * DAYS_PER_ERA + day_of_era - 719_468
}

/// Year, month from 1, day of the month from 1.
fn civil_from_days(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(DAYS_PER_ERA), day.rem_euclid(DAYS_PER_ERA));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        year,
        month,
        day_of_year - (153 * month_from_march + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks from day to day, as a person does with a calendar on the wall.
    #[test]
    fn every_day_of_eight_centuries_is_the_one_after_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for number in 0..2 * DAYS_PER_ERA {
            assert_eq!(civil_from_days(number), (year, month, day));
            assert_eq!(days_from_civil(year, month, day), number);
            day += 1;
            if day > days_in_month(year, month) {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        // 800 years after the first day.
        assert_eq!((year, month, day), (2770, 1, 1));
    }

    #[test]
    fn the_ends_of_time_are_not_passed() {
        let last = Timestamp::from_unix_seconds(u64::MAX);
        let first = Timestamp::from_unix_seconds(0);
        assert_eq!(shifted(last, i64::from(u32::MAX), 1, 1), last);
        assert_eq!(shifted(first, -1, 0, 0), first);
        assert_eq!(shifted(last, 0, 0, 0), last);
    }
}
