//! The engine: rules, their instances and what is known of the devices.

use fieldline_model::{Class, ReadingRef, Timestamp};
use serde::Serialize;

use crate::{Alarm, Documents, Effect, Host, Operation, Rule};

/// What the engine may grow to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rules at a time.
    pub rules_max: usize,
    /// Instances (rule and device) of all rules.
    pub instances_max: usize,
    /// Samples that one window keeps; the oldest go first.
    pub window_samples_max: usize,
    /// Devices of which something is known; the one longest silent goes first.
    pub devices_max: usize,
    /// A transition older than this when it is seen is no news: nobody is told of it as of something live.
    pub live_within: std::time::Duration,
    /// So many errors of a rule in a row disable it.
    pub errors_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rules_max: 10_000,
            instances_max: 200_000,
            window_samples_max: 100_000,
            devices_max: 100_000,
            live_within: std::time::Duration::from_secs(300),
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
    /// Why it is disabled; none: it is in force.
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
    _host: Host,
}

impl Engine {
    /// An engine without rules, for the rules of one host.
    pub fn new(host: Host, _limits: Limits) -> Self {
        Self { _host: host }
    }

    /// Takes parts of the state that an earlier engine gave out, in any order; before [`Engine::load`].
    pub fn restore(&mut self, _key: &str, _value: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    /// Puts these rules in force instead of those before. Rules whose text is unchanged keep their windows and
    /// alarms; alarms of rules that are gone return.
    pub fn load(&mut self, _now: Timestamp, _documents: &Documents, _effects: &mut Vec<Effect>) -> Loaded {
        Loaded::default()
    }

    /// The groups that a device belongs to, for `groups` of rules; none known at first.
    pub fn set_groups(&mut self, _device: &str, _groups: &[String]) {}

    /// Evaluates one reading. `now` is the host's clock, `class` that of the reading's stream.
    pub fn observe(
        &mut self,
        _now: Timestamp,
        _class: Class,
        _reading: ReadingRef<'_>,
        _effects: &mut Vec<Effect>,
    ) {
    }

    /// Does what is due by the clock; see [`Engine::wake_at`].
    pub fn tick(&mut self, _now: Timestamp, _effects: &mut Vec<Effect>) {}

    /// When [`Engine::tick`] is due next, by the host's clock.
    pub fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    /// Does what an operator wishes.
    pub fn operate(
        &mut self,
        _now: Timestamp,
        id: &str,
        _by: &str,
        _operation: &Operation,
        _effects: &mut Vec<Effect>,
    ) -> Result<Alarm, OperateError> {
        Err(OperateError::Unknown(id.to_owned()))
    }

    /// What has changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        Vec::new()
    }

    /// The alarms that are not normal, the newest first.
    pub fn alarms(&self) -> Vec<Alarm> {
        Vec::new()
    }

    /// How the rules fare, by name.
    pub fn rules(&self) -> Vec<RuleState> {
        Vec::new()
    }
}
