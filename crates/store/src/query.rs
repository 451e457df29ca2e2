use std::fmt;
use std::str::FromStr;

use fieldline_model::{DeviceId, Metric, Quality, Timestamp, Value};

use crate::{Aggregate, Glob, StoreError};

/// Which points to read.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesQuery {
    /// Devices, by name or pattern.
    pub device: Glob,
    /// Metrics, by name or pattern.
    pub metric: Glob,
    /// The earliest time, included.
    pub from: Timestamp,
    /// The latest time, not included. [`Timestamp::MAX`] itself can therefore not be queried.
    pub to: Timestamp,
    /// Buckets instead of single points.
    pub buckets: Option<Buckets>,
    /// The most points (or buckets) in the page, all series together; at least 1. A store may give fewer.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

impl SeriesQuery {
    /// All points of one series (or of all that match, where a name has a `*`), 10,000 in a page.
    pub fn one(device: &str, metric: &str) -> Self {
        Self {
            device: Glob::new(device),
            metric: Glob::new(metric),
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            buckets: None,
            limit: 10_000,
            after: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.limit == 0 {
            return Err(StoreError::Query { what: "the limit is 0" });
        }
        if self.buckets.is_some_and(|buckets| buckets.step_nanos <= 0) {
            return Err(StoreError::Query { what: "the step is not above 0" });
        }
        if self.to < self.from {
            return Err(StoreError::Query { what: "`to` lies before `from`" });
        }
        Ok(())
    }
}

/// Cut time into equal steps and tell one value for each step that has points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// The length of a step in nanoseconds, above 0. Steps begin at multiples of it since the epoch.
    pub step_nanos: i64,
    /// Which value.
    pub aggregate: Aggregate,
}

impl Buckets {
    /// The time at which the step of `time` begins; saturates at the earliest time.
    pub fn start(&self, time: i64) -> i64 {
        let step = self.step_nanos.max(1);
        time.div_euclid(step).saturating_mul(step)
    }
}

/// A point of a series, or a bucket: then `time` is its beginning, and `quality` is the worst in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When.
    pub time: Timestamp,
    /// How much.
    pub value: Value,
    /// How trustworthy.
    pub quality: Quality,
}

/// Points of one series, by ascending time, one for each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Who measured.
    pub device: DeviceId,
    /// What.
    pub metric: Metric,
    /// The points; never empty.
    pub points: Vec<Point>,
}

/// A page of an answer, ordered by device and metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesPage {
    /// The series that have points in this page.
    pub series: Vec<Series>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// The last point of a page: the next page begins behind it. As text `<nanoseconds>/<device>/<metric>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The device of the last point.
    pub device: DeviceId,
    /// Its metric.
    pub metric: Metric,
    /// Its time.
    pub time: Timestamp,
}

/// The text is no [`Cursor`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cursor that an earlier answer gave as `next`")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.time.nanos(), self.device, self.metric)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let read = || -> Option<Self> {
            let mut parts = text.splitn(3, '/');
            let time = Timestamp::from_nanos(parts.next()?.parse().ok()?);
            let device = DeviceId::new(parts.next()?).ok()?;
            let metric = Metric::new(parts.next()?).ok()?;
            Some(Self { device, metric, time })
        };
        read().ok_or_else(|| CursorError(text.to_owned()))
    }
}

/// The newest reading of one metric of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// What was measured.
    pub metric: Metric,
    /// When, how much, how trustworthy.
    pub point: Point,
}

/// Which devices to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceQuery {
    /// Names.
    pub device: Glob,
    /// Begin behind this one.
    pub after: Option<DeviceId>,
    /// The most devices in the page; at least 1.
    pub limit: usize,
}

impl Default for DeviceQuery {
    /// The first 1,000 of all devices.
    fn default() -> Self {
        Self { device: Glob::new("*"), after: None, limit: 1_000 }
    }
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name.
    pub device: DeviceId,
    /// How many metrics it has sent.
    pub series: u64,
    /// The time of its newest reading; `None` when retention has taken all of them.
    pub last: Option<Timestamp>,
}

/// A page of devices, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<DeviceInfo>,
    /// Where to go on; `None` at the end.
    pub next: Option<DeviceId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_from_its_text() {
        let cursor = Cursor {
            device: DeviceId::new("urn:dev:1").unwrap(),
            metric: Metric::new("cpu.usage{cpu=0}").unwrap(),
            time: Timestamp::from_nanos(-5),
        };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for bad in ["", "x", "1/a", "1/a b/c", "y/a/b", "1/a/b/c"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn buckets_begin_at_multiples_of_the_step_on_both_sides_of_the_epoch() {
        let hours = Buckets { step_nanos: 10, aggregate: Aggregate::Count };
        for (time, start) in [(0, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (i64::MIN, i64::MIN)] {
            assert_eq!(hours.start(time), start, "{time}");
        }
    }
}
