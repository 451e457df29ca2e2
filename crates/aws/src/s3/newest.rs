//! The newest readings of a device, and the list of devices: from the catalog, and from the days that it
//! does not cover, the newest first.

use std::collections::{BTreeMap, BTreeSet};

use fieldline_model::{DeviceId, Metric, Timestamp};
use fieldline_store::{DeviceInfo, DevicePage, DeviceQuery, Latest};

use super::ParquetStore;
use super::bucket::Trouble;
use super::footer::Filter;
use super::key;
use super::rows::{Row, Series};
use super::scan::ALWAYS;

/// What has been found of a device.
#[derive(Debug, Default)]
struct Found {
    metrics: BTreeSet<Metric>,
    /// Its newest reading's time.
    last: Option<i64>,
}

/// Whether a day may have something that is newer than a time.
fn may_be_newer(day: &str, time: Option<i64>) -> bool {
    time.is_none_or(|time| key::day_name(key::day_of(time)).as_str() <= day)
}

impl ParquetStore {
    pub(super) async fn newest(&self, device: &DeviceId) -> Result<Vec<Latest>, Trouble> {
        let sources = self.sources().await?;
        let mut newest: BTreeMap<Metric, Row> = BTreeMap::new();
        let filter = Filter { devices: only(Some(device.as_str())), metrics: None, times: ALWAYS };
        self.scan_catalog(&sources, &filter, &mut |group| {
            group.rows(
                |(of, _)| of == device,
                &ALWAYS,
                |(_, metric), rows| {
                    let rows = rows.into_iter().filter(|row| sources.stands(row.time));
                    newest.extend(rows.map(|row| (metric.clone(), row)));
                },
            )
        })
        .await?;
        for (day, objects) in sources.days.iter().rev() {
            let mut of_day: BTreeMap<Metric, Row> = BTreeMap::new();
            let wanted = |(of, metric): &Series| {
                of == device && may_be_newer(day, newest.get(metric).map(|row| row.time))
            };
            self.bucket
                .scan(objects, &filter, &mut |group| {
                    group.rows(wanted, &ALWAYS, |(_, metric), rows| {
                        let held = of_day.remove(metric);
                        let best = held.into_iter().chain(rows).max_by_key(Row::order);
                        of_day.extend(best.map(|row| (metric.clone(), row)));
                    })
                })
                .await?;
            for (metric, row) in of_day {
                if newest.get(&metric).is_none_or(|held| held.order() < row.order()) {
                    newest.insert(metric, row);
                }
            }
        }
        let latest = newest.into_iter().map(|(metric, row)| Latest { metric, point: row.into() });
        Ok(latest.collect())
    }

    pub(super) async fn device_page(&self, query: &DeviceQuery) -> Result<DevicePage, Trouble> {
        let sources = self.sources().await?;
        let mut devices: BTreeMap<DeviceId, Found> = BTreeMap::new();
        let filter = Filter { devices: only(query.device.exact()), metrics: None, times: ALWAYS };
        let wanted = |device: &DeviceId| {
            query.device.matches(device.as_str()) && query.after.as_ref().is_none_or(|after| device > after)
        };
        self.scan_catalog(&sources, &filter, &mut |group| {
            let times = group.times()?;
            for run in group.runs()?.into_iter().filter(|run| wanted(&run.series.0)) {
                let newest = times.get(run.rows).unwrap_or_default().iter().max().copied();
                if newest.is_some_and(|time| sources.stands(time)) {
                    let found = devices.entry(run.series.0).or_default();
                    found.metrics.insert(run.series.1);
                    found.last = found.last.max(newest);
                }
            }
            Ok(())
        })
        .await?;
        for (day, objects) in sources.days.iter().rev() {
            self.bucket
                .scan(objects, &filter, &mut |group| {
                    let mut times = None;
                    for run in group.runs()?.into_iter().filter(|run| wanted(&run.series.0)) {
                        let found = devices.entry(run.series.0).or_default();
                        found.metrics.insert(run.series.1);
                        if may_be_newer(day, found.last) {
                            let times = match &times {
                                Some(times) => times,
                                None => times.insert(group.times()?),
                            };
                            let newest = times.get(run.rows).unwrap_or_default().iter().max().copied();
                            found.last = found.last.max(newest);
                        }
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(page(devices, query.limit.max(1)))
    }
}

fn only(name: Option<&str>) -> Option<std::ops::RangeInclusive<String>> {
    name.map(|name| name.to_owned()..=name.to_owned())
}

fn page(devices: BTreeMap<DeviceId, Found>, limit: usize) -> DevicePage {
    let more = devices.len() > limit;
    let devices: Vec<DeviceInfo> = devices.into_iter().take(limit).map(info).collect();
    let next = devices.last().filter(|_| more).map(|info| info.device.clone());
    DevicePage { devices, next }
}

fn info((device, found): (DeviceId, Found)) -> DeviceInfo {
    let last = found.last.map(Timestamp::from_nanos);
    DeviceInfo { device, series: found.metrics.len() as u64, last }
}
