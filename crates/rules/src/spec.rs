//! Which feature of a metric a condition asks for: the words that conditions, features and engine share.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use fieldline_model::{DeviceId, Metric};
use serde::{Deserialize, Serialize};

/// The shortest window.
pub const EXTENT_MIN: Duration = Duration::from_secs(1);
/// The longest window: 366 days.
pub const EXTENT_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The fewest samples of a window that counts.
pub const COUNT_MIN: u32 = 2;
/// The most samples of a window that counts.
pub const COUNT_MAX: u32 = 100_000;

/// A metric of the device that the rule is about, or of one that is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// Whose; none: the device of the rule's instance.
    pub device: Option<DeviceId>,
    /// Which.
    pub metric: Metric,
}

/// How much of the past a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Extent {
    /// The samples of this time up to now: [`EXTENT_MIN`] to [`EXTENT_MAX`].
    Duration(Duration),
    /// This many samples: [`COUNT_MIN`] to [`COUNT_MAX`].
    Count(u32),
}

/// What is calculated from the samples of a metric; `docs/formats/rules.md` has the definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Arithmetic mean of a window.
    Avg,
    /// Smallest of a window.
    Min,
    /// Largest of a window.
    Max,
    /// Sum of a window.
    Sum,
    /// Number of samples of a window.
    Count,
    /// Increase per second of a counter over a window; a fall is a reset to zero.
    Rate,
    /// Last minus first of a window.
    Delta,
    /// Sample standard deviation of a window.
    Stddev,
    /// Median of a window.
    P50,
    /// 95th percentile of a window.
    P95,
    /// 99th percentile of a window.
    P99,
    /// Seconds since the last sample.
    Age,
    /// Whether there was no sample for the extent.
    Missing,
    /// Whether the last sample differs from the one before.
    Changed,
    /// Distance from the median in median absolute deviations.
    RobustZ,
    /// Exponentially weighted moving average; its parameter is the weight of the newest sample.
    Ewma,
    /// Score of a drift by cumulated sums, 0 to 1.
    Cusum,
    /// Score against the usual hour of day and week, 0 to 1.
    Seasonal,
    /// Score of a value that does not move, 0 to 1.
    Stuck,
    /// Score of a sudden jump, 0 to 1.
    Spike,
    /// Score of the strong detector, 0 to 1.
    Anomaly,
    /// Slope per hour.
    Trend,
    /// Hours until the trend reaches the parameter.
    HoursTo,
}

impl Function {
    /// All of them, as documented.
    pub const ALL: [Self; 23] = [
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Count,
        Self::Rate,
        Self::Delta,
        Self::Stddev,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::Age,
        Self::Missing,
        Self::Changed,
        Self::RobustZ,
        Self::Ewma,
        Self::Cusum,
        Self::Seasonal,
        Self::Stuck,
        Self::Spike,
        Self::Anomaly,
        Self::Trend,
        Self::HoursTo,
    ];

    /// Its name in a condition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Delta => "delta",
            Self::Stddev => "stddev",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Age => "age",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::RobustZ => "robust_z",
            Self::Ewma => "ewma",
            Self::Cusum => "cusum",
            Self::Seasonal => "seasonal",
            Self::Stuck => "stuck",
            Self::Spike => "spike",
            Self::Anomaly => "anomaly",
            Self::Trend => "trend",
            Self::HoursTo => "hours_to",
        }
    }

    /// The function of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// Whether its value is 0 for false and 1 for true.
    pub fn is_truth(self) -> bool {
        matches!(self, Self::Missing | Self::Changed)
    }

    /// What stands between its brackets, in order.
    pub fn arguments(self) -> &'static [Argument] {
        use Argument::{Duration, Metric, Number, Weight, Window};
        match self {
            Self::Age | Self::Changed | Self::Cusum | Self::Seasonal | Self::Spike | Self::Anomaly => {
                &[Metric]
            }
            Self::Missing | Self::Stuck | Self::Trend => &[Metric, Duration],
            Self::Ewma => &[Metric, Weight],
            Self::HoursTo => &[Metric, Number, Duration],
            _ => &[Metric, Window],
        }
    }

    /// How it is called, for a message.
    pub fn usage(self) -> String {
        let arguments: Vec<&str> = self
            .arguments()
            .iter()
            .map(|argument| match argument {
                Argument::Metric => "metric",
                Argument::Window => "\"5m\" or 20",
                Argument::Duration => "\"10m\"",
                Argument::Weight => "0.1",
                Argument::Number => "80.0",
            })
            .collect();
        format!("{}({})", self.name(), arguments.join(", "))
    }
}

/// What an argument of a [`Function`] is; but for the metric they are constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// A metric.
    Metric,
    /// A duration or a number of samples: an [`Extent`].
    Window,
    /// A duration: [`Extent::Duration`].
    Duration,
    /// More than 0 and at most 1.
    Weight,
    /// A finite number.
    Number,
}

/// A feature of a metric. Equal specifications have equal values, so rules share them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeatureSpec {
    /// What is calculated.
    pub function: Function,
    /// Of what.
    pub input: Input,
    /// Over how much of the past, where the function has a window.
    pub extent: Option<Extent>,
    /// Its numbers, all finite: the weight of `ewma`, the threshold of `hours_to`.
    pub parameters: Vec<f64>,
}

/// Samples that the functions of one condition may read through in an evaluation: those that look at each sample of
/// their window every time (`robust_z`, `stuck`, `trend`, `hours_to`).
pub(crate) const READ_MAX: usize = 100_000;
/// Bytes that the functions of one condition may hold for windows that count, beside the samples.
const HELD_BYTES_MAX: usize = 12 << 20;

/// Whether the functions of a condition stay within what an evaluation may take, as far as that is known before:
/// windows of a duration are bounded when they are read.
pub(crate) fn check_cost(features: &[FeatureSpec]) -> Result<(), String> {
    let sum = |of: fn(&FeatureSpec) -> usize| features.iter().map(of).fold(0, usize::saturating_add);
    let (read, held) = (sum(FeatureSpec::reads), sum(FeatureSpec::holds));
    if read > READ_MAX {
        return Err(format!(
            "the functions of this condition read {read} samples, the limit is {READ_MAX}; use shorter windows"
        ));
    }
    match held > HELD_BYTES_MAX {
        true => Err(format!(
            "the functions of this condition hold {held} bytes, the limit is {HELD_BYTES_MAX}; use shorter windows"
        )),
        false => Ok(()),
    }
}

impl FeatureSpec {
    fn count(&self) -> usize {
        match self.extent {
            Some(Extent::Count(count)) => usize::try_from(count).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    /// Samples that each evaluation reads through.
    fn reads(&self) -> usize {
        use Function::{HoursTo, RobustZ, Stuck, Trend};
        if matches!(self.function, RobustZ | Stuck | Trend | HoursTo) { self.count() } else { 0 }
    }

    /// Bytes that are held for its window beside the samples.
    fn holds(&self) -> usize {
        match self.function {
            Function::P50 | Function::P95 | Function::P99 => self.count().saturating_mul(8),
            Function::Min | Function::Max => self.count().saturating_mul(16),
            _ => 0,
        }
    }

    fn bits(&self) -> impl Iterator<Item = u64> + '_ {
        self.parameters.iter().map(|parameter| parameter.to_bits())
    }
}

impl PartialEq for FeatureSpec {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
            && self.input == other.input
            && self.extent == other.extent
            && self.bits().eq(other.bits())
    }
}

impl Eq for FeatureSpec {}

impl Hash for FeatureSpec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.function, &self.input, self.extent, self.parameters.len()).hash(state);
        self.bits().for_each(|bits| bits.hash(state));
    }
}
