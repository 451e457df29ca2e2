//! Slow changes of level, against the older half of the samples.

use super::robust::Deviation;
use super::score;

/// Samples that a drift is judged by: the older half is the reference.
pub(crate) const SAMPLES: u32 = 200;
/// The least that makes sense.
const SAMPLES_MIN: usize = 40;
/// Width of an EWMA chart in standard deviations (Lucas and Saccucci, Technometrics 32, 1990).
const EWMA_LIMIT: f64 = 3.0;
/// Slack and limit of a tabular CUSUM in standard deviations (Montgomery, Introduction to Statistical Quality
/// Control, chapter 9).
const SLACK: f64 = 0.5;
const CUSUM_LIMIT: f64 = 5.0;

fn halves(values: &[f64]) -> Option<(Deviation, &[f64])> {
    if values.len() < SAMPLES_MIN {
        return None;
    }
    let (older, newer) = values.split_at(values.len() / 2);
    Some((Deviation::of(older)?, newer))
}

/// The exponentially weighted moving average against its control limits: score, and distance in deviations.
pub(crate) fn ewma(values: &[f64], weight: f64) -> Option<(f64, f64)> {
    let (reference, newer) = halves(values)?;
    let mut average = reference.median;
    for value in newer {
        average = average * (1.0 - weight) + value * weight;
    }
    let sigma = reference.sigma * (weight / (2.0 - weight)).sqrt();
    let distance = Deviation { median: reference.median, sigma }.distance(average);
    Some((score(distance, EWMA_LIMIT), distance))
}

/// The larger of the two cumulated sums: score, and sum in deviations, negative where the level falls.
pub(crate) fn cusum(values: &[f64]) -> Option<(f64, f64)> {
    let (reference, newer) = halves(values)?;
    let (mut up, mut down) = (0.0_f64, 0.0_f64);
    for value in newer {
        // One wild value is an outlier, not a drift.
        let distance = reference.distance(*value).clamp(-4.0, 4.0);
        up = (up + distance - SLACK).max(0.0);
        down = (down - distance - SLACK).max(0.0);
    }
    let sum = if up >= down { up } else { -down };
    Some((score(sum, 2.0 * CUSUM_LIMIT), sum))
}
