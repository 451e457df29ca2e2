//! What is known of a device: the newest values of its metrics, their past, and the instances of rules.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fieldline_model::{DeviceId, Timestamp, Value, ValueRef};
use serde::{Deserialize, Serialize};

use super::machine::Phase;
use crate::FeatureSpec;
use crate::feature::Series;

/// Readings of a series that are known again when they come once more.
const SEEN: usize = 16;
/// Alarms of an instance that a late reading of theirs does not raise anew.
const PAST_MAX: usize = 8;

/// A series within a track.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    pub(super) value: Option<Value>,
    /// Event time of the value.
    pub(super) time: i64,
    /// Hashes of the latest readings.
    seen: [u32; SEEN],
    next: u8,
    /// Only where a rule asks for functions of its past.
    pub(super) series: Option<Box<Series>>,
}

impl Slot {
    /// Whether this very reading has been here lately; it has from now on.
    pub(super) fn is_known(&mut self, time: i64, value: ValueRef<'_>) -> bool {
        let hash = hash(time, value);
        if self.seen.contains(&hash) {
            return true;
        }
        if let Some(place) = self.seen.get_mut(usize::from(self.next)) {
            *place = hash;
        }
        self.next = (self.next + 1) % SEEN as u8;
        false
    }

    /// Whether a reading of this time is its newest.
    pub(super) fn is_newest(&self, time: i64) -> bool {
        self.value.is_none() || time >= self.time
    }

    /// Samples of its past.
    pub(super) fn samples(&self) -> usize {
        self.series.as_ref().map_or(0, |series| series.samples().len())
    }

    /// The newest value, and the past where there is one.
    pub(super) fn take(&mut self, time: i64, value: ValueRef<'_>) {
        if self.is_newest(time) {
            self.time = time;
            match (&mut self.value, value) {
                // No allocation for what does not change its kind.
                (Some(Value::Float(kept)), ValueRef::Float(value)) => *kept = value,
                (kept, value) => *kept = Some(value.to_value()),
            }
        }
        if let Some(series) = &mut self.series
            && let Some(number) = number(value)
        {
            series.observe(Timestamp::from_nanos(time), number);
        }
    }

    /// Appends what is kept of it: kind and value, time, and the hashes; numbers little-endian. Written for each
    /// reading, so it is written by hand.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match &self.value {
            None => out.push(0),
            Some(Value::Boolean(value)) => out.extend([1, u8::from(*value)]),
            Some(Value::Integer(value)) => {
                out.push(2);
                out.extend(value.to_le_bytes());
            }
            Some(Value::Float(value)) => {
                out.push(3);
                out.extend(value.to_bits().to_le_bytes());
            }
            Some(Value::Text(value)) => {
                out.push(4);
                out.extend((value.len() as u32).to_le_bytes());
                out.extend(value.as_bytes());
            }
        }
        out.extend(self.time.to_le_bytes());
        out.push(self.next);
        for hash in self.seen {
            out.extend(hash.to_le_bytes());
        }
    }

    /// Takes back what [`Slot::write`] has written; what follows it.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (kind, bytes) = bytes.split_first()?;
        let (value, bytes) = match kind {
            0 => (None, bytes),
            1 => {
                let (value, bytes) = bytes.split_first()?;
                (Some(Value::Boolean(*value != 0)), bytes)
            }
            2 => {
                let (value, bytes) = bytes.split_first_chunk()?;
                (Some(Value::Integer(i64::from_le_bytes(*value))), bytes)
            }
            3 => {
                let (value, bytes) = bytes.split_first_chunk()?;
                (Some(Value::Float(f64::from_bits(u64::from_le_bytes(*value)))), bytes)
            }
            4 => {
                let (length, bytes) = bytes.split_first_chunk()?;
                let (text, bytes) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                (Some(Value::Text(std::str::from_utf8(text).ok()?.to_owned())), bytes)
            }
            _ => return None,
        };
        let (time, bytes) = bytes.split_first_chunk()?;
        let (next, mut bytes) = bytes.split_first()?;
        for place in &mut self.seen {
            let (hash, rest) = bytes.split_first_chunk()?;
            (*place, bytes) = (u32::from_le_bytes(*hash), rest);
        }
        self.value = value;
        self.time = i64::from_le_bytes(*time);
        self.next = *next % SEEN as u8;
        Some(bytes)
    }
}

/// Pushes, and keeps no room for more at first: most of many devices have one metric and one rule.
pub(super) fn push<T>(items: &mut Vec<T>, item: T) {
    if items.len() < 4 {
        items.reserve_exact(1);
    }
    items.push(item);
}

/// The value as a function of the past takes it; texts are left out.
fn number(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Boolean(value) => Some(f64::from(u8::from(value))),
        other => other.as_number(),
    }
}

/// FNV-1a; never 0, which is an empty place.
fn hash(time: i64, value: ValueRef<'_>) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    mix(&time.to_le_bytes());
    match value {
        ValueRef::Boolean(value) => mix(&[1, u8::from(value)]),
        ValueRef::Integer(value) => mix(&value.to_le_bytes()),
        ValueRef::Float(value) => mix(&value.to_bits().to_le_bytes()),
        ValueRef::Text(value) => mix(value.as_bytes()),
    }
    hash.max(1)
}

/// The values of a device as they came, or as they came late.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// The newest event time; none before the first reading.
    pub(super) newest: Option<i64>,
    /// By how much the host's clock was ahead of it when it came; of late readings when the last of them did.
    pub(super) offset: i64,
    /// One for each of [`Device::metrics`].
    pub(super) slots: Vec<Slot>,
}

impl Track {
    /// Samples of all of it.
    pub(super) fn samples(&self) -> usize {
        self.slots.iter().map(Slot::samples).sum()
    }

    /// The host's clock when the last of the late readings came.
    pub(super) fn heard(&self) -> i64 {
        self.newest.unwrap_or_default().saturating_add(self.offset)
    }
}

/// A metric of a device that rules look at.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: Arc<str>,
    /// Instances to evaluate when it has a new value.
    pub(super) touches: Vec<u32>,
    /// Functions of its past, in the order of their numbers.
    pub(super) specs: Vec<FeatureSpec>,
    pub(super) dirty: bool,
}

/// A machine with the alarm that it has raised.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) phase: Phase,
    /// The alarm that is active.
    pub(super) alarm: Option<String>,
    /// The millisecond of the last raise, and how many there were in it.
    pub(super) last_raise: (i64, u32),
    /// Whether somebody is to be told of it still.
    pub(super) owed: bool,
    /// When somebody was told last, by the host's clock, and how often.
    pub(super) told_at: Option<i64>,
    pub(super) told: u32,
}

/// A rule for one device.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) program: u32,
    /// The rule's name and what it said.
    pub(super) rule: Arc<str>,
    pub(super) fingerprint: Arc<str>,
    pub(super) live: Machine,
    pub(super) history: Option<Box<Machine>>,
    /// When the last alarms were active: late readings of then are no news.
    pub(super) past: Vec<(i64, i64)>,
    /// Up to when silence has been looked at.
    pub(super) silent_until: i64,
    /// Its entry in [`Device::timers`].
    pub(super) timer: Option<i64>,
    /// When its rule comes into force next, where it is not.
    pub(super) edge: Option<i64>,
    pub(super) errors_in_row: u32,
    pub(super) dirty: bool,
}

/// An instance as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptInstance {
    pub(super) fingerprint: String,
    live: Machine,
    history: Option<Box<Machine>>,
    past: Vec<(i64, i64)>,
    silent_until: i64,
}

impl Instance {
    pub(super) fn new(program: u32, rule: &Arc<str>, fingerprint: &Arc<str>) -> Self {
        Self {
            program,
            rule: Arc::clone(rule),
            fingerprint: Arc::clone(fingerprint),
            live: Machine::default(),
            history: None,
            past: Vec::new(),
            silent_until: i64::MIN,
            timer: None,
            edge: None,
            errors_in_row: 0,
            dirty: false,
        }
    }

    /// Whether something is waited for that would be missed: not only that a rule comes into force.
    fn is_awaited(&self) -> bool {
        self.timer.is_some() && self.timer != self.edge
    }

    pub(super) fn machine(&mut self, late: bool) -> &mut Machine {
        if late { self.history.get_or_insert_default() } else { &mut self.live }
    }

    /// Whether an alarm was active at this time.
    pub(super) fn was_active(&self, at: i64) -> bool {
        self.past.iter().any(|(from, to)| (*from..=*to).contains(&at))
    }

    pub(super) fn remember(&mut self, from: i64, to: i64) {
        if self.past.len() >= PAST_MAX {
            self.past.remove(0);
        }
        self.past.push((from, to));
    }

    pub(super) fn kept(&self) -> KeptInstance {
        KeptInstance {
            fingerprint: self.fingerprint.to_string(),
            live: self.live.clone(),
            history: self.history.clone(),
            past: self.past.clone(),
            silent_until: self.silent_until,
        }
    }

    pub(super) fn restore(&mut self, kept: KeptInstance) {
        self.live = kept.live;
        self.history = kept.history;
        self.past = kept.past;
        self.silent_until = kept.silent_until;
    }
}

impl KeptInstance {
    /// The alarms that are active.
    pub(super) fn alarms(&self) -> impl Iterator<Item = &String> {
        self.live.alarm.iter().chain(self.history.iter().filter_map(|machine| machine.alarm.as_ref()))
    }
}

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) index: HashMap<Arc<str>, u32>,
    pub(super) metrics: Vec<Metric>,
    pub(super) live: Track,
    /// Only while readings come late.
    pub(super) history: Option<Box<Track>>,
    pub(super) instances: Vec<Instance>,
    /// Event times at which an instance is looked at although no reading comes; in the order of rules, whichever
    /// instance was there first.
    pub(super) timers: BTreeSet<(i64, u32, u32)>,
    /// When the last reading arrived, by the host's clock.
    pub(super) arrived: i64,
    /// Its entry among the engine's wakes.
    pub(super) wake: Option<i64>,
    /// Whether an instance owes somebody a word.
    pub(super) owed: bool,
    /// Used since the search for room came by last.
    pub(super) used: bool,
    pub(super) dirty: bool,
}

/// A device as it is kept, without its series and instances.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct KeptDevice {
    newest: Option<i64>,
    offset: i64,
    history: Option<(Option<i64>, i64)>,
    arrived: i64,
}

impl Device {
    pub(super) fn new(id: DeviceId) -> Self {
        Self {
            id,
            index: HashMap::new(),
            metrics: Vec::new(),
            live: Track::default(),
            history: None,
            instances: Vec::new(),
            timers: BTreeSet::new(),
            arrived: i64::MIN,
            wake: None,
            owed: false,
            used: true,
            dirty: true,
        }
    }

    /// The number of a metric, made where it is new.
    pub(super) fn metric(&mut self, name: &str) -> u32 {
        if let Some(number) = self.index.get(name) {
            return *number;
        }
        let (number, name): (u32, Arc<str>) = (self.metrics.len() as u32, name.into());
        self.index.insert(Arc::clone(&name), number);
        push(&mut self.metrics, Metric { name, touches: Vec::new(), specs: Vec::new(), dirty: true });
        push(&mut self.live.slots, Slot::default());
        if let Some(history) = &mut self.history {
            push(&mut history.slots, Slot::default());
        }
        number
    }

    /// Makes a function of a metric's past available; its number, none where it cannot be had.
    pub(super) fn require(&mut self, metric: u32, spec: &FeatureSpec, samples_max: usize) -> Option<usize> {
        let known = self.metrics.get_mut(metric as usize)?;
        let slots = [self.live.slots.get_mut(metric as usize)]
            .into_iter()
            .chain([self.history.as_mut().and_then(|track| track.slots.get_mut(metric as usize))]);
        if let Some(number) = known.specs.iter().position(|spec_known| spec_known == spec) {
            return Some(number);
        }
        for slot in slots.flatten() {
            slot.series.get_or_insert_with(|| Box::new(Series::new(samples_max))).require(spec).ok()?;
        }
        known.specs.push(spec.clone());
        Some(known.specs.len() - 1)
    }

    /// The track for late readings, with the same functions.
    pub(super) fn open_history(&mut self, samples_max: usize) {
        if self.history.is_some() {
            return;
        }
        let slot = |metric: &Metric| {
            let mut slot = Slot::default();
            for spec in &metric.specs {
                let series = slot.series.get_or_insert_with(|| Box::new(Series::new(samples_max)));
                // The live series has it, so it can be had.
                let _number = series.require(spec);
            }
            slot
        };
        let slots = self.metrics.iter().map(slot).collect();
        self.history = Some(Box::new(Track { slots, ..Track::default() }));
    }

    /// Samples of both of its tracks.
    pub(super) fn samples(&self) -> usize {
        self.live.samples() + self.history.as_ref().map_or(0, |track| track.samples())
    }

    /// Whether it may be forgotten: nobody is waiting for anything of it.
    pub(super) fn is_idle(&self) -> bool {
        self.instances.iter().all(|instance| {
            let late = instance.history.as_ref().is_some_and(|machine| machine.alarm.is_some());
            let idle = instance.live.phase == Phase::Idle && !instance.is_awaited();
            idle && instance.live.alarm.is_none() && !late
        })
    }

    pub(super) fn kept(&self) -> KeptDevice {
        KeptDevice {
            newest: self.live.newest,
            offset: self.live.offset,
            history: self.history.as_ref().map(|track| (track.newest, track.offset)),
            arrived: self.arrived,
        }
    }

    pub(super) fn restore(&mut self, kept: KeptDevice, samples_max: usize) {
        (self.live.newest, self.live.offset, self.arrived) = (kept.newest, kept.offset, kept.arrived);
        if let Some((newest, offset)) = kept.history {
            self.open_history(samples_max);
            if let Some(history) = &mut self.history {
                (history.newest, history.offset) = (newest, offset);
            }
        }
    }
}
