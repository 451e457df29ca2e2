//! A batch of blocks in one transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fieldline_model::StreamId;
use fieldline_wire::{Block, Values};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::fault::FaultPoint;
use super::ledgers::{Stream, save_stream, to_sql};
use super::queue::Reply;
use super::registry::Name;
use super::shared::Shared;
use super::writer::LogState;
use crate::order::Admission;
use crate::{ReceivedBlock, StoreError, Written};

/// What a block may have at most, so that the log can always be read back.
pub(super) const READINGS_MAX: usize = 1 << 20;
/// See [`READINGS_MAX`].
pub(super) const COLUMNS_MAX: usize = 1 << 16;
/// See [`READINGS_MAX`].
const TEXT_BYTES_MAX: usize = 16 << 20;

/// A block to write and who waits for it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) block: Arc<ReceivedBlock>,
    pub(super) reply: Reply<Written>,
}

/// A block that is new.
#[derive(Debug)]
struct Entry<'a> {
    received: &'a ReceivedBlock,
    order: u64,
    plain: bool,
    new: u64,
    /// The numbers of the columns' series.
    series: Vec<u32>,
}

/// What the batch will change, apart from what is shared until it is committed.
#[derive(Debug)]
struct Stage<'a> {
    shared: &'a Shared,
    counter: u64,
    next_stream: i64,
    bases: BTreeMap<i64, u64>,
    streams: HashMap<StreamId, (Stream, Stream)>,
    new_series: HashMap<Name, u32>,
    series_count: usize,
    entries: Vec<Entry<'a>>,
    duplicates: u64,
}

/// Stores the blocks that are new, durably, and shows them to queries. What became of each block.
///
/// # Errors
/// If nothing was stored.
pub(super) fn write(
    connection: &mut Connection,
    shared: &Shared,
    log: &mut LogState,
    calls: &[Call],
) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
    let mut stage = Stage::new(shared);
    let outcomes = calls.iter().map(|call| stage.admit(&call.block)).collect();
    if !stage.entries.is_empty() {
        shared.faults.reach(FaultPoint::BatchBegun)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        stage.save(&transaction, log.last)?;
        transaction.commit()?;
        shared.faults.reach(FaultPoint::BatchCommitted)?;
    }
    stage.apply(log);
    Ok(outcomes)
}

impl<'a> Stage<'a> {
    fn new(shared: &'a Shared) -> Self {
        let ledgers = shared.ledgers();
        Self {
            shared,
            counter: ledgers.counter,
            next_stream: ledgers.next_stream,
            bases: ledgers.bases.clone(),
            streams: HashMap::new(),
            new_series: HashMap::new(),
            series_count: shared.live().registry.len(),
            entries: Vec::new(),
            duplicates: 0,
        }
    }

    fn admit(&mut self, received: &'a ReceivedBlock) -> Result<Written, StoreError> {
        let block = &received.block;
        check(block)?;
        let series = self.series_of(block)?;
        let (_, stream) = self.streams.entry(block.stream.clone()).or_insert_with(|| {
            let known = self.shared.ledgers().streams.get(&block.stream).cloned();
            match known {
                Some(stream) => (stream.clone(), stream),
                None => {
                    let id = self.next_stream;
                    self.next_stream += 1;
                    (Stream::default(), Stream { id, class: block.class, ..Stream::default() })
                }
            }
        });
        let admission = stream.order.admit(block.seqs(), &mut self.counter);
        match stream.order.base_min() {
            None => self.bases.remove(&stream.id),
            Some(base) => self.bases.insert(stream.id, base),
        };
        match admission {
            Admission::Duplicate => {
                self.duplicates += 1;
                Ok(Written { seqs: block.seqs(), new: 0, set_aside: 0 })
            }
            Admission::OutOfBounds => Err(refused("its sequence numbers are out of bounds")),
            Admission::New { order, count } => {
                let plain = order == self.counter && self.bases.is_empty();
                self.entries.push(Entry { received, order, plain, new: count, series });
                Ok(Written { seqs: block.seqs(), new: count, set_aside: 0 })
            }
        }
    }

    /// The numbers of the block's series; new ones are staged.
    fn series_of(&mut self, block: &Block) -> Result<Vec<u32>, StoreError> {
        let live = self.shared.live();
        let mut numbers = Vec::with_capacity(block.columns.len());
        let mut fresh: HashMap<Name, u32> = HashMap::new();
        for column in &block.columns {
            let known = live.registry.number(&column.device, &column.metric);
            let number = known.or_else(|| {
                let name = (column.device.clone(), column.metric.clone());
                self.new_series.get(&name).or_else(|| fresh.get(&name)).copied().or_else(|| {
                    let next = self.series_count + fresh.len() + 1;
                    let number =
                        u32::try_from(next).ok().filter(|_| next <= self.shared.config.series_max)?;
                    fresh.insert(name, number);
                    Some(number)
                })
            });
            numbers.push(number.ok_or_else(|| refused("there would be too many series"))?);
        }
        self.series_count += fresh.len();
        self.new_series.extend(fresh);
        Ok(numbers)
    }

    fn save(&mut self, transaction: &Transaction<'_>, log_last: i64) -> Result<(), StoreError> {
        let mut series =
            transaction.prepare_cached("INSERT INTO series (id, device, metric) VALUES (?, ?, ?)")?;
        for ((device, metric), number) in &self.new_series {
            series.execute(params![number, device.as_str(), metric.as_str()])?;
        }
        let mut insert = transaction
            .prepare_cached("INSERT INTO log (id, ord, plain, received, block) VALUES (?, ?, ?, ?, ?)")?;
        for (id, entry) in (log_last + 1..).zip(&self.entries) {
            let received = entry.received.received.nanos();
            let bytes: &[u8] = &entry.received.encoded;
            insert.execute(params![id, to_sql(entry.order), entry.plain, received, bytes])?;
        }
        self.shared.faults.reach(FaultPoint::LogInserted)?;
        for (name, (before, after)) in &mut self.streams {
            if before.order != after.order {
                save_stream(transaction, name, before, after, self.counter)?;
            }
        }
        self.shared.faults.reach(FaultPoint::LedgerUpdated)
    }

    /// Shows queries what is committed.
    fn apply(self, log: &mut LogState) {
        let mut live = self.shared.live_mut();
        for (name, number) in self.new_series {
            live.registry.insert(name, number);
        }
        for entry in &self.entries {
            for (column, series) in entry.received.block.columns.iter().zip(&entry.series) {
                live.active.append(*series, column, entry.order, entry.plain);
                if let Some(newest) = column.times.iter().max() {
                    live.registry.heard(&column.device, *newest);
                }
            }
            log.last += 1;
            log.took(entry.received.encoded.len(), entry.received.received.nanos());
        }
        drop(live);
        let mut ledgers = self.shared.ledgers();
        ledgers.counter = self.counter;
        ledgers.next_stream = self.next_stream;
        for (name, (before, after)) in self.streams {
            if before.order == after.order {
                continue;
            }
            match after.order.base_min() {
                Some(base) => ledgers.bases.insert(after.id, base),
                None => ledgers.bases.remove(&after.id),
            };
            ledgers.streams.insert(name, after);
        }
        drop(ledgers);
        let mut stats = self.shared.stats();
        stats.duplicates += self.duplicates;
        stats.blocks += self.entries.len() as u64;
        stats.readings += self.entries.iter().map(|entry| entry.new).sum::<u64>();
        stats.commits += u64::from(!self.entries.is_empty());
        stats.log_bytes = log.bytes;
    }
}

fn refused(what: &str) -> StoreError {
    StoreError::Refused { what: what.to_owned() }
}

/// What the codec checks on what it unpacks, for blocks that were made here; and that the log can be
/// read back.
fn check(block: &Block) -> Result<(), StoreError> {
    let mut count = 0;
    let mut text = 0;
    for column in &block.columns {
        let length = column.times.len();
        let qualities = column.qualities.len();
        if column.values.len() != length || !(qualities == 0 || qualities == length) {
            return Err(refused("the parts of a column differ in length"));
        }
        if let Values::Text(values) = &column.values {
            text += values.iter().map(String::len).sum::<usize>();
        }
        count += length;
    }
    if count == 0 || count as u64 != block.seqs().count() {
        return Err(refused("its sequence numbers do not fit its readings"));
    }
    if count > READINGS_MAX || block.columns.len() > COLUMNS_MAX || text > TEXT_BYTES_MAX {
        return Err(refused("it is too large"));
    }
    Ok(())
}
