//! Blocks on their way from the broker through `ingest` into `storage`, many at a time.
//!
//! The connection's task only puts a message into the line. One task decodes (in order) and waits
//! for many blocks at once; a second one hands to `storage` whatever has gathered, so that one
//! commit carries the blocks of all gateways.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::{GatewayId, Timestamp};
use fieldline_mqtt::{PublishError, Routing};
use fieldline_store::ReceivedBlock;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ingest::{Block, BlockQueue, Event, Outcome, PortError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::answer::Answer;
use crate::counters::Counters;
use crate::registry::Sightings;
use crate::stop;
use crate::waiting::Place;

/// Blocks that are decoded and wait for their commit at most.
const DECODED_MAX: usize = 256;
/// Blocks that one call of `storage` gets at most.
const BATCH_MAX: usize = 64;

/// A block as it came from a gateway.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) gateway: GatewayId,
    pub(crate) payload: Bytes,
    pub(crate) received: Timestamp,
    pub(crate) answer: Answer,
    pub(crate) place: Place,
}

/// The line's entrance. Cheap to clone. The bound on it is that of [`crate::waiting`].
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Intake {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Job>) {
        let (jobs, line) = mpsc::unbounded_channel();
        (Self { jobs }, line)
    }

    /// Puts a block into the line. At shutdown its answer is dropped: the gateway sends it again.
    pub(crate) fn offer(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::debug!("a block came too late for this run");
        }
    }
}

/// Works the line until `stopping`, and then what is in it.
pub(crate) async fn run(
    mut line: mpsc::UnboundedReceiver<Job>,
    context: ingest::Context,
    counters: Counters,
    mut stopping: watch::Receiver<bool>,
) {
    let mut waiting = FuturesUnordered::new();
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            Some(()) = waiting.next(), if !waiting.is_empty() => {}
            job = line.recv(), if waiting.len() < DECODED_MAX => match job {
                Some(job) => waiting.push(settle(job, &context, &counters)),
                None if waiting.is_empty() => return,
                None => while waiting.next().await.is_some() {},
            },
            () = stop::told(&mut stopping), if open => {
                open = false;
                line.close();
            }
        }
    }
}

async fn settle(job: Job, context: &ingest::Context, counters: &Counters) {
    let Job { gateway, payload, received, answer, place } = job;
    match ingest::handle(Event { gateway, payload, received }, context).await {
        Ok(Outcome::Accepted { .. }) => answer.accept(Routing::Consume),
        Ok(Outcome::Quarantined { reason }) => {
            counters.quarantined(reason, 1);
            answer.reject(PublishError::PayloadFormatInvalid);
        }
        Err(error) => {
            counters.deferred.increment(1);
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a block was not stored; it comes again"
            );
            answer.reject(PublishError::ImplementationSpecific);
        }
    }
    drop(place);
}

type Stored = oneshot::Sender<Result<(), PortError>>;

/// The queue between `ingest` and `storage` on one machine: a push returns when the block is stored.
#[derive(Debug)]
pub(crate) struct StorageQueue {
    blocks: mpsc::Sender<(Arc<ReceivedBlock>, Stored)>,
}

impl StorageQueue {
    /// Starts the task that feeds `storage`; it ends when the queue is dropped.
    pub(crate) fn start(context: storage::Context, counters: Counters, sightings: Sightings) -> Self {
        let (blocks, line) = mpsc::channel(DECODED_MAX);
        tokio::spawn(feed(line, context, counters, sightings));
        Self { blocks }
    }
}

#[async_trait]
impl BlockQueue for StorageQueue {
    async fn push(&self, block: Block) -> Result<(), PortError> {
        let Block { encoded, content, received } = block;
        let (answer, stored) = oneshot::channel();
        let block = Arc::new(ReceivedBlock { encoded, block: content, received });
        self.blocks.send((block, answer)).await.map_err(|_closed| "the store is shutting down")?;
        stored.await.map_err(|_dropped| "the store is shutting down")?
    }
}

async fn feed(
    mut line: mpsc::Receiver<(Arc<ReceivedBlock>, Stored)>,
    context: storage::Context,
    counters: Counters,
    sightings: Sightings,
) {
    let mut gathered = Vec::with_capacity(BATCH_MAX);
    while line.recv_many(&mut gathered, BATCH_MAX).await > 0 {
        let (blocks, answers): (Vec<_>, Vec<Stored>) = gathered.drain(..).unzip();
        let readings: Vec<u64> =
            blocks.iter().map(|block: &Arc<ReceivedBlock>| block.block.seqs().count()).collect();
        let outcomes = storage::handle(blocks.clone(), &context).await;
        let settled = outcomes.into_iter().zip(answers).zip(readings).zip(&blocks);
        for (((outcome, answer), readings), block) in settled {
            counters.block(outcome.as_ref().ok(), readings);
            // Of a block that comes again too: the device may not have been registered the first time.
            if matches!(outcome, Ok(storage::Outcome::Stored { .. } | storage::Outcome::Duplicate)) {
                sightings.of_block(block);
            }
            // A message whose connection is gone needs no answer.
            drop(answer.send(outcome.map(drop).map_err(PortError::from)));
        }
    }
}
