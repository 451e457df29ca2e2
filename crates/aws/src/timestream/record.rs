//! Records: the readings of a block as Timestream takes them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fieldline_model::{DeviceId, Metric, Quality, ValueRef};
use fieldline_wire::{Block, Column, Values};
use sha2::{Digest, Sha256};

use super::cell;
use super::column::{self, Kind, PLACE, QUALITY, READING};

/// Timestream takes 2,048 bytes of a record, and does not say to the byte how it counts.
const RECORD_BYTES_MAX: usize = 2_000;
/// Timestream takes 256 measures in a record; two are ours.
const METRICS_MAX: usize = 254;
/// What a number can take; the same for all, so that it does not depend on the values how a set of
/// columns is cut.
const NUMBER_BYTES: usize = 24;

/// Where a reading stands in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    /// Index of the column.
    pub(super) column: usize,
    /// Index in the column.
    pub(super) at: usize,
}

/// One value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) value: String,
}

/// A record: readings of one device and time.
///
/// A wide one holds the metrics as columns. A narrow one holds a single reading, its metric as a
/// dimension: for metrics that cannot be columns, and for readings that Timestream did not take in a
/// wide record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) device: DeviceId,
    /// Set in a narrow record.
    pub(super) metric: Option<Metric>,
    pub(super) time: i64,
    /// Timestream's `measure_name`, derived from the names of the measures: a record replaces another
    /// one only if it has the same columns.
    pub(super) name: String,
    pub(super) measures: Vec<Measure>,
    /// What is in it.
    pub(super) cells: Vec<Cell>,
}

/// A block, and the names of its columns.
#[derive(Debug)]
pub(super) struct Source<'a> {
    block: &'a Block,
    bases: Vec<Option<Arc<str>>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(block: &'a Block) -> Self {
        let mut known: HashMap<&Metric, Option<Arc<str>>> = HashMap::new();
        let base = |metric: &Metric| column::base(metric.as_str()).map(Arc::from);
        let bases = block
            .columns
            .iter()
            .map(|column| known.entry(&column.metric).or_insert_with(|| base(&column.metric)).clone());
        Self { block, bases: bases.collect() }
    }

    /// The records of the block, by device and measure name. Of two readings of one series and time
    /// only the later one is in them.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut standing: HashMap<(&DeviceId, &Metric, i64), Cell> = HashMap::new();
        for (index, column) in self.block.columns.iter().enumerate() {
            for (at, time) in column.times.iter().enumerate().take(column.values.len()) {
                standing.insert((&column.device, &column.metric, *time), Cell { column: index, at });
            }
        }
        let mut moments: BTreeMap<(&DeviceId, i64), Vec<(&Metric, Cell)>> = BTreeMap::new();
        for ((device, metric, time), cell) in standing {
            moments.entry((device, time)).or_default().push((metric, cell));
        }
        let mut records = Vec::with_capacity(moments.len());
        for (_, mut cells) in moments {
            cells.sort_unstable();
            self.moment(cells.into_iter().map(|(_, cell)| cell), &mut records);
        }
        records.sort_by(|one, other| {
            (&one.device, &one.name, one.time).cmp(&(&other.device, &other.name, other.time))
        });
        records
    }

    /// The records of one device and time; the cells come by metric.
    fn moment(&self, cells: impl Iterator<Item = Cell>, records: &mut Vec<Record>) {
        let mut part: Vec<Cell> = Vec::new();
        let mut bytes = 0;
        for cell in cells {
            let own = self.wide_bytes(cell).filter(|own| own + self.frame_bytes(cell) <= RECORD_BYTES_MAX);
            let Some(own) = own else {
                records.push(self.narrow(cell));
                continue;
            };
            let full = bytes + own > RECORD_BYTES_MAX || part.len() >= METRICS_MAX;
            if full && !part.is_empty() {
                records.push(self.wide(std::mem::take(&mut part)));
            }
            if part.is_empty() {
                bytes = self.frame_bytes(cell);
            }
            bytes += own;
            part.push(cell);
        }
        if !part.is_empty() {
            records.push(self.wide(part));
        }
    }

    /// The same readings, each in a narrow record of its own; nothing for a record that is one.
    pub(super) fn narrowed(&self, record: &Record) -> Option<Vec<Record>> {
        let wide = record.metric.is_none();
        wide.then(|| record.cells.iter().map(|cell| self.narrow(*cell)).collect())
    }

    fn wide(&self, cells: Vec<Cell>) -> Record {
        let bases: Vec<&str> = cells.iter().map(|cell| self.base(*cell).unwrap_or(READING)).collect();
        self.record(None, &bases, cells)
    }

    fn narrow(&self, cell: Cell) -> Record {
        self.record(Some(self.column(cell).metric.clone()), &[READING], vec![cell])
    }

    fn record(&self, metric: Option<Metric>, bases: &[&str], cells: Vec<Cell>) -> Record {
        let mut measures = Vec::with_capacity(cells.len() + 1);
        let mut qualities: Vec<String> = Vec::new();
        for (cell, base) in cells.iter().zip(bases) {
            let (kind, value) = self.value(*cell);
            measures.push(Measure { name: format!("{base}{}", kind.suffix()), kind, value });
            qualities.extend(cell::quality_entry(base, self.quality(*cell)));
        }
        if !qualities.is_empty() {
            let value = qualities.join(",");
            measures.push(Measure { name: QUALITY.to_owned(), kind: Kind::Text, value });
        }
        let first = cells.first().copied().unwrap_or(Cell { column: 0, at: 0 });
        let column = self.column(first);
        let time = column.times.get(first.at).copied().unwrap_or_default();
        Record { device: column.device.clone(), metric, time, name: set_name(&measures), measures, cells }
    }

    /// What a cell takes in a wide record; `None` if it cannot be in one.
    fn wide_bytes(&self, cell: Cell) -> Option<usize> {
        let base = self.base(cell)?;
        let column = self.column(cell);
        let value = match &column.values {
            Values::Text(values) => values.get(cell.at).map_or(0, String::len),
            _ => NUMBER_BYTES,
        };
        let quality = cell::quality_entry(base, self.quality(cell)).map_or(0, |entry| entry.len() + 1);
        Some(base.len() + "__text".len() + value.max("NaN:7ff8000000000000".len()) + quality)
    }

    /// What a record takes before anything is in it; its name is at most as long as a column's.
    fn frame_bytes(&self, cell: Cell) -> usize {
        let names = column::DEVICE.len() + PLACE.len() + QUALITY.len();
        let name = self.base(cell).map_or(0, str::len) + "__text".len();
        8 + names
            + self.column(cell).device.as_str().len()
            + name.max("set-0123456789abcdef".len())
            + NUMBER_BYTES
    }

    fn column(&self, cell: Cell) -> &'a Column {
        &self.block.columns[cell.column]
    }

    fn base(&self, cell: Cell) -> Option<&str> {
        self.bases.get(cell.column)?.as_deref()
    }

    fn quality(&self, cell: Cell) -> Quality {
        self.column(cell).qualities.get(cell.at).copied().unwrap_or_default()
    }

    fn value(&self, cell: Cell) -> (Kind, String) {
        let at = cell.at;
        let value = match &self.column(cell).values {
            Values::Float(values) => values.get(at).map(|value| ValueRef::Float(*value)),
            Values::Integer(values) => values.get(at).map(|value| ValueRef::Integer(*value)),
            Values::Boolean(values) => values.get(at).map(|value| ValueRef::Boolean(*value)),
            Values::Text(values) => values.get(at).map(|value| ValueRef::Text(value)),
        };
        cell::encode(value.unwrap_or(ValueRef::Text("")))
    }
}

/// The name of a set of columns: the column itself where it is one, else a digest.
fn set_name(measures: &[Measure]) -> String {
    if let [only] = measures {
        return only.name.clone();
    }
    let mut digest = Sha256::new();
    for measure in measures {
        digest.update(measure.name.as_bytes());
        // No name has it.
        digest.update(b"\n");
    }
    let mut name = "set-".to_owned();
    for byte in digest.finalize().iter().take(8) {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

/// What a record counts in the bill: Timestream's rule for writes, place included, dimensions that are
/// written once for the call left out if `device_apart`.
#[cfg(test)]
pub(super) fn metered_bytes(record: &Record, device_apart: bool) -> usize {
    let value = |measure: &Measure| match measure.kind {
        Kind::Boolean => 1,
        Kind::Float | Kind::Integer => 8,
        Kind::Text | Kind::Odd => measure.value.len(),
    };
    let device = if device_apart { 0 } else { column::DEVICE.len() + record.device.as_str().len() };
    let metric = record.metric.as_ref().map_or(0, |metric| column::METRIC.len() + metric.as_str().len());
    let measures: usize = record.measures.iter().map(|measure| measure.name.len() + value(measure)).sum();
    8 + device + metric + record.name.len() + measures + PLACE.len() + 8
}

#[cfg(test)]
mod tests;
