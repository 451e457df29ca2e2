//! The `rules` function: readings to the rules' engine, its state to a store, and what comes of it to the outside.
//!
//! What it is not: it knows no clock, and it does not know where it runs, where the state is kept and who is told:
//! those are the ports [`StateStore`] and [`Outlet`].
//!
//! Invariants
//! - What was evaluated, what comes of it and how far the streams have been read are one commit: a block that
//!   comes again changes nothing, and one that was cut off is evaluated anew.
//! - An effect leaves the outbox only with the commit after its delivery. After a crash in between it is delivered
//!   again, under the same id: nothing is lost, and whoever knows the id hears nothing twice.
//! - What cannot be delivered holds up nothing else, and the messages that wait are bounded.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "lambda")]
pub mod lambda;
mod order;
mod outbox;
mod positions;
mod runner;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use fieldline_model::Timestamp;
use fieldline_rules::{Change, Effect};

pub use outbox::{MESSAGES_MAX, Undelivered};
pub use runner::Runner;

/// What goes wrong behind a port; the whole chain is for the log.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

/// The state was not committed: the runner is of no use any more, and is to be opened anew.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else has written it in between.
    #[error("the state of rules was changed by somebody else")]
    Conflict,
    /// The store fails, or holds what is no state of ours.
    #[error("the state of rules cannot be read or written")]
    Unavailable(#[source] PortError),
}

/// An effect was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// It is tried again.
    #[error("it was not delivered yet")]
    Later(#[source] PortError),
    /// It is given up.
    #[error("it can never be delivered")]
    Never(#[source] PortError),
}

/// Where the state is kept.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Everything: key and value, in any order.
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError>;

    /// Makes all of the changes durable, or none.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError>;

    /// Before a commit: when [`Runner::tick`] will be due after it, for hosts where nobody waits in between.
    fn wake(&self, _at: Option<Timestamp>) {}
}

/// Where effects go.
#[async_trait]
pub trait Outlet: Send + Sync {
    /// Does what the effect wants. One that has come before, by its id, is done already.
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError>;
}
