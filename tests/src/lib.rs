//! The end-to-end tests' harness: the real programs, run as child processes, with faults between them.
//!
//! What it is: [`Site`] starts `fieldline serve` and `edge-agent` on free ports and temporary
//! folders, kills and restarts them; [`Proxy`] stands between two of them and cuts, delays and
//! garbles; [`Oracle`] hands out readings, publishes them like devices do, remembers which were
//! acknowledged, and afterwards holds the store to it.
//!
//! What it is not: it knows the programs only from outside (files, sockets, signals). It is not
//! shipped.
//!
//! Invariants of a passed check: acknowledged ⊆ stored; what is stored equals what was sent; nothing
//! twice; the last write stands; the books balance; and a fresh reading still passes.
//!
//! ```no_run
//! use fieldline_tests::{Oracle, Site};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut site = Site::start()?;
//! let oracle = Oracle::start(site.agent.mqtt_address(), 4, 100.0)?;
//! oracle.wait_for_more(500)?;
//! site.agent.kill()?;
//! site.agent.start()?;
//! oracle.finish()?.check(&site)?;
//! site.finish()
//! # }
//! ```

pub mod authority;
pub mod clients;
pub mod cloud;
pub mod device;
pub mod emulator;
pub mod http;
pub mod influxdb;
pub mod ledger;
pub mod localstack;
pub mod machine;
pub mod memory;
pub mod moto;
pub mod oracle;
pub mod ports;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod publisher;
pub mod random;
pub mod recordings;
pub mod relay;
pub mod shadows;
pub mod site;
pub mod thing;
pub mod timestream;
pub mod wait;
pub mod webhook;

pub use authority::Authority;
pub use http::Http;
pub use oracle::Oracle;
pub use proxy::Proxy;
pub use site::{Agent, Server, Site};
pub use thing::Thing;
pub use webhook::Webhook;
