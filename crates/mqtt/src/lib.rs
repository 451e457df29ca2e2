//! MQTT 3.1.1 and 5: a broker with QoS 0, 1 and 2, and a client with QoS 0 and 1.
//!
//! What it is: sessions, subscriptions (shared ones too), retained messages, wills, keep-alive, topic
//! aliases that a client sets, TLS with the identity of a client certificate, and a publish path that
//! hands a message to an [`Application`] and sends PUBACK or PUBREC only when the application says so,
//! any number in flight.
//!
//! What it is not: it knows nothing of readings, topics of Fieldline, journals or stores; it has no
//! reconnecting client, and no session that outlives the process.
//!
//! Invariants: a PUBACK or PUBREC never leaves before [`Receipt::accept`]; they leave in the order of
//! the PUBLISH packets; a message of QoS 2 is handed over once, whatever happens to connections; no
//! subscriber sees a message before it is accepted; nothing that a client can make grow is without a
//! limit ([`BrokerConfig`]); a slow subscriber never holds up another.
//!
//! ```no_run
//! use std::sync::Arc;
//! use fieldline_mqtt::{
//!     Application, Broker, BrokerConfig, ClientInfo, ConnectRequest, Message, Receipt, Refusal, Routing,
//! };
//!
//! struct Relay;
//! impl Application for Relay {
//!     fn authenticate(&self, _: &ConnectRequest<'_>) -> Result<(), Refusal> {
//!         Ok(())
//!     }
//!     fn authorize_publish(&self, _: &ClientInfo, topic: &str) -> bool {
//!         topic.starts_with("telemetry/")
//!     }
//!     fn authorize_subscribe(&self, _: &ClientInfo, _: &str) -> bool {
//!         true
//!     }
//!     fn publish(&self, _: &ClientInfo, _message: Message, receipt: Receipt) {
//!         receipt.accept(Routing::Route); // or later, from another thread, once it is on disk
//!     }
//! }
//!
//! # async fn run() -> std::io::Result<()> {
//! let broker = Broker::new(BrokerConfig::default(), Arc::new(Relay));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! broker.serve(listener, None, std::future::pending()).await
//! # }
//! ```

mod application;
mod broker;
mod cell;
mod client;
mod config;
mod connection;
mod inbound;
mod janitor;
mod link;
mod listener;
mod message;
mod openings;
mod packet;
mod reason;
mod receipt;
mod retained;
mod session;
mod share;
mod stats;
mod stream;
mod subscriptions;
mod tls;

pub use application::{Application, ClientInfo, ConnectRequest, Identity, Refusal};
pub use broker::Broker;
pub use client::{ClientError, ClientOptions, Connection, Event, MessageId, RequestId, Token};
pub use config::BrokerConfig;
pub use message::{Message, MessageProperties, QoS, Version};
pub use openings::{Opening, Openings};
pub use reason::{DisconnectReason, PublishError};
pub use receipt::{Receipt, Routing};
pub use stats::Stats;
pub use tls::{TlsClient, TlsConnection, TlsError, TlsServer};
