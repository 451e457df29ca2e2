//! Points of series: device by device, metric by metric, row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use fieldline_model::{DeviceId, Metric, Timestamp};
use fieldline_store::{Pager, Point, SeriesPage, SeriesQuery, Span, StoreError};

use super::column::{DEVICE, METRIC};
use super::read::{Reader, Schema};
use super::selection::{Found, Selection};
use super::sql::{Conditions, Devices, identifier, metric_can_match};

/// Devices that are listed in one go.
const DEVICES_MAX: usize = 100;
/// Columns in one statement: a statement may have 256 KiB.
pub(super) const COLUMNS_MAX: usize = 200;
/// Rows that one statement asks for where a page has an end.
const ROWS_MAX: usize = 20_000;

impl Reader {
    pub(super) async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        let mut pager = Pager::new(query)?;
        let Some(devices) = Devices::of(&query.device).filter(|_| metric_can_match(&query.metric)) else {
            return Ok(pager.finish());
        };
        let schema = self.schema().await?;
        let mut from = query.after.as_ref().map(|after| (after.device.clone(), true));
        while !schema.is_empty() {
            let names = self.names(query, &devices, from.as_ref()).await?;
            for device in &names {
                if self.device(&mut pager, query, &schema, device).await? {
                    return Ok(pager.finish());
                }
            }
            match (names.last(), &devices) {
                (Some(last), Devices::Like(_)) if names.len() >= DEVICES_MAX => {
                    from = Some((last.clone(), false));
                }
                _ => break,
            }
        }
        Ok(pager.finish())
    }

    /// The next devices with readings in the query's time, by name, from one on or behind it.
    async fn names(
        &self,
        query: &SeriesQuery,
        devices: &Devices,
        from: Option<&(DeviceId, bool)>,
    ) -> Result<Vec<DeviceId>, StoreError> {
        if let Devices::One(device) = devices {
            return Ok(vec![device.clone()]);
        }
        let mut conditions = Conditions::default().and(devices.condition());
        if let Some((device, included)) = from {
            conditions = conditions.and(super::sql::device_from(device, *included));
        }
        let conditions = conditions.within(query.from.nanos(), query.to.nanos());
        let (table, device) = (self.table(), identifier(DEVICE));
        let statement = format!(
            "SELECT {device} FROM {table} WHERE {conditions} GROUP BY {device} ORDER BY {device} LIMIT {DEVICES_MAX}"
        );
        let mut names = Vec::new();
        self.ask(&statement, |row| {
            names.extend(row.first().copied().flatten().and_then(|name| DeviceId::new(name).ok()));
            ControlFlow::Continue(())
        })
        .await?;
        Ok(names)
    }

    /// Brings the series of a device; true when the page is full.
    async fn device(
        &self,
        pager: &mut Pager<'_>,
        query: &SeriesQuery,
        schema: &Schema,
        device: &DeviceId,
    ) -> Result<bool, StoreError> {
        let metrics = match query.metric.exact() {
            Some(name) => Metric::new(name).into_iter().collect(),
            None => {
                let here = Conditions::default().device(device);
                let here = here.within(query.from.nanos(), query.to.nanos());
                let after = query.after.as_ref().filter(|after| after.device == *device);
                let wanted = |metric: &Metric| {
                    query.metric.matches(metric.as_str()) && after.is_none_or(|after| *metric >= after.metric)
                };
                self.present(schema, &here, wanted).await?.remove(device).unwrap_or_default()
            }
        };
        for metric in metrics {
            let Some(span) = pager.begin(device, &metric) else { continue };
            self.points(pager, schema, device, &metric, span).await?;
            if pager.end() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The metrics of which there is anything, by device.
    pub(super) async fn present(
        &self,
        schema: &Schema,
        conditions: &Conditions,
        wanted: impl Fn(&Metric) -> bool + Send + Sync,
    ) -> Result<BTreeMap<DeviceId, BTreeSet<Metric>>, StoreError> {
        let mut present: BTreeMap<DeviceId, BTreeSet<Metric>> = BTreeMap::new();
        let (table, device, metric) = (self.table(), identifier(DEVICE), identifier(METRIC));
        let columns = schema.columns(&wanted);
        for part in columns.chunks(COLUMNS_MAX) {
            let counts: Vec<String> = part.iter().map(|(_, column)| format!("count({column})")).collect();
            let counts = counts.join(", ");
            let statement = format!(
                "SELECT {device}, {counts} FROM {table} WHERE {conditions} GROUP BY {device} ORDER BY {device}"
            );
            self.ask(&statement, |row| {
                let [Some(name), counts @ ..] = row else { return ControlFlow::Continue(()) };
                let Ok(name) = DeviceId::new(name) else { return ControlFlow::Continue(()) };
                let some =
                    part.iter().zip(counts).filter(|(_, count)| count.is_some_and(|count| count != "0"));
                present.entry(name).or_default().extend(some.map(|((metric, _), _)| (*metric).clone()));
                ControlFlow::Continue(())
            })
            .await?;
        }
        if schema.has_narrow() {
            let narrow = conditions.clone().and(format!("{metric} IS NOT NULL"));
            let statement = format!(
                "SELECT {device}, {metric} FROM {table} WHERE {narrow} GROUP BY {device}, {metric} ORDER BY {device}, {metric}"
            );
            self.ask(&statement, |row| {
                if let [Some(name), Some(metric), ..] = row
                    && let (Ok(name), Ok(metric)) = (DeviceId::new(name), Metric::new(metric))
                    && wanted(&metric)
                {
                    present.entry(name).or_default().insert(metric);
                }
                ControlFlow::Continue(())
            })
            .await?;
        }
        Ok(present)
    }

    /// Brings the points of a span of one series to the pager, until it is full.
    async fn points(
        &self,
        pager: &mut Pager<'_>,
        schema: &Schema,
        device: &DeviceId,
        metric: &Metric,
        span: Span,
    ) -> Result<(), StoreError> {
        let selection = Selection::new(schema, [metric.clone()]);
        let Some(any) = selection.condition() else { return Ok(()) };
        let mut from = span.from;
        // Several records may hold a reading of one time: mostly one does, seldom more than two.
        let mut limit = span.points_max.map(|points| points.saturating_mul(2).clamp(16, ROWS_MAX));
        loop {
            let conditions = Conditions::default().device(device).within(from, span.to).and(&any);
            let (items, table) = (selection.items(), self.table());
            let mut statement = format!("SELECT {items} FROM {table} WHERE {conditions} ORDER BY time");
            if let Some(limit) = limit {
                statement.push_str(&format!(" LIMIT {limit}"));
            }
            let (mut rows, mut full, mut open) = (0, false, None::<Found>);
            self.ask(&statement, |row| {
                rows += 1;
                for found in selection.read(row) {
                    full |= merge(&mut open, found).is_some_and(|done| pager.push(point(done)));
                }
                if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await?;
            if full {
                return Ok(());
            }
            match (limit, &open) {
                // There may be more rows, of the last time, too.
                (Some(most), Some(last)) if rows >= most && last.time > from => from = last.time,
                (Some(most), _) if rows >= most => limit = most.checked_mul(2),
                _ => {
                    open.map(|last| pager.push(point(last)));
                    return Ok(());
                }
            }
        }
    }
}

/// Takes the next reading of a series; gives the one before when it is complete: of one time the one
/// with the greatest place stands.
fn merge(open: &mut Option<Found>, next: Found) -> Option<Found> {
    match open {
        Some(held) if held.time == next.time => {
            if next.place >= held.place {
                *held = next;
            }
            None
        }
        _ => open.replace(next),
    }
}

pub(super) fn point(found: Found) -> Point {
    Point { time: Timestamp::from_nanos(found.time), value: found.value, quality: found.quality }
}
