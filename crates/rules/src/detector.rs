//! Detectors: how unlike its past a series is, as a score from 0 (as usual) to 1.
//!
//! Most are functions of the samples of a window, as the window functions are: they hold nothing, so a restart and
//! a late sample are no cases of their own. [`Seasonal`] and [`Anomaly`] keep what they have learned: [`Learned`].
//!
//! No detector calls `exp`, `ln` or a power that is none of whole numbers: their last digits differ from one
//! platform to another.

mod anomaly;
mod drift;
mod robust;
mod seasonal;
#[cfg(test)]
mod tests;
mod trend;

use anomaly::Anomaly;
pub(crate) use drift::{SAMPLES as DRIFT_SAMPLES, cusum, ewma};
pub(crate) use robust::{robust_z, spike, stuck};
use seasonal::Seasonal;
pub(crate) use trend::Trend;

/// A detector that learns from each sample that is newer than all before.
#[derive(Debug, Clone)]
pub(crate) enum Learned {
    /// What is usual at this hour.
    Seasonal(Box<Seasonal>),
    /// What is unlike anything before.
    Anomaly(Box<Anomaly>),
}

impl Learned {
    pub(crate) fn seasonal() -> Self {
        Self::Seasonal(Box::default())
    }

    pub(crate) fn anomaly() -> Self {
        Self::Anomaly(Box::default())
    }

    pub(crate) fn observe(&mut self, time: i64, value: f64) {
        match self {
            Self::Seasonal(seasonal) => seasonal.observe(time, value),
            Self::Anomaly(anomaly) => anomaly.observe(value),
        }
    }

    pub(crate) fn score(&self) -> Option<f64> {
        match self {
            Self::Seasonal(seasonal) => seasonal.score(),
            Self::Anomaly(anomaly) => anomaly.score(),
        }
    }

    pub(crate) fn explain(&self) -> Option<String> {
        match self {
            Self::Seasonal(seasonal) => seasonal.explain(),
            Self::Anomaly(anomaly) => anomaly.explain(),
        }
    }

    pub(crate) fn forget(&mut self) {
        match self {
            Self::Seasonal(seasonal) => **seasonal = Seasonal::default(),
            Self::Anomaly(anomaly) => **anomaly = Anomaly::default(),
        }
    }

    /// The small part that changes with each sample, and the large one, if it has changed.
    pub(crate) fn changes(&mut self) -> [Option<Vec<u8>>; 2] {
        match self {
            Self::Seasonal(seasonal) => seasonal.changes(),
            Self::Anomaly(anomaly) => anomaly.changes(),
        }
    }

    /// What [`Learned::changes`] gave last of each part.
    pub(crate) fn restore(&mut self, part: u32, bytes: &[u8]) -> Option<()> {
        match self {
            Self::Seasonal(seasonal) => seasonal.restore(part, bytes),
            Self::Anomaly(anomaly) => anomaly.restore(part, bytes),
        }
    }
}

/// Median absolute deviations at which a score is 0.5: the limit of Iglewicz and Hoaglin, "How to Detect and Handle
/// Outliers" (1993).
pub(crate) const LIMIT: f64 = 3.5;

/// A distance as a score: 0.5 at its limit, 0.9 at three times the limit.
pub(crate) fn score(distance: f64, limit: f64) -> f64 {
    if distance.is_infinite() {
        return 1.0;
    }
    let ratio = (distance / limit).abs().min(1e100);
    ratio * ratio / (ratio * ratio + 1.0)
}
