use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// The namespace of all metrics in CloudWatch.
const NAMESPACE: &str = "Fieldline";

/// What a metric counts; the words are CloudWatch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Thousandths of a second.
    Milliseconds,
}

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name in CloudWatch.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How many.
    pub value: f64,
}

impl Metric {
    /// A number of things.
    pub fn count(name: &'static str, value: u64) -> Self {
        Self { name, unit: Unit::Count, value: value as f64 }
    }
}

/// Prints metrics of a function as one line in CloudWatch's embedded metric format. `facts` stand beside
/// them in the log and make no metrics of their own, so they may be as many as there are gateways.
pub fn emit(function: &'static str, metrics: &[Metric], facts: &[(&str, &str)]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    println!("{}", line(function, metrics, facts, now.as_millis()));
}

fn line(function: &str, metrics: &[Metric], facts: &[(&str, &str)], now_ms: u128) -> Value {
    let named: Vec<Value> = metrics
        .iter()
        .map(|metric| json!({ "Name": metric.name, "Unit": format!("{:?}", metric.unit) }))
        .collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": u64::try_from(now_ms).unwrap_or(u64::MAX),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE, "Dimensions": [["Function"]], "Metrics": named,
            }],
        }),
    );
    line.insert("Function".to_owned(), json!(function));
    for (name, fact) in facts {
        line.insert((*name).to_owned(), json!(fact));
    }
    for metric in metrics {
        line.insert(metric.name.to_owned(), json!(metric.value));
    }
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_embedded_metric_format() {
        let line = line("storage", &[Metric::count("Stored", 3)], &[("gateway", "gw-1")], 1_000);
        let expected = json!({
            "_aws": {
                "Timestamp": 1_000,
                "CloudWatchMetrics": [{
                    "Namespace": "Fieldline",
                    "Dimensions": [["Function"]],
                    "Metrics": [{ "Name": "Stored", "Unit": "Count" }],
                }],
            },
            "Function": "storage",
            "gateway": "gw-1",
            "Stored": 3.0,
        });
        assert_eq!(line, expected);
    }
}
