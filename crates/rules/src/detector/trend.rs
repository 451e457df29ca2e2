//! The slope of a series: Theil (1950) and Sen, Journal of the American Statistical Association 63 (1968): the median
//! of the slopes between all pairs of points, which a third of wild values does not move.

use super::robust::median;

/// Points that are used at most, spread evenly over the window: 2,016 pairs.
const POINTS_MAX: usize = 64;
/// The fewest that a confidence can be told of.
const POINTS_MIN: usize = 8;
/// Two-sided 95 % of the normal distribution.
const NORMAL_95: f64 = 1.96;
const HOUR_NANOS: f64 = 3_600e9;

/// A slope and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// Per hour.
    pub(crate) slope: f64,
    /// Between these with 95 % confidence (Sen's interval by Kendall's variance).
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// The line's value at the newest sample.
    pub(crate) level: f64,
}

impl Trend {
    /// Of at least eight samples, ascending by time.
    pub(crate) fn of(samples: &[(i64, f64)]) -> Option<Self> {
        let (newest, _) = *samples.last()?;
        let points = thinned(samples, newest);
        if points.len() < POINTS_MIN {
            return None;
        }
        let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
        for (index, (time, value)) in points.iter().enumerate() {
            for (earlier, before) in points.iter().take(index) {
                let slope = (value - before) / (time - earlier);
                if slope.is_finite() {
                    slopes.push(slope);
                }
            }
        }
        slopes.sort_unstable_by(f64::total_cmp);
        let n = points.len() as f64;
        let within = NORMAL_95 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        let pairs = slopes.len() as f64;
        let at = |rank: f64| slopes.get(rank.clamp(0.0, pairs - 1.0) as usize).copied();
        let (least, most) = (at((pairs - within) / 2.0)?, at((pairs + within) / 2.0)?);
        let slope = median(&mut slopes.clone())?;
        let mut levels: Vec<f64> = points.iter().map(|(time, value)| value - slope * time).collect();
        Some(Self { slope, least, most, level: median(&mut levels)? })
    }

    /// Whether it is one: the interval does not hold zero.
    pub(crate) fn is_sure(&self) -> bool {
        self.least > 0.0 || self.most < 0.0
    }

    /// Hours until the line reaches this value; none where it does not lead there, or is none.
    pub(crate) fn hours_to(&self, value: f64) -> Option<f64> {
        let hours = (value - self.level) / self.slope;
        (self.is_sure() && hours.is_finite() && hours >= 0.0).then_some(hours)
    }
}

/// At most [`POINTS_MAX`] of them: hours before the newest (negative), and values.
fn thinned(samples: &[(i64, f64)], newest: i64) -> Vec<(f64, f64)> {
    let hours = |time: i64| -(newest.abs_diff(time) as f64) / HOUR_NANOS;
    let count = samples.len().min(POINTS_MAX);
    let last = samples.len().saturating_sub(1);
    let chosen = (0..count).filter_map(|n| samples.get(n * last / count.saturating_sub(1).max(1)));
    chosen.map(|(time, value)| (hours(*time), *value)).collect()
}
