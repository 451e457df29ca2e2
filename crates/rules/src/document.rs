//! What a rule says, as its author writes it in TOML or JSON.

mod read;

use std::collections::BTreeMap;
use std::time::Duration;

use fieldline_model::{DeviceId, Pattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::read::{DOCUMENT_BYTES_MAX, DocumentError};

/// The name of a rule: 1 to 64 of `a-z A-Z 0-9 : _ -`.
pub type RuleName = String;

/// A file of rules: `[[rules]]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Documents {
    /// The rules, in any order.
    pub rules: Vec<Rule>,
}

/// Where a rule is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// On the gateway beside the devices, also with the line cut.
    Edge,
    /// In the server on site or, where the functions run on AWS Lambda, there.
    #[default]
    Server,
}

/// How bad it is; the greater, the worse.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look at it in working hours.
    #[default]
    Warning,
    /// Somebody has to act now.
    Critical,
}

/// One rule. It has one instance for each device that it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// What it is good for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it runs.
    #[serde(default)]
    pub runs: Host,
    /// Which devices, `*` for any run of characters; a device that matches one of them.
    #[serde(default = "any_device")]
    #[schemars(with = "Vec<String>")]
    pub devices: Vec<Pattern>,
    /// Only devices of one of these thing groups; empty: whatever their group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// A condition in CEL: it is evaluated when a metric that it names has a new value.
    pub when: String,
    /// What ends it, in CEL; without: `when` holds no longer. Both together are a hysteresis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<String>,
    /// How long `when` must hold before the alarm is raised.
    #[serde(default, rename = "for", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub hold: Duration,
    /// How long the alarm stays after the condition has ended.
    #[serde(default, with = "humantime_serde")]
    #[schemars(with = "String")]
    pub keep_firing_for: Duration,
    /// Tell again when it is still active this long after it was last told; none: once.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub renotify: Option<Duration>,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// When the rule is in force; none: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Do not raise it while one of these rules has an active alarm of the same device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless_firing: Vec<RuleName>,
    /// How far a reading may lie behind the newest one of its device and still count as live. What lies
    /// further behind is evaluated as history.
    #[serde(default, with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lateness: Duration,
    /// Notify also of alarms that were over before anybody could have been told.
    #[serde(default)]
    pub notify_history: bool,
    /// What is done when the alarm is raised (and, for those that say so, cleared).
    #[serde(default, rename = "then", skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

fn any_device() -> Vec<Pattern> {
    vec![Pattern::any()]
}

/// Time windows in which a rule is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// An IANA time zone, such as `Europe/Berlin`.
    pub zone: String,
    /// Days of the week, `mon` to `sun`; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// From this time of day on, `HH:MM`.
    pub from: String,
    /// Up to, and not including, this time of day; before `from`: of the next day.
    pub to: String,
}

/// What to do. Texts are templates: `{{device}}`, `{{rule}}`, `{{severity}}`, `{{state}}`, `{{time}}`, and the
/// metrics and functions of the condition by their source text, `{{temperature}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Action {
    /// Tell a target of the host's configuration, when the alarm is raised and when it is cleared.
    Notify {
        /// The target's name, as the host's configuration calls it.
        target: String,
        /// What it says; a sentence is made when it is empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
    },
    /// Send a command when the alarm is raised.
    Command {
        /// Who gets it; the device of the alarm when it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        device: Option<DeviceId>,
        /// The command's name.
        command: String,
        /// Its parameters.
        #[serde(default)]
        payload: serde_json::Value,
    },
    /// Set a part of the desired state of the device's classic shadow when the alarm is raised.
    Desired {
        /// Who is meant; the device of the alarm when it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        device: Option<DeviceId>,
        /// What is merged into `desired`.
        state: BTreeMap<String, serde_json::Value>,
    },
    /// Make a metric of the value of a CEL expression, each time it is evaluated.
    Derive {
        /// The name of the new metric of the same device.
        metric: String,
        /// The expression.
        value: String,
    },
}
