//! Readings by series, and a block's by day.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fieldline_model::{DeviceId, Metric, Quality, Timestamp, Value};
use fieldline_store::Point;
use fieldline_wire::{Block, Values};

use super::key;

/// Who measured, and what.
pub(super) type Series = (DeviceId, Metric);
/// Readings by series; of each series by ascending time, one for each time, once it is settled.
pub(super) type Rows = BTreeMap<Series, Vec<Row>>;

/// A reading with its place in the order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Nanoseconds since the epoch.
    pub(super) time: i64,
    pub(super) place: i64,
    pub(super) value: Value,
    pub(super) quality: Quality,
}

impl Row {
    /// The newest reading has the greatest; of one time, the one that stands.
    pub(super) fn order(&self) -> (i64, i64) {
        (self.time, self.place)
    }
}

impl From<Row> for Point {
    fn from(row: Row) -> Self {
        Self { time: Timestamp::from_nanos(row.time), value: row.value, quality: row.quality }
    }
}

/// Sorts by time; of one time the row with the greatest place stands, of one place the last.
pub(super) fn settle(rows: &mut Vec<Row>) {
    rows.reverse();
    rows.sort_by_key(|row| (row.time, Reverse(row.place)));
    rows.dedup_by_key(|row| row.time);
}

/// The readings of a block by the number of their day, settled.
pub(super) fn by_day(block: &Block, place: i64) -> BTreeMap<i64, Rows> {
    let mut days: BTreeMap<i64, Rows> = BTreeMap::new();
    for column in &block.columns {
        let series = (column.device.clone(), column.metric.clone());
        // Neighbours mostly are of one day.
        let mut open: Option<(i64, Vec<Row>)> = None;
        let mut close = |open: Option<(i64, Vec<Row>)>| {
            if let Some((day, rows)) = open {
                days.entry(day).or_default().entry(series.clone()).or_default().extend(rows);
            }
        };
        for (at, time) in column.times.iter().copied().enumerate() {
            let Some(value) = value(&column.values, at) else { continue };
            let quality = column.qualities.get(at).copied().unwrap_or_default();
            let day = key::day_of(time);
            if open.as_ref().is_none_or(|(held, _)| *held != day) {
                close(open.replace((day, Vec::new())));
            }
            if let Some((_, rows)) = &mut open {
                rows.push(Row { time, place, value, quality });
            }
        }
        close(open);
    }
    days.values_mut().flat_map(BTreeMap::values_mut).for_each(settle);
    days
}

fn value(values: &Values, at: usize) -> Option<Value> {
    Some(match values {
        Values::Float(values) => Value::Float(*values.get(at)?),
        Values::Integer(values) => Value::Integer(*values.get(at)?),
        Values::Boolean(values) => Value::Boolean(*values.get(at)?),
        Values::Text(values) => Value::Text(values.get(at)?.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_time_the_greatest_place_stands_and_of_one_place_the_last() {
        let row =
            |time, place, value| Row { time, place, value: Value::Integer(value), quality: Quality::Good };
        let mut rows = vec![row(2, 1, 1), row(1, 5, 2), row(1, 9, 3), row(1, 9, 4), row(1, 7, 5)];
        settle(&mut rows);
        assert_eq!(rows, [row(1, 9, 4), row(2, 1, 1)]);
    }
}
