//! Which series there are, and under which number.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use fieldline_model::{DeviceId, Metric};

/// A series' name.
pub(super) type Name = (DeviceId, Metric);

/// All series by name. Numbers are dense, from 1.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// For writing: two look-ups by hash.
    numbers: HashMap<DeviceId, HashMap<Metric, u32>>,
    /// For queries, in order.
    names: BTreeMap<Name, u32>,
    /// The newest time of each device.
    newest: BTreeMap<DeviceId, Option<i64>>,
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn number(&self, device: &DeviceId, metric: &Metric) -> Option<u32> {
        self.numbers.get(device)?.get(metric).copied()
    }

    pub(super) fn insert(&mut self, name: Name, number: u32) {
        let (device, metric) = &name;
        self.numbers.entry(device.clone()).or_default().insert(metric.clone(), number);
        self.newest.entry(device.clone()).or_default();
        self.names.insert(name, number);
    }

    /// Takes note of a reading's time.
    pub(super) fn heard(&mut self, device: &DeviceId, time: i64) {
        if let Some(newest) = self.newest.get_mut(device) {
            *newest = Some(newest.map_or(time, |newest| newest.max(time)));
        }
    }

    /// Devices by name behind `after`, with their number of series and newest time.
    pub(super) fn devices(
        &self,
        after: Option<&DeviceId>,
    ) -> impl Iterator<Item = (&DeviceId, usize, Option<i64>)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let devices = self.newest.range::<DeviceId, _>((start, Bound::Unbounded));
        devices.map(|(device, newest)| (device, self.numbers.get(device).map_or(0, HashMap::len), *newest))
    }

    /// Series by name, from `start` on.
    pub(super) fn series(&self, start: Bound<&Name>) -> impl Iterator<Item = (&Name, u32)> {
        self.names.range((start, Bound::Unbounded)).map(|(name, number)| (name, *number))
    }

    /// The series of one device, by metric.
    pub(super) fn metrics(&self, device: &DeviceId) -> Vec<(Metric, u32)> {
        let mut metrics: Vec<(Metric, u32)> = self
            .numbers
            .get(device)
            .into_iter()
            .flatten()
            .map(|(metric, number)| (metric.clone(), *number))
            .collect();
        metrics.sort();
        metrics
    }
}
