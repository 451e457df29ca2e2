//! Where a series is cut into chunks.
//!
//! A dense series is cut at each full hour, so that buckets of whole hours come from summaries; a
//! sparse one at the first full hour after enough points.

use std::ops::Range;

/// Nanoseconds in an hour.
pub(super) const HOUR: i64 = 3_600_000_000_000;
/// A chunk with so many points ends at the next full hour.
pub(super) const POINTS_ENOUGH: usize = 1_000;
/// No chunk has more points.
pub(super) const POINTS_MAX: usize = 8_192;
/// A chunk with so many times the new points behind it is left alone, and not packed again.
const GROWTH_MAX: usize = 16;

/// Cuts ascending times; the last part may go on in a later flush.
pub(super) fn cuts(times: &[i64]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut end = 0;
    while let Some(time) = times.get(end) {
        let hour = time.div_euclid(HOUR).saturating_add(1).saturating_mul(HOUR);
        let hour_end = match time.checked_add(HOUR) {
            Some(_) => end + times.get(end..).unwrap_or_default().partition_point(|time| *time < hour),
            None => times.len(),
        };
        if hour_end - start <= POINTS_MAX {
            end = hour_end;
            if end - start >= POINTS_ENOUGH {
                parts.push(start..end);
                start = end;
            }
            continue;
        }
        // The hour does not fit: end before it or, when it is the only one, within it.
        end = if end > start { end } else { start + POINTS_MAX };
        parts.push(start..end);
        start = end;
    }
    if start < end {
        parts.push(start..end);
    }
    parts
}

/// Whether a chunk of `count` points that ends at `last` should take in the `new` points that begin
/// with `first` behind it.
pub(super) fn joins(last: i64, count: usize, first: i64, new: usize) -> bool {
    let same_hour = last.div_euclid(HOUR) == first.div_euclid(HOUR);
    let open = count < POINTS_ENOUGH || (same_hour && count < POINTS_MAX);
    open && count <= new.saturating_mul(GROWTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(times: &[i64]) -> Vec<usize> {
        cuts(times).into_iter().map(|part| part.len()).collect()
    }

    fn every(seconds: i64, count: i64) -> Vec<i64> {
        (0..count).map(|at| at * seconds * 1_000_000_000).collect()
    }

    #[test]
    fn dense_series_are_cut_at_hours_and_sparse_ones_at_enough_points() {
        assert_eq!(lengths(&every(1, 10_000)), [3600, 3600, 2800]);
        assert_eq!(lengths(&every(60, 3_000)), [1020, 1020, 960]);
        let fast: Vec<i64> = (0..20_000).map(|at| at * 100_000_000).collect();
        assert_eq!(lengths(&fast), [8192, 8192, 3616]);
        assert_eq!(lengths(&[]), [] as [usize; 0]);
        assert_eq!(lengths(&[i64::MIN, 0, i64::MAX - 1, i64::MAX]), [4]);
    }

    #[test]
    fn an_hour_that_does_not_fit_begins_a_chunk() {
        let mut times = every(4, 900);
        times.extend((0..8_000).map(|at| HOUR + at * 100_000_000));
        assert_eq!(lengths(&times), [900, 8000]);
    }

    #[test]
    fn a_small_or_unfinished_chunk_takes_in_what_follows() {
        assert!(joins(HOUR - 1, 999, HOUR + 1, 999));
        assert!(!joins(HOUR - 1, 3600, HOUR + 1, 4000));
        assert!(joins(HOUR + 1, 2800, HOUR + 2, 4000));
        assert!(!joins(HOUR + 1, 2800, HOUR + 2, 10), "2,800 points are not packed again for ten");
    }
}
