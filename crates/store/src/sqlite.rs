//! The adapter on bundled SQLite and pco.

mod batch;
mod bytes;
mod change;
mod codec;
mod config;
mod cut;
mod entries;
mod fault;
mod flush;
mod flushing;
mod heads;
mod ledgers;
mod numbers;
mod open;
mod packs;
mod pieces;
mod queue;
mod read;
mod registry;
mod retention;
mod schema;
mod shadows;
mod shared;
mod summary;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use fieldline_model::{Books, DeviceId, GatewayId, Timestamp};

use fault::Faults;
use queue::Command;
use shared::Shared;
use writer::Writer;

pub use config::SqliteConfig;

use crate::ledger::assemble;
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
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<bool>>>,
    _lock: File,
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
    /// thread while it does. `now` is not kept; it only tells the log how late it is.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Path`], or
    /// what SQLite says.
    pub fn open(folder: &Path, config: SqliteConfig, now: Timestamp) -> Result<Self, StoreError> {
        Self::open_with(folder, config, now, Faults::default())
    }

    fn open_with(
        folder: &Path,
        config: SqliteConfig,
        now: Timestamp,
        faults: Faults,
    ) -> Result<Self, StoreError> {
        let open::Opened { connection, live, ledgers, log, next_pack, damaged, lock } =
            open::open(folder, &config)?;
        let newest = Timestamp::from_nanos(log.newest);
        tracing::info!(
            series = live.registry.len(),
            head_points = live.active.points(),
            log_bytes = log.bytes,
            newest = %newest,
            now = %now,
            "store opened"
        );
        let shared = Arc::new(Shared::new(open::file_in(folder), config, faults, live, ledgers));
        shared.stats().damaged = damaged;
        let writer = Writer::new(connection, Arc::clone(&shared), log, next_pack);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::System { what: "a thread", source })?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)), _lock: lock })
    }

    /// Turns all heads into chunks now and waits for it. Nobody has to call this.
    ///
    /// # Errors
    /// What SQLite says; the heads stay.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.shared.queue.call(Command::Flush).await
    }

    /// Deletes the chunks all of whose points are older than `before`, and gives the space back. Points
    /// that are not in chunks yet, or share a chunk with newer ones, stay until later. The ledger stays.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn retain(&self, before: Timestamp) -> Result<Retained, StoreError> {
        self.shared.queue.call(|reply| Command::Retain(before, reply)).await
    }

    /// Counts, for metrics.
    pub fn stats(&self) -> SqliteStats {
        let (series, head_points) = {
            let live = self.shared.live();
            let frozen = live.frozen.as_ref().map_or(0, |frozen| frozen.points());
            (live.registry.len() as u64, (live.active.points() + frozen) as u64)
        };
        SqliteStats { series, head_points, ..*self.shared.stats() }
    }

    /// Takes no more writes, and waits until those that were accepted are stored. Whatever writes gives
    /// [`StoreError::Closed`] afterwards; queries go on.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if a write had failed for good.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.shared.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(StoreError::Failed),
        }
    }

    /// Runs a query where it may block.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _place = self.shared.places.acquire().await.map_err(|_| StoreError::Closed)?;
        let shared = Arc::clone(&self.shared);
        let answer = tokio::task::spawn_blocking(move || query(&shared)).await;
        answer.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.shared.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| !thread.join().unwrap_or(false)) {
            tracing::warn!("the store's writer ended badly");
        }
        self.shared.close_readers();
    }
}

#[async_trait]
impl TimeSeriesStore for SqliteStore {
    async fn write(&self, block: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        self.shared.queue.call(|reply| Command::Write(block, reply)).await
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        query.check()?;
        let query = query.clone();
        self.query(move |shared| read::series(shared, &query)).await
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        let device = device.clone();
        self.query(move |shared| read::latest(shared, &device)).await
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        let query = query.clone();
        self.query(move |shared| Ok(read::devices(shared, &query))).await
    }
}

#[async_trait]
impl Ledger for SqliteStore {
    async fn record_books(
        &self,
        gateway: &GatewayId,
        books: Books,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (gateway, books) = (gateway.clone(), Box::new(books));
        self.shared.queue.call(|reply| Command::Books(gateway, books, now, reply)).await
    }

    async fn ledger(&self, gateway: Option<&GatewayId>) -> Result<Vec<GatewayLedger>, StoreError> {
        let (books, records, refused) = {
            let ledgers = self.shared.ledgers();
            (ledgers.books.clone(), ledgers.records(), ledgers.refused.clone())
        };
        Ok(assemble(gateway, books, records, refused))
    }

    async fn quarantine(&self, refused: Refused) -> Result<(), StoreError> {
        self.shared.queue.call(|reply| Command::Quarantine(Box::new(refused), reply)).await
    }

    async fn own_stream(&self, gateway: &GatewayId, now: Timestamp) -> Result<OwnStream, StoreError> {
        let gateway = gateway.clone();
        self.shared.queue.call(|reply| Command::OwnStream(gateway, now, reply)).await
    }
}
