//! What the axes show, and which points are worth drawing.

use fieldline_model::Timestamp;

use crate::Chart;

/// The ends of both axes; neither is empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axes {
    /// Milliseconds since the epoch.
    pub(crate) time: (i64, i64),
    pub(crate) value: (f64, f64),
}

impl Axes {
    pub(crate) fn of(chart: &Chart) -> Self {
        let points = || chart.lines.iter().flat_map(|line| &line.points).filter(|point| point.1.is_finite());
        let times = points().map(|point| point.0.millis());
        let spans = chart.spans.iter().flat_map(|span| [span.from.millis(), span.to.millis()]);
        let (from, to) = ends(times.chain(spans)).unwrap_or((0, 1));
        let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = points().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // A twentieth of air, and a band where all values are the same; halves, so that no width overflows.
        let air = ((high / 2.0 - low / 2.0) * 0.1).max(high.abs().max(low.abs()) * 1e-9).max(1e-9);
        let bounded = |value: f64| value.clamp(f64::MIN / 4.0, f64::MAX / 4.0);
        Self {
            time: (from, to.max(from.saturating_add(1))),
            value: (bounded(low - air), bounded(high + air)),
        }
    }
}

fn ends(times: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    times.fold(None, |ends, time| match ends {
        None => Some((time, time)),
        Some((from, to)) => Some((from.min(time), to.max(time))),
    })
}

/// Unbroken runs of points with at most four for each of `buckets` stretches of time: the first, the least, the
/// greatest and the last, which draw the same picture as all of them.
pub(crate) fn thin(points: &[(Timestamp, f64)], axes: &Axes, buckets: u32) -> Vec<Vec<(i64, f64)>> {
    let width = (axes.time.1 as f64 - axes.time.0 as f64) / f64::from(buckets.max(1));
    let mut runs = Vec::new();
    for run in points.split(|point| !point.1.is_finite()) {
        let mut kept: Vec<(i64, f64)> = Vec::new();
        let mut bucket: Option<(i64, [(i64, f64); 4])> = None;
        for &(time, value) in run {
            let point = (time.millis(), value);
            let at = ((point.0 as f64 - axes.time.0 as f64) / width) as i64;
            match &mut bucket {
                Some((same, [_, least, greatest, last])) if *same == at => {
                    *last = point;
                    if value < least.1 {
                        *least = point;
                    }
                    if value > greatest.1 {
                        *greatest = point;
                    }
                }
                _ => close(bucket.replace((at, [point; 4])), &mut kept),
            }
        }
        close(bucket, &mut kept);
        if !kept.is_empty() {
            runs.push(kept);
        }
    }
    runs
}

fn close(bucket: Option<(i64, [(i64, f64); 4])>, kept: &mut Vec<(i64, f64)>) {
    let Some((_, mut points)) = bucket else { return };
    points.sort_by_key(|point| point.0);
    for point in points {
        if kept.last() != Some(&point) {
            kept.push(point);
        }
    }
}

/// `at` as a reader wants it beside others of a range of this many milliseconds.
pub(crate) fn time_label(at: i64, range: i64) -> String {
    const DAY: i64 = 86_400_000;
    let text = Timestamp::from_millis(at).map(|time| time.to_string()).unwrap_or_default();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().replace('T', " ");
    if range <= DAY {
        part(11, 19)
    } else if range <= 10 * DAY {
        part(5, 16)
    } else {
        part(0, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Line;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn a_spike_among_a_million_points_is_drawn() {
        let points: Vec<_> =
            (0..1_000_000).map(|n| (at(n), if n == 654_321 { 50.0 } else { (n % 7) as f64 })).collect();
        let chart = Chart { lines: vec![Line { name: "x".into(), points }], ..Chart::default() };
        let axes = Axes::of(&chart);
        let thinned = thin(&chart.lines[0].points, &axes, 800);
        assert_eq!(thinned.len(), 1);
        assert!(thinned[0].len() <= 4 * 801, "{} points", thinned[0].len());
        assert!(thinned[0].contains(&(654_321, 50.0)));
        assert!(thinned[0].is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn axes_are_never_empty() {
        for values in [vec![], vec![5.0], vec![f64::NAN], vec![0.0, 0.0], vec![f64::MAX, f64::MIN]] {
            let points = values.iter().enumerate().map(|(n, value)| (at(n as i64), *value)).collect();
            let chart = Chart { lines: vec![Line { name: "x".into(), points }], ..Chart::default() };
            let axes = Axes::of(&chart);
            assert!(axes.time.0 < axes.time.1, "{values:?}: {axes:?}");
            assert!(
                axes.value.0 < axes.value.1 && (axes.value.1 - axes.value.0).is_finite(),
                "{values:?}: {axes:?}"
            );
        }
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let points = vec![(at(0), 1.0), (at(1), f64::NAN), (at(2), 2.0)];
        let chart = Chart { lines: vec![Line { name: "x".into(), points }], ..Chart::default() };
        assert_eq!(thin(&chart.lines[0].points, &Axes::of(&chart), 100), [[(0, 1.0)], [(2, 2.0)]]);
    }
}
