//! `[rules]` and `[targets]` of `fieldline.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Rules, and the alarms that come of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesSettings {
    /// A folder with files of rules (`*.toml`, `*.json`), beside `server/rules/` in the data folder.
    pub folder: Option<PathBuf>,
    /// How often the folders are looked at for files that have changed, such as `"2s"`; `"off"`: only when
    /// told to (SIGHUP, `fieldline rules reload`). 100 ms to a day.
    #[serde(deserialize_with = "super::duration_or_off")]
    pub look_every: Option<Duration>,
    /// Lines of the alarm history that are kept; the oldest go first.
    pub history_lines_max: usize,
    /// Days that the alarm history is kept.
    pub history_days_max: u32,
}

impl RulesSettings {
    /// The folders with files of rules.
    pub(crate) fn folders(&self, data: &Path) -> Vec<PathBuf> {
        std::iter::once(data.join("server").join("rules")).chain(self.folder.clone()).collect()
    }
}

impl Default for RulesSettings {
    fn default() -> Self {
        Self {
            folder: None,
            look_every: Some(Duration::from_secs(2)),
            history_lines_max: 20_000,
            history_days_max: 365,
        }
    }
}

/// Somebody whom rules tell: `[targets.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum TargetSettings {
    /// A topic on the server's own broker.
    Mqtt {
        /// The topic, without wildcards; none of those that the server keeps for itself.
        topic: String,
    },
}

impl TargetSettings {
    /// What is wrong with it.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Mqtt { topic } => {
                let plain = !topic.is_empty() && topic.len() <= 256 && !topic.contains(['+', '#', '\0']);
                let free = !topic.starts_with('$') && !crate::access::is_reserved(topic);
                (!plain || !free).then_some(
                    "topic is 1 to 256 bytes without wildcards, and begins with neither $ nor fieldline/",
                )
            }
        }
    }
}
