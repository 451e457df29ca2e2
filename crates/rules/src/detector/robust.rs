//! Distances from the median.

use super::{LIMIT, score};

/// A normal distribution's standard deviation in median absolute deviations.
const SIGMA_OF_MAD: f64 = 1.4826;
/// The same in mean absolute deviations, for where more than half of the values are equal.
const SIGMA_OF_MEAN: f64 = 1.2533;
/// Values that a median needs to say anything.
const VALUES_MIN: usize = 8;

/// The middle and the spread of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Deviation {
    pub(crate) median: f64,
    /// As a normal distribution's standard deviation; 0 where all are equal.
    pub(crate) sigma: f64,
}

/// The median: of an even number the mean of the two in the middle.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if !even {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(lower / 2.0 + upper / 2.0)
}

impl Deviation {
    /// Of at least eight values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.len() < VALUES_MIN {
            return None;
        }
        let median = median(&mut values.to_vec())?;
        let mut distances: Vec<f64> =
            values.iter().map(|value| (value - median).abs().min(f64::MAX / 1e6)).collect();
        let mean = distances.iter().map(|distance| distance / values.len() as f64).sum::<f64>();
        let mad = self::median(&mut distances)?;
        let sigma = if mad > 0.0 { mad * SIGMA_OF_MAD } else { mean * SIGMA_OF_MEAN };
        Some(Self { median, sigma })
    }

    /// How many of its deviations a value is above (or, negative, below) the middle; infinite where there is no spread.
    pub(crate) fn distance(&self, value: f64) -> f64 {
        let distance = value - self.median;
        if distance == 0.0 { 0.0 } else { distance / self.sigma }
    }
}

/// The newest value against those before it.
pub(crate) fn robust_z(values: &[f64]) -> Option<(f64, f64)> {
    let (newest, before) = values.split_last()?;
    let distance = Deviation::of(before)?.distance(*newest);
    Some((score(distance, LIMIT), distance))
}

/// A jump: the newest value against those before it, in the steps that the series makes otherwise. A slow drift is
/// none, nor is a level that it has jumped to before.
pub(crate) fn spike(values: &[f64]) -> Option<(f64, f64)> {
    let steps: Vec<f64> =
        values.iter().zip(values.iter().skip(1)).map(|(from, to)| bounded(to - from)).collect();
    let (newest, before) = steps.split_last()?;
    let distance = Deviation::of(before)?.distance(*newest);
    Some((score(distance, 2.0 * LIMIT), distance))
}

/// The difference of two of the greatest values is beyond floats.
fn bounded(value: f64) -> f64 {
    value.clamp(-f64::MAX, f64::MAX)
}

/// For which share of the extent the value has not moved, of at least three samples.
pub(crate) fn stuck(samples: &[(i64, f64)], extent_nanos: i64) -> Option<(f64, f64)> {
    let (end, newest) = *samples.last()?;
    let run = samples.iter().rev().take_while(|(_, value)| *value == newest);
    let (mut start, mut count) = (end, 0_u32);
    for (time, _) in run {
        start = *time;
        count = count.saturating_add(1);
    }
    if samples.len() < 3 {
        return None;
    }
    let nanos = end.saturating_sub(start) as f64;
    let share = if count < 3 { 0.0 } else { (nanos / extent_nanos.max(1) as f64).clamp(0.0, 1.0) };
    Some((share, nanos / 1e9))
}
