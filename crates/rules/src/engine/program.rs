//! A rule, compiled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fieldline_model::{DeviceId, Metric};
use sha2::{Digest, Sha256};

use crate::condition::{Condition, Kind};
use crate::feature::Series;
use crate::schedule::Calendar;
use crate::template::Template;
use crate::{Action, FeatureSpec, Function, Input, Rule};

/// How often a rule that asks for an age is evaluated while its device is silent.
const AGE_EVERY: i64 = 10_000_000_000;

/// What a rule does.
#[derive(Debug)]
pub(crate) enum Then {
    /// Tell a target; the template is the expression of this number.
    Notify { target: String, message: Option<Template> },
    /// Send a command.
    Command { device: Option<DeviceId>, command: String, payload: serde_json::Value },
    /// Set a desired state.
    Desired { device: Option<DeviceId>, state: serde_json::Map<String, serde_json::Value> },
    /// Make a metric.
    Derive { metric: Metric, value: Condition },
}

/// A rule, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) rule: Rule,
    /// The same for the same rule: what it was when a state was written.
    pub(crate) fingerprint: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) when: Condition,
    pub(crate) clear: Option<Condition>,
    pub(crate) then: Vec<Then>,
    pub(crate) calendar: Option<Calendar>,
    pub(crate) hold: i64,
    pub(crate) keep: i64,
    pub(crate) lateness: i64,
    /// Metrics that are a reason to evaluate it, each once.
    pub(crate) inputs: Vec<Input>,
    /// Metrics whose silence is: after how many nanoseconds, and how often again.
    pub(crate) silences: Vec<(Input, i64, bool)>,
    pub(crate) evaluations: u64,
    /// What they took, extrapolated.
    pub(crate) nanos: u64,
    pub(crate) errors: u64,
    pub(crate) instances: usize,
    pub(crate) instances_disabled: usize,
    /// Devices with an instance, where the rule names other devices.
    pub(crate) members: BTreeSet<u32>,
    pub(crate) disabled: Option<String>,
}

/// A duration in nanoseconds, as far as they reach.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Program {
    /// Compiles a rule; the reason tells what is wrong where.
    pub(crate) fn compile(rule: &Rule) -> Result<Self, String> {
        let truth = |key: &str, source: &str| {
            Condition::compile(source, Kind::Truth).map_err(|error| format!("{key}: {error}"))
        };
        let when = truth("when", &rule.when)?;
        let clear = rule.clear.as_ref().map(|clear| truth("clear", clear)).transpose()?;
        let calendar = rule.schedule.as_ref().map(Calendar::new).transpose();
        let calendar = calendar.map_err(|error| format!("schedule: {error}"))?;
        let then = rule.actions.iter().map(compile_action).collect::<Result<Vec<_>, _>>()?;
        let mut program = Self {
            rule: rule.clone(),
            fingerprint: fingerprint(rule)?,
            name: rule.name.as_str().into(),
            when,
            clear,
            then,
            calendar,
            hold: nanos(rule.hold),
            keep: nanos(rule.keep_firing_for),
            lateness: nanos(rule.lateness),
            inputs: Vec::new(),
            silences: Vec::new(),
            evaluations: 0,
            nanos: 0,
            errors: 0,
            instances: 0,
            instances_disabled: 0,
            members: BTreeSet::new(),
            disabled: None,
        };
        let inputs: BTreeSet<Input> = program.conditions().flat_map(Condition::inputs).cloned().collect();
        program.inputs = inputs.into_iter().collect();
        program.silences = program.features().filter_map(silence).collect();
        for spec in program.all_features() {
            Series::new(2).require(spec).map_err(|error| error.to_string())?;
        }
        Ok(program)
    }

    /// What is evaluated with each reading.
    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let derived = self.then.iter().filter_map(|then| match then {
            Then::Derive { value, .. } => Some(value),
            _ => None,
        });
        std::iter::once(&self.when).chain(&self.clear).chain(derived)
    }

    fn features(&self) -> impl Iterator<Item = &FeatureSpec> {
        self.conditions().flat_map(Condition::features)
    }

    /// Every feature, also those of messages.
    pub(crate) fn all_features(&self) -> impl Iterator<Item = &FeatureSpec> {
        let templates = self.then.iter().filter_map(|then| match then {
            Then::Notify { message, .. } => message.as_ref(),
            _ => None,
        });
        self.features().chain(templates.flat_map(Template::features))
    }

    /// Whether the rule is about this device.
    pub(crate) fn is_about(&self, device: &str, groups: &[String]) -> bool {
        let rule = &self.rule;
        rule.devices.iter().any(|pattern| pattern.matches(device))
            && (rule.groups.is_empty() || rule.groups.iter().any(|group| groups.contains(group)))
    }
}

/// A digest, so that an instance stays small.
fn fingerprint(rule: &Rule) -> Result<Arc<str>, String> {
    let text = serde_json::to_vec(rule).map_err(|error| error.to_string())?;
    let digest = Sha256::digest(&text);
    Ok(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

fn silence(feature: &FeatureSpec) -> Option<(Input, i64, bool)> {
    match (feature.function, feature.extent) {
        (Function::Missing, Some(crate::Extent::Duration(long))) => {
            Some((feature.input.clone(), nanos(long), false))
        }
        (Function::Age, _) => Some((feature.input.clone(), AGE_EVERY, true)),
        _ => None,
    }
}

fn compile_action(action: &Action) -> Result<Then, String> {
    Ok(match action {
        Action::Notify { target, message } if message.is_empty() => {
            Then::Notify { target: target.clone(), message: None }
        }
        Action::Notify { target, message } => {
            let template = Template::compile(message).map_err(|error| format!("notify.message: {error}"))?;
            Then::Notify { target: target.clone(), message: Some(template) }
        }
        Action::Command { device, command, payload } => {
            Then::Command { device: device.clone(), command: command.clone(), payload: payload.clone() }
        }
        Action::Desired { device, state } => {
            let state = state.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            Then::Desired { device: device.clone(), state }
        }
        Action::Derive { metric, value } => Then::Derive {
            metric: Metric::new(metric).map_err(|error| format!("derive.metric: {error}"))?,
            value: Condition::compile(value, Kind::Value)
                .map_err(|error| format!("derive.value: {error}"))?,
        },
    })
}
