//! What can be set of the commands for devices.

use serde::Deserialize;

/// The commands for the devices behind the gateway: heard from the server, and answered to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandsSettings {
    /// Whether devices get commands through this gateway. Where nothing is said they do, but not with AWS IoT
    /// Core, which ends the connection of a gateway whose policy does not allow it its devices' topics.
    pub enabled: Option<bool>,
    /// How many devices can have commands, one subscription each. AWS IoT Core takes 50 on a connection, so
    /// there it can be at most 45 together with `things.subscriptions_max`.
    pub devices_max: usize,
}

impl Default for CommandsSettings {
    fn default() -> Self {
        Self { enabled: None, devices_max: 40 }
    }
}

impl CommandsSettings {
    /// Whether they are on with this server.
    pub(crate) fn enabled(&self, aws: bool) -> bool {
        self.enabled.unwrap_or(!aws)
    }
}
