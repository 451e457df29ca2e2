//! From journal records to one block that fits a message.

use fieldline_journal::{Journal, Record};
use fieldline_model::{Class, GatewayId, SeqRange, StreamId};
use fieldline_wire::record::RecordError;
use fieldline_wire::{BlockBuilder, record};

use super::plan::Pick;

/// An AWS IoT message holds 128 KiB; this leaves room for topic and headers. AWS is paid for the block,
/// so a full one is as large as it can be.
const BLOCK_BYTES_MAX: u64 = 120 * 1024;
/// However slow the link, a block is worth its envelope.
const BLOCK_BYTES_MIN: u64 = 2 * 1024;
/// A block is unpacked in memory at both ends, so its readings are bounded too: by a quarter of what a
/// decoder takes ([`fieldline_wire::Limits`]).
const READINGS_MAX: u64 = 1 << 17;
/// The same for its bytes before compression, and for those of its texts, repeats included.
const UNPACKED_BYTES_MAX: usize = 1 << 20;
/// So much of the journal is read at once.
const READ_BYTES: usize = 256 * 1024;
/// So many records are read at once.
const READ_RECORDS: usize = 4_096;

/// A block ready to be sent.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) range: SeqRange,
    pub(crate) bytes: Vec<u8>,
    /// When the oldest reading in it was written to the journal, in epoch milliseconds.
    pub(crate) oldest_ms: i64,
}

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    /// The journal could not be read.
    #[error("cannot read the journal")]
    Journal(#[from] fieldline_journal::Error),
}

/// Packs blocks, learning how well this gateway's data compresses.
#[derive(Debug, Clone)]
pub(crate) struct Packer {
    gateway: GatewayId,
    bytes_max: usize,
    /// Encoded bytes per estimated byte, of late.
    ratio: f64,
}

impl Packer {
    /// For a link of this pace: a block takes half a second of it at most, since live readings wait
    /// while one is on its way.
    pub(crate) fn new(gateway: GatewayId, bytes_per_second: u64) -> Self {
        let bytes_max = (bytes_per_second / 2).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX) as usize;
        Self { gateway, bytes_max, ratio: 0.5 }
    }

    /// As much of the picked run as fits; `None` if nothing of it can be read any more.
    pub(crate) fn pack(&mut self, journal: &Journal, pick: &Pick) -> Result<Option<Packed>, PackError> {
        let mut records_max = usize::MAX;
        loop {
            let Some(filled) = self.fill(journal, pick, records_max)? else { return Ok(None) };
            let records = filled.records;
            let Some(packed) = self.encode(filled) else { return Ok(None) };
            if packed.bytes.len() <= self.bytes_max || records == 1 {
                return Ok(Some(packed));
            }
            records_max = records / 2;
        }
    }

    /// Gathers the first records of the picked run, up to where the block is likely to be full.
    fn fill(&self, journal: &Journal, pick: &Pick, records_max: usize) -> Result<Option<Filled>, PackError> {
        let mut filled: Option<Filled> = None;
        let mut from = pick.range.first;
        loop {
            let records = journal.read(pick.epoch, from, READ_BYTES, READ_RECORDS)?;
            let usable =
                consecutive(&records, filled.as_ref().map(|filled| filled.next_seq), pick.range.last);
            let Some(first) = records.first().filter(|_| usable > 0) else { break };
            let filled = filled.get_or_insert_with(|| Filled::new(self.stream(pick), pick.class, first));
            let mut takes =
                |record| filled.records < records_max && self.has_room(filled, record) && filled.take(record);
            let all = records.iter().take(usable).all(&mut takes);
            from = filled.next_seq;
            if !all || usable < records.len() || from > pick.range.last {
                break;
            }
        }
        Ok(filled)
    }

    /// Whether this record is to be added. The first is, whatever its size.
    fn has_room(&self, filled: &Filled, record: &Record) -> bool {
        let estimated = filled.builder.estimated_bytes();
        let full = estimated as f64 * self.ratio > self.bytes_max as f64 * 0.9
            || estimated.max(filled.builder.text_bytes()) > UNPACKED_BYTES_MAX
            || filled.builder.count() + u64::from(record.count) > READINGS_MAX;
        filled.records == 0 || !full
    }

    fn encode(&mut self, filled: Filled) -> Option<Packed> {
        let estimated = filled.builder.estimated_bytes().max(1);
        let block = filled.builder.finish()?;
        let bytes = block.encode();
        let ratio = bytes.len() as f64 / estimated as f64;
        // Up at once, down slowly: a block that is too large costs a second encoding.
        self.ratio = if ratio > self.ratio { ratio } else { self.ratio * 0.8 + ratio * 0.2 };
        Some(Packed { range: block.seqs(), bytes, oldest_ms: filled.oldest_ms })
    }

    fn stream(&self, pick: &Pick) -> StreamId {
        StreamId { gateway: self.gateway.clone(), epoch: pick.epoch }
    }
}

/// A block that is being filled with whole records.
struct Filled {
    builder: BlockBuilder,
    records: usize,
    next_seq: u64,
    oldest_ms: i64,
}

impl Filled {
    fn new(stream: StreamId, class: Class, first: &Record) -> Self {
        let builder = BlockBuilder::new(stream, class, first.first_seq);
        Self { builder, records: 0, next_seq: first.first_seq, oldest_ms: first.appended_ms }
    }

    /// Adds a record's readings; `false` if it cannot be read.
    fn take(&mut self, record: &Record) -> bool {
        if let Err(error) = push(&mut self.builder, record) {
            // The frame's checksum was good, so another version wrote this: stop before it.
            tracing::error!(%error, seq = record.first_seq, "cannot read a journal record");
            return false;
        }
        self.records += 1;
        self.next_seq = record.first_seq + u64::from(record.count);
        self.oldest_ms = self.oldest_ms.min(record.appended_ms);
        true
    }
}

/// Adds a record's readings; all of them or, on an error, none.
fn push(builder: &mut BlockBuilder, record: &Record) -> Result<(), RecordError> {
    for reading in record::decode(&record.payload)? {
        reading?;
    }
    for reading in record::decode(&record.payload)? {
        builder.push(reading?);
    }
    Ok(())
}

/// How many records from the first on follow each other, and what came before, without a hole, up to
/// `last`.
fn consecutive(records: &[Record], mut next: Option<u64>, last: u64) -> usize {
    records
        .iter()
        .take_while(|record| {
            let follows = next.is_none_or(|next| record.first_seq == next) && record.first_seq <= last;
            next = Some(record.first_seq + u64::from(record.count));
            follows
        })
        .count()
}
