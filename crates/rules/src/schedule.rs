//! When a rule is in force.

use fieldline_model::Timestamp;

use crate::Schedule;

/// A schedule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(pub String);

/// A [`Schedule`], ready to be asked.
#[derive(Debug, Clone)]
pub struct Calendar {}

impl Calendar {
    /// Reads a schedule.
    ///
    /// # Errors
    /// An unknown zone or day, a time of day that is none, an empty window.
    pub fn new(_schedule: &Schedule) -> Result<Self, ScheduleError> {
        Ok(Self {})
    }

    /// Whether the rule is in force at this time.
    pub fn in_force(&self, _at: Timestamp) -> bool {
        true
    }

    /// The first time after `at` at which [`Calendar::in_force`] says something else; none within 400 days.
    pub fn next_change(&self, _at: Timestamp) -> Option<Timestamp> {
        None
    }
}
