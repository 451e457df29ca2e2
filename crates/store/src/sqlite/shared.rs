//! What the writer, the flush and the queries share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::Faults;
use super::heads::Heads;
use super::ledgers::Ledgers;
use super::queue::Queue;
use super::registry::Registry;
use super::schema;
use super::{SqliteConfig, SqliteStats};
use crate::StoreError;

/// The readings that are in memory.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) registry: Registry,
    /// What has come since the last flush began.
    pub(super) active: Heads,
    /// What the flush under way packs; queries need it until its chunks are committed.
    pub(super) frozen: Option<Arc<Heads>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) file: PathBuf,
    pub(super) config: SqliteConfig,
    pub(super) queue: Queue,
    pub(super) faults: Faults,
    pub(super) places: Semaphore,
    live: RwLock<Live>,
    ledgers: Mutex<Ledgers>,
    stats: Mutex<SqliteStats>,
    readers: Mutex<Vec<Connection>>,
}

impl Shared {
    pub(super) fn new(
        file: PathBuf,
        config: SqliteConfig,
        faults: Faults,
        live: Live,
        ledgers: Ledgers,
    ) -> Self {
        Self {
            file,
            queue: Queue::new(config.queue_max),
            places: Semaphore::new(config.readers.clamp(1, 64)),
            config,
            faults,
            live: RwLock::new(live),
            ledgers: Mutex::new(ledgers),
            stats: Mutex::default(),
            readers: Mutex::default(),
        }
    }

    pub(super) fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the writer changes them.
    pub(super) fn ledgers(&self) -> MutexGuard<'_, Ledgers> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> MutexGuard<'_, SqliteStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a connection for queries; a failed one is not used again.
    pub(super) fn with_reader<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.file)?,
        };
        let answer = query(&connection)?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }

    /// Closes the idle connections.
    pub(super) fn close_readers(&self) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
