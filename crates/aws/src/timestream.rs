//! Readings in a table of Timestream for LiveAnalytics.
//!
//! Metrics are columns (measures of multi-measure records), the device is a dimension; see
//! `docs/formats/timestream.md`. A record carries its place in the order twice: as `Version`, so that a
//! later block replaces it and writing it again is harmless, and as the measure `place`, so that of two
//! records with different columns reading can tell which one stands.

mod aside;
mod batch;
mod cell;
mod column;
mod endpoint;
mod newest;
mod read;
mod record;
mod selection;
mod series;
mod sql;
mod write;

use async_trait::async_trait;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fieldline_model::DeviceId;
use fieldline_store::{
    DevicePage, DeviceQuery, Latest, PlacedBlock, PointStore, SeriesPage, SeriesQuery, SetAside, StoreError,
};

use crate::{Aws, failure};
use read::Reader;
use write::Writer;

const SERVICE: &str = "Timestream";

/// Which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestreamConfig {
    /// The database, which exists.
    pub database: String,
    /// The table in it, which exists. Without writes to its magnetic store enabled it takes no reading
    /// that is older than its memory store keeps; such readings are set aside.
    pub table: String,
}

/// A [`PointStore`] in Timestream for LiveAnalytics.
#[derive(Debug)]
pub struct Timestream {
    writer: Writer,
    reader: Reader,
}

impl Timestream {
    /// A store in an existing table. On AWS this asks for the endpoints first; where an endpoint is
    /// configured (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_TIMESTREAM_WRITE`, `…_QUERY`), nothing is sent
    /// anywhere else.
    ///
    /// # Errors
    /// A name cannot be one of Timestream's; the endpoints cannot be found.
    pub async fn connect(aws: &Aws, config: TimestreamConfig) -> Result<Self, StoreError> {
        for name in [&config.database, &config.table] {
            if !is_name(name) {
                let source = format!("{name:?} is no name: 3 to 256 of a-z A-Z 0-9 _ . -").into();
                return Err(StoreError::Rejected { service: SERVICE, source });
            }
        }
        let writer = Writer { client: endpoint::writer(aws).await?, config: config.clone() };
        Ok(Self { writer, reader: Reader { client: endpoint::reader(aws).await?, config } })
    }
}

/// The rule for names of databases and tables.
fn is_name(name: &str) -> bool {
    let good = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    (3..=256).contains(&name.len()) && name.chars().all(good)
}

/// As [`failure`]; an endpoint that is no longer ours heals when it is discovered anew.
fn fails<E>(error: E) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if error.code() == Some("InvalidEndpointException") {
        return StoreError::Unavailable { service: SERVICE, source: Box::new(error) };
    }
    failure(SERVICE, error)
}

#[async_trait]
impl PointStore for Timestream {
    async fn put(&self, block: &PlacedBlock) -> Result<Vec<SetAside>, StoreError> {
        self.writer.put(block).await
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        self.reader.series(query).await
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        self.reader.latest(device).await
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        self.reader.devices(query).await
    }
}
