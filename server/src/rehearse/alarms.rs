//! When rules would have fired.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{bail, ensure};
use fieldline_chart::{Chart, Line, Span};
use fieldline_model::{DeviceId, Reading, Timestamp};
use fieldline_rules::{Alarm, Documents, Effect, EffectKind, Engine, Host, Input, Limits, Rule, Transition};
use serde_json::{Value, json};

use super::{documents, history, inputs, write_svg};
use crate::cli::RulesTestArgs;
use crate::commands::{on_terminal, print};
use crate::view::Table;

/// How many charts are drawn in the terminal.
const CHARTS_MAX: usize = 3;

/// What a rehearsal found.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Alarms as they were last seen, by id.
    pub(super) alarms: BTreeMap<String, Alarm>,
    /// How many messages would have gone out.
    notifications: usize,
    /// How many commands would have gone out.
    commands: usize,
    /// When the last reading was measured.
    pub(super) end: Option<Timestamp>,
    /// Readings that were calculated.
    pub(super) derived: Vec<Reading>,
    /// Rules that failed, with the reason.
    pub(super) disabled: Vec<(String, String)>,
}

/// `fieldline rules test`
pub(crate) async fn test(args: &RulesTestArgs) -> anyhow::Result<()> {
    let mut documents = documents(&args.files)?;
    if let Some(name) = &args.rule {
        documents.rules.retain(|rule| rule.name == *name);
        ensure!(!documents.rules.is_empty(), "there is no rule {name:?} in these files");
    }
    let needed = Needed::of(&documents)?;
    let readings = history::read(&args.history, &|device, metric| needed.wants(device, metric)).await?;
    let outcome = rehearse(&documents, &readings)?;
    if let Some(file) = &args.svg {
        match charts(&documents, &outcome, &readings).next() {
            Some(chart) => write_svg(&chart, file)?,
            None => bail!("no rule would have fired, so there is nothing to draw"),
        }
    }
    if args.json {
        return print(&format!("{}\n", in_json(&outcome, readings.len())));
    }
    print(&told(&documents, &outcome, &readings))
}

/// The series that rules look at.
pub(super) struct Needed(Vec<(Rule, Vec<Input>)>);

impl Needed {
    pub(super) fn of(documents: &Documents) -> anyhow::Result<Self> {
        let rules = documents.rules.iter();
        let with_inputs = rules.map(|rule| Ok((rule.clone(), inputs(rule)?)));
        Ok(Self(with_inputs.collect::<anyhow::Result<_>>()?))
    }

    pub(super) fn wants(&self, device: &str, metric: &str) -> bool {
        self.0.iter().any(|(rule, inputs)| {
            inputs.iter().filter(|input| input.metric.as_str() == metric).any(|input| match &input.device {
                Some(named) => named.as_str() == device,
                None => rule.devices.iter().any(|pattern| pattern.matches(device)),
            })
        })
    }
}

/// Runs the rules of both hosts over the readings as if each arrived at once.
pub(super) fn rehearse(documents: &Documents, readings: &[Reading]) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome { end: readings.last().map(|reading| reading.time), ..Outcome::default() };
    let start = readings.first().map_or(Timestamp::EPOCH, |reading| reading.time);
    let hosts: BTreeSet<bool> = documents.rules.iter().map(|rule| rule.runs == Host::Edge).collect();
    for edge in hosts {
        let mut engine = Engine::new(if edge { Host::Edge } else { Host::Server }, Limits::default());
        let mut effects = Vec::new();
        let loaded = engine.load(start, documents, &mut effects);
        if let Some((rule, reason)) = loaded.refused.first() {
            bail!("rule {rule}: {reason}");
        }
        for reading in readings {
            while let Some(due) = engine.wake_at().filter(|due| *due <= reading.time) {
                engine.tick(due, &mut effects);
            }
            engine.observe(reading.time, fieldline_model::Class::Live, reading.as_ref(), &mut effects);
            outcome.take(&mut effects);
        }
        outcome
            .disabled
            .extend(engine.rules().into_iter().filter_map(|state| Some((state.rule.name, state.disabled?))));
    }
    Ok(outcome)
}

impl Outcome {
    fn take(&mut self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect.kind {
                EffectKind::Alarm(event) => {
                    if matches!(event.transition, Transition::Raised | Transition::Returned) {
                        self.alarms.insert(event.alarm.id.clone(), event.alarm);
                    }
                }
                EffectKind::Notify(_) => self.notifications += 1,
                EffectKind::Command { .. } => self.commands += 1,
                EffectKind::Derived(reading) => self.derived.push(reading),
                EffectKind::Desired { .. } => {}
            }
        }
    }

    /// An alarm in a chart.
    pub(super) fn span(&self, alarm: &Alarm) -> Span {
        let to = alarm.returned_at.or(self.end).unwrap_or(alarm.raised_at);
        Span { from: alarm.raised_at, to, label: String::new() }
    }

    fn of(&self, rule: &str) -> impl Iterator<Item = &Alarm> {
        self.alarms.values().filter(move |alarm| alarm.rule == rule)
    }
}

fn in_json(outcome: &Outcome, readings: usize) -> Value {
    let alarms: Vec<Value> = outcome
        .alarms
        .values()
        .map(|alarm| {
            json!({
                "id": alarm.id, "rule": alarm.rule, "device": alarm.device, "severity": alarm.severity,
                "raised_at": alarm.raised_at.to_string(),
                "returned_at": alarm.returned_at.map(|at| at.to_string()),
                "mark": alarm.mark, "values": alarm.values,
            })
        })
        .collect();
    json!({
        "readings": readings, "alarms": alarms, "notifications": outcome.notifications,
        "commands": outcome.commands, "disabled": outcome.disabled,
    })
}

fn told(documents: &Documents, outcome: &Outcome, readings: &[Reading]) -> String {
    let mut text = String::new();
    for rule in &documents.rules {
        let alarms: Vec<&Alarm> = outcome.of(&rule.name).collect();
        if alarms.is_empty() {
            text.push_str(&format!("{}: would not have fired\n", rule.name));
            continue;
        }
        text.push_str(&format!("{}: would have fired {}\n", rule.name, times(alarms.len())));
        let mut table = Table::new(&["  device", "raised", ">lasted", "because"]);
        for alarm in alarms {
            table.row(vec![
                format!("  {}", alarm.device),
                alarm.raised_at.to_string(),
                lasted(alarm, outcome.end),
                alarm
                    .values
                    .iter()
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ]);
        }
        text.push_str(&table.render());
    }
    for chart in charts(documents, outcome, readings).take(CHARTS_MAX) {
        text.push('\n');
        text.push_str(&on_terminal(&chart));
    }
    for (rule, reason) in &outcome.disabled {
        text.push_str(&format!("{rule} would have been disabled: {reason}\n"));
    }
    text.push_str(&format!(
        "{} readings, {} alarms, {} notifications, {} commands\n",
        readings.len(),
        outcome.alarms.len(),
        outcome.notifications,
        outcome.commands
    ));
    text
}

pub(super) fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

pub(super) fn lasted(alarm: &Alarm, end: Option<Timestamp>) -> String {
    let until = alarm.returned_at.or(end).unwrap_or(alarm.raised_at);
    let seconds = until.millis().saturating_sub(alarm.raised_at.millis()).max(0) / 1000;
    let text = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs())).to_string();
    if alarm.returned_at.is_none() { format!("{text}, still active") } else { text }
}

/// A chart for each rule and device with an alarm.
fn charts<'a>(
    documents: &'a Documents,
    outcome: &'a Outcome,
    readings: &'a [Reading],
) -> impl Iterator<Item = Chart> + 'a {
    let pairs: BTreeSet<(&str, &DeviceId)> =
        outcome.alarms.values().map(|alarm| (alarm.rule.as_str(), &alarm.device)).collect();
    pairs.into_iter().filter_map(move |(name, device)| {
        let rule = documents.rules.iter().find(|rule| rule.name == name)?;
        let lines = inputs(rule).ok()?.into_iter().map(|input| line(&input, device, readings)).collect();
        let spans = outcome.of(name).filter(|alarm| alarm.device == *device);
        let spans = spans.map(|alarm| outcome.span(alarm)).collect();
        Some(Chart { title: format!("{name}, {device}"), lines, spans })
    })
}

pub(super) fn line(input: &Input, device: &DeviceId, readings: &[Reading]) -> Line {
    let device = input.device.as_ref().unwrap_or(device);
    let of_series =
        readings.iter().filter(|reading| reading.device == *device && reading.metric == input.metric);
    let points = of_series.filter_map(|reading| Some((reading.time, number(reading)?))).collect();
    Line { name: input.metric.to_string(), points }
}

fn number(reading: &Reading) -> Option<f64> {
    match reading.value {
        fieldline_model::Value::Boolean(value) => Some(f64::from(u8::from(value))),
        _ => reading.value.as_ref().as_number(),
    }
}
