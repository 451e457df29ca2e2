//! What filters would have sent, and how far off the sent values would have been.

use std::collections::BTreeMap;

use fieldline_filter::{Filter, Rule, SeriesFilter, Verdict};
use fieldline_model::{Metric, Reading, Timestamp};
use serde::{Deserialize, Serialize};

use super::history;
use crate::cli::FiltersTestArgs;
use crate::commands::print;
use crate::view::Table;

/// The part of a gateway's configuration that matters here.
#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    filter: Vec<Rule>,
}

/// What became of a series.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
struct Outcome {
    /// Readings that came in.
    readings: u64,
    /// Readings and aggregates that went out.
    sent: u64,
    /// Readings with an impossible value.
    out_of_range: u64,
    /// The furthest that a value was from the last one sent before it; none for aggregates and texts.
    error_max: Option<f64>,
}

/// One series while it is gone through.
#[derive(Debug, Default)]
struct Series {
    state: SeriesFilter,
    last_sent: Option<f64>,
    outcome: Outcome,
}

impl Series {
    fn observe(&mut self, rule: Option<&Rule>, reading: &Reading) {
        self.outcome.readings += 1;
        match self.state.observe(rule, reading.as_ref()) {
            Verdict::Pass((value, _)) => {
                self.outcome.sent += 1;
                self.last_sent = value.as_number();
                self.error(0.0);
            }
            Verdict::Filtered(_) => {
                let windowed = rule.is_some_and(|rule| rule.window.is_some());
                let value = reading.value.as_ref().as_number();
                if let (Some(sent), Some(value), false) = (self.last_sent, value, windowed) {
                    self.error((value - sent).abs());
                }
            }
            Verdict::WindowClosed(figures) => self.outcome.sent += figures.len() as u64,
            Verdict::OutOfRange => self.outcome.out_of_range += 1,
        }
    }

    /// What became of it, when the window that is still open is over.
    fn end(mut self, rule: Option<&Rule>) -> Outcome {
        self.outcome.sent += self.state.close_window_before(rule, Timestamp::MAX).len() as u64;
        self.outcome
    }

    fn error(&mut self, error: f64) {
        if self.last_sent.is_some() {
            self.outcome.error_max = Some(self.outcome.error_max.unwrap_or(0.0).max(error));
        }
    }
}

pub(super) async fn test(args: &FiltersTestArgs) -> anyhow::Result<()> {
    let configuration: Configuration = edge_agent::settings::read(&args.file)?;
    anyhow::ensure!(!configuration.filter.is_empty(), "{} has no [[filter]]", args.file.display());
    let filter = Filter::new(configuration.filter)?;
    let readings = history::read(&args.history, &|_, _| true).await?;
    let outcomes = go_through(&filter, &readings);
    if args.json {
        return print(&format!("{}\n", serde_json::to_string(&json(&outcomes))?));
    }
    print(&told(&outcomes))
}

type Outcomes = BTreeMap<(String, Metric), Outcome>;

fn go_through(filter: &Filter, readings: &[Reading]) -> Outcomes {
    let mut series: BTreeMap<(String, Metric), Series> = BTreeMap::new();
    for reading in readings {
        let key = (reading.device.as_str().to_owned(), reading.metric.clone());
        let rule = filter.rule(reading.device.as_str(), reading.metric.as_str());
        series.entry(key).or_default().observe(rule, reading);
    }
    let end = |((device, metric), series): ((String, Metric), Series)| {
        let rule = filter.rule(&device, metric.as_str());
        ((device, metric), series.end(rule))
    };
    series.into_iter().map(end).collect()
}

fn json(outcomes: &Outcomes) -> serde_json::Value {
    let series: Vec<serde_json::Value> = outcomes
        .iter()
        .map(|((device, metric), outcome)| {
            let mut line = serde_json::json!({ "device": device, "metric": metric });
            if let (Some(line), Ok(serde_json::Value::Object(outcome))) =
                (line.as_object_mut(), serde_json::to_value(outcome))
            {
                line.extend(outcome);
            }
            line
        })
        .collect();
    let total = |of: fn(&Outcome) -> u64| outcomes.values().map(of).sum::<u64>();
    serde_json::json!({
        "readings": total(|outcome| outcome.readings),
        "sent": total(|outcome| outcome.sent),
        "series": series,
    })
}

fn told(outcomes: &Outcomes) -> String {
    let mut table = Table::new(&["device", "metric", ">readings", ">sent", ">share", ">off by at most"]);
    let (mut readings, mut sent) = (0, 0);
    for ((device, metric), outcome) in outcomes {
        readings += outcome.readings;
        sent += outcome.sent;
        table.row(vec![
            device.clone(),
            metric.as_str().to_owned(),
            outcome.readings.to_string(),
            outcome.sent.to_string(),
            share(outcome.sent, outcome.readings),
            outcome.error_max.map(short).unwrap_or_default(),
        ]);
    }
    format!("{}would have sent {} of {readings} readings\n", table.render(), share(sent, readings))
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Four digits that count.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use fieldline_model::{DeviceId, Quality, Timestamp, Value};

    use super::*;

    fn readings(values: &[f64]) -> Vec<Reading> {
        let (device, metric) = (DeviceId::new("d").unwrap(), Metric::new("t").unwrap());
        let reading = |(second, value): (usize, &f64)| Reading {
            device: device.clone(),
            metric: metric.clone(),
            time: Timestamp::from_nanos(second as i64 * 1_000_000_000),
            value: Value::Float(*value),
            quality: Quality::Good,
        };
        values.iter().enumerate().map(reading).collect()
    }

    #[test]
    fn a_deadband_tells_its_share_and_its_error() {
        let filter = Filter::new(vec![Rule { deadband: Some(0.5), ..Rule::default() }]).unwrap();
        let outcomes = go_through(&filter, &readings(&[20.0, 20.2, 20.4, 20.6, 20.5, 22.0]));
        let outcome = outcomes.values().next().unwrap();
        assert_eq!((outcome.readings, outcome.sent), (6, 3));
        assert!((outcome.error_max.unwrap() - 0.4).abs() < 1e-9, "{outcome:?}");
        let text = told(&outcomes);
        assert!(text.ends_with("would have sent 50.0 % of 6 readings\n") && text.contains("0.4"), "{text}");
    }

    #[test]
    fn windows_and_impossible_values_are_told_apart() {
        let rules: Configuration = toml::from_str(
            "[[filter]]\nwindow = { every = \"3s\", aggregates = [\"mean\", \"max\"] }\nrange = { max = 50.0 }\n",
        )
        .unwrap();
        let filter = Filter::new(rules.filter).unwrap();
        let outcomes = go_through(&filter, &readings(&[1.0, 2.0, 3.0, 4.0, 99.0, 6.0, 7.0]));
        let outcome = outcomes.values().next().unwrap();
        assert_eq!((outcome.sent, outcome.out_of_range, outcome.error_max), (6, 1, None));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.2, "0.2"), (0.0, "0"), (123_456.0, "123456"), (0.012_345, "0.01235"), (1e-20, "0")]
        {
            assert_eq!(short(value), text);
        }
    }
}
