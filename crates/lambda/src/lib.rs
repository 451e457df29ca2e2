//! What every function does on AWS Lambda around its `handle`: settings, logs, metrics, the runtime.
//!
//! What it is: the one copy of the glue. A function's `main` reads its settings with [`Environment`],
//! makes its context once, and hands a closure to [`run`].
//!
//! What it is not: it knows no function and no event.
//!
//! Invariants: a setting that is missing or wrong ends the initialisation with its name and the reason;
//! logs are JSON on standard error with the request's id; metrics are lines in the embedded metric
//! format on standard output.

mod environment;
mod metrics;
mod runtime;
#[cfg(feature = "stores")]
mod stores;

pub use environment::{Environment, SettingError};
pub use metrics::{Metric, Unit, emit};
pub use runtime::{Error, initialise, now, run};
#[cfg(feature = "stores")]
pub use stores::{Stores, open_stores};
