//! Alarms as operators know them (ANSI/ISA-18.2, IEC 62682).

use fieldline_model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Mark, RuleName, Severity};

/// The states of ISA-18.2 that an alarm passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// Nothing is wrong, and everything has been acknowledged.
    Normal,
    /// The condition holds and nobody has acknowledged it.
    ActiveUnacknowledged,
    /// The condition holds and somebody has acknowledged it.
    ActiveAcknowledged,
    /// The condition holds no longer, and nobody has acknowledged that it did.
    ReturnedUnacknowledged,
}

/// Taken out of sight by an operator until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelved {
    /// It comes back by itself then.
    pub until: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Taken out of service by an operator, until an operator says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// Since when.
    pub since: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What operators have put aside of a rule and a device. It outlasts the alarm at which they did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// The rule.
    pub rule: RuleName,
    /// The device.
    pub device: DeviceId,
    /// For a while.
    #[serde(default)]
    pub shelved: Option<Shelved>,
    /// Until an operator says otherwise.
    #[serde(default)]
    pub suppressed: Option<Suppressed>,
}

/// One alarm: one rule and one device, from being raised until it is normal again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// `<rule>/<device>/<event time in ms at which it was raised>`.
    pub id: String,
    /// Its rule.
    pub rule: RuleName,
    /// Its device.
    pub device: DeviceId,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlarmState,
    /// Event time at which it was raised.
    pub raised_at: Timestamp,
    /// Event time at which its condition ended.
    pub returned_at: Option<Timestamp>,
    /// Found in readings that came too late for anybody to be told.
    pub mark: Mark,
    /// What was the case when it was raised: source text and value of each metric and function.
    #[serde(default)]
    pub values: Vec<(String, String)>,
    /// Out of sight until then.
    pub shelved: Option<Shelved>,
    /// Out of service: nobody is told of it until an operator says otherwise.
    pub suppressed: bool,
}

/// What happened to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// The condition has come to hold.
    Raised,
    /// The condition has ceased to hold.
    Returned,
    /// An operator has taken note.
    Acknowledged,
    /// An operator has put it out of sight.
    Shelved,
    /// It is in sight again.
    Unshelved,
    /// An operator has taken it out of service.
    Suppressed,
    /// It is in service again.
    Unsuppressed,
    /// A backlog has raised it, and it lasts now that its device has caught up.
    Overdue,
    /// An operator has remarked on it.
    Commented,
}

/// A line of the alarm history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmEvent {
    /// What happened.
    pub transition: Transition,
    /// When: event time of the readings; for operators, their time.
    pub at: Timestamp,
    /// Who, for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What was said, for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The alarm afterwards.
    pub alarm: Alarm,
}

/// What an operator does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "operation")]
pub enum Operation {
    /// Takes note of it.
    Acknowledge {
        /// What is said.
        #[serde(default)]
        comment: Option<String>,
    },
    /// Puts alarms of this rule and this device out of sight; nobody is told of one meanwhile.
    Shelve {
        /// It comes back by itself then.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// Brings it back into sight.
    Unshelve,
    /// Takes the rule out of service for this device; nobody is told of an alarm meanwhile.
    Suppress {
        /// Why.
        reason: String,
    },
    /// Puts it into service again.
    Unsuppress,
    /// Remarks on it.
    Comment {
        /// What is said.
        comment: String,
    },
}
