//! The uplink: what the journal holds goes to the server, live first, and comes off the journal when
//! the store has acknowledged it.

mod backoff;
mod cuts;
mod link;
mod pace;
mod pack;
mod plan;
mod post;
mod state;
mod uplink;

pub(crate) use backoff::Backoff;
#[cfg(test)]
pub(crate) use post::Letter;
pub(crate) use post::{Correspondent, Office, Post, post};
pub(crate) use state::UplinkBoard;
pub use state::UplinkState;
pub(crate) use uplink::{Course, Uplink, random, stopped};
