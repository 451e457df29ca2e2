use fieldline_model::{Quality, Timestamp, Value, ValueRef};
use serde::{Deserialize, Serialize};

use crate::{Aggregate, WindowRule};

/// A window that still takes readings in; serialisable so that a caller can make it durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenWindow {
    start_nanos: i64,
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
    first: (i64, f64),
    last: (i64, f64),
    worst: Quality,
}

/// One aggregate of a closed window, to be sent as the metric `<metric>.<aggregate>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Which figure.
    pub aggregate: Aggregate,
    /// The start of the window.
    pub time: Timestamp,
    /// The figure; a count is an integer.
    pub value: Value,
    /// The worst quality of the values that went in.
    pub quality: Quality,
}

impl OpenWindow {
    /// Opens the window that holds `time`.
    pub(crate) fn open(rule: &WindowRule, time: Timestamp, value: f64, quality: Quality) -> Self {
        let nanos = time.nanos();
        Self {
            start_nanos: start_of(rule, time),
            count: 1,
            min: value,
            max: value,
            sum: value,
            first: (nanos, value),
            last: (nanos, value),
            worst: quality,
        }
    }

    /// Where the window begins.
    pub(crate) fn start_nanos(&self) -> i64 {
        self.start_nanos
    }

    /// When the window is over.
    pub fn end(&self, rule: &WindowRule) -> Timestamp {
        Timestamp::from_nanos(self.start_nanos).saturating_add_nanos(every_nanos(rule))
    }

    /// Takes a value in that lies in this window.
    pub(crate) fn add(&mut self, time: Timestamp, value: f64, quality: Quality) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        if time.nanos() < self.first.0 {
            self.first = (time.nanos(), value);
        }
        if time.nanos() >= self.last.0 {
            self.last = (time.nanos(), value);
        }
        if quality.code() > self.worst.code() {
            self.worst = quality;
        }
    }

    /// The figures that the rule asks for.
    pub fn close(&self, rule: &WindowRule) -> Vec<Output> {
        let figure = |aggregate| match aggregate {
            Aggregate::Min => Value::Float(self.min),
            Aggregate::Max => Value::Float(self.max),
            Aggregate::Mean => Value::Float(self.sum / self.count as f64),
            Aggregate::Sum => Value::Float(self.sum),
            Aggregate::Count => Value::Integer(i64::try_from(self.count).unwrap_or(i64::MAX)),
            Aggregate::First => Value::Float(self.first.1),
            Aggregate::Last => Value::Float(self.last.1),
        };
        rule.aggregates
            .iter()
            .map(|aggregate| Output {
                aggregate: *aggregate,
                time: Timestamp::from_nanos(self.start_nanos),
                value: figure(*aggregate),
                quality: self.worst,
            })
            .collect()
    }
}

/// Where the window that holds `time` begins.
pub(crate) fn start_of(rule: &WindowRule, time: Timestamp) -> i64 {
    let every = every_nanos(rule);
    time.nanos().saturating_sub(time.nanos().rem_euclid(every))
}

/// What a window can aggregate: finite numbers, and booleans as 0 and 1.
pub(crate) fn figure_of(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Boolean(value) => Some(f64::from(u8::from(value))),
        other => other.as_number().filter(|number| number.is_finite()),
    }
}

fn every_nanos(rule: &WindowRule) -> i64 {
    i64::try_from(rule.every.as_nanos()).unwrap_or(i64::MAX).max(1)
}
