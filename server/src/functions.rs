//! Functions that run elsewhere, called by the API of AWS Lambda.
//!
//! Elsewhere is `cargo lambda watch`, an emulator, or anything else that speaks Invoke on plain
//! HTTP. [`Line`] hands blocks and books on, one after the other for each gateway; [`query`] passes
//! HTTP requests to the function that answers them.

mod event;
mod http_api;
mod invoke;
mod line;
pub(crate) mod query;

pub(crate) use invoke::Invoker;
pub use invoke::{Endpoint, EndpointError};
pub(crate) use line::{Errand, Line, Rule};
