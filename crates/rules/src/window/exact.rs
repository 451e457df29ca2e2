//! Sums without rounding: adding and taking away in any order leaves no trace of the order.

/// Bits of a digit.
const DIGIT: usize = 32;
/// The weight of the lowest bit of a sum is 2 to the power of minus this: the smallest subnormal.
const UNIT: i32 = 1074;

/// An exact sum of floats: signed digits to the base 2³², carried only when it is read. A digit takes less than
/// 2³² from each term, so there is room for 2³¹ terms.
#[derive(Debug, Clone, Default)]
pub(super) struct Exact {
    /// Position of the first digit that is kept.
    low: usize,
    digits: Vec<i64>,
}

/// Mantissa and the position of its lowest bit above 2⁻¹⁰⁷⁴.
fn parts(value: f64) -> (u64, usize) {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    match exponent {
        0 => (fraction, 0),
        _ => (fraction | 1 << 52, usize::try_from(exponent - 1).unwrap_or(0)),
    }
}

impl Exact {
    /// Adds a finite value, or takes it away.
    pub(super) fn add(&mut self, value: f64, take: bool) {
        let (mantissa, position) = parts(value);
        self.put(u128::from(mantissa), position, (value < 0.0) != take);
    }

    /// Adds the square of a finite value, or takes it away; in a sum of squares the unit is 2⁻²¹⁴⁸.
    pub(super) fn add_square(&mut self, value: f64, take: bool) {
        let (mantissa, position) = parts(value);
        let square = u128::from(mantissa) * u128::from(mantissa);
        self.put(square, 2 * position, take);
    }

    fn put(&mut self, mut mantissa: u128, position: usize, negative: bool) {
        if mantissa == 0 {
            return;
        }
        let mut digit = position / DIGIT;
        // At most 106 bits; the lowest ones are shifted within the first digit so that nothing overflows.
        let shift = position % DIGIT;
        let lowest = mantissa & ((1 << (DIGIT - shift)) - 1);
        self.put_digit(digit, (lowest << shift) as i64, negative);
        mantissa >>= DIGIT - shift;
        while mantissa != 0 {
            digit += 1;
            self.put_digit(digit, i64::from(mantissa as u32), negative);
            mantissa >>= DIGIT;
        }
    }

    fn put_digit(&mut self, at: usize, value: i64, negative: bool) {
        if value == 0 {
            return;
        }
        if self.digits.is_empty() {
            self.low = at;
        }
        if at < self.low {
            self.digits.splice(0..0, std::iter::repeat_n(0, self.low - at));
            self.low = at;
        }
        let index = at - self.low;
        if index >= self.digits.len() {
            self.digits.resize(index + 1, 0);
        }
        if let Some(digit) = self.digits.get_mut(index) {
            *digit += if negative { -value } else { value };
        }
    }

    /// The sign and the digits after carrying.
    fn magnitude(&self) -> (bool, Magnitude) {
        match self.carried(false) {
            Some(digits) => (false, digits),
            None => (true, self.carried(true).unwrap_or_default()),
        }
    }

    /// The digits of the sum (or of its negative); none when that is below zero.
    fn carried(&self, negate: bool) -> Option<Magnitude> {
        let mut digits = Vec::with_capacity(self.digits.len() + 2);
        let mut carry = 0_i64;
        for digit in &self.digits {
            let sum = carry + if negate { -digit } else { *digit };
            digits.push(sum.rem_euclid(1 << DIGIT) as u32);
            carry = sum.div_euclid(1 << DIGIT);
        }
        if carry < 0 {
            return None;
        }
        digits.push(carry as u32);
        digits.push((carry >> DIGIT) as u32);
        Some(Magnitude { low: self.low, digits })
    }

    /// The sum, rounded once to the nearest; infinite beyond the range.
    pub(super) fn sum(&self) -> f64 {
        let (negative, digits) = self.magnitude();
        let value = digits.rounded(UNIT);
        if negative { -value } else { value }
    }

    /// n·Σx² − (Σx)², without rounding until the end, where `self` is the sum and `squares` that of the squares.
    pub(super) fn spread(&self, squares: &Self, count: usize) -> f64 {
        let scaled = squares.magnitude().1.times(count as u64);
        scaled.minus(&self.magnitude().1.squared()).rounded(2 * UNIT)
    }
}

/// A natural number: digits from the lowest on, times 2^(32·low).
#[derive(Debug, Default)]
struct Magnitude {
    low: usize,
    digits: Vec<u32>,
}

impl Magnitude {
    fn digit(&self, at: usize) -> u32 {
        at.checked_sub(self.low).and_then(|index| self.digits.get(index)).copied().unwrap_or(0)
    }

    fn end(&self) -> usize {
        self.low + self.digits.len()
    }

    fn times(&self, factor: u64) -> Self {
        let mut digits = Vec::with_capacity(self.digits.len() + 2);
        let mut carry = 0_u128;
        for digit in &self.digits {
            carry += u128::from(*digit) * u128::from(factor);
            digits.push(carry as u32);
            carry >>= DIGIT;
        }
        digits.extend([carry as u32, (carry >> DIGIT) as u32]);
        Self { low: self.low, digits }
    }

    fn squared(&self) -> Self {
        let mut digits = vec![0_u32; 2 * self.digits.len() + 1];
        for (i, a) in self.digits.iter().enumerate().filter(|(_, digit)| **digit != 0) {
            let mut carry = 0_u64;
            for (j, slot) in digits.iter_mut().skip(i).enumerate() {
                let b = self.digits.get(j).copied().unwrap_or(0);
                // At most (2³²−1)² + 2·(2³²−1), which is 2⁶⁴−1.
                carry += u64::from(*a) * u64::from(b) + u64::from(*slot);
                *slot = carry as u32;
                carry >>= DIGIT;
            }
        }
        Self { low: 2 * self.low, digits }
    }

    /// The difference; `other` is not the greater one.
    fn minus(&self, other: &Self) -> Self {
        let low = self.low.min(other.low);
        let mut borrow = 0_i64;
        let mut digits = Vec::new();
        for at in low..self.end().max(other.end()) {
            let difference = i64::from(self.digit(at)) - i64::from(other.digit(at)) + borrow;
            digits.push(difference.rem_euclid(1 << DIGIT) as u32);
            borrow = difference.div_euclid(1 << DIGIT);
        }
        Self { low, digits }
    }

    /// The nearest float; `unit` is the negative exponent of the lowest bit.
    fn rounded(&self, unit: i32) -> f64 {
        let Some(top) = self.digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        let first = top.saturating_sub(3);
        let kept = self.digits.iter().take(top + 1).skip(first).rev();
        let mut head = kept.fold(0_u128, |head, digit| head << DIGIT | u128::from(*digit));
        // What is cut off only matters when the rest lies half way between two floats.
        if self.digits.iter().take(first).any(|digit| *digit != 0) {
            head |= 1;
        }
        let mut exponent = i32::try_from((self.low + first) * DIGIT).unwrap_or(i32::MAX) - unit;
        let mut value = head as f64;
        while exponent != 0 {
            let step = exponent.clamp(-900, 900);
            value *= 2_f64.powi(step);
            exponent -= step;
        }
        value
    }
}
