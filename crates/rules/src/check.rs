//! What is wrong, or odd, about documents, before they are put in force.

use serde::Serialize;

use crate::Documents;
use crate::condition::Position;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// The rule cannot be used.
    Error,
    /// It can be used; perhaps not as it is meant.
    Warning,
    /// What it costs.
    Note,
}

/// Something about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name, as it is written.
    pub rule: String,
    /// How much it matters.
    pub severity: FindingSeverity,
    /// Which key of the rule.
    pub key: &'static str,
    /// Where in the text of that key.
    pub position: Option<Position>,
    /// What.
    pub text: String,
}

/// Checks documents by themselves and, where the metrics are known, against these.
pub fn check(_documents: &Documents, _known_metrics: Option<&dyn Fn(&str) -> bool>) -> Vec<Finding> {
    Vec::new()
}
