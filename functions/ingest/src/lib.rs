//! The `ingest` function: takes a block that a gateway has published, checks it, and hands it on.
//!
//! What it is not: it does not store, and it does not know where it runs. In the cloud its
//! [`BlockQueue`] is an ordered queue in front of `storage`, on site it is `storage` itself.
//!
//! Invariants: what [`handle`] reports as accepted is in the queue's care; what cannot be decoded is
//! in the quarantine's care, with its reason; neither is ever passed over in silence. A block that
//! is quarantined is never acknowledged to the gateway, so its readings stay in the gateway's
//! journal until a server that can read them asks for them.
//!
//! ```
//! # use std::sync::{Arc, Mutex};
//! use bytes::Bytes;
//! use fieldline_model::{Class, GatewayId, Reading, Timestamp, StreamId};
//! use fieldline_wire::BlockBuilder;
//! use ingest::{Block, BlockQueue, Context, Event, Outcome, PortError, Quarantine, Refused, handle};
//!
//! #[derive(Debug, Default)]
//! struct Shelf(Mutex<Vec<u64>>);
//! #[async_trait::async_trait]
//! impl BlockQueue for Shelf {
//!     async fn push(&self, block: Block) -> Result<(), PortError> {
//!         self.0.lock().unwrap().push(block.content.first_seq);
//!         Ok(())
//!     }
//! }
//! #[async_trait::async_trait]
//! impl Quarantine for Shelf {
//!     async fn set_aside(&self, _refused: Refused<'_>) -> Result<(), PortError> {
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = GatewayId::new("gw-1")?;
//! let mut builder = BlockBuilder::new(StreamId { gateway: gateway.clone(), epoch: 7 }, Class::Live, 1);
//! let reading: Reading = serde_json::from_str(
//!     r#"{"device":"d","metric":"m","time":"2026-11-22T10:00:00Z","value":21.5,"quality":"good"}"#,
//! )?;
//! builder.push(reading.as_ref());
//! let payload = Bytes::from(builder.finish().expect("one reading").encode());
//!
//! let shelf = Arc::new(Shelf::default());
//! let context = Context { limits: Default::default(), blocks: shelf.clone(), quarantine: shelf };
//! let outcome = handle(Event { gateway, payload, received: Timestamp::EPOCH }, &context).await?;
//! assert!(matches!(outcome, Outcome::Accepted { .. }));
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "lambda")]
pub mod lambda;
mod quarantine;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::{Class, GatewayId, Reason, SeqRange, StreamId, Timestamp};
use fieldline_wire::{BlockError, BlockHeader, Limits};

pub use quarantine::LedgerQuarantine;

/// A message on the ingest topic.
#[derive(Debug, Clone)]
pub struct Event {
    /// The gateway that the topic names; the broker has checked that the sender may speak for it.
    pub gateway: GatewayId,
    /// An encoded block.
    pub payload: Bytes,
    /// When it arrived.
    pub received: Timestamp,
}

/// A block that has passed.
#[derive(Debug, Clone)]
pub struct Block {
    /// As it came.
    pub encoded: Bytes,
    /// What is in it.
    pub content: fieldline_wire::Block,
    /// When it arrived.
    pub received: Timestamp,
}

/// A message that has not passed.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// The gateway that the topic names.
    pub gateway: &'a GatewayId,
    /// Why.
    pub reason: Reason,
    /// Why, for people.
    pub detail: &'a str,
    /// The readings that are hereby settled: the gateway is to be told to let go of them.
    pub settled: Option<&'a (StreamId, Class, SeqRange)>,
    /// As it came.
    pub payload: &'a Bytes,
    /// When it arrived.
    pub received: Timestamp,
}

/// What goes wrong behind a port; the whole chain is for the log.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

/// Where blocks go on to.
#[async_trait]
pub trait BlockQueue: fmt::Debug + Send + Sync {
    /// Takes a block in its care; pushing the same block twice is harmless.
    async fn push(&self, block: Block) -> Result<(), PortError>;
}

/// Where messages go that are no blocks.
#[async_trait]
pub trait Quarantine: fmt::Debug + Send + Sync {
    /// Keeps a message with its reason, within the quarantine's own bounds, and counts it.
    async fn set_aside(&self, refused: Refused<'_>) -> Result<(), PortError>;
}

/// What [`handle`] works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// What is decoded at all.
    pub limits: Limits,
    /// Where blocks go on to.
    pub blocks: Arc<dyn BlockQueue>,
    /// Where messages go that are no blocks.
    pub quarantine: Arc<dyn Quarantine>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A block; the queue has it.
    Accepted {
        /// Its stream.
        stream: StreamId,
        /// Its readings.
        seqs: SeqRange,
    },
    /// Not a block of this gateway; the quarantine has it. Sending it again would not help.
    Quarantined {
        /// Why.
        reason: Reason,
    },
}

/// Why nothing became of a message: try again, or let it come again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue did not take the block.
    #[error("the block could not be handed on")]
    Queue(#[source] PortError),
    /// The quarantine did not take the message.
    #[error("the message could not be quarantined")]
    Quarantine(#[source] PortError),
}

/// Checks a message and hands it on.
///
/// # Errors
/// A port failed; nothing has been accepted then, and the message should come again.
pub async fn handle(event: Event, context: &Context) -> Result<Outcome, Error> {
    let content = match fieldline_wire::Block::decode(&event.payload, &context.limits) {
        Ok(content) => content,
        Err(error) => {
            let settled = settled(&error, &event);
            return refuse(&event, reason(&error), &error.to_string(), settled.as_ref(), context).await;
        }
    };
    if content.stream.gateway != event.gateway {
        let detail =
            format!("a block of gateway {} on the topic of {}", content.stream.gateway, event.gateway);
        return refuse(&event, Reason::BadName, &detail, None, context).await;
    }
    let outcome = Outcome::Accepted { stream: content.stream.clone(), seqs: content.seqs() };
    let block = Block { encoded: event.payload, content, received: event.received };
    context.blocks.push(block).await.map_err(Error::Queue)?;
    Ok(outcome)
}

async fn refuse(
    event: &Event,
    reason: Reason,
    detail: &str,
    settled: Option<&(StreamId, Class, SeqRange)>,
    context: &Context,
) -> Result<Outcome, Error> {
    tracing::warn!(gateway = %event.gateway, %reason, detail, bytes = event.payload.len(), "block quarantined");
    let Event { gateway, payload, received } = event;
    let refused = Refused { gateway, reason, detail, settled, payload, received: *received };
    context.quarantine.set_aside(refused).await.map_err(Error::Quarantine)?;
    Ok(Outcome::Quarantined { reason })
}

/// The readings of a block that is whole, is this gateway's, and can be read by nobody.
fn settled(error: &BlockError, event: &Event) -> Option<(StreamId, Class, SeqRange)> {
    if !matches!(error, BlockError::Format { .. }) {
        return None;
    }
    let BlockHeader { stream, class, first_seq, last_seq } = BlockHeader::read(&event.payload).ok()?;
    (stream.gateway == event.gateway).then(|| (stream, class, SeqRange::new(first_seq, last_seq)))
}

fn reason(error: &BlockError) -> Reason {
    match error {
        BlockError::Checksum => Reason::Damaged,
        BlockError::Limit { .. } => Reason::TooLarge,
        BlockError::NotABlock | BlockError::Version { .. } | BlockError::Format { .. } => Reason::Malformed,
    }
}
