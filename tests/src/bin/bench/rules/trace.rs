//! Readings of many series, one after the other, made as they are asked for.

use fieldline_model::{Quality, ReadingRef, Timestamp, ValueRef};

/// Devices of a trace.
const DEVICES: usize = 10;

/// One metric for each rule, on each of ten devices.
pub(super) struct Trace {
    devices: Vec<String>,
    pub(super) metrics: Vec<String>,
}

impl Trace {
    pub(super) fn new(metrics: usize) -> Self {
        Self {
            devices: (0..DEVICES).map(|n| format!("device-{n}")).collect(),
            metrics: (0..metrics).map(|n| format!("metric_{n}")).collect(),
        }
    }

    /// How many series there are.
    pub(super) fn series(&self) -> usize {
        self.devices.len() * self.metrics.len()
    }

    /// The readings from the `from`th on: a sweep over all series takes a second of event time.
    pub(super) fn readings(&self, from: usize, count: usize) -> impl Iterator<Item = ReadingRef<'_>> {
        let series = self.series();
        (from..from + count).filter_map(move |n| {
            let second = (n / series) as i64;
            Some(ReadingRef {
                device: self.devices.get(n % series % DEVICES)?,
                metric: self.metrics.get(n % series / DEVICES)?,
                time: Timestamp::from_nanos(1_700_000_000_000_000_000 + second * 1_000_000_000),
                value: ValueRef::Float(20.0 + ((n * 7919) % 1_000) as f64 * 0.01),
                quality: Quality::Good,
            })
        })
    }
}
