//! AWS on loopback, as far as Fieldline needs it: the real function binaries over the real Lambda
//! Runtime API, and queues that feed them.
//!
//! What it is: [`Host`] runs function binaries and invokes them as Lambda does, with time-outs,
//! retries of asynchronous invocations and failures told by header; [`Poller`] feeds a function from
//! an SQS queue as an event source mapping does, with partial batch responses.
//!
//! What it is not: it checks no signature and no permission.

mod faults;
mod function;
mod host;
mod invoke;
mod poller;
mod queue;
pub mod rules;
mod services;
mod stack;
mod traffic;

pub use faults::{Faults, Odds, Planned};
pub use function::{Ending, FunctionSpec, Life};
pub use host::Host;
pub use poller::Poller;
pub use queue::Queue;
pub use services::{Emulators, Services};
pub use stack::{Stack, StoreKind};
pub use traffic::Volume;
