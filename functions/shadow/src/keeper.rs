//! What is to be shown, gathered between updates where blocks come all the time.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use fieldline_model::{DeviceId, Metric, Timestamp, Value};
use fieldline_wire::{Block, Column};

use crate::newest::{newest_of, offer};
use crate::{Metrics, Sample, UNCHANGED_MS};

/// The limits of a [`Keeper`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperConfig {
    /// A device's shadow is updated at most once in so many milliseconds.
    pub period_ms: i64,
    /// Metrics that are remembered at most, all devices together. Beyond it a quarter of the devices is
    /// forgotten, those first that have been silent for longest; what they have to show is handed out.
    pub series_max: usize,
    /// Metrics of forgotten devices that may wait to be handed out; what is beyond is lost, and counted.
    pub overdue_max: usize,
}

impl Default for KeeperConfig {
    /// 10 s; 200,000 series, some 30 MB, and half as many that wait.
    fn default() -> Self {
        Self { period_ms: 10_000, series_max: 200_000, overdue_max: 100_000 }
    }
}

/// What a device's shadow should show.
pub type Due = (DeviceId, Metrics);

/// Holds the newest value of each metric of each device, and hands out what has changed, a device at most
/// once in a period. It knows no clock. The last value of a device that falls silent is handed out as well.
#[derive(Debug, Default)]
pub struct Keeper {
    config: KeeperConfig,
    devices: HashMap<DeviceId, Device>,
    series: usize,
    /// Of devices that were forgotten before their time.
    overdue: HashMap<DeviceId, Metrics>,
    overdue_series: usize,
    /// Counts blocks: the age of devices.
    turn: u64,
    lost: u64,
}

#[derive(Debug, Default)]
struct Device {
    metrics: HashMap<Metric, Held>,
    handed_out_ms: Option<i64>,
    turn: u64,
    /// Something may be to be shown.
    stirred: bool,
}

#[derive(Debug)]
struct Held {
    newest: Sample,
    /// Time and hash of the value that was handed out.
    shown: Option<(i64, u64)>,
}

impl Held {
    fn is_due(&self) -> bool {
        self.shown.is_none_or(|(at_us, value)| {
            value != hash(&self.newest.value) || self.newest.at_us - at_us >= UNCHANGED_MS * 1_000
        })
    }
}

impl Keeper {
    /// A keeper that knows nothing yet.
    pub fn new(config: KeeperConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes in a block that has been stored. It allocates nothing for what is known, but the text of a text.
    pub fn note(&mut self, block: &Block, received: Timestamp) {
        self.turn += 1;
        // A device's columns mostly stand together.
        for columns in block.columns.chunk_by(|one, next| one.device == next.device) {
            let Some(id) = columns.first().map(|column| &column.device) else { continue };
            match self.devices.get_mut(id) {
                Some(device) => self.series += device.note(columns, self.turn, received),
                None => {
                    let mut device = Device::default();
                    self.series += device.note(columns, self.turn, received);
                    if !device.metrics.is_empty() {
                        self.devices.insert(id.clone(), device);
                    }
                }
            }
        }
        if self.series > self.config.series_max {
            self.forget();
        }
    }

    /// Takes back what could not be shown; it is due again after a period.
    pub fn take_back(&mut self, (device, metrics): Due) {
        let Some(known) = self.devices.get_mut(&device) else {
            return self.push_overdue(device, metrics);
        };
        known.stirred = true;
        for metric in metrics.keys() {
            if let Some(held) = known.metrics.get_mut(metric) {
                held.shown = None;
            }
        }
    }

    /// What is to be shown at `now_ms`; at most `devices_max` devices.
    pub fn due(&mut self, now_ms: i64, devices_max: usize) -> Vec<Due> {
        let mut taken = 0;
        let first = self.overdue.extract_if(|_, _| {
            taken += 1;
            taken <= devices_max
        });
        let mut due: Vec<Due> = first.collect();
        self.overdue_series -= due.iter().map(|(_, metrics)| metrics.len()).sum::<usize>();
        let period_ms = self.config.period_ms;
        for (id, device) in &mut self.devices {
            if due.len() >= devices_max {
                break;
            }
            let too_soon = device.handed_out_ms.is_some_and(|last_ms| now_ms - last_ms < period_ms);
            if !device.stirred || too_soon {
                continue;
            }
            let metrics = device.take();
            if !metrics.is_empty() {
                device.handed_out_ms = Some(now_ms);
                due.push((id.clone(), metrics));
            }
        }
        due
    }

    /// Everything that is to be shown, whatever the time: at the end.
    pub fn rest(&mut self) -> Vec<Due> {
        self.overdue_series = 0;
        let mut rest: Vec<Due> = std::mem::take(&mut self.overdue).into_iter().collect();
        let devices = self.devices.iter_mut().filter(|(_, device)| device.stirred);
        rest.extend(
            devices
                .map(|(id, device)| (id.clone(), device.take()))
                .filter(|(_, metrics)| !metrics.is_empty()),
        );
        rest
    }

    /// Whether readings of the device have come lately.
    pub fn knows(&self, device: &str) -> bool {
        self.devices.contains_key(device)
    }

    /// How many values were not handed out since more devices came than can be remembered.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn forget(&mut self) {
        let mut turns: Vec<u64> = self.devices.values().map(|device| device.turn).collect();
        let quarter = turns.len() / 4;
        let (_, &mut limit, _) = turns.select_nth_unstable(quarter);
        // Whoever came in the very last block goes only if there is nobody else.
        let limit = limit.min(self.turn - 1);
        let forgotten: Vec<(DeviceId, Device)> =
            self.devices.extract_if(|_, device| device.turn <= limit).collect();
        for (id, mut device) in forgotten {
            self.series -= device.metrics.len();
            let metrics = device.take();
            if !metrics.is_empty() {
                self.push_overdue(id, metrics);
            }
        }
        if self.series > self.config.series_max {
            self.forget_all();
        }
    }

    /// One block has brought more than can be remembered.
    fn forget_all(&mut self) {
        for (id, mut device) in std::mem::take(&mut self.devices) {
            let metrics = device.take();
            if !metrics.is_empty() {
                self.push_overdue(id, metrics);
            }
        }
        self.series = 0;
    }

    fn push_overdue(&mut self, device: DeviceId, metrics: Metrics) {
        let waiting = self.overdue.entry(device).or_default();
        for (metric, sample) in metrics {
            let known = waiting.contains_key(&metric);
            if !known && self.overdue_series >= self.config.overdue_max {
                self.lost += 1;
                continue;
            }
            self.overdue_series += usize::from(!known);
            offer(waiting, &metric, sample);
        }
    }
}

impl Device {
    /// How many metrics are new.
    fn note(&mut self, columns: &[Column], turn: u64, received: Timestamp) -> usize {
        self.turn = turn;
        let before = self.metrics.len();
        for column in columns {
            let Some(sample) = newest_of(column, received) else { continue };
            match self.metrics.get_mut(&column.metric) {
                Some(held) if sample.supersedes(&held.newest) => held.newest = sample,
                Some(_) => continue,
                None => {
                    drop(self.metrics.insert(column.metric.clone(), Held { newest: sample, shown: None }))
                }
            }
            self.stirred = true;
        }
        self.metrics.len() - before
    }

    /// What is to be shown; it counts as shown from now on.
    fn take(&mut self) -> Metrics {
        self.stirred = false;
        let due = self.metrics.iter_mut().filter(|(_, held)| held.is_due());
        due.map(|(metric, held)| {
            held.shown = Some((held.newest.at_us, hash(&held.newest.value)));
            (metric.clone(), held.newest.clone())
        })
        .collect()
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::Boolean(value) => value.hash(&mut hasher),
        Value::Integer(value) => value.hash(&mut hasher),
        Value::Float(value) => value.to_bits().hash(&mut hasher),
        Value::Text(value) => value.hash(&mut hasher),
    }
    hasher.finish()
}
