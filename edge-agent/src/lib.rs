//! The gateway's agent: takes in local device data, filters it, makes it durable, acknowledges it to
//! the device, and brings it to the server, from which it learns what the store has.
//!
//! The main path: [`Agent::start`] → `sources` (MQTT, HTTP, a broker on site) → `intake` (filter,
//! batch) → `committer` (journal, `fdatasync`, then the PUBACK) → `sync` (blocks out, the store's
//! acknowledgements in).
//!
//! Invariants
//! - A device is never acknowledged before its readings, and the counts that account for them, are
//!   on disk.
//! - The journal never lets go of a reading before the store has acknowledged it, but by a named
//!   policy that counts it.
//! - Live readings never wait for backlog.
//! - No network, no DNS and a wrong clock do not stop it.

mod address;
mod app;
mod books;
mod clock;
mod commands;
mod committer;
mod config;
mod control;
mod intake;
mod mapping;
mod quarantine;
mod remote;
mod rules;
pub mod settings;
mod sources;
mod sync;
mod things;

pub use address::{AddressError, ServerAddress};
pub use app::Agent;
pub use config::{
    BrokerSettings, CommandsSettings, Config, ConfigError, GatewaySettings, HttpSettings, JournalSettings,
    Limits, ListenerTls, MqttSettings, RemoteSettings, SyncSettings, ThingsSettings, UplinkTls,
    UplinkVersion,
};
pub use control::{Status, explain};
pub use intake::counts::{Counts, LeftOut};
pub use mapping::{Mapping, PayloadFormat};
pub use remote::{RemoteState, check_document};
pub use rules::{RuleShown, Rules};
pub use sync::UplinkState;
pub use things::Shadows;
