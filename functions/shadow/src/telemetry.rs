//! The shadow `telemetry`: `{"<metric>": {"value": …, "at": <epoch ms>}, …}`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fieldline_model::{DeviceId, ThingName, Value as Measured};
use serde_json::{Map, Number, Value, json};

use crate::newest::Metrics;
use crate::revise::{Revision, id, write};
use crate::{Document, Error, Sample, Things, Written};

/// A value that stays the same is not written again before its reading is so much newer than what the
/// shadow says, in milliseconds.
pub const UNCHANGED_MS: i64 = 60_000;

/// The name of the shadow.
pub(crate) const NAME: &str = "telemetry";

/// Shows the newest readings of a device in its shadow, with one update or none.
///
/// # Errors
/// See [`Error`].
pub async fn telemetry(device: &DeviceId, newest: &Metrics, things: &dyn Things) -> Result<Written, Error> {
    let thing = ThingName::new(device.as_str()).expect("a device's id is a thing's name");
    let written = write(id(&thing, NAME), things, |document, room| revise(document, newest, room)).await?;
    if let Written::Updated { dropped: dropped @ 1.. } = written {
        tracing::warn!(%device, dropped, "a device has more metrics than its shadow holds; the oldest are left out");
    }
    Ok(written)
}

/// What a shadow shows of one metric, now and after the update.
#[derive(Debug)]
struct Shown {
    at_us: i64,
    /// The entry as it will be.
    entry: Value,
    /// What the update says of it; null for nothing.
    change: Value,
    stored: bool,
}

pub(crate) fn revise(document: &Document, newest: &Metrics, room: usize) -> Revision {
    let mut shown: BTreeMap<&str, Shown> = BTreeMap::new();
    for (metric, entry) in &document.reported {
        let at_us = at_us(entry).unwrap_or(i64::MIN);
        let shows = Shown { at_us, entry: entry.clone(), change: Value::Null, stored: true };
        shown.insert(metric, shows);
    }
    for (metric, sample) in newest {
        match shown.get_mut(metric.as_str()) {
            None => {
                let entry = entry(sample);
                let shows = Shown { at_us: sample.at_us, change: entry.clone(), entry, stored: false };
                shown.insert(metric.as_str(), shows);
            }
            Some(stored) => replace(stored, sample),
        }
    }
    let bytes = bytes(document, &shown);
    let dropped = cut(&mut shown, bytes.saturating_sub(room));
    let mut change: Map<String, Value> = dropped
        .iter()
        .filter(|(_, shown)| shown.stored)
        .map(|(metric, _)| ((*metric).to_owned(), Value::Null))
        .collect();
    let changed = shown.into_iter().filter(|(_, shown)| !shown.change.is_null());
    change.extend(changed.map(|(metric, shown)| (metric.to_owned(), shown.change)));
    Revision { change, dropped: dropped.len() }
}

/// Takes the sample if it is newer than what is stored, and worth telling.
fn replace(stored: &mut Shown, sample: &Sample) {
    let value = json_value(&sample.value);
    let found = stored.entry.get("value").unwrap_or(&Value::Null);
    let same = is_same(found, &value);
    if sample.at_us < stored.at_us
        || sample.at_us == stored.at_us && (same || !wins_tie(&value, found))
        || same && sample.at_us - stored.at_us.max(-i64::MAX / 2) < UNCHANGED_MS * 1_000
    {
        return;
    }
    stored.at_us = sample.at_us;
    stored.entry = entry(sample);
    stored.change = if same { json!({ "at": at_json(sample.at_us) }) } else { stored.entry.clone() };
}

/// As [`Sample::supersedes`]. What is no value of a reading loses.
fn wins_tie(value: &Value, found: &Value) -> bool {
    let sample = |value: &Value| Some(Sample { at_us: 0, value: measured(value)? });
    match (sample(value), sample(found)) {
        (Some(value), Some(found)) => value.supersedes(&found),
        _ => true,
    }
}

fn measured(value: &Value) -> Option<Measured> {
    match value {
        Value::Bool(value) => Some(Measured::Boolean(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(Measured::Integer(whole)),
            None => number.as_f64().map(Measured::Float),
        },
        Value::String(text) => Some(Measured::Text(text.clone())),
        _ => None,
    }
}

/// 21 and 21.0 are one number: a server may show either for the other.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if !(a.is_i64() && b.is_i64()) => a.as_f64() == b.as_f64(),
        _ => one == other,
    }
}

fn entry(sample: &Sample) -> Value {
    json!({ "value": json_value(&sample.value), "at": at_json(sample.at_us) })
}

fn json_value(value: &Measured) -> Value {
    match value {
        Measured::Boolean(value) => json!(value),
        Measured::Integer(value) => json!(value),
        Measured::Float(value) => json!(value),
        Measured::Text(value) => json!(value),
    }
}

/// Epoch milliseconds; with a fraction where the reading's time has one.
pub(crate) fn at_json(at_us: i64) -> Value {
    match at_us % 1_000 {
        0 => json!(at_us / 1_000),
        _ => Number::from_f64(at_us as f64 / 1_000.0).map_or(Value::Null, Value::Number),
    }
}

fn at_us(entry: &Value) -> Option<i64> {
    let at = entry.get("at")?;
    match at.as_i64() {
        Some(millis) => millis.checked_mul(1_000),
        None => at.as_f64().map(|millis| (millis * 1_000.0).round() as i64),
    }
}

/// The bytes of the whole state as JSON.
fn bytes(document: &Document, shown: &BTreeMap<&str, Shown>) -> usize {
    let frame = r#"{"reported":{}}"#.len();
    let desired = match document.desired.is_empty() {
        true => 0,
        false => r#""desired":,"#.len() + json!(document.desired).to_string().len(),
    };
    frame + desired + shown.iter().map(|(metric, shown)| entry_bytes(metric, shown)).sum::<usize>()
}

/// With its colon and a comma, which the last one lacks.
fn entry_bytes(metric: &str, shown: &Shown) -> usize {
    json!(metric).to_string().len() + shown.entry.to_string().len() + 2
}

/// Removes the oldest metrics, of those of one age the last by name, until there are `excess` bytes less.
fn cut<'a>(shown: &mut BTreeMap<&'a str, Shown>, mut excess: usize) -> Vec<(&'a str, Shown)> {
    // All but the last have a comma.
    excess = excess.saturating_sub(1);
    if excess == 0 {
        return Vec::new();
    }
    let mut ages: Vec<(i64, Reverse<&str>)> =
        shown.iter().map(|(metric, shown)| (shown.at_us, Reverse(*metric))).collect();
    ages.sort_unstable();
    let mut dropped = Vec::new();
    for (_, Reverse(metric)) in ages {
        if excess == 0 {
            break;
        }
        if let Some((metric, shown)) = shown.remove_entry(metric) {
            excess = excess.saturating_sub(entry_bytes(metric, &shown));
            dropped.push((metric, shown));
        }
    }
    dropped
}
