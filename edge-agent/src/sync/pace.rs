//! How fast a connection may send: token buckets of bytes and messages, and a ceiling for any second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The pace of one connection.
///
/// Live blocks may put the buckets into debt; backlog waits until both are out of debt. So the sum
/// keeps to the pace, and it is the backlog that gives way. Two things hold live blocks too, since
/// AWS IoT Core drops or delays what is beyond: the number of messages in any one second, and a debt
/// of more than a second's bytes.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes: Bucket,
    messages: Bucket,
    second: Second,
}

/// The messages of the last second.
#[derive(Debug)]
struct Second {
    messages_max: usize,
    sent: VecDeque<Instant>,
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    level: f64,
    filled: Instant,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64, messages_per_second: u32, now: Instant) -> Self {
        Self {
            bytes: Bucket::new(bytes_per_second as f64, now),
            messages: Bucket::new(f64::from(messages_per_second), now),
            second: Second { messages_max: messages_per_second as usize, sent: VecDeque::new() },
        }
    }

    /// A block of so many bytes goes out.
    pub(crate) fn spend(&mut self, bytes: usize, now: Instant) {
        self.bytes.spend(bytes as f64, now);
        self.messages.spend(1.0, now);
        self.second.spend(now);
    }

    /// How long backlog has to wait; zero if it may go now.
    pub(crate) fn backlog_wait(&mut self, now: Instant) -> Duration {
        self.bytes.wait(0.0, now).max(self.messages.wait(1.0, now)).max(self.wait(now))
    }

    /// How long anything has to wait, live or not; zero if it may go now.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        let debt_max = -self.bytes.per_second;
        self.bytes.wait(debt_max, now).max(self.second.wait(now))
    }
}

/// A little more than a second: what is sent evenly arrives unevenly.
const SECOND: Duration = Duration::from_millis(1_050);

impl Second {
    fn spend(&mut self, now: Instant) {
        while self.sent.len() >= self.messages_max.max(1) {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    fn wait(&self, now: Instant) -> Duration {
        match self.sent.front() {
            Some(oldest) if self.sent.len() >= self.messages_max => {
                (*oldest + SECOND).saturating_duration_since(now)
            }
            _ => Duration::ZERO,
        }
    }
}

impl Bucket {
    /// Holds at most a second's worth, so that a pause does not end in a flood.
    fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, level: per_second.min(1.0), filled: now }
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + elapsed * self.per_second).min(self.per_second);
        self.filled = now;
    }

    fn spend(&mut self, amount: f64, now: Instant) {
        self.fill(now);
        self.level -= amount;
    }

    fn wait(&mut self, needed: f64, now: Instant) -> Duration {
        self.fill(now);
        let missing = needed - self.level;
        if missing <= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(missing / self.per_second) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends blocks of `size` for `seconds` and says how many bytes and messages went.
    fn run(mut pace: Pace, size: usize, seconds: u64, start: Instant) -> (usize, usize) {
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(seconds) {
            let wait = pace.backlog_wait(now);
            if wait.is_zero() {
                pace.spend(size, now);
                sent += 1;
            }
            now += wait.max(Duration::from_micros(100));
        }
        (sent * size, sent)
    }

    #[test]
    fn backlog_keeps_to_the_tighter_of_the_two_paces() {
        let start = Instant::now();
        let (bytes, _) = run(Pace::new(512_000, 100, start), 90_000, 60, start);
        assert!((30_000_000..=31_400_000).contains(&bytes), "{bytes}");
        let (_, messages) = run(Pace::new(512_000, 100, start), 200, 60, start);
        assert!((5_600..=6_110).contains(&messages), "{messages}");
    }

    #[test]
    fn live_goes_into_debt_and_the_backlog_pays() {
        let start = Instant::now();
        let mut pace = Pace::new(1_000, 100, start);
        pace.spend(3_000, start);
        let wait = pace.backlog_wait(start);
        assert!((2.9..=3.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(pace.backlog_wait(start + wait + Duration::from_millis(1)).is_zero());
    }

    #[test]
    fn no_second_has_more_messages_than_allowed_not_even_live_ones_after_a_rest() {
        let start = Instant::now();
        let mut pace = Pace::new(512_000, 100, start);
        let (mut now, mut sent) = (start + Duration::from_secs(60), Vec::new());
        while sent.len() < 1_000 {
            let wait = pace.wait(now);
            if wait.is_zero() {
                pace.spend(100, now);
                sent.push(now);
            }
            now += wait.max(Duration::from_micros(100));
        }
        let fullest = sent.windows(101).map(|some| some[100] - some[0]).min().unwrap();
        assert!(fullest > Duration::from_secs(1), "101 messages within {fullest:?}");
    }

    #[test]
    fn live_runs_a_second_ahead_and_no_further() {
        let start = Instant::now();
        let mut pace = Pace::new(1_000, 100, start);
        pace.spend(900, start);
        assert!(pace.wait(start).is_zero());
        pace.spend(1_100, start);
        let wait = pace.wait(start);
        assert!((0.9..=1.1).contains(&wait.as_secs_f64()), "{wait:?}");
    }

    #[test]
    fn an_hour_of_rest_saves_up_one_second_only() {
        let start = Instant::now();
        let mut pace = Pace::new(1_000, 100, start);
        let later = start + Duration::from_secs(3_600);
        assert!(pace.backlog_wait(later).is_zero());
        pace.spend(1_000, later);
        pace.spend(500, later);
        assert!(pace.backlog_wait(later) >= Duration::from_millis(499));
    }
}
