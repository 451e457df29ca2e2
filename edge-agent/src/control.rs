//! What the agent says of itself: `/healthz`, `/metrics`, `/status`, and `edge-agent status` in words.

mod metrics;
mod service;
mod status;
mod words;

pub(crate) use service::{Observed, routes};
pub use status::Status;
pub use words::explain;
