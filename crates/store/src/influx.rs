//! Points in InfluxDB, or what else speaks its line protocol. See `docs/formats/influx.md`.

mod catalog;
mod config;
mod devices;
mod entry;
mod http;
mod influxql;
mod line;
mod name;
mod overwritten;
mod read;
mod reason;
#[cfg(test)]
mod tests;
mod write;

use async_trait::async_trait;
use fieldline_model::DeviceId;

pub use config::{InfluxConfig, InfluxConfigError, InfluxDialect, InfluxDialectError, InfluxToken};

use crate::{
    DevicePage, DeviceQuery, Glob, Latest, PlacedBlock, PointStore, SeriesPage, SeriesQuery, SetAside,
    StoreError,
};
use http::{Failure, Http};

/// A [`PointStore`] on InfluxDB 1, 2 or 3; writes only on VictoriaMetrics.
///
/// A metric is a measurement, the device a tag, and each kind of value a field of its own. Fields
/// beside them tell which value stands and what place it has. Whatever other writers put beside it,
/// also into the same measurements, is left alone and not read.
///
/// InfluxDB lets the last arrival win. So a block that is not its stream's newest is compared with
/// what it would overwrite before it is written; two writers that do this at the same moment for one
/// series and time, from different streams, can miss each other.
#[derive(Debug)]
pub struct InfluxPoints {
    http: Http,
}

impl InfluxPoints {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(config: InfluxConfig) -> Result<Self, InfluxConfigError> {
        Ok(Self { http: Http::new(config)? })
    }

    /// VictoriaMetrics has no InfluxQL.
    fn check_readable(&self) -> Result<(), StoreError> {
        if self.http.config().dialect != InfluxDialect::VictoriaMetrics {
            return Ok(());
        }
        let (message, hint) = ("no InfluxQL here".to_owned(), "ask it by PromQL".to_owned());
        Err(self.http.rejected(Failure::Said { message, hint }))
    }
}

#[async_trait]
impl PointStore for InfluxPoints {
    async fn put(&self, placed: &PlacedBlock) -> Result<Vec<SetAside>, StoreError> {
        let config = self.http.config();
        let block = &placed.received.block;
        let check = line::Check {
            block,
            dialect: config.dialect,
            now: placed.received.received,
            retention: config.retention,
        };
        let standing = entry::standing(block);
        let (mut entries, mut refused) = (Vec::with_capacity(standing.len()), Vec::new());
        for (at, entry) in standing.iter().enumerate() {
            match check.refuses(*entry, standing.get(at + 1)) {
                Some(reason) => refused.push((*entry, reason)),
                None => entries.push(*entry),
            }
        }
        if !placed.newest && config.dialect != InfluxDialect::VictoriaMetrics {
            overwritten::drop_older(&self.http, block, placed.place, &mut entries).await?;
        }
        let mut lines = line::Lines::new(block, placed.place, config.dialect);
        refused.extend(write::write(&self.http, &mut lines, &entries).await?);
        Ok(entry::set_aside(block, &refused))
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        self.check_readable()?;
        read::series(&self.http, query).await
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        self.check_readable()?;
        let every = Glob::new("*");
        let mut metrics = catalog::Metrics::new(&self.http, &every, Some(device.as_str()));
        let mut latest = Vec::new();
        while let Some(page) = metrics.next().await? {
            let newest = read::newest(&self.http, device, &page).await?;
            latest.extend(newest.into_iter().map(|(metric, point)| Latest { metric, point }));
        }
        latest.sort_by(|one, other| one.metric.cmp(&other.metric));
        Ok(latest)
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        self.check_readable()?;
        devices::page(&self.http, query).await
    }
}
