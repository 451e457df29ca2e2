//! What can be set of the configuration from afar.

use std::time::Duration;

use serde::Deserialize;

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
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self { enabled: None, confirm_within: Duration::from_secs(300) }
    }
}

impl RemoteSettings {
    /// Whether it is to be used with this server.
    pub(crate) fn is_enabled(&self, aws: bool) -> bool {
        self.enabled.unwrap_or(!aws)
    }
}
