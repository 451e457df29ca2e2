//! The engine: rules, their instances and what is known of the devices.

mod alarms;
mod aside;
mod device;
mod evaluate;
mod keep;
mod load;
mod machine;
mod operate;
mod program;
mod tell;
#[cfg(test)]
mod tests;
mod wake;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fieldline_model::{Class, DeviceId, Quality, Reading, ReadingRef, Timestamp};
use serde::Serialize;

use crate::{Alarm, Documents, Effect, EffectKind, Host, Rule};
use alarms::Alarms;
use aside::Asides;
use device::Device;
use keep::Kept;
use program::Program;

/// How often in a row readings that were calculated may make others.
const CHAIN_MAX: usize = 8;

/// What the engine may grow to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rules at a time.
    pub rules_max: usize,
    /// Instances (rule and device) of all rules.
    pub instances_max: usize,
    /// Samples that one window keeps; the oldest go first.
    pub window_samples_max: usize,
    /// Samples of all windows together; beyond, a window that takes one gives its oldest up.
    pub samples_max: usize,
    /// Devices of which something is known; the one longest silent goes first.
    pub devices_max: usize,
    /// A transition older than this when it is seen is no news: nobody is told of it as of something live.
    pub live_within: std::time::Duration,
    /// A reading further ahead of the host's clock than this is taken for one of now: its device's clock is wrong.
    pub ahead_within: std::time::Duration,
    /// So many errors in a row of a rule for a device disable it for this device.
    pub errors_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rules_max: 10_000,
            instances_max: 200_000,
            window_samples_max: 100_000,
            samples_max: 20_000_000,
            devices_max: 100_000,
            live_within: std::time::Duration::from_secs(300),
            ahead_within: std::time::Duration::from_secs(60),
            errors_max: 10,
        }
    }
}

/// A change of the durable state; the host commits all of a call, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which part; at most 512 bytes of text.
    pub key: String,
    /// Its new value; none: it is gone.
    pub value: Option<Vec<u8>>,
}

/// What became of the rules that were loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Loaded {
    /// In force, by name.
    pub rules: Vec<String>,
    /// Rules that cannot be used: name and reason, with the position in the condition. They take no other with
    /// them.
    pub refused: Vec<(String, String)>,
}

/// What was not looked at for want of room, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Crowding {
    /// Readings of devices that were not known, when none could be forgotten for them.
    pub devices: u64,
    /// Metrics of devices that rules did not get to see.
    pub instances: u64,
    /// Samples that windows gave up before their time.
    pub samples: u64,
}

/// How a rule fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleState {
    /// The rule.
    pub rule: Rule,
    /// Instances.
    pub instances: usize,
    /// Evaluations since the start.
    pub evaluations: u64,
    /// Nanoseconds that sampled evaluations took, extrapolated; 0 where nothing measures.
    pub nanos: u64,
    /// Evaluations that failed.
    pub errors: u64,
    /// Instances that are disabled: the rule failed for their devices too often in a row.
    pub instances_disabled: usize,
    /// Why it is disabled, for all devices; none: it is in force.
    pub disabled: Option<String>,
}

/// Why an operator's wish was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// There is no such alarm.
    #[error("there is no alarm {0:?}")]
    Unknown(String),
    /// Not in this state.
    #[error("{0}")]
    State(String),
}

/// The durable state is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state {key:?} cannot be read: {reason}")]
pub struct RestoreError {
    /// Which part.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// See the crate's documentation.
#[derive(Debug)]
pub struct Engine {
    host: Host,
    limits: Limits,
    programs: Vec<Program>,
    /// Rules that name a metric of their own device, by that metric.
    by_metric: HashMap<Arc<str>, Vec<u32>>,
    /// Rules that name a metric of another device.
    by_other: HashMap<(DeviceId, Arc<str>), Vec<u32>>,
    /// Devices by name, and the places that are free.
    index: HashMap<DeviceId, u32>,
    devices: Vec<Option<Device>>,
    free: Vec<u32>,
    /// Where the search for a device to forget goes on.
    hand: usize,
    instances: usize,
    /// Samples of all windows.
    samples: usize,
    crowding: Crowding,
    /// How many devices are turned away before one to forget is sought again.
    crowded: usize,
    groups: HashMap<DeviceId, Vec<String>>,
    /// Whether a rule tells again of what is still active.
    repeats: bool,
    /// Whether an alarm of one rule holds another one back.
    dependent: bool,
    /// When to look after which device, by the host's clock.
    wakes: BTreeSet<(i64, u32)>,
    alarms: Alarms,
    asides: Asides,
    /// What an earlier engine has left, until rules are loaded.
    kept: Kept,
    /// Devices with something to write.
    dirty: HashSet<u32>,
    gone: Vec<String>,
    /// Nanoseconds of a clock that never falls.
    stopwatch: Option<fn() -> u64>,
}

fn derived(effect: &Effect) -> Option<&Reading> {
    match &effect.kind {
        EffectKind::Derived(reading) => Some(reading),
        _ => None,
    }
}

impl Engine {
    /// An engine without rules, for the rules of one host.
    pub fn new(host: Host, limits: Limits) -> Self {
        Self {
            host,
            limits,
            programs: Vec::new(),
            by_metric: HashMap::new(),
            by_other: HashMap::new(),
            index: HashMap::new(),
            devices: Vec::new(),
            free: Vec::new(),
            hand: 0,
            instances: 0,
            samples: 0,
            crowding: Crowding::default(),
            crowded: 0,
            groups: HashMap::new(),
            repeats: false,
            dependent: false,
            wakes: BTreeSet::new(),
            alarms: Alarms::default(),
            asides: Asides::default(),
            kept: Kept::default(),
            dirty: HashSet::new(),
            gone: Vec::new(),
            stopwatch: None,
        }
    }

    /// Measures one evaluation of many by this clock: nanoseconds from any moment on, never falling.
    pub fn measure(&mut self, stopwatch: fn() -> u64) {
        self.stopwatch = Some(stopwatch);
    }

    /// Takes parts of the state that an earlier engine gave out, in any order; before [`Engine::load`].
    ///
    /// # Errors
    /// The part is not one of ours, or damaged.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> Result<(), RestoreError> {
        let failed = |reason: &str| RestoreError { key: key.to_owned(), reason: reason.to_owned() };
        let restored = if key.starts_with("alarm/") {
            self.alarms.restore(value)
        } else if key.starts_with(aside::PREFIX) {
            self.asides.restore(value)
        } else {
            self.kept.take(key, value)
        };
        restored.map_err(failed)
    }

    /// Puts these rules in force instead of those before. Rules whose text is unchanged keep their windows and
    /// alarms; alarms of rules that are gone return.
    pub fn load(&mut self, now: Timestamp, documents: &Documents, effects: &mut Vec<Effect>) -> Loaded {
        let from = effects.len();
        let loaded = self.replace_rules(now.nanos(), documents, effects);
        self.feed(now, from, effects);
        loaded
    }

    /// The groups that a device belongs to, for `groups` of rules; none known at first. What an earlier engine has
    /// left of rules for groups comes back where they are known before [`Engine::load`]. Alarms of rules that are
    /// about the device no longer return.
    pub fn set_groups(&mut self, now: Timestamp, device: &str, groups: &[String], effects: &mut Vec<Effect>) {
        let Ok(device) = DeviceId::new(device) else { return };
        let before = match groups.is_empty() {
            true => self.groups.remove(&device),
            false => self.groups.insert(device.clone(), groups.to_vec()),
        };
        if before.as_deref().unwrap_or_default() != groups {
            let from = effects.len();
            self.assign(&device, effects);
            self.feed(now, from, effects);
        }
    }

    /// Evaluates one reading. `now` is the host's clock. Readings of quality `bad` are passed over, and so is one
    /// of the latest sixteen of its series that comes again. What rules calculate of it is evaluated too, before
    /// anything else; a host has only to store it.
    pub fn observe(
        &mut self,
        now: Timestamp,
        _class: Class,
        reading: ReadingRef<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let from = effects.len();
        self.take(now, reading, effects);
        self.feed(now, from, effects);
    }

    fn take(&mut self, now: Timestamp, reading: ReadingRef<'_>, effects: &mut Vec<Effect>) {
        if reading.quality == Quality::Bad {
            return;
        }
        let Some((device, metric)) = self.place(reading.device, reading.metric) else { return };
        self.take_reading(now.nanos(), (device, metric), reading, effects);
        self.schedule(device);
    }

    /// Does what is due by the clock; see [`Engine::wake_at`].
    pub fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let from = effects.len();
        self.run_due(now.nanos(), effects);
        self.feed(now, from, effects);
    }

    /// Evaluates readings that rules have calculated, and those calculated of them in turn. A chain of rules ends
    /// after [`CHAIN_MAX`] links, since one that closes to a ring would not.
    fn feed(&mut self, now: Timestamp, mut from: usize, effects: &mut Vec<Effect>) {
        for _ in 0..CHAIN_MAX {
            let made = effects.get(from..).unwrap_or_default().iter();
            let made: Vec<Reading> = made.filter_map(derived).cloned().collect();
            if made.is_empty() {
                return;
            }
            from = effects.len();
            made.iter().for_each(|reading| self.take(now, reading.as_ref(), effects));
        }
    }

    /// When [`Engine::tick`] is due next, by the host's clock.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let device = self.wakes.first().map(|(at, _)| *at);
        let shelf = self.asides.next();
        device.into_iter().chain(shelf).min().map(Timestamp::from_nanos)
    }

    /// The alarms that are not normal, the newest first.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.alarms.list()
    }

    /// How the rules fare, by name.
    pub fn rules(&self) -> Vec<RuleState> {
        let states = self.programs.iter().map(|program| RuleState {
            rule: program.rule.clone(),
            instances: program.instances,
            evaluations: program.evaluations,
            nanos: program.nanos,
            errors: program.errors,
            instances_disabled: program.instances_disabled,
            disabled: program.disabled.clone(),
        });
        states.collect()
    }

    /// Samples of all windows.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// What was not looked at for want of room.
    pub fn crowding(&self) -> Crowding {
        self.crowding
    }

    /// Where a reading belongs, made where it is new; none where no rule looks at it, or there is no room.
    fn place(&mut self, device: &str, metric: &str) -> Option<(u32, u32)> {
        if let Some(number) = self.device_named(device) {
            let known = self.devices.get(number as usize)?.as_ref()?.index.get(metric).copied();
            if let Some(metric) = known {
                return Some((number, metric));
            }
        }
        let id = DeviceId::new(device).ok()?;
        let named = !self.by_other.is_empty() && self.by_other.contains_key(&(id.clone(), Arc::from(metric)));
        if !named && !self.is_looked_at(&id, metric) {
            return None;
        }
        let number = self.device(&id)?;
        Some((number, self.metric(number, metric)))
    }

    fn device_named(&self, device: &str) -> Option<u32> {
        // The map is asked by the text, without making an id of it.
        self.index.get(device).copied()
    }

    /// Whether a rule is about this metric of this device.
    fn is_looked_at(&self, device: &DeviceId, metric: &str) -> bool {
        let groups = self.groups.get(device).map_or(&[][..], Vec::as_slice);
        let rules = self.by_metric.get(metric).into_iter().flatten();
        rules
            .filter_map(|rule| self.programs.get(*rule as usize))
            .any(|rule| rule.is_about(device.as_str(), groups))
    }
}
