//! The `shadow` function: keeps what things report of themselves in their shadows: the newest readings of a
//! device (`telemetry`), whether it is connected (`presence`), and how a gateway fares (`health`).
//!
//! What it is not: it does not store readings, it knows no clock, and it does not know where it runs or
//! where shadows are kept: that is the port [`Things`]. The documents are described in
//! `docs/formats/shadow.md`.
//!
//! Invariants: late data never overwrites what is newer; what comes again changes nothing, and costs no
//! update; a shadow that another writer changed in between is read again; `desired` is never touched; a
//! device with more metrics than a shadow holds loses the oldest from its shadow and fails nothing.
//!
//! ```
//! use fieldline_model::{Class, GatewayId, Quality, ReadingRef, StreamId, Timestamp, Value, ValueRef};
//! use fieldline_wire::BlockBuilder;
//! use shadow::{Keeper, KeeperConfig};
//!
//! let stream = StreamId { gateway: GatewayId::new("gw-1")?, epoch: 7 };
//! let mut builder = BlockBuilder::new(stream, Class::Live, 1);
//! for (nanos, value) in [(2_000, 21.5), (1_000, 99.0)] {
//!     let (time, value) = (Timestamp::from_nanos(nanos), ValueRef::Float(value));
//!     builder.push(ReadingRef { device: "press-4", metric: "t", time, value, quality: Quality::Good });
//! }
//! let block = builder.finish().expect("two readings make a block");
//!
//! let mut keeper = Keeper::new(KeeperConfig::default());
//! keeper.note(&block, Timestamp::EPOCH);
//! let due = keeper.due(0, 100);
//! assert_eq!(due[0].1["t"].value, Value::Float(21.5));
//! // What is due goes to `telemetry`, which updates the shadow. Nothing more is due then.
//! assert!(keeper.due(60_000, 100).is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod health;
mod keeper;
#[cfg(feature = "lambda")]
pub mod lambda;
mod newest;
mod presence;
mod revise;
mod telemetry;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;
use fieldline_model::ShadowId;
use serde_json::{Map, Value};

pub use health::health;
pub use keeper::{Due, Keeper, KeeperConfig};
pub use newest::{Metrics, Newest, Sample, newest_of};
pub use presence::{NAME as PRESENCE, Presence, gone, presence};
pub use revise::{Error, Written};
pub use telemetry::{UNCHANGED_MS, telemetry};

/// What goes wrong behind [`Things`]; the whole chain is for the log.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

/// A shadow as a get shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// Grows by one with each update.
    pub version: u64,
    /// What the thing should be; empty for none.
    pub desired: Map<String, Value>,
    /// What it says that it is; empty for nothing.
    pub reported: Map<String, Value>,
}

impl Document {
    /// Reads the reply to a get, `{"state": {"desired"?, "reported"?}, "version", …}`.
    pub fn of(mut reply: Value) -> Self {
        let version = reply["version"].as_u64().unwrap_or_default();
        let mut section = |name: &str| match reply["state"][name].take() {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { version, desired: section("desired"), reported: section("reported") }
    }
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Done,
    /// The shadow had another version; nothing has been changed.
    Conflict,
    /// The shadow would be larger than a shadow may be; nothing has been changed.
    TooLarge,
}

/// The shadows of things.
#[async_trait]
pub trait Things: fmt::Debug + Send + Sync {
    /// The shadow; none where there is none.
    async fn get(&self, shadow: &ShadowId) -> Result<Option<Document>, PortError>;

    /// Does an update, `{"state": {…}, "version"?}` as AWS IoT has it. Who listens is told.
    async fn update(&self, shadow: &ShadowId, request: &Value) -> Result<Outcome, PortError>;
}

#[cfg(feature = "aws")]
#[async_trait]
impl Things for fieldline_aws::IotShadows {
    async fn get(&self, shadow: &ShadowId) -> Result<Option<Document>, PortError> {
        let reply = fieldline_aws::IotShadows::get(self, shadow).await?;
        Ok(reply.map(|reply| serde_json::from_slice(&reply).map(Document::of)).transpose()?)
    }

    async fn update(&self, shadow: &ShadowId, request: &Value) -> Result<Outcome, PortError> {
        use fieldline_aws::ShadowUpdate;
        Ok(match fieldline_aws::IotShadows::update(self, shadow, request.to_string().into_bytes()).await? {
            ShadowUpdate::Done => Outcome::Done,
            ShadowUpdate::Conflict => Outcome::Conflict,
            ShadowUpdate::TooLarge => Outcome::TooLarge,
        })
    }
}
