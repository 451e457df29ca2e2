//! The outside of a block: magic, checksum, header, columns.

use fieldline_model::{Class, GatewayId, StreamId};
use prost::Message;

use super::message::Header;
use super::{Block, BlockError};

pub(super) const VERSION: u8 = 1;
const MAGIC: [u8; 3] = *b"FLB";
/// Magic, version, checksum, length of the header.
const PREFIX_BYTES: usize = 10;
/// Where the checksum stands; it covers all that comes after it.
const CHECKSUM_AT: usize = 4;
const COVERED_FROM: usize = 8;

/// The key of a block, readable without unpacking the readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// Whose readings the block holds.
    pub stream: StreamId,
    /// How dear they are.
    pub class: Class,
    /// The sequence number of the first reading.
    pub first_seq: u64,
    /// The sequence number of the last reading, never below `first_seq`.
    pub last_seq: u64,
}

impl BlockHeader {
    /// Reads the key of a block and checks the checksum of the whole; does not unpack the columns.
    ///
    /// # Errors
    /// [`BlockError`], never [`BlockError::Limit`].
    pub fn read(bytes: &[u8]) -> Result<Self, BlockError> {
        open(bytes).map(|envelope| envelope.header)
    }
}

/// A block that has been opened but not unpacked.
pub(super) struct Envelope<'a> {
    pub(super) header: BlockHeader,
    /// See [`Header::columns_bytes`].
    pub(super) columns_bytes: u32,
    pub(super) columns: &'a [u8],
}

/// Puts the envelope around packed columns; `raw_bytes` is their length before compression, 0 if
/// they are not compressed.
pub(super) fn seal(block: &Block, columns: &[u8], raw_bytes: u32) -> Vec<u8> {
    let header = Header {
        gateway: block.stream.gateway.as_str().to_owned(),
        epoch: block.stream.epoch,
        class: u32::from(block.class.code()),
        first_seq: block.first_seq,
        last_seq: block.last_seq,
        columns_bytes: raw_bytes,
    };
    let header_bytes = header.encoded_len();
    let mut out = Vec::with_capacity(PREFIX_BYTES + header_bytes + columns.len());
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&[0; 4]);
    // A header is at most about 180 bytes: a gateway id of 128 and five numbers.
    out.extend_from_slice(&u16::try_from(header_bytes).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&header.encode_to_vec());
    out.extend_from_slice(columns);
    let checksum = checksum(out.get(COVERED_FROM..).unwrap_or_default());
    if let Some(place) = out.get_mut(CHECKSUM_AT..COVERED_FROM) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
    out
}

pub(super) fn open(bytes: &[u8]) -> Result<Envelope<'_>, BlockError> {
    let Some((magic, rest)) = bytes.split_first_chunk::<3>() else { return Err(BlockError::NotABlock) };
    if *magic != MAGIC {
        return Err(BlockError::NotABlock);
    }
    let (&version, rest) = rest.split_first().ok_or(BlockError::Checksum)?;
    if version != VERSION {
        return Err(BlockError::Version { version });
    }
    let (expected, covered) = rest.split_first_chunk::<4>().ok_or(BlockError::Checksum)?;
    if checksum(covered) != u32::from_le_bytes(*expected) {
        return Err(BlockError::Checksum);
    }
    let cut = BlockError::Format { what: "the header is cut off" };
    let (length, rest) = covered.split_first_chunk::<2>().ok_or(cut.clone())?;
    let (header, columns) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or(cut)?;
    let header =
        Header::decode(header).map_err(|_| BlockError::Format { what: "the header is no Header message" })?;
    let columns_bytes = header.columns_bytes;
    Ok(Envelope { header: check(&header)?, columns_bytes, columns })
}

fn check(header: &Header) -> Result<BlockHeader, BlockError> {
    let gateway =
        GatewayId::new(&header.gateway).map_err(|_| BlockError::Format { what: "a bad gateway id" })?;
    let class = u8::try_from(header.class)
        .ok()
        .and_then(Class::from_code)
        .ok_or(BlockError::Format { what: "an unknown class" })?;
    if header.first_seq == 0 || header.last_seq < header.first_seq {
        return Err(BlockError::Format { what: "sequence numbers out of order" });
    }
    Ok(BlockHeader {
        stream: StreamId { gateway, epoch: header.epoch },
        class,
        first_seq: header.first_seq,
        last_seq: header.last_seq,
    })
}

fn checksum(bytes: &[u8]) -> u32 {
    // The engine says "64 bits" for every algorithm; CRC-32C fills the lower half.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}
