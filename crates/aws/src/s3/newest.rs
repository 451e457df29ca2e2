//! The newest readings of a device, and the list of devices: from the newest day backwards.

use std::collections::{BTreeMap, BTreeSet};

use fieldline_model::{DeviceId, Metric, Timestamp};
use fieldline_store::{DeviceInfo, DevicePage, DeviceQuery, Latest};

use super::ParquetStore;
use super::bucket::Trouble;
use super::footer::Filter;
use super::rows::Row;
use super::scan::ALWAYS;

/// What has been found of a device.
#[derive(Debug, Default)]
struct Found {
    metrics: BTreeSet<Metric>,
    /// Its newest reading's time, and in which day it was found, counted backwards.
    last: Option<(usize, i64)>,
}

impl ParquetStore {
    pub(super) async fn newest(&self, device: &DeviceId) -> Result<Vec<Latest>, Trouble> {
        let mut newest: BTreeMap<Metric, Row> = BTreeMap::new();
        let devices = Some(device.to_string()..=device.to_string());
        let filter = Filter { devices, metrics: None, times: ALWAYS };
        for day in self.days(&ALWAYS).await?.into_iter().rev() {
            let mut of_day: BTreeMap<Metric, Row> = BTreeMap::new();
            let objects = self.objects(&day).await?;
            self.bucket
                .scan(&objects, &filter, &mut |group| {
                    let wanted =
                        |(of, metric): &(DeviceId, Metric)| of == device && !newest.contains_key(metric);
                    group.rows(wanted, &ALWAYS, |(_, metric), rows| {
                        let held = of_day.remove(metric);
                        let best = held.into_iter().chain(rows).max_by_key(|row| (row.time, row.place));
                        of_day.extend(best.map(|row| (metric.clone(), row)));
                    })
                })
                .await?;
            newest.extend(of_day);
        }
        let latest = newest.into_iter().map(|(metric, row)| Latest { metric, point: row.into() });
        Ok(latest.collect())
    }

    pub(super) async fn device_page(&self, query: &DeviceQuery) -> Result<DevicePage, Trouble> {
        let mut devices: BTreeMap<DeviceId, Found> = BTreeMap::new();
        let only = query.device.exact().map(|name| name.to_owned()..=name.to_owned());
        let filter = Filter { devices: only, metrics: None, times: ALWAYS };
        for (back, day) in self.days(&ALWAYS).await?.into_iter().rev().enumerate() {
            let objects = self.objects(&day).await?;
            self.bucket
                .scan(&objects, &filter, &mut |group| {
                    let wanted = |device: &DeviceId| {
                        query.device.matches(device.as_str())
                            && query.after.as_ref().is_none_or(|after| device > after)
                    };
                    let mut times = None;
                    for run in group.runs()?.into_iter().filter(|run| wanted(&run.series.0)) {
                        let (device, metric) = run.series;
                        let found = devices.entry(device).or_default();
                        found.metrics.insert(metric);
                        // An older day has no newer reading.
                        if found.last.is_none_or(|(at, _)| at == back) {
                            let times = match &times {
                                Some(times) => times,
                                None => times.insert(group.times()?),
                            };
                            let newest = times.get(run.rows).unwrap_or_default().iter().max().copied();
                            let newest = newest.max(found.last.map(|(_, time)| time));
                            found.last = newest.map(|time| (back, time));
                        }
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(page(devices, query.limit.max(1)))
    }
}

fn page(devices: BTreeMap<DeviceId, Found>, limit: usize) -> DevicePage {
    let more = devices.len() > limit;
    let devices: Vec<DeviceInfo> = devices.into_iter().take(limit).map(info).collect();
    let next = devices.last().filter(|_| more).map(|info| info.device.clone());
    DevicePage { devices, next }
}

fn info((device, found): (DeviceId, Found)) -> DeviceInfo {
    let last = found.last.map(|(_, time)| Timestamp::from_nanos(time));
    DeviceInfo { device, series: found.metrics.len() as u64, last }
}
