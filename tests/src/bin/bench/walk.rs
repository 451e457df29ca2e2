//! The random-walk set: 1,000 series at 1 s, steps of a normal distribution with σ = 10 units of
//! 0.01. The entropy of a step is 0.671 bytes.

use fieldline_tests::random::Random;

/// How many series there are.
pub(crate) const SERIES: usize = 1_000;

/// The set, second by second.
#[derive(Debug)]
pub(crate) struct Walk {
    random: Random,
    positions: Vec<i64>,
}

impl Walk {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), positions: vec![0; SERIES] }
    }

    /// The next second's value of each series.
    pub(crate) fn step(&mut self) -> Vec<f64> {
        for position in &mut self.positions {
            *position += (self.random.normal() * 10.0).round() as i64;
        }
        self.positions.iter().map(|position| *position as f64 / 100.0).collect()
    }
}

/// The time of the first second: old enough to be past, and a full hour.
pub(crate) const BASE_S: i64 = 1_760_004_000;
