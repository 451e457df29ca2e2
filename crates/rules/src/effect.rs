//! What comes out of the engine.

use fieldline_model::{DeviceId, Reading, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AlarmEvent, RuleName, Severity};

/// Names an effect: the same event gives the same id, whichever host evaluates it and however often.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectId(pub String);

/// Whether an event was seen as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// As it happened.
    #[default]
    Live,
    /// It began earlier and lasts still.
    Late,
    /// It was over, or overtaken by newer readings, when it was seen.
    Historical,
}

/// Something for the host to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Its name; a target that has seen it does nothing more.
    pub id: EffectId,
    /// Which rule wants it.
    pub rule: RuleName,
    /// About which device.
    pub device: DeviceId,
    /// Event time.
    pub at: Timestamp,
    /// What.
    pub kind: EffectKind,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// Write a line of the alarm history and tell whoever watches.
    Alarm(Box<AlarmEvent>),
    /// Tell a target.
    Notify(Box<Notification>),
    /// Send a command.
    Command {
        /// To whom.
        device: DeviceId,
        /// Its name.
        command: String,
        /// Its parameters.
        payload: serde_json::Value,
    },
    /// Merge into the desired state of the device's classic shadow.
    Desired {
        /// Whose.
        device: DeviceId,
        /// What.
        state: serde_json::Map<String, serde_json::Value>,
    },
    /// A reading that was calculated.
    Derived(Reading),
}

/// A message for a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The target's name in the host's configuration.
    pub target: String,
    /// What it says.
    pub message: String,
    /// How bad.
    pub severity: Severity,
    /// Whether it is about something that happens now.
    pub mark: Mark,
    /// The alarm that it is about.
    pub event: AlarmEvent,
    /// Told again, since it is still active.
    pub repeated: bool,
}
