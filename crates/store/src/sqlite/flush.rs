//! Heads become chunks: what to merge and how to pack it. The writer commits the outcome.

use std::ops::Range;

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};

use super::codec;
use super::cut::{cuts, joins};
use super::heads::Heads;
use super::packs::{self, Entry, Packer, Place};
use super::summary;
use crate::StoreError;
use crate::aggregate::Summary;
use crate::points::{OrderRun, Points};

/// A chunk to be written.
#[derive(Debug)]
pub(super) struct NewChunk {
    t0: i64,
    t1: i64,
    count: usize,
    summary: Vec<u8>,
    bytes: Vec<u8>,
    /// A later flush will likely pack it again.
    open: bool,
}

/// A chunk that a new one takes the place of.
#[derive(Debug)]
pub(super) struct OldChunk {
    t0: i64,
    pack: i64,
    /// The bytes, if they cannot be read; they are set aside.
    damaged: Option<Vec<u8>>,
}

/// What changes for one series.
#[derive(Debug)]
pub(super) struct Change {
    series: u32,
    old: Vec<OldChunk>,
    new: Vec<NewChunk>,
}

/// The outcome of a flush, not yet committed.
#[derive(Debug)]
pub(super) struct Flushed {
    pub(super) changes: Vec<Change>,
    /// The last log row that the chunks hold.
    pub(super) log_last: i64,
}

impl Flushed {
    pub(super) fn damaged(&self) -> u64 {
        let damaged = self.changes.iter().flat_map(|change| &change.old);
        damaged.filter(|old| old.damaged.is_some()).count() as u64
    }
}

/// Packs the frozen heads together with the chunks that they overlap or continue. A later block may
/// still sort above `base` and no lower; none below the order numbers of what is packed if it is `None`.
pub(super) fn pack(
    connection: &Connection,
    frozen: &Heads,
    base: Option<u64>,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    for (series, head) in frozen.iter() {
        changes.push(pack_series(connection, series, &head.collect(), base)?);
    }
    Ok(changes)
}

fn pack_series(
    connection: &Connection,
    series: u32,
    points: &Points,
    base: Option<u64>,
) -> Result<Change, StoreError> {
    let mut change = Change { series, old: Vec::new(), new: Vec::new() };
    let Some((first, last)) = points.span() else { return Ok(change) };
    // Retention may delete chunks meanwhile.
    let _state = connection.unchecked_transaction()?;
    let chunks = overlapping(connection, series, first, last)?;
    for group in plan(&points.times, &chunks) {
        let mut merged = points.slice(group.points.start, group.points.end);
        if let Some(chunk) = group.chunk {
            let bytes = packs::read(connection, chunk.place)?;
            let old = codec::decode(&bytes, chunk.count, chunk.t0);
            if let Some(old) = &old {
                merged = join(merged, old);
            }
            let damaged = old.is_none().then_some(bytes);
            change.old.push(OldChunk { t0: chunk.t0, pack: chunk.place.pack, damaged });
        }
        add_chunks(&merged, base, &mut change.new)?;
    }
    Ok(change)
}

fn join(mut new: Points, old: &Points) -> Points {
    if old.times.last() < new.times.first() {
        let mut all = old.clone();
        all.append(&new);
        return all;
    }
    new.append(old);
    new.make_tidy();
    new
}

fn add_chunks(points: &Points, base: Option<u64>, new: &mut Vec<NewChunk>) -> Result<(), StoreError> {
    for part in cuts(&points.times) {
        let open = part.end == points.len();
        let part = points.slice(part.start, part.end);
        let Some((t0, t1)) = part.span() else { continue };
        let greatest = OrderRun { order: part.order_max(), end: part.len() };
        let exact = base.is_some_and(|base| base < greatest.order);
        let orders = if exact { &part.orders } else { &vec![greatest] };
        let failed =
            || StoreError::System { what: "to pack a chunk", source: std::io::ErrorKind::Other.into() };
        let packed = codec::encode(&part, orders).ok_or_else(failed)?;
        let summary = Summary::of(&part, 0..part.len());
        let summary = summary::encode(&summary, &part.values, packed.exponent);
        new.push(NewChunk { t0, t1, count: part.len(), summary, bytes: packed.bytes, open });
    }
    Ok(())
}

/// A row of the table `chunk`.
#[derive(Debug, Clone, Copy)]
struct Row {
    t0: i64,
    t1: i64,
    count: usize,
    place: Place,
}

/// The chunks that overlap a span, and the one before it, by time.
fn overlapping(connection: &Connection, series: u32, first: i64, last: i64) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT t0, t1, n, pack, start, size FROM chunk WHERE series = ?1 AND t0 <= ?3
         AND t0 >= coalesce((SELECT max(t0) FROM chunk WHERE series = ?1 AND t0 <= ?2), ?2)",
    )?;
    let rows = statement.query_map(params![series, first, last], |row| {
        let count = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(usize::MAX);
        Ok(Row { t0: row.get(0)?, t1: row.get(1)?, count, place: Place::of(row, 3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// New points, and the chunk with which they are packed.
#[derive(Debug)]
struct Group {
    chunk: Option<Row>,
    points: Range<usize>,
}

/// Puts new points with the chunks that they fall into or continue; chunks that nothing falls into are
/// left alone.
fn plan(times: &[i64], chunks: &[Row]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut before: Option<Row> = None;
    let mut at = 0;
    for chunk in chunks {
        let start = times.partition_point(|time| *time < chunk.t0);
        let end = times.partition_point(|time| *time <= chunk.t1);
        put_between(&mut groups, before, times, at..start);
        if start < end {
            groups.push(Group { chunk: Some(*chunk), points: start..end });
        }
        before = Some(*chunk);
        at = end;
    }
    put_between(&mut groups, before, times, at..times.len());
    groups
}

/// Points behind the chunk `before` and in front of the next one.
fn put_between(groups: &mut Vec<Group>, before: Option<Row>, times: &[i64], points: Range<usize>) {
    let Some(first) = times.get(points.start).filter(|_| !points.is_empty()) else { return };
    let touched = groups
        .last_mut()
        .filter(|group| group.chunk.zip(before).is_some_and(|(chunk, before)| chunk.t0 == before.t0));
    if let Some(group) = touched {
        group.points.end = points.end;
        return;
    }
    let chunk = before.filter(|chunk| joins(chunk.t1, chunk.count, *first, points.len()));
    groups.push(Group { chunk, points });
}

/// Writes the outcome. Chunks that are final and chunks that will be replaced go to packs of their own.
/// `next` is the first free number in the table `pack`.
pub(super) fn save(
    transaction: &Transaction<'_>,
    flushed: &Flushed,
    next: &mut i64,
) -> Result<(), StoreError> {
    let holed = delete(transaction, &flushed.changes)?;
    let mut packer = Packer::new(transaction, *next);
    for open in [false, true] {
        for change in &flushed.changes {
            for new in change.new.iter().filter(|new| new.open == open) {
                let NewChunk { t0, t1, count, summary, bytes, .. } = new;
                let (t0, t1, count, series) = (*t0, *t1, *count, change.series);
                packer.add(&Entry { series, t0, t1, count, summary }, bytes)?;
            }
        }
        if !open {
            packer.end()?;
        }
    }
    for pack in holed {
        packer.tidy(pack)?;
    }
    *next = packer.finish()?;
    Ok(())
}

/// Deletes the chunks whose place others take; says from which packs.
fn delete(transaction: &Transaction<'_>, changes: &[Change]) -> Result<BTreeSet<i64>, StoreError> {
    let mut delete = transaction.prepare_cached("DELETE FROM chunk WHERE series = ? AND t0 = ?")?;
    let mut set_aside = transaction.prepare_cached("INSERT INTO damaged (what, bytes) VALUES (?, ?)")?;
    let mut holed = BTreeSet::new();
    for change in changes {
        for old in &change.old {
            delete.execute(params![change.series, old.t0])?;
            holed.insert(old.pack);
            if let Some(bytes) = &old.damaged {
                set_aside
                    .execute(params![format!("chunk of series {} at {}", change.series, old.t0), bytes])?;
            }
        }
    }
    Ok(holed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_point_touches_one_chunk() {
        let row = |t0, t1| Row { t0, t1, count: 5_000, place: Place::default() };
        let chunks = [row(0, 90), row(100, 190), row(200, 290)];
        let groups = plan(&[95, 150, 195, 300, 310], &chunks);
        let found: Vec<(Option<i64>, Range<usize>)> =
            groups.into_iter().map(|group| (group.chunk.map(|chunk| chunk.t0), group.points)).collect();
        assert_eq!(found, [(None, 0..1), (Some(100), 1..3), (None, 3..5)]);
    }
}
