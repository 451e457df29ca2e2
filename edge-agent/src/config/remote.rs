//! What can be set of the configuration from afar.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::sources::password::Place;

/// The configuration from afar: the shadow `config` of the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteSettings {
    /// Whether the gateway takes its configuration from its shadow `config`. By default it does, but with AWS
    /// IoT Core, which ends the connection of a gateway whose policy does not allow the shadow's topics.
    pub enabled: Option<bool>,
    /// How long a new configuration has to reach the server; then the one before is taken up again.
    #[serde(with = "humantime_serde")]
    pub confirm_within: Duration,
    /// The folder below which files have to lie that a configuration from afar names (`password_file` of a broker):
    /// by default `secrets` beside the gateway's own file. Where there is none, no file can be named.
    pub secrets_dir: Option<PathBuf>,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self { enabled: None, confirm_within: Duration::from_secs(300), secrets_dir: None }
    }
}

impl RemoteSettings {
    /// Whether it is to be used with this server.
    pub(crate) fn is_enabled(&self, aws: bool) -> bool {
        self.enabled.unwrap_or(!aws)
    }

    /// Takes the folder of secrets beside the gateway's own file, where that file names no other.
    pub fn keep_secrets_beside(&mut self, file: &Path) {
        let beside = file.parent().unwrap_or(Path::new("")).join("secrets");
        self.secrets_dir.get_or_insert(beside);
    }

    /// Where files may lie that a configuration from afar names.
    pub(crate) fn place(&self) -> Place {
        self.secrets_dir.clone().map_or(Place::Nowhere, Place::Below)
    }
}
