//! What a block is going to weigh, reckoned while it grows.

use fieldline_model::{Quality, ReadingRef, ValueRef};

use super::Values;
use super::numbers::{Scale, is_exception};
use crate::varint::{size, zigzag};

/// Envelope and empty fields, generously.
pub(super) const ENVELOPE_BYTES: usize = 256;
/// What a column costs besides its names and readings: its fields.
pub(super) const COLUMN_BYTES: usize = 10;
/// What a name or a text costs besides its bytes.
pub(super) const NAME_BYTES: usize = 3;
/// Differences of zero come in runs that compress well: so many of them count a byte.
const ZEROS_PER_BYTE: u32 = 8;
/// A text that repeats is not written again, but the reader holds it again, and its limit on that
/// is in bytes; so it counts one in so many of its bytes. See [`super::Limits`].
const REPEATED_TEXT_SHARE: usize = 16;
/// An exception's bits and place.
const EXCEPTION_BYTES: usize = 10;

/// The running estimate of one column.
#[derive(Debug)]
pub(super) struct ColumnSize {
    first_time: i64,
    time: i64,
    pace: i64,
    /// The unit of times, in nanoseconds.
    unit: i64,
    /// The latest value as an integer.
    integer: i64,
    count: usize,
    zeros: u32,
    /// The scale of floats; `None` once they have to stay doubles.
    scale: Option<Scale>,
}

impl ColumnSize {
    /// A column without readings in a block whose times count from `base_time`.
    pub(super) fn new(base_time: i64) -> Self {
        Self {
            first_time: base_time,
            time: base_time,
            pace: 0,
            unit: 1_000_000_000,
            integer: 0,
            count: 0,
            zeros: 0,
            scale: Some(Scale::ONE),
        }
    }

    /// Adds to `bytes` what a reading costs that comes after `values`.
    pub(super) fn reading(&mut self, reading: &ReadingRef<'_>, values: &Values, bytes: &mut usize) {
        *bytes += self.time(reading.time.nanos());
        *bytes += match (reading.value, values) {
            (ValueRef::Integer(value), _) => self.integer(value),
            (ValueRef::Float(value), Values::Float(before)) => self.float(value, before),
            (ValueRef::Text(value), Values::Text(before)) => {
                // Only the latest is looked at; texts that alternate are counted in full.
                if before.last().is_some_and(|last| last == value) {
                    1 + value.len() / REPEATED_TEXT_SHARE
                } else {
                    value.len() + NAME_BYTES + 2
                }
            }
            _ => self.number(0),
        };
        self.count += 1;
    }

    /// Adds to `bytes` what a quality costs that comes after `before`.
    pub(super) fn quality(&self, quality: Quality, before: Option<Quality>, bytes: &mut usize) {
        if before != Some(quality) {
            *bytes += 3;
        }
    }

    fn time(&mut self, time: i64) -> usize {
        if self.count == 0 {
            let cost = size(zigzag(time.wrapping_sub(self.time)));
            (self.first_time, self.time) = (time, time);
            return cost;
        }
        let pace = time.wrapping_sub(self.time);
        let change = pace.wrapping_sub(self.pace);
        (self.time, self.pace) = (time, pace);
        let mut finer = 0;
        if change != 0 {
            let distance = time.wrapping_sub(self.first_time);
            while distance % self.unit != 0 {
                self.unit /= 10;
                finer += 1;
            }
        }
        self.number(change / self.unit) + finer_bytes(finer, self.count)
    }

    fn integer(&mut self, value: i64) -> usize {
        let difference = value.wrapping_sub(self.integer);
        self.integer = value;
        self.number(difference)
    }

    fn float(&mut self, value: f64, before: &[f64]) -> usize {
        if is_exception(value) {
            return EXCEPTION_BYTES;
        }
        let Some(scale) = self.scale else { return size_of::<f64>() };
        if let Some(integer) = scale.integer(value) {
            return self.integer(integer);
        }
        let fits = |scale: &Scale| {
            before.iter().chain([&value]).all(|x| is_exception(*x) || scale.integer(*x).is_some())
        };
        self.scale = Scale::all().find(fits);
        let Some(finer) = self.scale else { return size_of::<f64>() * (self.count + 1) };
        self.integer = finer.integer(value).unwrap_or_default();
        let places = finer.exponent().abs_diff(scale.exponent()) as usize;
        size(zigzag(self.integer)) + finer_bytes(places, self.count)
    }

    fn number(&mut self, difference: i64) -> usize {
        if difference != 0 {
            return size(zigzag(difference));
        }
        self.zeros += 1;
        usize::from(self.zeros.is_multiple_of(ZEROS_PER_BYTE))
    }
}

/// What `count` numbers gain when they get so many more decimal places: one is 3.3 bits, and a byte
/// of a number holds seven, so half a byte for each.
fn finer_bytes(places: usize, count: usize) -> usize {
    (places * count).div_ceil(2)
}
