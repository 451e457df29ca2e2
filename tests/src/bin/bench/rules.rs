//! Rules: readings through the engine, beside a naive evaluation; what an instance takes; what a window function
//! and a detector take for a point.

mod edge;
mod functions;
mod instances;
mod naive;
mod peer;
mod trace;

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use fieldline_model::{Class, Timestamp};
use fieldline_rules::{Documents, Effect, Engine, Host, Limits};
use serde_json::{Value, json};

use crate::figure::Figure;
use trace::Trace;

/// A reading through 100 threshold rules of which it meets one: a million a second.
const THRESHOLD_NANOS: f64 = 1_000.0;
/// The same with windows: 200,000 a second.
const WINDOW_NANOS: f64 = 5_000.0;
/// From a reading to the action of a gateway.
const EDGE_MS: f64 = 50.0;
/// An instance without windows.
const INSTANCE_BYTES: f64 = 1_024.0;

/// Everything.
pub(crate) fn rules(runs: u32) -> Result<Vec<Figure>> {
    // First, while nothing that was let go of is there to be used again.
    let values = repeat(runs, instances::bytes)?;
    let mut figures =
        vec![Figure::new("rules, an instance without windows", "B", Some(INSTANCE_BYTES), values)];
    for (rules, target) in [(1, None), (100, Some(THRESHOLD_NANOS)), (10_000, None)] {
        let values = repeat(runs, || engine_nanos(rules, |metric| format!("{metric} > 1000.0")))?;
        figures.push(Figure::new(
            &format!("rules, a reading through {rules} thresholds"),
            "ns",
            target,
            values,
        ));
    }
    for (rules, target) in [(1, None), (100, Some(WINDOW_NANOS)), (10_000, None)] {
        let values = repeat(runs, || {
            engine_nanos(rules, |metric| {
                format!("avg({metric}, '1m') > 1000.0 && max({metric}, '1m') > 1000.0")
            })
        })?;
        figures.push(Figure::new(
            &format!("rules, a reading through {rules} with two windows"),
            "ns",
            target,
            values,
        ));
    }
    for (beside, load) in [("", 0.0), (", beside 2,000 messages/s", 2_000.0)] {
        let values = repeat(runs, || edge::p99_ms(load))?;
        let name = format!("rules, from a reading to a command on the gateway{beside}, p99");
        figures.push(Figure::new(&name, "ms", Some(EDGE_MS), values));
    }
    for rules in [1, 100] {
        let values = repeat(runs, || naive::nanos(rules))?;
        figures.push(Figure::new(&format!("naive CEL for each message, {rules} rules"), "ns", None, values));
    }
    for rules in [1, 100] {
        let values =
            (0..runs).filter_map(|_| peer::nanos(rules).transpose()).collect::<Result<Vec<f64>>>()?;
        if !values.is_empty() {
            figures.push(Figure::new(&format!("json-rules-engine, {rules} rules"), "ns", None, values));
        }
    }
    for (name, expression) in functions::ALL {
        let values = repeat(runs, || functions::nanos(expression))?;
        figures.push(Figure::new(&format!("rules, a point through {name}"), "ns", None, values));
    }
    Ok(figures)
}

fn repeat(runs: u32, mut measure: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    (0..runs).map(|_| measure()).collect()
}

/// Rules about one metric each, in force.
fn engine(conditions: impl Iterator<Item = String>) -> Result<Engine> {
    let rules: Vec<Value> = conditions
        .enumerate()
        .map(|(n, when)| json!({ "name": format!("rule-{n}"), "when": when, "severity": "warning" }))
        .collect();
    let documents: Documents = serde_json::from_value(json!({ "rules": rules }))?;
    let mut engine = Engine::new(Host::Server, Limits::default());
    let loaded = engine.load(Timestamp::EPOCH, &documents, &mut Vec::new());
    ensure!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    Ok(engine)
}

/// Nanoseconds for a reading that meets one of so many rules.
fn engine_nanos(rules: usize, condition: impl Fn(&str) -> String) -> Result<f64> {
    let trace = Trace::new(rules);
    let mut engine = engine(trace.metrics.iter().map(|metric| condition(metric)))?;
    let mut effects: Vec<Effect> = Vec::new();
    let mut observe = |from: usize, count: usize| {
        for reading in trace.readings(from, count) {
            engine.observe(reading.time, Class::Live, reading, &mut effects);
        }
        // What a host does after each block.
        black_box(engine.take_changes());
    };
    // Every series once, so that what is measured is the ordinary course.
    let (warm, measured) = (trace.series().max(1_000), 400_000);
    observe(0, warm);
    let start = Instant::now();
    for block in 0..measured / 1_000 {
        observe(warm + block * 1_000, 1_000);
    }
    let nanos = start.elapsed().as_nanos() as f64 / measured as f64;
    ensure!(effects.is_empty(), "no rule fires in this trace");
    let evaluated: u64 = engine.rules().iter().map(|rule| rule.evaluations).sum();
    ensure!(evaluated >= measured as u64, "each reading meets a rule: {evaluated} evaluations");
    Ok(nanos)
}
