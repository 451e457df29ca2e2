//! The devices, a page at a time.

use std::collections::{BTreeMap, BTreeSet};

use fieldline_model::{DeviceId, Metric, Timestamp};

use super::catalog::{MEASUREMENTS_MAX, Metrics, Smallest, devices_of};
use super::http::Http;
use super::influxql::{any_device, ask_one, measurements};
use crate::{DeviceInfo, DevicePage, DeviceQuery, Glob, StoreError};

/// Devices in a page.
const PAGE_MAX: usize = 1_000;
/// Devices in one statement.
const DEVICES_MAX: usize = 40;

/// See [`crate::PointStore::devices`].
pub(super) async fn page(http: &Http, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
    let names = names(http, query).await?;
    let next = names.items.last().filter(|_| names.cut).cloned();
    let devices = names.items;
    let mut infos: BTreeMap<DeviceId, DeviceInfo> = BTreeMap::new();
    let every = Glob::new("*");
    let one = devices.first().filter(|_| devices.len() == 1);
    let mut metrics = Metrics::new(http, &every, one.map(DeviceId::as_str));
    while let Some(page) = metrics.next().await? {
        for metrics in page.chunks(MEASUREMENTS_MAX) {
            let from = measurements(metrics.iter().map(Metric::as_str));
            let here = match one {
                Some(one) => vec![one.clone()],
                None => present(http, metrics, &devices).await?,
            };
            for devices in here.chunks(DEVICES_MAX) {
                count(http, &from, devices, &mut infos).await?;
            }
        }
    }
    Ok(DevicePage { devices: infos.into_values().collect(), next })
}

/// Those of some devices that some metrics have: mostly few, and each is asked for.
async fn present(
    http: &Http,
    metrics: &[Metric],
    devices: &BTreeSet<DeviceId>,
) -> Result<Vec<DeviceId>, StoreError> {
    let mut present = BTreeSet::new();
    let note = |device: DeviceId, _: &_| {
        if devices.contains(&device) {
            present.insert(device);
        }
    };
    devices_of(http, metrics, note).await?;
    Ok(present.into_iter().collect())
}

/// The names of the page; those of other writers' devices are among them.
async fn names(http: &Http, query: &DeviceQuery) -> Result<Smallest<DeviceId>, StoreError> {
    let mut names = Smallest::new(query.limit.clamp(1, PAGE_MAX));
    let wanted = |device: &DeviceId| query.after.as_ref().is_none_or(|after| device > after);
    if let Some(name) = query.device.exact() {
        DeviceId::new(name).into_iter().filter(wanted).for_each(|device| names.offer(device));
        return Ok(names);
    }
    let every = Glob::new("*");
    let mut metrics = Metrics::new(http, &every, None);
    while let Some(page) = metrics.next().await? {
        let offer = |device: DeviceId, _: &_| {
            if query.device.matches(device.as_str()) && wanted(&device) {
                names.offer(device);
            }
        };
        devices_of(http, &page, offer).await?;
    }
    Ok(names)
}

/// Adds the series that some devices have in some measurements.
async fn count(
    http: &Http,
    measurements: &str,
    devices: &[DeviceId],
    infos: &mut BTreeMap<DeviceId, DeviceInfo>,
) -> Result<(), StoreError> {
    let statement = format!(
        "SELECT \"place\"::integer FROM {measurements} WHERE {} AND \"place\"::integer > -1 GROUP BY * \
         ORDER BY time DESC LIMIT 1",
        any_device(devices)
    );
    for table in ask_one(http, statement).await?.tables {
        let Some(device) = table.device().and_then(|name| DeviceId::new(name).ok()) else { continue };
        let Some(time) = table.values.first().and_then(|row| row.first()?.as_i64()) else { continue };
        let info = infos.entry(device.clone()).or_insert(DeviceInfo { device, series: 0, last: None });
        info.series += 1;
        info.last = info.last.max(Some(Timestamp::from_nanos(time)));
    }
    Ok(())
}
