//! The readings of a block, one for each series and time, and what becomes of those that stay out.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use fieldline_model::Quality;
use fieldline_wire::{Block, Column, Values};

use super::reason::Reason;
use crate::SetAside;

/// One reading of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Columns of one device and metric have the same number.
    pub(super) series: u32,
    pub(super) time: i64,
    pub(super) column: u32,
    pub(super) row: u32,
}

impl Entry {
    pub(super) fn column(self, block: &Block) -> Option<&Column> {
        block.columns.get(self.column as usize)
    }

    pub(super) fn quality(self, column: &Column) -> Quality {
        column.qualities.get(self.row as usize).copied().unwrap_or_default()
    }
}

/// The readings of a block that stand within it, by series and time: of several with one time the
/// last of the last column.
pub(super) fn standing(block: &Block) -> Vec<Entry> {
    let mut numbers = HashMap::new();
    let mut entries = Vec::new();
    for (number, column) in (0_u32..).zip(&block.columns) {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let series = *numbers.entry((&column.device, &column.metric)).or_insert(next);
        let rows = (0_u32..).zip(&column.times).take(column.values.len());
        entries.extend(rows.map(|(row, time)| Entry { series, time: *time, column: number, row }));
    }
    entries.sort_unstable();
    let mut standing: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries {
        match standing.last_mut() {
            Some(last) if (last.series, last.time) == (entry.series, entry.time) => *last = entry,
            _ => standing.push(entry),
        }
    }
    standing
}

/// Makes blocks of their own out of readings that are set aside, one for each reason.
pub(super) fn set_aside(block: &Block, refused: &[(Entry, Reason)]) -> Vec<SetAside> {
    let mut reasons: BTreeMap<Reason, Vec<Entry>> = BTreeMap::new();
    for (entry, reason) in refused {
        reasons.entry(*reason).or_default().push(*entry);
    }
    let parts = reasons.into_iter();
    parts
        .map(|(reason, entries)| SetAside { reason: reason.text().to_owned(), bytes: part(block, entries) })
        .collect()
}

fn part(block: &Block, mut entries: Vec<Entry>) -> Bytes {
    entries.sort_unstable_by_key(|entry| (entry.column, entry.row));
    let last_seq = block.first_seq + (entries.len() as u64).saturating_sub(1);
    let mut columns: Vec<Column> = Vec::new();
    for run in entries.chunk_by(|one, other| one.column == other.column) {
        let Some(column) = run.first().and_then(|entry| entry.column(block)) else { continue };
        let rows: Vec<usize> = run.iter().map(|entry| entry.row as usize).collect();
        columns.push(Column {
            device: column.device.clone(),
            metric: column.metric.clone(),
            times: pick(&column.times, &rows),
            values: match &column.values {
                Values::Float(values) => Values::Float(pick(values, &rows)),
                Values::Integer(values) => Values::Integer(pick(values, &rows)),
                Values::Boolean(values) => Values::Boolean(pick(values, &rows)),
                Values::Text(values) => Values::Text(pick(values, &rows)),
            },
            qualities: pick(&column.qualities, &rows),
        });
    }
    let Block { stream, class, first_seq, .. } = block;
    let part = Block {
        stream: stream.clone(),
        class: *class,
        first_seq: *first_seq,
        last_seq,
        columns,
        order: Vec::new(),
    };
    Bytes::from(part.encode())
}

fn pick<T: Clone>(from: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().filter_map(|row| from.get(*row).cloned()).collect()
}
