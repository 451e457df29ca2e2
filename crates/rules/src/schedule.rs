//! When a rule is in force.

use fieldline_model::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan};

use crate::Schedule;
use crate::nearest::hint;

/// A schedule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(pub String);

/// A [`Schedule`], ready to be asked.
///
/// A window begins at `from` on each of its days and ends at the next `to` of the clock on the wall. A time of day that
/// the change to summer time leaves out counts as so much later; of one that comes twice the first is meant.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    days: Vec<Weekday>,
    from: Time,
    to: Time,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Calendar {
    /// Reads a schedule. `from` and `to` may be the same: the whole day from then on; `24:00` is midnight.
    ///
    /// # Errors
    /// An unknown zone or day, a time of day that is none.
    pub fn new(schedule: &Schedule) -> Result<Self, ScheduleError> {
        let zone = zone(&schedule.zone)?;
        let named: Result<Vec<Weekday>, _> = schedule.days.iter().map(|day| weekday(day)).collect();
        let days = match named? {
            none if none.is_empty() => DAYS.iter().map(|(_, day)| *day).collect(),
            some => some,
        };
        Ok(Self { zone, days, from: time_of_day(&schedule.from)?, to: time_of_day(&schedule.to)? })
    }

    /// Whether the rule is in force at this time.
    pub fn in_force(&self, at: Timestamp) -> bool {
        let Some(at) = instant(at) else { return false };
        let today = at.to_zoned(self.zone.clone()).date();
        // A window is at most a day long, and begins today or yesterday; two, for days without a beginning.
        (-2..=0).any(|offset| self.window(today, offset).is_some_and(|(start, end)| start <= at && at < end))
    }

    /// The first time after `at` at which [`Calendar::in_force`] says something else; none: it never does.
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let now = self.in_force(at);
        let today = instant(at)?.to_zoned(self.zone.clone()).date();
        let windows = (-2..=9).filter_map(|offset| self.window(today, offset));
        let mut edges: Vec<Timestamp> = windows
            .flat_map(|(start, end)| [start, end])
            .filter_map(|edge| i64::try_from(edge.as_nanosecond()).ok().map(Timestamp::from_nanos))
            .filter(|edge| *edge > at)
            .collect();
        edges.sort_unstable();
        edges.into_iter().find(|edge| self.in_force(*edge) != now)
    }

    /// The window that begins so many days after `today`, if one does.
    fn window(&self, today: Date, offset: i64) -> Option<(Instant, Instant)> {
        let first = today.checked_add(offset.days()).ok()?;
        if !self.days.contains(&first.weekday()) {
            return None;
        }
        let last = if self.to > self.from { first } else { first.checked_add(1.day()).ok()? };
        let start = self.zone.to_timestamp(first.to_datetime(self.from)).ok()?;
        let end = self.zone.to_timestamp(last.to_datetime(self.to)).ok()?;
        Some((start, end))
    }
}

fn instant(at: Timestamp) -> Option<Instant> {
    Instant::from_nanosecond(i128::from(at.nanos())).ok()
}

fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let hint = hint(name, known.iter().map(String::as_str));
        ScheduleError(format!("there is no time zone {name:?}{hint}"))
    })
}

fn weekday(name: &str) -> Result<Weekday, ScheduleError> {
    let found = DAYS.iter().find(|(known, _)| *known == name).map(|(_, day)| *day);
    found.ok_or_else(|| {
        ScheduleError(format!("there is no day {name:?}; days are mon tue wed thu fri sat sun"))
    })
}

fn time_of_day(text: &str) -> Result<Time, ScheduleError> {
    if text == "24:00" {
        return Ok(Time::midnight());
    }
    let number = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<i8>().ok()).flatten()
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Time::new(number(hour)?, number(minute)?, 0, 0).ok())
        .ok_or_else(|| ScheduleError(format!("{text:?} is no time of day; write 06:30")))
}

#[cfg(test)]
mod tests;
