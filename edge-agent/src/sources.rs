//! Where readings come from. Each source turns what it hears into an offer to the intake.

pub(crate) mod broker;
pub(crate) mod http;
pub(crate) mod listener;
pub(crate) mod password;
pub(crate) mod reader;
mod thing;
