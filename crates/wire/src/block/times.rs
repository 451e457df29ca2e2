//! Times as integers: a unit, a first time, and small differences.
//!
//! A vector of times `t` becomes `y[i] = (t[i] − t[0]) / unit` with the greatest power of ten
//! nanoseconds that loses nothing, and then either differences of differences, or the distances from
//! a regular grid (a step, then `y[i] − i·step`), whichever is smaller: the first is better where
//! the pace changes, the second where each time is off by itself.

use crate::varint::zigzag;

/// The greatest unit is a second.
const EXPONENT_MAX: u32 = 9;

/// How a vector of times is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// The unit is `10^exponent` nanoseconds.
    exponent: u32,
    grid: bool,
}

impl Form {
    pub(super) fn code(self) -> u32 {
        self.exponent * 2 + u32::from(self.grid)
    }

    pub(super) fn from_code(code: u32) -> Option<Self> {
        let form = Self { exponent: code / 2, grid: code % 2 == 1 };
        (form.exponent <= EXPONENT_MAX).then_some(form)
    }

    /// How many differences are written for `count` times.
    pub(super) fn rests(self, count: usize) -> usize {
        match (count, self.grid) {
            (0 | 1, _) => 0,
            (_, false) => count - 1,
            (_, true) => count,
        }
    }

    fn unit(self) -> i64 {
        10_i64.pow(self.exponent)
    }
}

/// Appends the differences of `times` (all but the first time) to `rests`.
pub(super) fn encode(times: &[i64], rests: &mut Vec<i64>) -> Form {
    let exponent = exponent(times);
    let unit = 10_i64.pow(exponent);
    let Some((&first, later)) = times.split_first() else { return Form { exponent, grid: false } };
    let start = rests.len();
    let offset = |time: i64| time.wrapping_sub(first) / unit;
    let last = later.last().copied().unwrap_or(first);
    let step = offset(last) / i64::try_from(later.len().max(1)).unwrap_or(i64::MAX);
    let (mut before, mut pace, mut on_grid) = (0_i64, 0_i64, 0_i64);
    let (mut pace_bits, mut grid_bits) = (0_u64, u64::from(bits(step)));
    for &time in later {
        let place = offset(time);
        on_grid = on_grid.wrapping_add(step);
        let difference = place.wrapping_sub(before);
        let change = difference.wrapping_sub(pace);
        rests.push(change);
        pace_bits += u64::from(bits(change));
        grid_bits += u64::from(bits(place.wrapping_sub(on_grid)));
        (before, pace) = (place, difference);
    }
    // Also the step itself is one more number.
    let grid = grid_bits + 8 < pace_bits;
    if grid {
        rests.truncate(start);
        rests.push(step);
        let mut on_grid = 0_i64;
        rests.extend(later.iter().map(|&time| {
            on_grid = on_grid.wrapping_add(step);
            offset(time).wrapping_sub(on_grid)
        }));
    }
    Form { exponent, grid }
}

/// The inverse of [`encode`]: `rests` are the `form.rests(count)` differences.
pub(super) fn decode(form: Form, first: i64, rests: &[i64], count: usize) -> Vec<i64> {
    let mut times = Vec::with_capacity(count);
    if count == 0 {
        return times;
    }
    times.push(first);
    let unit = form.unit();
    let time = |place: i64| first.wrapping_add(place.wrapping_mul(unit));
    if form.grid {
        if let Some((&step, residuals)) = rests.split_first() {
            let mut on_grid = 0_i64;
            times.extend(residuals.iter().map(|&residual| {
                on_grid = on_grid.wrapping_add(step);
                time(on_grid.wrapping_add(residual))
            }));
        }
    } else {
        let (mut place, mut pace) = (0_i64, 0_i64);
        times.extend(rests.iter().map(|&change| {
            pace = pace.wrapping_add(change);
            place = place.wrapping_add(pace);
            time(place)
        }));
    }
    times
}

/// The greatest exponent whose unit divides all distances from the first time; 0 if one of the
/// distances does not fit 64 bits.
fn exponent(times: &[i64]) -> u32 {
    let Some((&first, later)) = times.split_first() else { return 0 };
    let mut exponent = EXPONENT_MAX;
    let mut unit = 10_i64.pow(exponent);
    let (mut before, mut pace) = (first, 0_i64);
    for &time in later {
        let Some(distance) = time.checked_sub(first) else { return 0 };
        // A pace that has been seen is divisible; this spares the division in regular data.
        let difference = time.wrapping_sub(before);
        if difference != pace {
            while distance % unit != 0 {
                exponent -= 1;
                unit /= 10;
            }
        }
        (before, pace) = (time, difference);
    }
    exponent
}

fn bits(value: i64) -> u32 {
    64 - zigzag(value).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(times: &[i64]) -> (Form, usize) {
        let mut rests = Vec::new();
        let form = encode(times, &mut rests);
        assert_eq!(rests.len(), form.rests(times.len()));
        assert_eq!(Form::from_code(form.code()), Some(form));
        let first = times.first().copied().unwrap_or_default();
        assert_eq!(decode(form, first, &rests, times.len()), times);
        (form, rests.iter().filter(|rest| **rest != 0).count())
    }

    #[test]
    fn regular_times_are_a_pace_and_zeros() {
        let times: Vec<i64> = (0..100).map(|i| 1_795_341_600_123_456_789 + i * 5_000_000_000).collect();
        assert_eq!(round_trip(&times), (Form { exponent: 9, grid: false }, 1));
    }

    #[test]
    fn jittered_times_lie_beside_a_grid() {
        let jitter = |i: i64| (i * i * 31 % 41 - 20) * 1_000_000;
        let times: Vec<i64> = (0..100).map(|i| i * 1_000_000_000 + jitter(i)).collect();
        assert_eq!(round_trip(&times).0, Form { exponent: 6, grid: true });
    }

    #[test]
    fn extremes_and_few_times_come_back() {
        for times in [
            &[][..],
            &[7],
            &[i64::MAX, i64::MIN],
            &[i64::MIN, i64::MAX, 0, -1],
            &[0, 0, 0],
            &[5, 3],
            &[i64::MIN, -1_000_000_000, i64::MAX, 1_000_000_000],
        ] {
            round_trip(times);
        }
    }
}
