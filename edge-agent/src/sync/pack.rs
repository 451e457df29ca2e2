//! From journal records to one block that fits a message.

use fieldline_journal::{Journal, Record};
use fieldline_model::{GatewayId, SeqRange, StreamId};
use fieldline_wire::record::RecordError;
use fieldline_wire::{BlockBuilder, record};

use super::plan::Pick;

/// An AWS IoT message holds 128 KiB; this leaves room for topic and headers.
pub(crate) const BLOCK_BYTES_MAX: usize = 96 * 1024;
/// A block is unpacked in memory at both ends, so its readings are bounded too.
const READINGS_MAX: u64 = 65_536;
/// So much of the journal is read at once.
const READ_BYTES: usize = 1024 * 1024;
/// So many records are read at once.
const READ_RECORDS: usize = 8_192;

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
    /// Encoded bytes per estimated byte, of late.
    ratio: f64,
}

impl Packer {
    pub(crate) fn new(gateway: GatewayId) -> Self {
        Self { gateway, ratio: 0.5 }
    }

    /// As much of the picked run as fits; `None` if nothing of it can be read any more.
    pub(crate) fn pack(&mut self, journal: &Journal, pick: &Pick) -> Result<Option<Packed>, PackError> {
        let records = journal.read(pick.epoch, pick.range.first, READ_BYTES, READ_RECORDS)?;
        let mut usable = consecutive(&records, pick.range.last);
        while usable > 0 {
            let Some(records) = records.get(..usable) else { break };
            let (taken, packed) = self.encode(records, pick);
            match packed {
                Some(packed) if packed.bytes.len() <= BLOCK_BYTES_MAX || taken == 1 => {
                    return Ok(Some(packed));
                }
                Some(_) => usable = taken / 2,
                None => break,
            }
        }
        Ok(None)
    }

    /// Builds a block of the first records, up to where it is likely to be full; says of how many.
    fn encode(&mut self, records: &[Record], pick: &Pick) -> (usize, Option<Packed>) {
        let Some(first) = records.first() else { return (0, None) };
        let stream = StreamId { gateway: self.gateway.clone(), epoch: pick.epoch };
        let mut builder = BlockBuilder::new(stream, pick.class, first.first_seq);
        let (mut taken, mut last_seq, mut oldest_ms) = (0, first.first_seq, first.appended_ms);
        for record in records {
            let full = builder.estimated_bytes() as f64 * self.ratio > BLOCK_BYTES_MAX as f64 * 0.9
                || builder.count() + u64::from(record.count) > READINGS_MAX;
            if full && taken > 0 {
                break;
            }
            if let Err(error) = fill(&mut builder, record) {
                // The frame's checksum was good, so another version wrote this: stop before it.
                tracing::error!(%error, epoch = pick.epoch, seq = record.first_seq, "cannot read a journal record");
                break;
            }
            taken += 1;
            last_seq = record.first_seq + u64::from(record.count) - 1;
            oldest_ms = oldest_ms.min(record.appended_ms);
        }
        let estimated = builder.estimated_bytes().max(1);
        let Some(block) = builder.finish() else { return (taken, None) };
        let bytes = block.encode();
        let ratio = bytes.len() as f64 / estimated as f64;
        // Up at once, down slowly: a block that is too large costs a second encoding.
        self.ratio = if ratio > self.ratio { ratio } else { self.ratio * 0.8 + ratio * 0.2 };
        (taken, Some(Packed { range: SeqRange::new(first.first_seq, last_seq), bytes, oldest_ms }))
    }
}

/// Adds a record's readings; all of them or, on an error, none.
fn fill(builder: &mut BlockBuilder, record: &Record) -> Result<(), RecordError> {
    for reading in record::decode(&record.payload)? {
        reading?;
    }
    for reading in record::decode(&record.payload)? {
        builder.push(reading?);
    }
    Ok(())
}

/// How many records from the first on follow each other without a hole, up to `last`.
fn consecutive(records: &[Record], last: u64) -> usize {
    let mut next = None;
    records
        .iter()
        .take_while(|record| {
            let follows = next.is_none_or(|next| record.first_seq == next) && record.first_seq <= last;
            next = Some(record.first_seq + u64::from(record.count));
            follows
        })
        .count()
}
