//! How much one target is told.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{ConfigError, Undelivered};

const HOUR: Duration = Duration::from_secs(3600);
const MAX: u32 = 100_000;

/// How many notifications one target gets. What is beyond is not lost: it is told later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_hour: u32,
    /// At once, after a time of quiet.
    pub burst: u32,
}

impl Rate {
    /// Looks whether it is one.
    ///
    /// # Errors
    /// It is not 1 to 100,000 an hour, with as many at once.
    pub fn check(self) -> Result<(), ConfigError> {
        let allowed = 1..=MAX;
        let fine = allowed.contains(&self.per_hour) && allowed.contains(&self.burst);
        if fine { Ok(()) } else { Err(ConfigError::Rate) }
    }
}

/// A bucket of tokens: one goes with each notification, and they come back evenly.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Between one token and the next.
    pause: Duration,
    /// How far ahead of the even pace it may be.
    ahead_max: Duration,
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Result<Self, ConfigError> {
        rate.check()?;
        let pause = HOUR / rate.per_hour;
        Ok(Self { pause, ahead_max: pause * (rate.burst - 1), full_at: None })
    }

    /// Takes a token, or says how long there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        let ahead = full_at.saturating_duration_since(now);
        if ahead > self.ahead_max {
            return Err(ahead - self.ahead_max);
        }
        self.full_at = Some(full_at + self.pause);
        Ok(())
    }

    /// The token was not used.
    pub(crate) fn give_back(&mut self) {
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(self.pause));
    }
}

/// The rate of one target, if it has one.
#[derive(Debug)]
pub(crate) struct Limit(Option<Mutex<Bucket>>);

impl Limit {
    pub(crate) fn new(rate: Option<Rate>) -> Result<Self, ConfigError> {
        Ok(Self(rate.map(Bucket::new).transpose()?.map(Mutex::new)))
    }

    /// Room for one notification.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Undelivered> {
        let Some(bucket) = &self.0 else { return Ok(()) };
        let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now);
        taken.map_err(|wait| Undelivered::later(format!("the target's rate is used up for {wait:?}")))
    }

    /// What was not delivered comes again, and does not count twice.
    pub(crate) fn settle(&self, sent: &Result<(), Undelivered>) {
        if let (Some(bucket), Err(Undelivered::Later(_))) = (&self.0, sent) {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_evenly() {
        let mut bucket = Bucket::new(Rate { per_hour: 60, burst: 3 }).unwrap();
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        for _ in 0..3 {
            bucket.take(start).unwrap();
        }
        assert_eq!(bucket.take(start), Err(minute));
        assert_eq!(bucket.take(start + minute / 2), Err(minute / 2));
        bucket.take(start + minute).unwrap();
        assert_eq!(bucket.take(start + minute), Err(minute));
        bucket.give_back();
        bucket.take(start + minute).unwrap();
        // After a long quiet it is a burst again, and no more.
        let later = start + HOUR * 10;
        let taken = (0..10).filter(|_| bucket.take(later).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_rate_has_bounds() {
        for (per_hour, burst, fine) in
            [(1, 1, true), (MAX, MAX, true), (0, 1, false), (1, 0, false), (1, MAX + 1, false)]
        {
            assert_eq!(Bucket::new(Rate { per_hour, burst }).is_ok(), fine, "{per_hour} {burst}");
        }
    }
}
