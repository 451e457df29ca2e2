//! What can be set of the shadows of devices.

use serde::Deserialize;

/// AWS IoT Core takes 50 subscriptions on a connection; some are the gateway's own.
pub(super) const SUBSCRIPTIONS_MAX_AWS: usize = 45;
/// `fieldline serve` takes 100 in a session by default,
/// and up to 40 are for commands.
const SUBSCRIPTIONS_MAX_ON_SITE: usize = 50;

/// The shadows of the devices behind the gateway: kept here, and brought together with the cloud's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThingsSettings {
    /// Whether devices have shadows here.
    pub enabled: bool,
    /// How many shadows there may be, all devices together.
    pub shadows_max: usize,
    /// How many filters may be subscribed to: one for a device's classic shadow, one for all its named ones.
    /// Shadows that find no room are kept here only. Where none is given: 50, and beyond that two filters for
    /// every thing there is; but none with AWS IoT Core, which ends the connection of a gateway whose policy
    /// does not allow them. It takes 50 on a connection, so at most 45 can be given there.
    pub subscriptions_max: Option<usize>,
    /// Subscribe to the shadows of every thing there is, with two filters: right where most things are behind
    /// this gateway, and wrong in an account with many others.
    pub subscribe_to_every_thing: bool,
}

impl Default for ThingsSettings {
    fn default() -> Self {
        Self { enabled: true, shadows_max: 10_000, subscriptions_max: None, subscribe_to_every_thing: false }
    }
}

impl ThingsSettings {
    /// How many filters there may be with this server.
    pub(crate) fn subscriptions_max(&self, aws: bool) -> usize {
        self.subscriptions_max.unwrap_or(if aws { 0 } else { SUBSCRIPTIONS_MAX_ON_SITE })
    }
}
