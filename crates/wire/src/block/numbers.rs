//! Numbers as integers: a decimal scale that loses nothing, and differences.

use crate::varint::zigzag;

/// Of a scaled column, at most one value in so many may be an exception.
const EXCEPTION_SHARE: usize = 4;
const EXPONENT_MAX: u32 = 9;
const ORDERS: u32 = 3;
/// Beyond this, not every integer is a double, and adding [`ROUNDER`] would not round.
const INTEGER_MAX: f64 = 2_251_799_813_685_248.0;
/// 1.5 · 2^52: a double plus this, minus this, is the nearest integer.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const PARTS: [f64; 10] = [1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9];

const DOUBLES: u32 = 0;
const BOOLEANS: u32 = 1;
const TEXTS: u32 = 2;
const INTEGERS: u32 = 3;
const SCALED: u32 = INTEGERS + ORDERS;

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Doubles,
    Booleans,
    Texts,
    Integers(Order),
    Scaled(Scale, Order),
}

impl Encoding {
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Doubles => DOUBLES,
            Self::Booleans => BOOLEANS,
            Self::Texts => TEXTS,
            Self::Integers(order) => INTEGERS + order.0,
            Self::Scaled(scale, order) => SCALED + scale.number() * ORDERS + order.0,
        }
    }

    pub(super) fn from_code(code: u32) -> Option<Self> {
        match code {
            DOUBLES => Some(Self::Doubles),
            BOOLEANS => Some(Self::Booleans),
            TEXTS => Some(Self::Texts),
            INTEGERS..SCALED => Some(Self::Integers(Order(code - INTEGERS))),
            _ => {
                let code = code - SCALED;
                Some(Self::Scaled(Scale::from_number(code / ORDERS)?, Order(code % ORDERS)))
            }
        }
    }
}

/// Which arithmetic the source of the values used to make a double of a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inverse {
    /// `m / 10^k`: what parsing the decimal text gives.
    Quotient,
    /// `m * 10^-k`: what a driver gives that multiplies a register with its resolution.
    Product,
    /// `m / 10^k`, rounded to 32 bits and widened again: what comes out of a 32-bit register.
    Single,
}

/// A decimal scale: a value `x` is written as an integer `m` of which `x` can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    inverse: Inverse,
    exponent: u32,
}

impl Scale {
    /// Whole numbers.
    pub(super) const ONE: Self = Self { inverse: Inverse::Quotient, exponent: 0 };

    /// The scales, in the order in which they are tried.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Inverse::Quotient, Inverse::Product, Inverse::Single]
            .into_iter()
            .flat_map(|inverse| (0..=EXPONENT_MAX).map(move |exponent| Self { inverse, exponent }))
    }

    /// How many decimal places it keeps.
    pub(super) fn exponent(self) -> u32 {
        self.exponent
    }

    /// The integer for `x`, if `x` comes back from it to the bit.
    #[inline]
    pub(super) fn integer(self, x: f64) -> Option<i64> {
        let scaled = x * POWERS.get(self.exponent as usize).copied().unwrap_or(1.0);
        // Also false for NaN.
        if scaled.abs() < INTEGER_MAX {
            let rounded = (scaled + ROUNDER) - ROUNDER;
            (self.double(rounded).to_bits() == x.to_bits()).then_some(rounded as i64)
        } else {
            None
        }
    }

    /// The value for an integer.
    #[inline]
    pub(super) fn value(self, integer: i64) -> f64 {
        self.double(integer as f64)
    }

    #[inline]
    fn double(self, integer: f64) -> f64 {
        // Rounding makes -0 of small negative numbers; only +0 is an integer.
        let integer = integer + 0.0;
        let exponent = self.exponent as usize;
        let power = POWERS.get(exponent).copied().unwrap_or(1.0);
        match self.inverse {
            Inverse::Quotient => integer / power,
            Inverse::Product => integer * PARTS.get(exponent).copied().unwrap_or(1.0),
            Inverse::Single => f64::from((integer / power) as f32),
        }
    }

    fn number(self) -> u32 {
        self.inverse as u32 * (EXPONENT_MAX + 1) + self.exponent
    }

    fn from_number(number: u32) -> Option<Self> {
        let inverse = match number / (EXPONENT_MAX + 1) {
            0 => Inverse::Quotient,
            1 => Inverse::Product,
            2 => Inverse::Single,
            _ => return None,
        };
        Some(Self { inverse, exponent: number % (EXPONENT_MAX + 1) })
    }
}

/// Whether a value has no place on any decimal scale, whatever its neighbours are.
#[inline]
pub(super) fn is_exception(x: f64) -> bool {
    !x.is_finite() || (x == 0.0 && x.is_sign_negative())
}

/// The first scale that fits every value but the exceptions, with the integers in `out`; an
/// exception repeats its predecessor there. `None` if there is no such scale.
pub(super) fn scale(values: &[f64], out: &mut Vec<i64>) -> Option<Scale> {
    let exceptions = values.iter().filter(|x| is_exception(**x)).count();
    if exceptions * EXCEPTION_SHARE > values.len() {
        return None;
    }
    Scale::all().find(|scale| fits(*scale, values, out))
}

fn fits(scale: Scale, values: &[f64], out: &mut Vec<i64>) -> bool {
    out.clear();
    let mut integer = 0;
    for &x in values {
        match scale.integer(x) {
            Some(found) => integer = found,
            None if is_exception(x) => {}
            None => return false,
        }
        out.push(integer);
    }
    true
}

/// How often differences are taken: 0 (distance from the first value), 1 or 2 times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order(u32);

/// Appends all of `integers` but the first to `rests`, as the differences that have the fewest bits.
pub(super) fn differences(integers: &[i64], rests: &mut Vec<i64>) -> Order {
    let order = best_order(integers);
    let Some((&first, later)) = integers.split_first() else { return order };
    let (mut before, mut pace) = (first, 0_i64);
    rests.extend(later.iter().map(|&integer| {
        let difference = integer.wrapping_sub(before);
        let rest = match order.0 {
            0 => integer.wrapping_sub(first),
            1 => difference,
            _ => difference.wrapping_sub(pace),
        };
        (before, pace) = (integer, difference);
        rest
    }));
    order
}

fn best_order(integers: &[i64]) -> Order {
    let first = integers.first().copied().unwrap_or_default();
    let (mut before, mut pace) = (first, 0_i64);
    let mut bits = [0_u64; ORDERS as usize];
    for &integer in integers {
        let difference = integer.wrapping_sub(before);
        let rests = [integer.wrapping_sub(first), difference, difference.wrapping_sub(pace)];
        for (sum, rest) in bits.iter_mut().zip(rests) {
            *sum += u64::from(64 - zigzag(rest).leading_zeros());
        }
        (before, pace) = (integer, difference);
    }
    let [zero, one, two] = bits;
    // Once is what fits most data; the others have to be better.
    Order(if one <= zero && one <= two {
        1
    } else if zero <= two {
        0
    } else {
        2
    })
}

/// The inverse of [`differences`].
pub(super) fn integers(order: Order, first: i64, rests: &[i64]) -> impl Iterator<Item = i64> {
    let (mut before, mut pace) = (first, 0_i64);
    std::iter::once(first).chain(rests.iter().map(move |&rest| {
        let integer = match order.0 {
            0 => first.wrapping_add(rest),
            1 => before.wrapping_add(rest),
            _ => before.wrapping_add(pace).wrapping_add(rest),
        };
        (before, pace) = (integer, integer.wrapping_sub(before));
        integer
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_scale_that_loses_nothing_is_found() {
        let scaled = |values: &[f64]| scale(values, &mut Vec::new()).map(|s| (s.inverse, s.exponent));
        assert_eq!(scaled(&[1.0, -2.0, 3e9]), Some((Inverse::Quotient, 0)));
        assert_eq!(scaled(&[1.0, 21.5, 0.25]), Some((Inverse::Quotient, 2)));
        assert_eq!(scaled(&[57.0 * 0.01, 0.5]), Some((Inverse::Product, 2)));
        assert_eq!(scaled(&[f64::from(21.3_f32), 0.5]), Some((Inverse::Single, 1)));
        assert_eq!(scaled(&[0.1, std::f64::consts::PI]), None);
        assert_eq!(scaled(&[1e300]), None);
        assert_eq!(scaled(&[5e-324]), None);
    }

    #[test]
    fn a_few_values_without_a_place_do_not_spoil_the_scale() {
        assert!(scale(&[0.1, 0.2, -0.0, 0.4], &mut Vec::new()).is_some());
        assert!(scale(&[0.1, -0.0, f64::NAN, 0.4], &mut Vec::new()).is_none());
        assert!(scale(&[f64::NAN], &mut Vec::new()).is_none());
    }

    #[test]
    fn every_encoding_has_a_code_of_one_byte() {
        let mut encodings = vec![Encoding::Doubles, Encoding::Booleans, Encoding::Texts];
        for order in (0..ORDERS).map(Order) {
            encodings.push(Encoding::Integers(order));
            encodings.extend(Scale::all().map(|scale| Encoding::Scaled(scale, order)));
        }
        for encoding in encodings {
            assert!(encoding.code() < 128);
            assert_eq!(Encoding::from_code(encoding.code()), Some(encoding));
        }
        assert_eq!(Encoding::from_code(SCALED + 3 * 10 * ORDERS), None);
    }

    #[test]
    fn differences_of_every_order_come_back() {
        for (order, values) in [
            (1, vec![0, 90, 130, 260, 300, 420, 430, 560]),
            (2, (0..50).map(|i| i * 100_000).collect()),
            (0, (0..50).map(|i| if i % 2 == 0 { 1000 } else { 900 }).collect()),
            (1, vec![i64::MIN, i64::MAX, 0, -1]),
        ] {
            let mut rests = Vec::new();
            let found = differences(&values, &mut rests);
            assert_eq!(integers(found, values[0], &rests).collect::<Vec<_>>(), values);
            if values.len() > 4 {
                assert_eq!(found.0, order, "{values:?}");
            }
        }
    }
}
