//! The on-premise server, and the `fieldline` command around it.
//!
//! [`app::Server`] puts together what the cloud puts together from Lambdas and queues: the broker
//! hands blocks to `ingest` and `storage`, the HTTP face is `query`'s router and readings by `POST`.
//! [`up`] sets an agent beside it; [`commands`] and [`replay`] talk to either from outside.
//!
//! With `--functions` there is no store here: the broker hands blocks and books to functions that
//! run elsewhere, by the Invoke API of AWS Lambda, and queries go the same way.
//!
//! What it is not: it decides nothing about readings. What is valid, stored or acknowledged is the
//! functions' business, so that it is the same on site and in the cloud.
//!
//! Invariants: a message is acknowledged when it is durable, and not before; an acknowledgement of
//! the store reaches a gateway only through this broker, and nobody else may publish there; what
//! waits for the store is bounded, all connections together; a plain listener is on loopback.

mod access;
mod answer;
pub mod app;
mod books;
mod broker;
pub mod certify;
pub mod certs;
pub mod cli;
pub mod client;
pub mod commands;
mod commands_desk;
pub mod config;
pub mod configure;
mod counters;
mod data_plane;
pub mod demo;
mod descriptors;
mod direct;
#[cfg(feature = "aws")]
pub mod enroll;
mod functions;
mod gateway_config;
mod http;
mod https;
mod intake;
#[cfg(test)]
mod nobody;
mod quarantine;
mod registry;
pub mod rehearse;
pub mod replay;
mod reported;
mod retention;
mod rules_desk;
pub mod send;
pub mod serve;
mod shadows;
pub mod stop;
mod stored;
mod trace_id;
pub mod up;
pub mod view;
mod waiting;
mod whole_file;
