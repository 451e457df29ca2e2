//! What is stored of each stream: in memory, and in tables that follow it.

use std::collections::{BTreeMap, HashMap};

use fieldline_model::{Class, GatewayId, RangeSet, SeqRange, StreamId, Timestamp};
use rusqlite::{Connection, Transaction, params};

use crate::ledger::{RefusedCounts, StreamRecord};
use crate::order::{Gap, StreamOrder};
use crate::{ReportedBooks, StoreError};

/// Kinds of runs in the table `run`.
const STORED: i64 = 0;
const QUARANTINED: i64 = 1;

/// One stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    /// Its number in the tables; 0 if it is not there.
    pub(super) id: i64,
    pub(super) class: Class,
    pub(super) order: StreamOrder,
    pub(super) quarantined: RangeSet,
}

/// All of the ledger.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    pub(super) streams: HashMap<StreamId, Stream>,
    /// The counter of order numbers.
    pub(super) counter: u64,
    /// The number of the next stream.
    pub(super) next_stream: i64,
    /// Of the streams that have gaps, the least number below which nothing comes any more.
    pub(super) bases: BTreeMap<i64, u64>,
    pub(super) books: BTreeMap<GatewayId, ReportedBooks>,
    pub(super) refused: RefusedCounts,
    /// Bytes of the messages kept.
    pub(super) refused_bytes: u64,
}

impl Ledgers {
    pub(super) fn records(&self) -> Vec<StreamRecord> {
        let record = |(stream, held): (&StreamId, &Stream)| StreamRecord {
            stream: stream.clone(),
            class: held.class,
            stored: held.order.stored.clone(),
            quarantined: held.quarantined.clone(),
        };
        self.streams.iter().map(record).collect()
    }
}

/// Brings the tables from `before` to `after`.
pub(super) fn save_stream(
    transaction: &Transaction<'_>,
    name: &StreamId,
    before: &Stream,
    after: &Stream,
    counter: u64,
) -> Result<(), StoreError> {
    if before.id == 0 {
        let (gateway, epoch) = (name.gateway.as_str(), name.epoch.cast_signed());
        transaction
            .prepare_cached("INSERT INTO stream (id, gateway, epoch, class, counter) VALUES (?, ?, ?, ?, ?)")?
            .execute(params![after.id, gateway, epoch, after.class.code(), to_sql(counter)])?;
    } else {
        transaction
            .prepare_cached("UPDATE stream SET counter = ? WHERE id = ?")?
            .execute(params![to_sql(counter), after.id])?;
    }
    save_runs(transaction, after.id, STORED, &before.order.stored, &after.order.stored)?;
    save_runs(transaction, after.id, QUARANTINED, &before.quarantined, &after.quarantined)?;
    save_gaps(transaction, after.id, &before.order.gaps, &after.order.gaps)
}

fn save_runs(
    transaction: &Transaction<'_>,
    stream: i64,
    kind: i64,
    before: &RangeSet,
    after: &RangeSet,
) -> Result<(), StoreError> {
    let mut delete =
        transaction.prepare_cached("DELETE FROM run WHERE stream = ? AND kind = ? AND first = ?")?;
    for run in only_in(before.runs(), after.runs()) {
        delete.execute(params![stream, kind, to_sql(run.first)])?;
    }
    let mut insert =
        transaction.prepare_cached("INSERT INTO run (stream, kind, first, last) VALUES (?, ?, ?, ?)")?;
    for run in only_in(after.runs(), before.runs()) {
        insert.execute(params![stream, kind, to_sql(run.first), to_sql(run.last)])?;
    }
    Ok(())
}

fn save_gaps(
    transaction: &Transaction<'_>,
    stream: i64,
    before: &[Gap],
    after: &[Gap],
) -> Result<(), StoreError> {
    let mut delete = transaction.prepare_cached("DELETE FROM gap WHERE stream = ? AND first = ?")?;
    for gap in only_in(before, after) {
        delete.execute(params![stream, to_sql(gap.seqs.first)])?;
    }
    let mut insert =
        transaction.prepare_cached("INSERT INTO gap (stream, first, last, base) VALUES (?, ?, ?, ?)")?;
    for gap in only_in(after, before) {
        insert.execute(params![stream, to_sql(gap.seqs.first), to_sql(gap.seqs.last), to_sql(gap.base)])?;
    }
    Ok(())
}

/// The entries of `these` that `those` lack; both ascend and neither has an entry twice.
fn only_in<T: Copy + PartialEq + Starts>(these: &[T], those: &[T]) -> Vec<T> {
    let mut others = those.iter().peekable();
    let mut only = Vec::new();
    for entry in these {
        while others.next_if(|other| other.start() < entry.start()).is_some() {}
        if others.peek() != Some(&entry) {
            only.push(*entry);
        }
    }
    only
}

trait Starts {
    fn start(&self) -> u64;
}

impl Starts for SeqRange {
    fn start(&self) -> u64 {
        self.first
    }
}

impl Starts for Gap {
    fn start(&self) -> u64 {
        self.seqs.first
    }
}

/// Numbers of streams and orders are below 2⁶²; see [`crate::order`].
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads the tables.
pub(super) fn load(connection: &Connection) -> Result<Ledgers, StoreError> {
    let mut ledgers = Ledgers::default();
    let mut streams: HashMap<i64, (StreamId, Stream)> = load_streams(connection, &mut ledgers.counter)?;
    each(connection, "SELECT stream, kind, first, last FROM run ORDER BY stream, kind, first", |row| {
        let range = SeqRange::new(unsigned(row, 2)?, unsigned(row, 3)?);
        if let Some((_, stream)) = streams.get_mut(&row.get(0)?) {
            match row.get::<_, i64>(1)? {
                STORED => stream.order.stored.insert(range),
                _ => stream.quarantined.insert(range),
            }
        }
        Ok(())
    })?;
    each(connection, "SELECT stream, first, last, base FROM gap ORDER BY stream, first", |row| {
        let seqs = SeqRange::new(unsigned(row, 1)?, unsigned(row, 2)?);
        if let Some((_, stream)) = streams.get_mut(&row.get(0)?) {
            stream.order.gaps.push(Gap { seqs, base: unsigned(row, 3)? });
        }
        Ok(())
    })?;
    ledgers.next_stream = streams.keys().max().map_or(1, |last| last + 1);
    for (name, stream) in streams.into_values() {
        ledgers.bases.extend(stream.order.base_min().map(|base| (stream.id, base)));
        ledgers.streams.insert(name, stream);
    }
    load_books(connection, &mut ledgers)?;
    Ok(ledgers)
}

fn load_streams(
    connection: &Connection,
    counter: &mut u64,
) -> Result<HashMap<i64, (StreamId, Stream)>, StoreError> {
    let mut streams = HashMap::new();
    each(connection, "SELECT id, gateway, epoch, class, counter FROM stream", |row| {
        *counter = (*counter).max(unsigned(row, 4)?);
        let Ok(gateway) = GatewayId::new(&row.get::<_, String>(1)?) else { return Ok(()) };
        let name = StreamId { gateway, epoch: row.get::<_, i64>(2)?.cast_unsigned() };
        let class = Class::from_code(row.get(3)?).unwrap_or_default();
        let stream = Stream { id: row.get(0)?, class, ..Stream::default() };
        streams.insert(stream.id, (name, stream));
        Ok(())
    })?;
    Ok(streams)
}

fn load_books(connection: &Connection, ledgers: &mut Ledgers) -> Result<(), StoreError> {
    each(connection, "SELECT gateway, received, books FROM books", |row| {
        let gateway = GatewayId::new(&row.get::<_, String>(0)?);
        let received = Timestamp::from_nanos(row.get(1)?);
        let books = serde_json::from_str(&row.get::<_, String>(2)?);
        match (gateway, books) {
            (Ok(gateway), Ok(books)) => {
                ledgers.books.insert(gateway, ReportedBooks { books, received });
            }
            _ => tracing::warn!("books that cannot be read; the gateway will report again"),
        }
        Ok(())
    })?;
    each(connection, "SELECT gateway, reason, count FROM refused_count", |row| {
        if let Ok(gateway) = GatewayId::new(&row.get::<_, String>(0)?) {
            ledgers.refused.entry(gateway).or_default().insert(row.get(1)?, unsigned(row, 2)?);
        }
        Ok(())
    })?;
    let bytes = "SELECT coalesce(sum(length(bytes)), 0) FROM refused";
    ledgers.refused_bytes = connection.query_row(bytes, [], |row| unsigned(row, 0))?;
    Ok(())
}

fn unsigned(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0))
}

pub(super) fn each(
    connection: &Connection,
    sql: &str,
    mut visit: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(row)?;
    }
    Ok(())
}
