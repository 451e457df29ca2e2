//! The whole state of an agent at one moment, as `/status` gives it.

use std::collections::BTreeMap;

use fieldline_model::{Books, GatewayId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::intake::counts::LeftOut;
use crate::remote::RemoteState;
use crate::rules::Rules;
use crate::sync::UplinkState;
use crate::things::Shadows;

/// An agent at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Who it is.
    pub gateway: GatewayId,
    /// When this was true.
    pub at: Timestamp,
    /// The books; none in the rare case that commits came too fast to read them.
    pub books: Option<Books>,
    /// What was filtered, by reason.
    pub filtered: BTreeMap<LeftOut, u64>,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// How many it may take.
    pub journal_bytes_max: u64,
    /// When the oldest reading that still waits was written to the journal.
    pub oldest_waiting: Option<Timestamp>,
    /// Series known since the start.
    pub series: usize,
    /// Devices connected by MQTT.
    pub connections: u64,
    /// Why readings cannot be committed at the moment, if so.
    pub trouble: Option<String>,
    /// The uplink.
    pub uplink: UplinkState,
    /// The configuration from afar; none where it is switched off.
    #[serde(default)]
    pub remote: Option<RemoteState>,
    /// The shadows of the devices behind it; none where they are switched off.
    #[serde(default)]
    pub things: Option<Shadows>,
    /// The rules; none where there are no rules.
    #[serde(default)]
    pub rules: Option<Rules>,
}
