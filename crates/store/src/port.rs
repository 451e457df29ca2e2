use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::{DeviceId, SeqRange, Timestamp};
use fieldline_wire::Block;

use crate::{DevicePage, DeviceQuery, Latest, SeriesPage, SeriesQuery, StoreError};

/// A block as it came over the wire, and what it says.
#[derive(Debug, Clone)]
pub struct ReceivedBlock {
    /// The bytes as received; a store may keep them as they are.
    pub encoded: Bytes,
    /// The same, unpacked.
    pub block: Block,
    /// When it reached the server.
    pub received: Timestamp,
}

impl ReceivedBlock {
    /// A block that was made here and not received: it is packed now.
    pub fn new(block: Block, now: Timestamp) -> Self {
        Self { encoded: Bytes::from(block.encode()), block, received: now }
    }
}

/// What became of a block that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The sequence numbers that are stored now and can be acknowledged: all of the block.
    pub seqs: SeqRange,
    /// How many of them were not stored before; 0 for a redelivered block.
    pub new: u64,
    /// How many parts of the block the database can never take: the ledger's quarantine has them.
    pub set_aside: u64,
}

impl Written {
    /// Whether all of the block had been stored before.
    pub fn is_duplicate(&self) -> bool {
        self.new == 0
    }
}

/// A store of readings by series and time.
///
/// [`crate::contract`] says in tests what an implementation has to do.
#[async_trait]
pub trait TimeSeriesStore: Send + Sync {
    /// Stores a block. It is durable and visible to queries when this returns. Writing it again is
    /// harmless. Calls may run at the same time; blocks of one stream are then stored in the order in
    /// which the calls were made.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the block can never be stored; on any other error it was not
    /// acknowledged and should be written again.
    async fn write(&self, block: Arc<ReceivedBlock>) -> Result<Written, StoreError>;

    /// Points or buckets of the series that the query names, by device, metric and time, a page at a time.
    ///
    /// # Errors
    /// [`StoreError::Query`] if the query makes no sense.
    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError>;

    /// The newest reading (by its time, not by arrival) of each metric of a device, by metric; empty if
    /// the device is unknown.
    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError>;

    /// The devices that have readings, by name, a page at a time.
    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError>;
}
