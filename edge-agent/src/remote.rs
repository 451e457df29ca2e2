//! The configuration from afar: the named shadow `config` of the gateway.
//!
//! `docs/formats/config-shadow.md` has the documents and the rules. A configuration that is desired is checked
//! whole, written down, put to use, and committed when the gateway has reached the server with it; otherwise
//! the one before is taken up again.

mod desired;
mod document;
mod driver;
mod live;
mod machine;
mod report;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use document::hexadecimal;
use std::sync::{Arc, Mutex, PoisonError};

use fieldline_model::GatewayId;
use fieldline_mqtt::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::sync::Correspondent;

pub(crate) use driver::{Driver, begin};
pub(crate) use live::{Live, Sources};

/// As much may wait to be looked at; what comes beyond is asked for again.
const WAITING_MAX: usize = 64;

/// The configuration at one moment, as `/status` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RemoteState {
    /// The SHA-256 of what is in use; none where it is the gateway's own file alone.
    pub sha256: Option<String>,
    /// The version of the shadow that desired it.
    pub version: u64,
    /// Whether it has yet to reach the server.
    pub is_trial: bool,
    /// What was not used last: its SHA-256, and why.
    pub refused: Option<(String, String)>,
    /// Why the file of the state is not what it was, or what is committed is not in use as it stands.
    pub trouble: Option<String>,
}

/// Whether a document can be used with this configuration; the reason why not.
///
/// # Errors
/// What is wrong, for a person.
pub fn check_document(base: &Config, document: &Value) -> Result<(), String> {
    document::lay_over(base, document).map(drop)
}

/// Something to look at.
#[derive(Debug)]
enum Event {
    Up(u64),
    Down,
    Message(Message),
}

/// The part of it that the uplink knows.
#[derive(Debug)]
pub(crate) struct Remote {
    gateway: GatewayId,
    events: mpsc::Sender<Event>,
    shown: Arc<Mutex<RemoteState>>,
}

impl Remote {
    fn new(gateway: GatewayId) -> (Self, mpsc::Receiver<Event>) {
        let (events, line) = mpsc::channel(WAITING_MAX);
        (Self { gateway, events, shown: Arc::default() }, line)
    }

    /// The state at this moment.
    pub(crate) fn state(&self) -> RemoteState {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn prefix(&self) -> String {
        format!("$aws/things/{}/shadow/name/config/", self.gateway)
    }

    fn event(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("too much comes about the configuration; it is asked for again");
        }
    }
}

impl Correspondent for Remote {
    fn filters(&self) -> Vec<String> {
        vec![format!("{}+/+", self.prefix())]
    }

    fn up(&self, generation: u64) {
        self.event(Event::Up(generation));
    }

    fn down(&self) {
        self.event(Event::Down);
    }

    fn heard(&self, message: &Message) {
        let large = format!("fieldline/{}/config/", self.gateway);
        if message.topic.starts_with(&self.prefix()) || message.topic.starts_with(&large) {
            self.event(Event::Message(message.clone()));
        }
    }
}
