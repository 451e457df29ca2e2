//! Blocks: immutable runs of consecutive sequence numbers of one stream. See `docs/formats/block.md`.

mod builder;
mod decode;
mod encode;
mod envelope;
mod message;
mod numbers;
mod order;
mod size;
#[cfg(test)]
mod tests;
mod times;

pub use builder::BlockBuilder;
pub use envelope::BlockHeader;

use fieldline_model::{Class, DeviceId, Metric, Quality, SeqRange, StreamId};

/// Readings `first_seq` to `last_seq` of a stream, by column.
///
/// Within a column the order of sequence numbers is kept; between columns it is where the readings of a device
/// do not come in the order of their times, see [`Block::order`]. So of two readings of one series with the same
/// time but of different kinds, a block may not say which was the later one.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Whose readings these are.
    pub stream: StreamId,
    /// How dear they are.
    pub class: Class,
    /// The sequence number of the first reading.
    pub first_seq: u64,
    /// The sequence number of the last reading; `last_seq - first_seq + 1` is the sum of the
    /// columns' lengths.
    pub last_seq: u64,
    /// One for each (device, metric, kind of value), in the order of their first readings.
    pub columns: Vec<Column>,
    /// The column of each reading, in the order in which the readings came. Empty where no device's times fall
    /// from one reading to the next: then readings are in the order of their times, and those of one time in
    /// that of the columns.
    pub order: Vec<u32>,
}

/// The readings of one series that have values of one kind, in the order of sequence numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Who measured.
    pub device: DeviceId,
    /// What was measured.
    pub metric: Metric,
    /// When: nanoseconds since the epoch. Not necessarily sorted.
    pub times: Vec<i64>,
    /// How much; as long as `times`.
    pub values: Values,
    /// How trustworthy; empty when all are good, else as long as `times`.
    pub qualities: Vec<Quality>,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Measurements, any bits.
    Float(Vec<f64>),
    /// Whole numbers.
    Integer(Vec<i64>),
    /// States.
    Boolean(Vec<bool>),
    /// Texts.
    Text(Vec<String>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a decoder accepts. What a [`BlockBuilder`] made and stopped at an estimate of 1 MiB is
/// always within the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the unpacked columns; also the sum of all text values, repeats included.
    pub decompressed_bytes_max: usize,
    /// Readings in a block.
    pub readings_max: usize,
    /// Columns in a block.
    pub columns_max: usize,
}

impl Default for Limits {
    /// 2 MiB, 524,288 readings, 65,536 columns.
    fn default() -> Self {
        Self { decompressed_bytes_max: 2 << 20, readings_max: 1 << 19, columns_max: 1 << 16 }
    }
}

/// Why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// These bytes were never a block.
    #[error("not a block: it does not begin with FLB")]
    NotABlock,
    /// Written by a later version of Fieldline: upgrade before reading it.
    #[error("the block has format version {version}, this program reads version {}", envelope::VERSION)]
    Version {
        /// What the block says.
        version: u8,
    },
    /// The checksum does not fit: the bytes were damaged or cut on the way. Ask for them again.
    #[error("the block is damaged: its checksum does not fit")]
    Checksum,
    /// The bytes are as they were written, but break the format. Asking again will not help.
    #[error("the block breaks the format: {what}")]
    Format {
        /// The rule that is broken.
        what: &'static str,
    },
    /// The block is larger than the reader allows.
    #[error("the block has {found} {what}, the limit is {max}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much of it.
        found: u64,
        /// The limit.
        max: u64,
    },
}

impl Block {
    /// Packs the block.
    ///
    /// Columns whose `times`, `values` and `qualities` differ in length break the contract of
    /// [`Column`]; the block is packed all the same, and refused by [`Block::decode`].
    pub fn encode(&self) -> Vec<u8> {
        let (columns, compressed) = encode::columns(&self.columns, &self.order);
        envelope::seal(self, &columns, compressed)
    }

    /// Unpacks a block.
    ///
    /// # Errors
    /// [`BlockError`]; nothing is allocated beyond what `limits` allow.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, BlockError> {
        let envelope = envelope::open(bytes)?;
        let (columns, order) = decode::columns(&envelope, limits)?;
        let BlockHeader { stream, class, first_seq, last_seq } = envelope.header;
        Ok(Self { stream, class, first_seq, last_seq, columns, order })
    }

    /// The sequence numbers of the readings.
    pub fn seqs(&self) -> SeqRange {
        SeqRange::new(self.first_seq, self.last_seq)
    }
}
