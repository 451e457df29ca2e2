//! Tests of the adapter: the contract, reopening, and a crash at every step of the writer.

mod crash;
mod files;
mod things;

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;

/// A store in a folder of its own.
pub(super) struct Held {
    store: Option<SqliteStore>,
    folder: TempDir,
    config: SqliteConfig,
}

impl Held {
    pub(super) fn new(config: SqliteConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), config.clone(), Timestamp::EPOCH).unwrap();
        Self { store: Some(store), folder, config }
    }

    pub(super) fn store(&self) -> &SqliteStore {
        self.store.as_ref().unwrap()
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn reopen(&mut self) {
        self.store = None;
        self.store =
            Some(SqliteStore::open(self.folder.path(), self.config.clone(), Timestamp::EPOCH).unwrap());
    }
}

#[async_trait]
impl TimeSeriesStore for Held {
    async fn write(&self, block: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        self.store().write(block).await
    }
    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        self.store().series(query).await
    }
    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        self.store().latest(device).await
    }
    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        self.store().devices(query).await
    }
}

#[tokio::test]
async fn the_contract_holds_in_heads() {
    crate::contract::run(async || Held::new(SqliteConfig::default()), async |_| {}).await;
}

#[tokio::test]
async fn the_contract_holds_with_a_flush_under_way() {
    let config = SqliteConfig { head_points_max: 50, ..SqliteConfig::default() };
    crate::contract::run(async || Held::new(config.clone()), async |_| {}).await;
}

#[tokio::test]
async fn the_contract_holds_with_flushes_and_restarts() {
    let calls = AtomicUsize::new(0);
    let between = async |held: &mut Held| match calls.fetch_add(1, Ordering::Relaxed) % 7 {
        2 | 5 => held.store().flush().await.unwrap(),
        6 => held.reopen(),
        _ => {}
    };
    crate::contract::run(async || Held::new(SqliteConfig::default()), between).await;
}
