//! `[rules]` of `fieldline.toml`.

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
