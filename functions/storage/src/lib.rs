//! The `storage` function: writes blocks to the time-series store, and tells their gateways.
//!
//! What it is not: it does not decode, and it does not know where it runs, which store it writes to
//! or how an acknowledgement travels: those are the ports [`TimeSeriesStore`] and [`Acks`].
//!
//! Invariants: blocks of one call are stored in their order; one that fails takes no other with it; an
//! acknowledgement never leaves before the store has said that the block is durable;
//! a block that is stored already is acknowledged again, since the first acknowledgement may have
//! been lost; an acknowledgement that cannot be sent fails nothing, because the gateway sends the
//! block again and is acknowledged then.

#[cfg(feature = "lambda")]
pub mod lambda;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fieldline_model::{AckMessage, GatewayId, RangeSet, SeqRange, StreamId};
use fieldline_store::{Ledger, ReceivedBlock, Refused, StoreError, TimeSeriesStore};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

/// What goes wrong behind [`Acks`]; the whole chain is for the log.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

/// How acknowledgements reach a gateway.
#[async_trait]
pub trait Acks: fmt::Debug + Send + Sync {
    /// Publishes on the gateway's acknowledgement topic; arriving twice, late or not at all is
    /// harmless.
    async fn publish(&self, gateway: &GatewayId, ack: &AckMessage) -> Result<(), PortError>;
}

#[cfg(feature = "acks")]
#[async_trait]
impl Acks for fieldline_aws::IotAcks {
    async fn publish(&self, gateway: &GatewayId, ack: &AckMessage) -> Result<(), PortError> {
        fieldline_aws::IotAcks::publish(self, gateway, ack).await.map_err(PortError::from)
    }
}

/// What [`handle`] works with.
#[derive(Clone)]
pub struct Context {
    /// Where blocks are written.
    pub store: Arc<dyn TimeSeriesStore>,
    /// Where blocks go that the store can never take.
    pub ledger: Arc<dyn Ledger>,
    /// How gateways are told.
    pub acks: Arc<dyn Acks>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("acks", &self.acks).finish_non_exhaustive()
    }
}

/// What became of a block. Whichever it was, its gateway has been told to let go of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored; at least one of its readings was not before.
    Stored {
        /// So many parts of it the store can never take; the ledger's quarantine has them.
        set_aside: u64,
    },
    /// All of it was stored already.
    Duplicate,
    /// It can never be stored; the ledger's quarantine has it.
    Quarantined,
}

/// Writes blocks and acknowledges them. One outcome for each block, in their order; an error says
/// that the block may not be taken for stored, and should come again.
pub async fn handle(blocks: Vec<Arc<ReceivedBlock>>, context: &Context) -> Vec<Result<Outcome, StoreError>> {
    let outcomes = join_all(blocks.iter().map(|block| write(block, context))).await;
    let settled = blocks.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
    tell(settled.map(|(block, _)| block), context).await;
    outcomes
}

/// Writes blocks one after the other and acknowledges them, but stops at the first that fails, or is not
/// stored by `until`: then there are fewer outcomes than blocks, and the last one is an error. For
/// ordered queues, which deliver what was not done again in its order.
pub async fn handle_in_order(
    blocks: &[Arc<ReceivedBlock>],
    context: &Context,
    until: Instant,
) -> Vec<Result<Outcome, StoreError>> {
    let mut outcomes = Vec::with_capacity(blocks.len());
    for block in blocks {
        // A write that is given up is one that a crash has cut off: it is made good by the redelivery.
        let outcome = timeout_at(until, write(block, context)).await.unwrap_or_else(|_elapsed| {
            Err(StoreError::Unavailable { service: "the store", source: "no time is left".into() })
        });
        let failed = outcome.is_err();
        outcomes.push(outcome);
        if failed {
            break;
        }
    }
    let settled = blocks.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
    tell(settled.map(|(block, _)| block), context).await;
    outcomes
}

/// Acknowledges these blocks, one message for each stream.
async fn tell(settled: impl Iterator<Item = &Arc<ReceivedBlock>>, context: &Context) {
    let mut streams: BTreeMap<&StreamId, RangeSet> = BTreeMap::new();
    for block in settled {
        streams.entry(&block.block.stream).or_default().insert(block.block.seqs());
    }
    for (stream, stored) in streams {
        acknowledge(stream, stored, context.acks.as_ref()).await;
    }
}

async fn write(block: &Arc<ReceivedBlock>, context: &Context) -> Result<Outcome, StoreError> {
    match context.store.write(Arc::clone(block)).await {
        Ok(written) if written.is_duplicate() => Ok(Outcome::Duplicate),
        Ok(written) => Ok(Outcome::Stored { set_aside: written.set_aside }),
        Err(StoreError::Refused { what }) => {
            quarantine(block, &what, context).await?;
            Ok(Outcome::Quarantined)
        }
        Err(error) => Err(error),
    }
}

async fn quarantine(block: &ReceivedBlock, what: &str, context: &Context) -> Result<(), StoreError> {
    let (stream, seqs): (&StreamId, SeqRange) = (&block.block.stream, block.block.seqs());
    tracing::error!(%stream, %seqs, what, "block quarantined: the store can never take it");
    let refused = Refused {
        gateway: stream.gateway.clone(),
        readings: Some((stream.clone(), block.block.class, seqs)),
        reason: "refused-by-store".to_owned(),
        bytes: block.encoded.clone(),
        received: block.received,
    };
    context.ledger.quarantine(refused).await
}

/// Tells a gateway that these readings are settled for good. An acknowledgement that cannot be sent
/// is logged: the gateway sends the readings again, and is told again.
pub async fn acknowledge(stream: &StreamId, stored: RangeSet, acks: &dyn Acks) {
    let ack = AckMessage { epoch: stream.epoch, stored };
    send(&stream.gateway, &ack, acks).await;
}

/// Sends an acknowledgement that an implementation of [`Acks`] has held back.
pub async fn send(gateway: &GatewayId, ack: &AckMessage, acks: &dyn Acks) {
    if let Err(error) = acks.publish(gateway, ack).await {
        let error: &(dyn std::error::Error + 'static) = error.as_ref();
        tracing::warn!(%gateway, epoch = ack.epoch, error, "an acknowledgement was not sent");
    }
}
