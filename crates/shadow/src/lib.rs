//! Device shadows as AWS IoT has them: what a device reports, what it should be, and the difference.
//!
//! What it is not: it knows neither topics, nor HTTP, nor where a shadow is kept, nor the time: bytes of a
//! request, what is stored and `now` come in; what is to be stored and the replies go out.
//!
//! Invariants: the version grows by one with each accepted update, also across a deletion; a request that
//! is refused changes nothing; metadata has a timestamp for exactly the leaves of the state.
//!
//! The rules are those of AWS IoT's developer guide, "Device Shadow service documents" and "Device Shadow
//! error messages".
//!
//! ```
//! use fieldline_shadow::{Stored, Update};
//!
//! let update = Update::parse(br#"{"state": {"desired": {"valve": "open"}, "reported": {"valve": "shut"}}}"#)?;
//! let applied = update.apply(&Stored::Absent, 1_700_000_000)?;
//! assert_eq!(applied.accepted["version"], 1);
//! assert_eq!(applied.delta.unwrap()["state"], serde_json::json!({"valve": "open"}));
//! # Ok::<(), fieldline_shadow::Error>(())
//! ```

mod delta;
mod document;
mod error;
mod node;
mod request;
#[cfg(test)]
mod tests;
mod turns;
mod update;

pub use document::{Deleted, Shadow, Stored};
pub use error::Error;
pub use request::{CLIENT_TOKEN_BYTES_MAX, DEPTH_MAX, Plain, Update};
pub use turns::{IN_FLIGHT_MAX, Turn, Turns};
pub use update::{Applied, STATE_BYTES_MAX};
