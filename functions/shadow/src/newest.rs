//! The newest reading of each metric, out of blocks.

use std::cmp::Ordering;
use std::collections::HashMap;

use fieldline_model::{DeviceId, Metric, Quality, Timestamp, Value, ValueRef};
use fieldline_wire::{Block, Column, Values};

/// A reading whose time lies further ahead of its arrival is not shown: it would stay for as long. A day
/// is enough for a clock that is set to another time zone. In nanoseconds.
pub(crate) const AHEAD_NANOS_MAX: i64 = 24 * 60 * 60 * 1_000_000_000;

/// A value of a metric and its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Microseconds since the epoch: what a number of JSON holds exactly as milliseconds.
    pub at_us: i64,
    /// A float is finite.
    pub value: Value,
}

/// Samples by metric.
pub type Metrics = HashMap<Metric, Sample>;

/// The newest samples of devices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Newest {
    /// By device.
    pub devices: HashMap<DeviceId, Metrics>,
}

impl Sample {
    /// What can be shown of a reading that arrived at `received`: nothing if it is bad, not finite, or from
    /// a far future.
    pub fn of(time: Timestamp, value: ValueRef<'_>, quality: Quality, received: Timestamp) -> Option<Self> {
        let finite = !matches!(value, ValueRef::Float(value) if !value.is_finite());
        let shown = quality != Quality::Bad && finite && time <= ahead(received);
        shown.then(|| Self { at_us: time.nanos().div_euclid(1_000), value: value.to_value() })
    }

    /// Whether it takes the place of `other`: it is newer, or as old and comes later in an order of values
    /// that has no meaning but makes the outcome the same in whichever order they come.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.at_us > other.at_us
            || self.at_us == other.at_us && order(&self.value, &other.value) == Ordering::Greater
    }
}

/// By kind, then by value.
fn order(one: &Value, other: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Boolean(_) => 0,
        Value::Integer(_) | Value::Float(_) => 1,
        Value::Text(_) => 2,
    };
    match (one, other) {
        (Value::Boolean(one), Value::Boolean(other)) => one.cmp(other),
        (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        _ => match (one.as_ref().as_number(), other.as_ref().as_number()) {
            (Some(one), Some(other)) => one.partial_cmp(&other).unwrap_or(Ordering::Equal),
            _ => rank(one).cmp(&rank(other)),
        },
    }
}

impl Newest {
    /// Takes a block in that arrived at `received`.
    pub fn add(&mut self, block: &Block, received: Timestamp) {
        for column in &block.columns {
            let Some(sample) = newest_of(column, received) else { continue };
            let metrics = self.devices.entry(column.device.clone()).or_default();
            offer(metrics, &column.metric, sample);
        }
    }
}

pub(crate) fn offer(metrics: &mut Metrics, metric: &Metric, sample: Sample) {
    match metrics.get_mut(metric.as_str()) {
        Some(held) if sample.supersedes(held) => *held = sample,
        Some(_) => {}
        None => drop(metrics.insert(metric.clone(), sample)),
    }
}

fn ahead(received: Timestamp) -> Timestamp {
    received.saturating_add_nanos(AHEAD_NANOS_MAX)
}

/// The newest reading of a column that can be shown, see [`Sample::of`]. Of several at one time it is the
/// last.
pub fn newest_of(column: &Column, received: Timestamp) -> Option<Sample> {
    let ahead = ahead(received).nanos();
    let mut newest: Option<(usize, i64)> = None;
    // From the end, since it is mostly the last one: of the others only the time is looked at then.
    for (index, &nanos) in column.times.iter().enumerate().rev() {
        if newest.is_none_or(|(_, held)| nanos > held) && nanos <= ahead && can_show(column, index) {
            newest = Some((index, nanos));
        }
    }
    let (index, nanos) = newest?;
    let quality = quality(column, index);
    Sample::of(Timestamp::from_nanos(nanos), value(&column.values, index)?, quality, received)
}

fn can_show(column: &Column, index: usize) -> bool {
    let finite = match &column.values {
        Values::Float(values) => values.get(index).is_some_and(|value| value.is_finite()),
        _ => true,
    };
    finite && quality(column, index) != Quality::Bad
}

/// None is written down where all are good.
fn quality(column: &Column, index: usize) -> Quality {
    column.qualities.get(index).copied().unwrap_or_default()
}

fn value(values: &Values, index: usize) -> Option<ValueRef<'_>> {
    Some(match values {
        Values::Float(values) => ValueRef::Float(*values.get(index)?),
        Values::Integer(values) => ValueRef::Integer(*values.get(index)?),
        Values::Boolean(values) => ValueRef::Boolean(*values.get(index)?),
        Values::Text(values) => ValueRef::Text(values.get(index)?),
    })
}
