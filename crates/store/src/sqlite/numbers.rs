//! Numbers as bytes: pco, decimals as whole numbers.

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

/// 10^0 to 10^9: exact as doubles.
const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Whole numbers up to here are exact as doubles.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Appends a column of at least one number; its length is not told. What they are is found out.
pub(super) fn pack<T: Number>(numbers: &[T], out: &mut Vec<u8>) -> Option<()> {
    pack_as(numbers, &ChunkConfig::default(), out)
}

/// The same for whole numbers without a common divisor, such as decimals in their own resolution. To
/// look only at the size of differences takes half the time of pco's own search.
pub(super) fn pack_whole(numbers: &[i64], out: &mut Vec<u8>) -> Option<()> {
    let delta = delta_of(numbers);
    let config = ChunkConfig::default().with_mode_spec(ModeSpec::Classic).with_delta_spec(delta);
    pack_as(numbers, &config, out)
}

fn pack_as<T: Number>(numbers: &[T], config: &ChunkConfig, out: &mut Vec<u8>) -> Option<()> {
    let file = FileCompressor::default();
    let mut chunk = file.chunk_compressor(numbers, config).ok()?;
    file.write_header(&mut *out).ok()?;
    chunk.write_meta(&mut *out).ok()?;
    chunk.write_page(0, &mut *out).ok()?;
    Some(())
}

/// Which differences take the fewest bits: none, those of neighbours, or the differences of those.
fn delta_of(numbers: &[i64]) -> DeltaSpec {
    let bits = |number: i64| u64::from(u64::BITS - number.unsigned_abs().leading_zeros());
    let middle = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    let (mut plain, mut first, mut second) = (0, 0, 0);
    let (mut last, mut last_step) = (middle, 0i64);
    for number in numbers {
        let step = number.wrapping_sub(last);
        plain += bits(number.wrapping_sub(middle));
        first += bits(step);
        second += bits(step.wrapping_sub(last_step));
        (last, last_step) = (*number, step);
    }
    if plain <= first.min(second) {
        DeltaSpec::NoOp
    } else if first <= second {
        DeltaSpec::TryConsecutive(1)
    } else {
        DeltaSpec::TryConsecutive(2)
    }
}

/// Reads a column of `count` numbers; all of `bytes` belongs to it.
pub(super) fn unpack<T: Number + Default>(bytes: &[u8], count: usize) -> Option<Vec<T>> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    let mut page = chunk.page_decompressor(rest, count).ok()?;
    let mut numbers = vec![T::default(); count];
    let progress = page.read(&mut numbers).ok()?;
    (progress.n_processed == count).then_some(numbers)
}

/// The least exponent with which every value is a whole number, and back again to the same bits.
pub(super) fn as_decimals(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut whole = Vec::with_capacity(values.len());
    for exponent in 0..POWERS.len() as u8 {
        whole.clear();
        whole.extend(values.iter().map_while(|value| to_whole(*value, exponent)));
        if whole.len() == values.len() {
            return Some((exponent, whole));
        }
    }
    None
}

/// One value in units of 10^-exponent, if that is exact.
pub(super) fn to_whole(value: f64, exponent: u8) -> Option<i64> {
    let power = *POWERS.get(usize::from(exponent))?;
    let whole = (value * power).round_ties_even();
    let exact = whole.abs() <= EXACT_MAX && (whole as i64 as f64 / power).to_bits() == value.to_bits();
    exact.then_some(whole as i64)
}

/// The nearest whole number of units of 10^-exponent.
pub(super) fn nearest_whole(value: f64, exponent: u8) -> Option<i64> {
    let whole = (value * POWERS.get(usize::from(exponent))?).round_ties_even();
    (whole.abs() <= EXACT_MAX).then_some(whole as i64)
}

/// Back from units of 10^-exponent.
pub(super) fn from_whole(whole: i64, exponent: u8) -> Option<f64> {
    Some(whole as f64 / POWERS.get(usize::from(exponent))?)
}

/// Back from units of 10^-exponent.
pub(super) fn from_decimals(exponent: u8, whole: &[i64]) -> Option<Vec<f64>> {
    let power = *POWERS.get(usize::from(exponent))?;
    Some(whole.iter().map(|whole| *whole as f64 / power).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_take_the_least_exponent_and_only_where_exact() {
        assert_eq!(as_decimals(&[21.5, -3.25, 0.0]), Some((2, vec![2150, -325, 0])));
        assert_eq!(as_decimals(&[7.0, 1e15]), Some((0, vec![7, 1_000_000_000_000_000])));
        for odd in [-0.0, f64::NAN, f64::INFINITY, 5e-324, 1.0 / 3.0, 1e17] {
            assert_eq!(as_decimals(&[1.0, odd]), None, "{odd}");
        }
    }
}
