//! When an alarm is raised and when it returns: the part of an instance that knows times only.

use serde::{Deserialize, Serialize};

/// Where an instance stands. Times are event times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Nothing is the case.
    #[default]
    Idle,
    /// The condition holds since then, and not long enough yet.
    Pending { since: i64 },
    /// The alarm is raised; its condition has ended then and may come back.
    Active { ending: Option<i64> },
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The alarm is raised at this time.
    Raise(i64),
    /// It returns at this time.
    Return(i64),
}

/// What an evaluation has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether the condition holds; none: unknown.
    pub(crate) holds: Option<bool>,
    /// Whether what ends it is the case; none: unknown.
    pub(crate) ends: Option<bool>,
    /// Whether it may be raised: in force by its schedule, and nothing that it depends on is active.
    pub(crate) allowed: bool,
}

/// How long things take, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) hold: i64,
    pub(crate) keep: i64,
}

impl Phase {
    /// Takes an evaluation at this time.
    pub(crate) fn observe(&mut self, at: i64, found: Found, timing: Timing) -> Option<Step> {
        match *self {
            Self::Idle if found.holds == Some(true) && found.allowed => {
                if timing.hold == 0 {
                    return self.raise(at);
                }
                *self = Self::Pending { since: at };
                None
            }
            Self::Pending { .. } if found.holds == Some(false) || !found.allowed => {
                *self = Self::Idle;
                None
            }
            Self::Pending { since }
                if found.holds == Some(true) && at.saturating_sub(since) >= timing.hold =>
            {
                self.raise(since.saturating_add(timing.hold))
            }
            Self::Active { ending } => {
                let ending = match (found.ends, found.holds) {
                    (Some(true), _) => Some(ending.unwrap_or(at)),
                    (_, Some(true)) => None,
                    _ => ending,
                };
                *self = Self::Active { ending };
                let over = ending.filter(|since| at.saturating_sub(*since) >= timing.keep)?;
                self.end(over.saturating_add(timing.keep))
            }
            _ => None,
        }
    }

    /// The time at which something happens if no reading comes.
    pub(crate) fn deadline(&self, timing: Timing) -> Option<i64> {
        match self {
            Self::Pending { since } => Some(since.saturating_add(timing.hold)),
            Self::Active { ending: Some(since) } => Some(since.saturating_add(timing.keep)),
            _ => None,
        }
    }

    /// The deadline has come, and what was found last still stands.
    pub(crate) fn elapse(&mut self, timing: Timing, allowed: bool) -> Option<Step> {
        let deadline = self.deadline(timing)?;
        match self {
            Self::Pending { .. } if allowed => self.raise(deadline),
            Self::Pending { .. } => {
                *self = Self::Idle;
                None
            }
            _ => self.end(deadline),
        }
    }

    fn raise(&mut self, at: i64) -> Option<Step> {
        *self = Self::Active { ending: None };
        Some(Step::Raise(at))
    }

    fn end(&mut self, at: i64) -> Option<Step> {
        *self = Self::Idle;
        Some(Step::Return(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOT: Found = Found { holds: Some(false), ends: Some(true), allowed: true };
    const YES: Found = Found { holds: Some(true), ends: Some(false), allowed: true };
    const BETWEEN: Found = Found { holds: Some(false), ends: Some(false), allowed: true };
    const UNKNOWN: Found = Found { holds: None, ends: None, allowed: true };

    fn run(timing: Timing, steps: &[(i64, Found)]) -> Vec<Step> {
        let mut phase = Phase::default();
        steps.iter().filter_map(|(second, found)| phase.observe(second * SECOND, *found, timing)).collect()
    }

    #[test]
    fn an_alarm_is_raised_at_once_or_when_its_time_has_passed() {
        let at_once = Timing { hold: 0, keep: 0 };
        assert_eq!(
            run(at_once, &[(1, NOT), (2, YES), (3, YES), (4, NOT)]),
            [Step::Raise(2 * SECOND), Step::Return(4 * SECOND)]
        );
        let held = Timing { hold: 10 * SECOND, keep: 0 };
        assert_eq!(run(held, &[(1, YES), (9, YES), (10, NOT), (11, YES), (20, YES)]), []);
        assert_eq!(run(held, &[(1, YES), (30, YES)]), [Step::Raise(11 * SECOND)]);
        assert_eq!(run(held, &[(1, YES), (5, UNKNOWN), (30, YES)]), [Step::Raise(11 * SECOND)]);
    }

    #[test]
    fn hysteresis_and_keeping_hold_it_up() {
        let at_once = Timing { hold: 0, keep: 0 };
        assert_eq!(run(at_once, &[(1, YES), (2, BETWEEN), (3, UNKNOWN)]), [Step::Raise(SECOND)]);
        let kept = Timing { hold: 0, keep: 10 * SECOND };
        let steps = [(1, YES), (5, NOT), (8, YES), (10, NOT), (15, NOT), (25, NOT)];
        assert_eq!(run(kept, &steps), [Step::Raise(SECOND), Step::Return(20 * SECOND)]);
    }

    #[test]
    fn what_may_not_be_raised_is_not() {
        let at_once = Timing { hold: 0, keep: 0 };
        let forbidden = Found { allowed: false, ..YES };
        assert_eq!(run(at_once, &[(1, forbidden), (2, YES)]), [Step::Raise(2 * SECOND)]);
        let mut phase = Phase::Pending { since: 0 };
        assert_eq!(phase.elapse(Timing { hold: SECOND, keep: 0 }, false), None);
        assert_eq!(phase, Phase::Idle);
    }

    #[test]
    fn deadlines_come_by_themselves() {
        let timing = Timing { hold: 10, keep: 20 };
        let mut phase = Phase::Pending { since: 5 };
        assert_eq!((phase.deadline(timing), phase.elapse(timing, true)), (Some(15), Some(Step::Raise(15))));
        assert_eq!(phase.deadline(timing), None);
        phase.observe(30, NOT, timing);
        assert_eq!((phase.deadline(timing), phase.elapse(timing, true)), (Some(50), Some(Step::Return(50))));
    }
}
