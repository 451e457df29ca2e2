//! What the uplink lets others know of itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fieldline_model::Timestamp;
use serde::{Deserialize, Serialize};

/// The uplink at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UplinkState {
    /// The server, as configured; none if the agent only buffers.
    pub server: Option<String>,
    /// Since when the link has been up.
    pub connected_since: Option<Timestamp>,
    /// Since when it has been down, where it was up before.
    pub down_since: Option<Timestamp>,
    /// Why the last connection or attempt ended.
    pub last_error: Option<String>,
    /// When the next attempt is due.
    pub next_attempt: Option<Timestamp>,
    /// Attempts since the link was last up.
    pub attempts: u64,
    /// Blocks sent since the start.
    pub blocks_sent: u64,
    /// Of those, sent again because the store was silent.
    pub blocks_sent_again: u64,
    /// Readings sent since the start.
    pub readings_sent: u64,
    /// Bytes of blocks sent since the start.
    pub bytes_sent: u64,
    /// When the store last acknowledged something.
    pub last_ack: Option<Timestamp>,
    /// Blocks that wait for the store's acknowledgement.
    pub in_flight: usize,
    /// Whether the backlog is waiting for its pace.
    pub pacing: bool,
}

/// Where the uplink leaves its state.
#[derive(Debug, Clone, Default)]
pub(crate) struct UplinkBoard(Arc<Mutex<UplinkState>>);

impl UplinkBoard {
    pub(crate) fn read(&self) -> UplinkState {
        self.lock().clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut UplinkState)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, UplinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
