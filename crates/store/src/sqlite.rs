//! The adapter on bundled SQLite and pco.

mod config;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fieldline_model::{Books, DeviceId, GatewayId, Timestamp};

pub use config::SqliteConfig;

use crate::{
    DevicePage, DeviceQuery, GatewayLedger, Latest, Ledger, OwnStream, ReceivedBlock, Refused, SeriesPage,
    SeriesQuery, StoreError, TimeSeriesStore, Written,
};

/// The on-site store: one folder with one SQLite file, one writer thread, and a few readers.
///
/// It has to be used from within a tokio runtime. Dropping it stops the threads and waits for them;
/// what was acknowledged is on disk.
#[derive(Debug)]
pub struct SqliteStore {
    _config: SqliteConfig,
}

/// What [`SqliteStore::retain`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Chunks.
    pub chunks: u64,
    /// The points in them.
    pub points: u64,
}

/// What the store holds and has met since it was opened, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SqliteStats {
    /// Blocks stored that brought something new.
    pub blocks: u64,
    /// Blocks that were stored already.
    pub duplicates: u64,
    /// Readings stored, by sequence number.
    pub readings: u64,
    /// Transactions that stored blocks.
    pub commits: u64,
    /// Flushes of the heads into chunks.
    pub flushes: u64,
    /// Flushes that failed; the heads stay and the next flush tries again.
    pub flushes_failed: u64,
    /// Log rows and chunks that were found damaged and set aside.
    pub damaged: u64,
    /// Points in memory that are not in chunks yet.
    pub head_points: u64,
    /// Bytes of blocks in the log.
    pub log_bytes: u64,
    /// Series known.
    pub series: u64,
}

impl SqliteStore {
    /// Opens the store in `folder`, which is made if it does not exist, and replays the log. Blocks the
    /// thread while it does.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Path`], or
    /// what SQLite says.
    pub fn open(_folder: &Path, config: SqliteConfig, _now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self { _config: config })
    }

    /// Turns all heads into chunks now and waits for it. Nobody has to call this.
    ///
    /// # Errors
    /// What SQLite says; the heads stay.
    pub async fn flush(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    /// Deletes the chunks all of whose points are older than `before`, and gives the space back. Points
    /// that are not in chunks yet, or share a chunk with newer ones, stay until later. The ledger stays.
    ///
    /// # Errors
    /// What SQLite says; nothing is deleted then.
    pub async fn retain(&self, _before: Timestamp) -> Result<Retained, StoreError> {
        Err(StoreError::Closed)
    }

    /// Counts, for metrics.
    pub fn stats(&self) -> SqliteStats {
        SqliteStats::default()
    }

    /// Takes no more writes, and waits until those that were accepted are stored. A later call of
    /// anything that writes gives [`StoreError::Closed`].
    ///
    /// # Errors
    /// [`StoreError::Failed`] if a write had failed for good.
    pub async fn close(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl TimeSeriesStore for SqliteStore {
    async fn write(&self, _block: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        Err(StoreError::Closed)
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        query.check()?;
        Err(StoreError::Closed)
    }

    async fn latest(&self, _device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn devices(&self, _query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Ledger for SqliteStore {
    async fn record_books(&self, _: &GatewayId, _: Books, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn ledger(&self, _gateway: Option<&GatewayId>) -> Result<Vec<GatewayLedger>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn quarantine(&self, _refused: Refused) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn own_stream(&self, _: &GatewayId, _: Timestamp) -> Result<OwnStream, StoreError> {
        Err(StoreError::Closed)
    }
}
