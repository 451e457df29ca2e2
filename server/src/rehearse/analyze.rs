//! One function of one device over its history.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use fieldline_chart::{Chart, Line};
use fieldline_model::{DeviceId, Reading};
use fieldline_rules::{Action, Documents, Input};
use serde_json::{Value, json};

use super::alarms::{Needed, Outcome, lasted, line, rehearse, times};
use super::{history, inputs, write_svg};
use crate::cli::AnalyzeArgs;
use crate::commands::{on_terminal, print};
use crate::view::Table;

/// The name of the rule that does it, and of the metric that it makes.
const NAME: &str = "analysis";

/// `fieldline analyze`
///
/// # Errors
/// The expression cannot be used, there are no readings, or the server cannot be asked.
pub async fn analyze(args: &AnalyzeArgs) -> anyhow::Result<()> {
    let documents = rule(args)?;
    let needed = Needed::of(&documents)?;
    let readings = history::read(&args.history, &|device, metric| needed.wants(device, metric)).await?;
    let devices: BTreeSet<&DeviceId> = readings.iter().map(|reading| &reading.device).collect();
    ensure!(devices.len() == 1, "these readings are of {} devices: name one with --device", devices.len());
    let outcome = rehearse(&documents, &readings)?;
    if let Some((_, reason)) = outcome.disabled.first() {
        ensure!(!outcome.derived.is_empty(), "{}: {reason}", args.expression);
    }
    let chart = chart(args, &documents, &outcome, &readings)?;
    if let Some(file) = &args.svg {
        write_svg(&chart, file)?;
    }
    if args.json {
        return print(&format!("{}\n", in_json(&outcome)));
    }
    print(&(on_terminal(&chart) + &told(args, &outcome)))
}

/// A rule that calculates the expression at each reading and, with `--above`, is active while it is above that.
fn rule(args: &AnalyzeArgs) -> anyhow::Result<Documents> {
    let probe = document(&args.expression, "false")?;
    let needed = probe.rules.first().map(inputs).context("a rule")??;
    let first = needed.first().with_context(|| format!("{} names no metric", args.expression))?;
    let when = match args.above {
        Some(above) => format!("({}) > {above:?}", args.expression),
        None => format!("changed({}) && false", name(first)),
    };
    document(&args.expression, &when)
}

fn name(input: &Input) -> String {
    match &input.device {
        None => format!("metric({})", Value::from(input.metric.as_str())),
        Some(device) => {
            format!("value({}, {})", Value::from(device.as_str()), Value::from(input.metric.as_str()))
        }
    }
}

fn document(expression: &str, when: &str) -> anyhow::Result<Documents> {
    let mut documents: Documents =
        serde_json::from_value(json!({ "rules": [{ "name": NAME, "when": when }] })).context("a rule")?;
    for rule in &mut documents.rules {
        rule.actions = vec![Action::Derive { metric: NAME.to_owned(), value: expression.to_owned() }];
    }
    Ok(documents)
}

/// What came in above, the result below it when they do not fit on one scale: one chart, the result's own.
fn chart(
    args: &AnalyzeArgs,
    documents: &Documents,
    outcome: &Outcome,
    readings: &[Reading],
) -> anyhow::Result<Chart> {
    let points = outcome
        .derived
        .iter()
        .filter_map(|reading| Some((reading.time, reading.value.as_ref().as_number()?)));
    let result = Line { name: args.expression.clone(), points: points.collect() };
    let mut lines = vec![result];
    if let (Some(rule), Some(reading)) = (documents.rules.first(), readings.first())
        && args.svg.is_some()
    {
        lines.extend(inputs(rule)?.iter().map(|input| line(input, &reading.device, readings)));
    }
    let spans = outcome.alarms.values().map(|alarm| outcome.span(alarm)).collect();
    Ok(Chart { title: args.expression.clone(), lines, spans })
}

fn in_json(outcome: &Outcome) -> Value {
    let points: Vec<Value> =
        outcome.derived.iter().map(|reading| json!([reading.time.millis(), reading.value])).collect();
    let above: Vec<Value> = outcome
        .alarms
        .values()
        .map(|alarm| {
            json!({
                "from": alarm.raised_at.to_string(), "to": alarm.returned_at.map(|at| at.to_string()),
                "values": alarm.values,
            })
        })
        .collect();
    json!({ "points": points, "above": above })
}

fn told(args: &AnalyzeArgs, outcome: &Outcome) -> String {
    let Some(above) = args.above else { return String::new() };
    let mut table = Table::new(&["above since", ">lasted", "because"]);
    for alarm in outcome.alarms.values() {
        let because = alarm.values.iter().map(|(name, value)| format!("{name} = {value}"));
        table.row(vec![
            alarm.raised_at.to_string(),
            lasted(alarm, outcome.end),
            because.collect::<Vec<_>>().join(", "),
        ]);
    }
    format!("{}{} was above {above} {}\n", table.render(), args.expression, times(outcome.alarms.len()))
}
