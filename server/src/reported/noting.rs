//! The store, with an ear at its door.

use std::sync::Arc;

use async_trait::async_trait;
use fieldline_model::DeviceId;
use fieldline_store::{
    DevicePage, DeviceQuery, Latest, ReceivedBlock, SeriesPage, SeriesQuery, StoreError, TimeSeriesStore,
    Written,
};

use super::Reported;

/// Tells [`Reported`] of each block that is durable. One that came again tells nothing new, but the server
/// may have been killed between storing it and showing it.
pub(crate) struct Noting {
    pub(crate) store: Arc<dyn TimeSeriesStore>,
    pub(crate) reported: Reported,
}

#[async_trait]
impl TimeSeriesStore for Noting {
    async fn write(&self, block: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        let written = self.store.write(Arc::clone(&block)).await?;
        self.reported.block(&block);
        Ok(written)
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        self.store.series(query).await
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        self.store.latest(device).await
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        self.store.devices(query).await
    }
}
