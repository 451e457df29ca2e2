//! Readings that Timestream never takes, as blocks of their own.

use std::collections::BTreeMap;

use bytes::Bytes;
use fieldline_store::SetAside;
use fieldline_wire::{Block, Column, Values};

use super::record::Cell;

/// Readings and why they were not taken.
pub(super) type Refusals = BTreeMap<&'static str, Vec<Cell>>;

/// One part for each reason.
pub(super) fn parts(block: &Block, refusals: Refusals) -> Vec<SetAside> {
    let part = |(reason, mut cells): (&str, Vec<Cell>)| {
        cells.sort_unstable();
        cells.dedup();
        SetAside { reason: reason.to_owned(), bytes: Bytes::from(extract(block, &cells).encode()) }
    };
    refusals.into_iter().filter(|(_, cells)| !cells.is_empty()).map(part).collect()
}

/// The block of these readings only; the cells are sorted. It begins where the whole one begins, and
/// ends earlier: its sequence numbers count, they no longer name.
fn extract(block: &Block, cells: &[Cell]) -> Block {
    let columns = cells.chunk_by(|one, other| one.column == other.column).filter_map(|run| {
        let column = block.columns.get(run.first()?.column)?;
        let at: Vec<usize> = run.iter().map(|cell| cell.at).collect();
        Some(Column {
            device: column.device.clone(),
            metric: column.metric.clone(),
            times: pick(&column.times, &at),
            values: match &column.values {
                Values::Float(values) => Values::Float(pick(values, &at)),
                Values::Integer(values) => Values::Integer(pick(values, &at)),
                Values::Boolean(values) => Values::Boolean(pick(values, &at)),
                Values::Text(values) => Values::Text(pick(values, &at)),
            },
            qualities: pick(&column.qualities, &at),
        })
    });
    let columns: Vec<Column> = columns.collect();
    let count = columns.iter().map(|column| column.times.len() as u64).sum::<u64>().max(1);
    Block {
        stream: block.stream.clone(),
        class: block.class,
        first_seq: block.first_seq,
        last_seq: block.first_seq + count - 1,
        columns,
        order: Vec::new(),
    }
}

fn pick<T: Clone>(values: &[T], at: &[usize]) -> Vec<T> {
    at.iter().filter_map(|at| values.get(*at).cloned()).collect()
}
