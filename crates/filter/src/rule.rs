use std::time::Duration;

use fieldline_model::{Class, Pattern};
use serde::{Deserialize, Serialize};

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// A number that must not be negative, infinite or NaN.
    #[error("filter {rule}: {key} = {value} must be a finite number, zero or greater")]
    NotPositive {
        /// The rule, counted from 1.
        rule: usize,
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// `min` is above `max`.
    #[error("filter {rule}: range.min = {min} is above range.max = {max}")]
    EmptyRange {
        /// The rule, counted from 1.
        rule: usize,
        /// The lower end.
        min: f64,
        /// The upper end.
        max: f64,
    },
    /// A window of no length, or one that computes nothing.
    #[error(
        "filter {rule}: window.every must be longer than zero and window.aggregates must name at least one"
    )]
    EmptyWindow {
        /// The rule, counted from 1.
        rule: usize,
    },
}

/// What to do with the series that match; the first rule that matches a series is the one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Which devices, `*` for any run of characters.
    pub device: Pattern,
    /// Which metrics, `*` for any run of characters.
    pub metric: Pattern,
    /// Leave a value out unless it differs from the last one sent by more than this, in the
    /// metric's unit (OPC UA part 8, absolute deadband). Booleans and texts pass on any change.
    pub deadband: Option<f64>,
    /// Leave a value out unless it differs by more than this share of the last one sent, in percent.
    pub deadband_percent: Option<f64>,
    /// Send anyway when the last one sent is this old.
    #[serde(with = "humantime_serde")]
    pub silence_max: Option<Duration>,
    /// Leave values out that come sooner after the last one sent.
    #[serde(with = "humantime_serde")]
    pub period_min: Option<Duration>,
    /// Which values are possible, and what becomes of others.
    pub range: Option<Range>,
    /// Send aggregates of time windows instead of the values.
    pub window: Option<WindowRule>,
    /// How dear the readings are; `live` unless said otherwise.
    pub class: Option<Class>,
}

/// Which values are possible.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least possible value.
    #[serde(default = "lowest")]
    pub min: f64,
    /// The greatest possible value.
    #[serde(default = "highest")]
    pub max: f64,
    /// What becomes of a value outside.
    #[serde(default)]
    pub outside: Outside,
}

/// What becomes of a value outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// It is quarantined.
    #[default]
    Reject,
    /// It is moved to the nearer end and marked `uncertain`.
    Clamp,
}

/// Aggregates of time windows, aligned to the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRule {
    /// How long a window is.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// What to send of each window; each becomes the metric `<metric>.<aggregate>`.
    pub aggregates: Vec<Aggregate>,
}

/// One figure of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The arithmetic mean of the values.
    Mean,
    /// The sum of the values.
    Sum,
    /// How many values.
    Count,
    /// The value with the earliest time.
    First,
    /// The value with the latest time.
    Last,
}

impl Aggregate {
    /// The word in configurations and at the end of metric names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

/// All rules of a gateway, checked.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    rules: Vec<Rule>,
}

impl Filter {
    /// Checks the rules.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        for (index, rule) in rules.iter().enumerate() {
            check(index + 1, rule)?;
        }
        Ok(Self { rules })
    }

    /// The rule for a series: the first that matches. Costs a walk over the rules; a caller keeps
    /// the answer with the series.
    pub fn rule(&self, device: &str, metric: &str) -> Option<&Rule> {
        self.index(device, metric).and_then(|index| self.rules.get(index))
    }

    /// Like [`Filter::rule`], as a number to keep; see [`Filter::at`].
    pub fn index(&self, device: &str, metric: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.device.matches(device) && rule.metric.matches(metric))
    }

    /// The rule with a number from [`Filter::index`].
    pub fn at(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index)
    }
}

fn check(number: usize, rule: &Rule) -> Result<(), RuleError> {
    for (key, value) in [("deadband", rule.deadband), ("deadband_percent", rule.deadband_percent)] {
        if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
            return Err(RuleError::NotPositive { rule: number, key, value });
        }
    }
    if let Some(Range { min, max, .. }) = rule.range
        && (min.is_nan() || max.is_nan() || min > max)
    {
        return Err(RuleError::EmptyRange { rule: number, min, max });
    }
    match &rule.window {
        Some(window) if window.every.is_zero() || window.aggregates.is_empty() => {
            Err(RuleError::EmptyWindow { rule: number })
        }
        _ => Ok(()),
    }
}

fn lowest() -> f64 {
    f64::NEG_INFINITY
}

fn highest() -> f64 {
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        filter: Vec<Rule>,
    }

    #[test]
    fn rules_read_from_toml_and_the_first_match_counts() {
        let text = r#"
            [[filter]]
            metric = "temperature"
            deadband = 0.2
            silence_max = "10m"
            range = { min = -40, max = 125 }

            [[filter]]
            device = "press-*"
            window = { every = "1m", aggregates = ["mean", "max"] }
            class = "history"
        "#;
        let filter = Filter::new(toml::from_str::<File>(text).unwrap().filter).unwrap();
        assert_eq!(
            filter.rule("press-4", "temperature").unwrap().silence_max,
            Some(Duration::from_secs(600))
        );
        assert_eq!(filter.rule("press-4", "speed").unwrap().class, Some(Class::History));
        assert_eq!(filter.rule("oven", "speed"), None);
    }

    #[test]
    fn a_mistyped_key_is_an_error_that_names_it() {
        let error = toml::from_str::<File>("[[filter]]\ndeadbnd = 1").err().unwrap().to_string();
        assert!(error.contains("deadbnd") && error.contains("deadband"), "{error}");
    }

    #[test]
    fn impossible_rules_are_refused_with_their_number() {
        let range = |min, max| Some(Range { min, max, outside: Outside::Reject });
        let window = |every, aggregates| Some(WindowRule { every: Duration::from_secs(every), aggregates });
        let bad = [
            Rule { deadband: Some(-1.0), ..Rule::default() },
            Rule { deadband_percent: Some(f64::NAN), ..Rule::default() },
            Rule { range: range(2.0, 1.0), ..Rule::default() },
            Rule { window: window(0, vec![Aggregate::Mean]), ..Rule::default() },
            Rule { window: window(1, vec![]), ..Rule::default() },
        ];
        for rule in bad {
            let error = Filter::new(vec![Rule::default(), rule]).unwrap_err();
            assert!(error.to_string().starts_with("filter 2:"), "{error}");
        }
    }
}
