//! The newest readings of a device, and the list of devices.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use fieldline_model::{DeviceId, Metric, Timestamp};
use fieldline_store::{DeviceInfo, DevicePage, DeviceQuery, Latest, StoreError};

use super::column::{DEVICE, METRIC};
use super::read::{Reader, Schema};
use super::selection::{Found, Selection};
use super::series::{COLUMNS_MAX, point};
use super::sql::{Conditions, Devices, device_from, identifier, moment};

/// Metrics whose newest readings one statement fetches.
const METRICS_MAX: usize = 40;

impl Reader {
    pub(super) async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        let schema = self.schema().await?;
        if schema.is_empty() {
            return Ok(Vec::new());
        }
        let newest: Vec<(Metric, i64)> = self.newest_times(&schema, device).await?.into_iter().collect();
        let mut latest = Vec::with_capacity(newest.len());
        for part in newest.chunks(METRICS_MAX) {
            self.readings_at(&schema, device, part, &mut latest).await?;
        }
        Ok(latest)
    }

    /// When each metric of the device was measured last: one row of the answer for all columns.
    async fn newest_times(
        &self,
        schema: &Schema,
        device: &DeviceId,
    ) -> Result<BTreeMap<Metric, i64>, StoreError> {
        let mut newest: BTreeMap<Metric, i64> = BTreeMap::new();
        let mut note = |metric: &Metric, time: Option<&str>| {
            if let Some(time) = time.and_then(|time| time.parse::<i64>().ok()) {
                newest.entry(metric.clone()).and_modify(|held| *held = time.max(*held)).or_insert(time);
            }
        };
        let (table, metric) = (self.table(), identifier(METRIC));
        let here = Conditions::default().device(device);
        for part in schema.columns(|_| true).chunks(COLUMNS_MAX) {
            let last =
                |column: &str| format!("to_nanoseconds(max(CASE WHEN {column} IS NOT NULL THEN time END))");
            let items: Vec<String> = part.iter().map(|(_, column)| last(column)).collect();
            let items = items.join(", ");
            self.ask(&format!("SELECT {items} FROM {table} WHERE {here}"), |row| {
                part.iter().zip(row).for_each(|((metric, _), time)| note(metric, *time));
                ControlFlow::Continue(())
            })
            .await?;
        }
        if schema.has_narrow() {
            let narrow = here.and(format!("{metric} IS NOT NULL"));
            let statement = format!(
                "SELECT {metric}, to_nanoseconds(max(time)) FROM {table} WHERE {narrow} GROUP BY {metric} ORDER BY {metric}"
            );
            self.ask(&statement, |row| {
                if let [Some(name), time, ..] = row
                    && let Ok(metric) = Metric::new(name)
                {
                    note(&metric, *time);
                }
                ControlFlow::Continue(())
            })
            .await?;
        }
        Ok(newest)
    }

    /// The readings of these metrics at these times.
    async fn readings_at(
        &self,
        schema: &Schema,
        device: &DeviceId,
        newest: &[(Metric, i64)],
        latest: &mut Vec<Latest>,
    ) -> Result<(), StoreError> {
        let selection = Selection::new(schema, newest.iter().map(|(metric, _)| metric.clone()));
        let Some(any) = selection.condition() else { return Ok(()) };
        let mut times: Vec<i64> = newest.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        times.dedup();
        let times: Vec<String> = times.into_iter().map(moment).collect();
        let conditions = Conditions::default().device(device).and(format!("time IN ({})", times.join(", ")));
        let conditions = conditions.and(any);
        let (items, table) = (selection.items(), self.table());
        let mut best: BTreeMap<usize, Found> = BTreeMap::new();
        self.ask(&format!("SELECT {items} FROM {table} WHERE {conditions}"), |row| {
            for found in selection.read(row) {
                let wanted = newest.get(found.metric).is_some_and(|(_, time)| *time == found.time);
                if wanted && best.get(&found.metric).is_none_or(|held| found.place >= held.place) {
                    best.insert(found.metric, found);
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        for (index, found) in best {
            if let Some(metric) = selection.metric(index) {
                latest.push(Latest { metric: metric.clone(), point: point(found) });
            }
        }
        Ok(())
    }

    pub(super) async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        let Some(devices) = Devices::of(&query.device) else { return Ok(DevicePage::default()) };
        let schema = self.schema().await?;
        if schema.is_empty() {
            return Ok(DevicePage::default());
        }
        let mut conditions = Conditions::default().and(devices.condition());
        if let Some(after) = &query.after {
            conditions = conditions.and(device_from(after, false));
        }
        let limit = query.limit.max(1);
        let (table, device) = (self.table(), identifier(DEVICE));
        let more = limit.saturating_add(1);
        let statement = format!(
            "SELECT {device}, to_nanoseconds(max(time)) FROM {table} WHERE {conditions} GROUP BY {device} ORDER BY {device} LIMIT {more}"
        );
        let mut found: Vec<DeviceInfo> = Vec::new();
        self.ask(&statement, |row| {
            if let [Some(name), time, ..] = row
                && let Ok(name) = DeviceId::new(name)
                && devices.matches(&name)
            {
                let last = time.and_then(|time| time.parse().ok()).map(Timestamp::from_nanos);
                found.push(DeviceInfo { device: name, series: 0, last });
            }
            ControlFlow::Continue(())
        })
        .await?;
        let next =
            (found.len() > limit).then(|| found.get(limit - 1).map(|info| info.device.clone())).flatten();
        found.truncate(limit);
        if let (Some(first), Some(last)) = (found.first(), found.last()) {
            let conditions = conditions.and(device_from(&first.device, true));
            let conditions = conditions.and(super::sql::device_to(&last.device));
            let present = self.present(&schema, &conditions, |_| true).await?;
            for info in &mut found {
                info.series = present.get(&info.device).map_or(0, |metrics| metrics.len() as u64);
            }
        }
        Ok(DevicePage { devices: found, next })
    }
}
