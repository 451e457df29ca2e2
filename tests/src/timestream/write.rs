//! `WriteRecords`: every rule that AWS documents, then the versions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Counts;
use super::refusal::Refusal;
use super::table::{Datum, Key, Stored, Table, Tables};

const RECORDS_MAX: usize = 100;
const RECORD_BYTES_MAX: usize = 2_048;
const MEASURES_MAX: usize = 256;
const DIMENSIONS_MAX: usize = 128;
const MEASURE_NAMES_MAX: usize = 8_192;
const HOUR: i64 = 3_600_000_000_000;
/// How far ahead of the clock a record may be.
const AHEAD: i64 = HOUR / 4;

/// A record of the input, put together with what is common.
struct Given {
    key: Key,
    version: i64,
    measures: BTreeMap<String, Datum>,
}

pub(super) fn records(
    tables: &mut Tables,
    counts: &mut Counts,
    input: &Value,
    now: i64,
) -> Result<Value, Refusal> {
    let value_chars_max = tables.value_chars_max;
    let table = tables.of_input(input)?;
    let records = input["Records"].as_array().map(Vec::as_slice).unwrap_or_default();
    counts.records += records.len() as u64;
    if records.is_empty() || records.len() > RECORDS_MAX {
        return Err(Refusal::validation(format!(
            "{} records; between 1 and {RECORDS_MAX} are allowed",
            records.len()
        )));
    }
    let empty = Map::new();
    let common = input["CommonAttributes"].as_object().unwrap_or(&empty);
    let whole: Vec<Map<String, Value>> =
        records.iter().map(|record| merged(common, record)).collect::<Result<_, _>>()?;
    for record in &whole {
        check_shape(record, value_chars_max)?;
    }
    let (mut memory, mut magnetic, mut rejected) = (0, 0, Vec::new());
    for (index, record) in whole.iter().enumerate() {
        match read(record).and_then(|given| store(table, given, now)) {
            Ok(true) => memory += 1,
            Ok(false) => magnetic += 1,
            Err(Rejection { reason, existing }) => {
                let mut entry = json!({ "RecordIndex": index, "Reason": reason });
                if let (Some(version), Some(entry)) = (existing, entry.as_object_mut()) {
                    entry.insert("ExistingVersion".to_owned(), json!(version));
                }
                rejected.push(entry);
            }
        }
    }
    counts.kibibytes_billed += billed(common, records);
    if !rejected.is_empty() {
        return Err(Refusal::rejected(rejected));
    }
    let total = memory + magnetic;
    Ok(json!({ "RecordsIngested": { "Total": total, "MemoryStore": memory, "MagneticStore": magnetic } }))
}

/// A record with the common attributes; its own come before them, dimensions add up.
fn merged(common: &Map<String, Value>, record: &Value) -> Result<Map<String, Value>, Refusal> {
    let mut whole = common.clone();
    let own = record.as_object().ok_or_else(|| Refusal::validation("a record is no object"))?;
    whole.extend(own.iter().map(|(field, value)| (field.clone(), value.clone())));
    let mut dimensions = list(common, "Dimensions").to_vec();
    let names: Vec<&Value> = dimensions.iter().map(|dimension| &dimension["Name"]).collect();
    if list(own, "Dimensions").iter().any(|dimension| names.contains(&&dimension["Name"])) {
        return Err(Refusal::validation("a dimension stands in the record and in the common attributes"));
    }
    dimensions.extend_from_slice(list(own, "Dimensions"));
    whole.insert("Dimensions".to_owned(), Value::Array(dimensions));
    Ok(whole)
}

fn list<'a>(record: &'a Map<String, Value>, field: &str) -> &'a [Value] {
    record.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(record: &'a Map<String, Value>, field: &str) -> &'a str {
    record.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// What the API's model says of a record; whoever breaks it loses the whole call.
fn check_shape(record: &Map<String, Value>, value_chars_max: usize) -> Result<(), Refusal> {
    let sized = |what: &str, value: &Value, max: usize| match value.as_str().map(|text| text.chars().count())
    {
        Some(length) if (1..=max).contains(&length) => Ok(()),
        found => {
            Err(Refusal::validation(format!("{what}: a length of 1 to {max} is allowed, found {found:?}")))
        }
    };
    sized("MeasureName", record.get("MeasureName").unwrap_or(&Value::Null), 256)?;
    sized("Time", record.get("Time").unwrap_or(&Value::Null), 256)?;
    if record.get("Version").is_some_and(|version| version.as_i64().is_none_or(|version| version < 1)) {
        return Err(Refusal::validation("Version must be 1 or greater"));
    }
    if text(record, "MeasureValueType") != "MULTI" {
        return Err(Refusal::validation("only records of the type MULTI are understood here"));
    }
    for dimension in list(record, "Dimensions") {
        sized("dimension's name", &dimension["Name"], 60)?;
        sized("dimension's value", &dimension["Value"], value_chars_max)?;
    }
    for measure in list(record, "MeasureValues") {
        sized("measure's name", &measure["Name"], 256)?;
        sized("measure's value", &measure["Value"], value_chars_max)?;
        if !["DOUBLE", "BIGINT", "VARCHAR", "BOOLEAN", "TIMESTAMP"]
            .map(Some)
            .contains(&measure["Type"].as_str())
        {
            return Err(Refusal::validation(format!("{} is no type of a measure", measure["Type"])));
        }
    }
    Ok(())
}

/// Why a record is not taken while the others of its call are.
struct Rejection {
    reason: String,
    existing: Option<i64>,
}

fn reject<T>(reason: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection { reason: reason.into(), existing: None })
}

fn read(record: &Map<String, Value>) -> Result<Given, Rejection> {
    let mut dimensions = BTreeMap::new();
    for dimension in list(record, "Dimensions") {
        let (name, value) = (dimension["Name"].as_str(), dimension["Value"].as_str());
        let (name, value) = (name.unwrap_or_default(), value.unwrap_or_default());
        check_name(name)?;
        if dimensions.insert(name.to_owned(), value.to_owned()).is_some() {
            return reject(format!("The dimension {name} stands there twice."));
        }
    }
    if dimensions.is_empty() {
        return reject("At least one dimension is required.");
    }
    let measures = list(record, "MeasureValues");
    if measures.is_empty() || measures.len() > MEASURES_MAX {
        return reject(format!("{} measures; between 1 and {MEASURES_MAX} are allowed.", measures.len()));
    }
    let mut values = BTreeMap::new();
    for measure in measures {
        let (name, value) = (measure["Name"].as_str().unwrap_or_default(), datum(measure)?);
        check_name(name)?;
        if dimensions.contains_key(name) || values.insert(name.to_owned(), value).is_some() {
            return reject(format!("The name {name} stands there twice."));
        }
    }
    if own_bytes(record) + dimension_bytes(record) > RECORD_BYTES_MAX {
        return reject("The record exceeds the maximum size of 2 KB.");
    }
    let Some(time) = time(record) else { return reject("The time is not valid.") };
    let key = Key { dimensions, measure_name: text(record, "MeasureName").to_owned(), time };
    let version = record.get("Version").and_then(Value::as_i64).unwrap_or(1);
    Ok(Given { key, version, measures: values })
}

fn check_name(name: &str) -> Result<(), Rejection> {
    let reserved = ["time", "measure_name", "measure_value"].contains(&name);
    let prefixed = ["ts_", "measure_name", "measure_value"].iter().any(|prefix| name.starts_with(prefix));
    if reserved || prefixed || name.contains(':') || name.chars().any(char::is_control) || name.len() > 256 {
        return reject(format!("The name {name:?} is not allowed."));
    }
    Ok(())
}

fn datum(measure: &Value) -> Result<Datum, Rejection> {
    let value = measure["Value"].as_str().unwrap_or_default();
    let datum = match measure["Type"].as_str().unwrap_or_default() {
        // Whether the service takes what is not finite is not documented: so nobody may rely on it.
        "DOUBLE" => value.parse().ok().filter(|number: &f64| number.is_finite()).map(Datum::Double),
        "BIGINT" => value.parse().ok().map(Datum::Bigint),
        "BOOLEAN" => value.to_ascii_lowercase().parse().ok().map(Datum::Boolean),
        "VARCHAR" => Some(Datum::Varchar(value.to_owned())),
        _ => value.parse().ok().map(Datum::Timestamp),
    };
    datum.map_or_else(|| reject(format!("The value {value:?} is not of its type.")), Ok)
}

fn time(record: &Map<String, Value>) -> Option<i64> {
    let unit = match text(record, "TimeUnit") {
        "NANOSECONDS" => 1,
        "MICROSECONDS" => 1_000,
        "MILLISECONDS" | "" => 1_000_000,
        "SECONDS" => 1_000_000_000,
        _ => return None,
    };
    text(record, "Time").parse::<i64>().ok()?.checked_mul(unit)
}

/// Stores a record, or not; true if it goes to the memory store.
fn store(table: &mut Table, given: Given, now: i64) -> Result<bool, Rejection> {
    let in_memory = check_time(table, given.key.time, now)?;
    if let Some(existing) = table.records.get(&given.key) {
        if given.version < existing.version {
            let (new, old) = (given.version, existing.version);
            let reason = format!(
                "The record version {new} is lower than the existing version {old}. A higher version is required to update the measure value."
            );
            return Err(Rejection { reason, existing: Some(old) });
        }
        if given.version == existing.version && given.measures != existing.measures {
            return reject(
                "A record already exists with the same time, dimensions, measure name, and record version. A higher record version must be specified in order to update the measure value.",
            );
        }
    }
    check_columns(table, &given)?;
    table.dimensions.extend(given.key.dimensions.keys().cloned());
    table.measure_names.insert(given.key.measure_name.clone());
    let columns = given.measures.iter().map(|(name, datum)| (name.clone(), datum.type_name()));
    table.columns.extend(columns);
    table.records.insert(given.key, Stored { version: given.version, measures: given.measures });
    Ok(in_memory)
}

fn check_time(table: &Table, time: i64, now: i64) -> Result<bool, Rejection> {
    let memory = now.saturating_sub(table.retention.memory_hours.saturating_mul(HOUR));
    let magnetic = now.saturating_sub(table.retention.magnetic_days.saturating_mul(24).saturating_mul(HOUR));
    let (earliest, store) = if table.retention.magnetic_writes {
        (memory.min(magnetic), "data ingestion window")
    } else {
        (memory, "memory store")
    };
    let end = now.saturating_add(AHEAD);
    if time < earliest || time >= end {
        return reject(format!(
            "The record timestamp is outside the time range [{earliest}, {end}) of the {store}."
        ));
    }
    Ok(time >= memory)
}

fn check_columns(table: &Table, given: &Given) -> Result<(), Rejection> {
    for (name, datum) in &given.measures {
        let held = table.columns.get(name);
        if held.is_some_and(|held| *held != datum.type_name()) || table.dimensions.contains(name) {
            return reject(format!("The column {name} has another type."));
        }
    }
    let fresh = given.measures.keys().filter(|name| !table.columns.contains_key(*name)).count();
    if table.columns.len() + fresh > table.measures_max {
        return reject(format!(
            "The table has {} measures, the limit is {}.",
            table.columns.len(),
            table.measures_max
        ));
    }
    let names =
        table.measure_names.len() + usize::from(!table.measure_names.contains(&given.key.measure_name));
    let dimensions = given.key.dimensions.keys().filter(|name| !table.dimensions.contains(*name)).count();
    if names > MEASURE_NAMES_MAX || table.dimensions.len() + dimensions > DIMENSIONS_MAX {
        return reject("The table has too many measure names or dimensions.");
    }
    Ok(())
}

fn dimension_bytes(record: &Map<String, Value>) -> usize {
    let bytes = |value: &Value| value.as_str().map_or(0, str::len);
    list(record, "Dimensions")
        .iter()
        .map(|dimension| bytes(&dimension["Name"]) + bytes(&dimension["Value"]))
        .sum()
}

/// What a record counts in the bill, dimensions apart; by AWS's page on metering.
fn own_bytes(record: &Map<String, Value>) -> usize {
    let value = |measure: &Value| match measure["Type"].as_str().unwrap_or_default() {
        "BOOLEAN" => 1,
        "VARCHAR" => measure["Value"].as_str().map_or(0, str::len),
        _ => 8,
    };
    let measures = list(record, "MeasureValues").iter();
    let measures: usize =
        measures.map(|measure| measure["Name"].as_str().map_or(0, str::len) + value(measure)).sum();
    let time = if record.contains_key("Time") { 8 } else { 0 };
    time + text(record, "MeasureName").len() + measures
}

fn billed(common: &Map<String, Value>, records: &[Value]) -> u64 {
    let own = records.iter().filter_map(Value::as_object);
    let bytes: usize = own.chain([common]).map(|record| own_bytes(record) + dimension_bytes(record)).sum();
    bytes.div_ceil(1_024) as u64
}
