//! What is wrong, or odd, about documents, before they are put in force.

mod actions;
mod cycle;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use fieldline_model::DeviceId;
use serde::Serialize;

use self::texts::Compiled;
use crate::condition::{Condition, ConditionError, Position, display};
use crate::nearest::hint;
use crate::spec::EXTENT_MAX;
use crate::{Action, Calendar, Documents, Extent, Host, Limits, Rule};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// The rule cannot be used.
    Error,
    /// It can be used; perhaps not as it is meant.
    Warning,
    /// What it costs.
    Note,
}

/// Something about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name, as it is written.
    pub rule: String,
    /// How much it matters.
    pub severity: FindingSeverity,
    /// Which key of the rule, such as `when` or `then[0].message`.
    pub key: String,
    /// Where in the text of that key.
    pub position: Option<Position>,
    /// What.
    pub text: String,
}

/// The longest name of a rule, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest `for`, `keep_firing_for`, `renotify` and `lateness`.
const DURATION_MAX: Duration = EXTENT_MAX;
/// Telling more often than this helps nobody.
const RENOTIFY_USEFUL: Duration = Duration::from_secs(60);

/// Checks documents by themselves and, where the metrics are known, against these. Findings stand in the order of the
/// rules; each rule that has no error has a note of what it costs.
pub fn check(documents: &Documents, known_metrics: Option<&dyn Fn(&str) -> bool>) -> Vec<Finding> {
    let compiled = texts::compile(&documents.rules);
    let hosts: BTreeMap<&str, Host> =
        documents.rules.iter().map(|rule| (rule.name.as_str(), rule.runs)).collect();
    let mut circles = cycle::of_dependencies(&documents.rules);
    circles.extend(cycle::of_derivations(&documents.rules, &compiled));
    let derived: HashSet<&str> = documents.rules.iter().flat_map(derived_by).collect();
    let is_known = |metric: &str| derived.contains(metric) || known_metrics.is_none_or(|known| known(metric));
    let mut seen = HashMap::new();
    let mut findings = Vec::new();
    for (index, (rule, compiled)) in documents.rules.iter().zip(&compiled).enumerate() {
        let mut report = Report { rule, findings: Vec::new() };
        check_name(&mut report, &mut seen, index);
        check_texts(&mut report, compiled, &is_known);
        check_durations(&mut report);
        check_schedule(&mut report);
        check_dependencies(&mut report, &hosts);
        actions::check(&mut report, compiled);
        if let Some((key, text)) = circles.remove(&index) {
            report.error(key, text);
        }
        if report.findings.iter().all(|finding| finding.severity != FindingSeverity::Error) {
            note_cost(&mut report, compiled);
        }
        findings.append(&mut report.findings);
    }
    findings
}

/// The findings of one rule.
struct Report<'a> {
    rule: &'a Rule,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, severity: FindingSeverity, key: &str, position: Option<Position>, text: String) {
        let (rule, key) = (self.rule.name.clone(), key.to_owned());
        self.findings.push(Finding { rule, severity, key, position, text });
    }

    fn error(&mut self, key: &str, text: impl Into<String>) {
        self.add(FindingSeverity::Error, key, None, text.into());
    }

    fn warning(&mut self, key: &str, text: impl Into<String>) {
        self.add(FindingSeverity::Warning, key, None, text.into());
    }

    fn refused(&mut self, key: &str, error: &ConditionError) {
        self.add(FindingSeverity::Error, key, Some(error.position), error.reason.clone());
    }
}

/// The metrics that a rule makes.
fn derived_by(rule: &Rule) -> impl Iterator<Item = &str> {
    rule.actions.iter().filter_map(|action| match action {
        Action::Derive { metric, .. } => Some(metric.as_str()),
        _ => None,
    })
}

fn check_name<'a>(report: &mut Report<'a>, seen: &mut HashMap<&'a str, usize>, index: usize) {
    let name = report.rule.name.as_str();
    let permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(permitted) {
        report.error("name", format!("a name is 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 : _ -"));
    }
    if let Some(first) = seen.insert(name, index) {
        report.error("name", format!("rule {} has this name too", first + 1));
    }
    let devices = &report.rule.devices;
    if devices.is_empty() {
        report.error("devices", "the rule is about no device; leave the key out for all");
    }
    // What remains of a pattern must be able to stand in an id.
    let stranger =
        devices.iter().find(|pattern| DeviceId::check(&pattern.as_str().replace('*', "x")).is_err());
    if let Some(pattern) = stranger {
        report.error("devices", format!("no device can have a name like {:?}", pattern.as_str()));
    }
}

fn check_texts(report: &mut Report<'_>, compiled: &Compiled, known: &dyn Fn(&str) -> bool) {
    match &compiled.when {
        Err(error) => report.refused("when", error),
        Ok(when) if when.inputs().is_empty() => {
            report.warning("when", "it names no metric, so it is never evaluated");
        }
        Ok(_) => {}
    }
    match &compiled.clear {
        Some(Err(error)) => report.refused("clear", error),
        Some(Ok(clear)) if clear.source() == report.rule.when => {
            report.error("clear", "it is the same as `when`: the alarm would be cleared when it is raised");
        }
        _ => {}
    }
    let mut told = HashSet::new();
    for (key, condition) in compiled.conditions() {
        for input in condition.inputs() {
            if !known(input.metric.as_str()) && told.insert(input.clone()) {
                let text = format!("no device has reported the metric {:?}", input.metric.as_str());
                report.warning(&key, text);
            }
        }
    }
}

fn check_durations(report: &mut Report<'_>) {
    let rule = report.rule;
    let durations = [
        ("for", rule.hold),
        ("keep_firing_for", rule.keep_firing_for),
        ("renotify", rule.renotify.unwrap_or_default()),
        ("lateness", rule.lateness),
    ];
    for (key, duration) in durations {
        if duration > DURATION_MAX {
            report.error(key, "at most 366 days");
        }
    }
    match rule.renotify {
        Some(Duration::ZERO) => report.error("renotify", "leave the key out to be told once"),
        Some(often) if often < RENOTIFY_USEFUL => {
            report.warning("renotify", "more often than once a minute nobody reads it");
        }
        _ => {}
    }
}

fn check_schedule(report: &mut Report<'_>) {
    if let Some(Err(error)) = report.rule.schedule.as_ref().map(Calendar::new) {
        report.error("schedule", error.to_string());
    }
}

fn check_dependencies(report: &mut Report<'_>, hosts: &BTreeMap<&str, Host>) {
    for other in &report.rule.unless_firing {
        match hosts.get(other.as_str()) {
            None => {
                let hint = hint(other, hosts.keys().copied());
                report.error("unless_firing", format!("there is no rule {other:?}{hint}"));
            }
            Some(host) if *host != report.rule.runs => {
                let text = format!("{other:?} runs elsewhere: whether it is firing is not known here");
                report.warning("unless_firing", text);
            }
            Some(_) => {}
        }
    }
}

fn note_cost(report: &mut Report<'_>, compiled: &Compiled) {
    let Ok(when) = &compiled.when else { return };
    let way = match (when.is_native(), when.nodes()) {
        (true, _) => "comparisons with constants".to_owned(),
        (false, nodes) => format!("an expression of {nodes} nodes"),
    };
    let mut windows: Vec<String> = Vec::new();
    for (_, condition) in compiled.conditions() {
        for text in windows_of(condition) {
            if !windows.contains(&text) {
                windows.push(text);
            }
        }
    }
    let windows = if windows.is_empty() { "no windows".to_owned() } else { windows.join("; ") };
    report.add(FindingSeverity::Note, "when", None, format!("{way}; {windows}"));
}

/// Each feature with a window, and how many samples it keeps for a device at the most.
fn windows_of(condition: &Condition) -> impl Iterator<Item = String> + '_ {
    condition.features().iter().filter_map(|spec| {
        let text = display::feature(spec);
        match spec.extent? {
            Extent::Count(count) => Some(format!("{text} keeps {count} samples a device")),
            Extent::Duration(time) => {
                let samples = Limits::default().window_samples_max;
                let time = humantime::format_duration(time);
                Some(format!("{text} keeps the samples of {time}, at most {samples} a device"))
            }
        }
    })
}
