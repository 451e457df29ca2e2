//! Which series there are: listed a page at a time, matched here.

use std::collections::BTreeSet;

use fieldline_model::{DeviceId, Metric};

use super::config::InfluxDialect;
use super::http::Http;
use super::influxql::{ask, ask_one, literal, measurements};
use super::line::TIME_MIN;
use super::name;
use crate::{Glob, StoreError};

/// Measurements, or devices of one measurement, in one answer.
const PAGE: usize = 1_000;
/// Measurements in one statement.
pub(super) const MEASUREMENTS_MAX: usize = 50;

/// The first few of a set, by order; memory is bounded by `size_max` however many are offered.
#[derive(Debug)]
pub(super) struct Smallest<T> {
    pub(super) items: BTreeSet<T>,
    size_max: usize,
    /// There were more.
    pub(super) cut: bool,
}

impl<T: Ord> Smallest<T> {
    pub(super) fn new(size_max: usize) -> Self {
        Self { items: BTreeSet::new(), size_max, cut: false }
    }

    pub(super) fn offer(&mut self, item: T) {
        self.items.insert(item);
        if self.items.len() > self.size_max {
            self.items.pop_last();
            self.cut = true;
        }
    }
}

/// Walks over the metrics that a pattern matches, a page at a time.
#[derive(Debug)]
pub(super) struct Metrics<'a> {
    http: &'a Http,
    metric: &'a Glob,
    /// Only those of this device, where the database can tell them apart.
    device: Option<&'a str>,
    offset: usize,
    ended: bool,
}

impl<'a> Metrics<'a> {
    pub(super) fn new(http: &'a Http, metric: &'a Glob, device: Option<&'a str>) -> Self {
        Self { http, metric, device, offset: 0, ended: false }
    }

    /// The next few; `None` at the end. Series of the device alone are not promised.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Metric>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(name) = self.metric.exact() {
            self.ended = true;
            return Ok(Some(Metric::new(name).into_iter().collect()));
        }
        let condition = self.device.map(|device| format!("WHERE \"device\" = {} ", literal(device)));
        let condition = condition.unwrap_or_default();
        let statement = format!("SHOW MEASUREMENTS {condition}LIMIT {PAGE} OFFSET {}", self.offset);
        let found = ask_one(self.http, statement).await?;
        let names: Vec<&str> = found
            .tables
            .iter()
            .flat_map(|table| &table.values)
            .filter_map(|row| row.last()?.as_str())
            .collect();
        self.offset += names.len();
        self.ended = names.len() < PAGE;
        let ours = names.into_iter().filter_map(name::metric);
        Ok(Some(ours.filter(|metric| self.metric.matches(metric.as_str())).collect()))
    }
}

/// Calls `give` with each pair of a device and a metric of `metrics`, also for series of others that
/// have more tags.
pub(super) async fn devices_of(
    http: &Http,
    metrics: &[Metric],
    mut give: impl FnMut(DeviceId, &Metric),
) -> Result<(), StoreError> {
    // InfluxDB 3 looks at the last day only, unless a time is given.
    let always = match http.config().dialect {
        InfluxDialect::V3 => format!("WHERE time >= {TIME_MIN} "),
        _ => String::new(),
    };
    for chunk in metrics.chunks(MEASUREMENTS_MAX) {
        let (mut left, mut offset) = (chunk.to_vec(), 0);
        while !left.is_empty() {
            let from = measurements(left.iter().map(Metric::as_str));
            let statement = format!(
                "SHOW TAG VALUES FROM {from} WITH KEY = \"device\" {always}LIMIT {PAGE} OFFSET {offset}"
            );
            let mut full = BTreeSet::new();
            for table in ask(http, &[statement]).await?.into_iter().flat_map(|found| found.tables) {
                let Some(metric) = name::metric(&table.name) else { continue };
                for row in &table.values {
                    let device = row.last().and_then(|value| DeviceId::new(value.as_str()?).ok());
                    if let Some(device) = device {
                        give(device, &metric);
                    }
                }
                if table.values.len() >= PAGE {
                    full.insert(metric);
                }
            }
            left.retain(|metric| full.contains(metric));
            offset += PAGE;
        }
    }
    Ok(())
}

/// The first series, by device and metric, that the patterns match and that lie at `after.0` or, if
/// `after.1`, behind it.
pub(super) async fn series(
    http: &Http,
    device: &Glob,
    metric: &Glob,
    after: Option<(&(DeviceId, Metric), bool)>,
    size_max: usize,
) -> Result<Smallest<(DeviceId, Metric)>, StoreError> {
    let wanted = |pair: &(DeviceId, Metric)| match after {
        Some((mark, true)) => pair > mark,
        Some((mark, false)) => pair >= mark,
        None => true,
    };
    let mut smallest = Smallest::new(size_max);
    let one = device.exact();
    let known = one.and_then(|name| DeviceId::new(name).ok());
    if one.is_some() && known.is_none() {
        return Ok(smallest);
    }
    let mut metrics = Metrics::new(http, metric, one);
    while let Some(page) = metrics.next().await? {
        let mut offer = |device: DeviceId, metric: &Metric| {
            let pair = (device, metric.clone());
            if wanted(&pair) {
                smallest.offer(pair);
            }
        };
        match &known {
            Some(device) => page.iter().for_each(|metric| offer(device.clone(), metric)),
            None => {
                let matching = |found: DeviceId, metric: &Metric| {
                    if device.matches(found.as_str()) {
                        offer(found, metric);
                    }
                };
                devices_of(http, &page, matching).await?;
            }
        }
    }
    Ok(smallest)
}
