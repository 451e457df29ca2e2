//! Which points of the database a block must not overwrite.
//!
//! InfluxDB lets the point win that arrives last. Where a block is not its stream's newest, what it
//! would overwrite may be newer; the places tell.

use std::collections::HashSet;

use fieldline_wire::Block;

use super::entry::Entry;
use super::http::Http;
use super::influxql::{Found, ask, identifier, literal};
use super::name;
use crate::StoreError;

/// Readings of one series with a longer pause between them are asked for apart.
const PAUSE_NANOS_MAX: i64 = 86_400 * 1_000_000_000;
/// Statements in one request.
const STATEMENTS_MAX: usize = 50;
/// Rows in the answer of a statement.
const ROWS_MAX: usize = 2_000;

/// A run of readings of one series.
struct Run<'a> {
    entries: &'a [Entry],
    from: i64,
}

/// Drops the readings that the database holds with a greater place.
pub(super) async fn drop_older(
    http: &Http,
    block: &Block,
    place: u64,
    entries: &mut Vec<Entry>,
) -> Result<(), StoreError> {
    let mut newer = HashSet::new();
    let mut waiting: Vec<Run<'_>> = entries.chunk_by(joined).filter_map(run).collect();
    while !waiting.is_empty() {
        let asked = waiting.split_off(waiting.len().saturating_sub(STATEMENTS_MAX));
        let statements: Vec<String> = asked.iter().filter_map(|run| statement(block, place, run)).collect();
        for (run, found) in asked.into_iter().zip(ask(http, &statements).await?) {
            waiting.extend(take(block, run, found, &mut newer));
        }
    }
    entries.retain(|entry| !newer.contains(&(entry.series, entry.time)));
    Ok(())
}

fn joined(one: &Entry, other: &Entry) -> bool {
    one.series == other.series && other.time.saturating_sub(one.time) <= PAUSE_NANOS_MAX
}

fn run(entries: &[Entry]) -> Option<Run<'_>> {
    Some(Run { entries, from: entries.first()?.time })
}

fn statement(block: &Block, place: u64, run: &Run<'_>) -> Option<String> {
    let last = run.entries.last()?;
    let column = last.column(block)?;
    let measurement = identifier(&name::measurement(column.metric.as_str()));
    let device = literal(column.device.as_str());
    let (from, to) = (run.from, last.time);
    Some(format!(
        "SELECT \"place\"::integer FROM {measurement} WHERE \"device\"::tag = {device} AND time >= {from} \
         AND time <= {to} AND \"place\"::integer > {place} GROUP BY * LIMIT {ROWS_MAX}"
    ))
}

/// Notes what is newer; gives the rest of the run if there may be more.
fn take<'a>(block: &Block, run: Run<'a>, found: Found, newer: &mut HashSet<(u32, i64)>) -> Option<Run<'a>> {
    let last = run.entries.last()?;
    let device = last.column(block)?.device.as_str();
    let ours = found.tables.iter().filter(|table| table.is_ours(device));
    let times: Vec<i64> =
        ours.flat_map(|table| &table.values).filter_map(|row| row.first()?.as_i64()).collect();
    newer.extend(times.iter().map(|time| (last.series, *time)));
    let end = times.last().filter(|_| times.len() >= ROWS_MAX || found.cut)?;
    let from = end.saturating_add(1);
    (from <= last.time).then_some(Run { entries: run.entries, from })
}
