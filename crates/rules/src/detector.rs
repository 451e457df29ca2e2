//! Detectors: how unlike its past a series is, as a score from 0 (as usual) to 1.
//!
//! Most are functions of the samples of a window, as the window functions are: they hold nothing, so a restart and
//! a late sample are no cases of their own. [`Seasonal`] learns over weeks and keeps what it has learned.
//!
//! No detector calls `exp`, `ln` or a power that is none of whole numbers: their last digits differ from one
//! platform to another.

mod drift;
mod robust;
mod seasonal;
#[cfg(test)]
mod tests;
mod trend;

pub(crate) use drift::{SAMPLES as DRIFT_SAMPLES, cusum, ewma};
pub(crate) use robust::{robust_z, spike, stuck};
pub(crate) use seasonal::Seasonal;
pub(crate) use trend::Trend;

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
