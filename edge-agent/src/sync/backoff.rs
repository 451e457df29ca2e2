//! How long to wait before the next attempt: exponential, with full jitter.

use std::time::Duration;

/// The pauses between attempts to connect.
///
/// Attempt `n` waits a random time between zero and `min(longest, first · 2ⁿ)` ("full jitter", as the
/// AWS architecture guide recommends), so that a thousand gateways do not come back in step.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempt: 0 }
    }

    /// The next pause; `random` is uniform in 0..=1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let ceiling = self.first.saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX));
        self.attempt = (self.attempt + 1).min(31);
        ceiling.min(self.longest).mul_f64(random.clamp(0.0, 1.0))
    }

    /// The link has proved itself: begin again with the first pause.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest_and_jitter_spans_them_whole() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        let ceilings: Vec<u64> = (0..9).map(|_| backoff.next(1.0).as_millis() as u64).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        for _ in 0..100 {
            assert_eq!(backoff.next(1.0), Duration::from_secs(60));
        }
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(250));
    }
}
