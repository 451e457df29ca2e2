//! Our client against our broker, over loopback.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod delivery;
mod exactly_once;
mod identity;
mod independent;
mod limits;
mod receipts;
mod sessions;
mod shared;
mod support;
