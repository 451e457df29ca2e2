//! The uplink: what the journal holds goes to the server, live first, and comes off the journal when
//! the store has acknowledged it.

mod backoff;
mod link;
mod pace;
mod pack;
mod plan;
mod state;
mod uplink;

pub use state::UplinkState;
pub(crate) use state::UplinkBoard;
pub(crate) use uplink::Uplink;
