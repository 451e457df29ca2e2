//! Blocks on their way from the broker through `ingest` into `storage`, many at a time.
//!
//! The connection's task only puts a message into the line. One task decodes (in order) and waits
//! for many blocks at once; a second one hands to `storage` whatever has gathered, so that one
//! commit carries the blocks of all gateways; a third one has the rules evaluate what is stored, while
//! the next blocks are being stored, and then tells the gateways.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::{AckMessage, GatewayId, Timestamp};
use fieldline_mqtt::{PublishError, Routing};
use fieldline_store::ReceivedBlock;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ingest::{Block, BlockQueue, Event, Outcome, PortError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::answer::Answer;
use crate::counters::Counters;
use crate::registry::Sightings;
use crate::rules_desk::RulesDesk;
use crate::stop;
use crate::waiting::Place;

/// Blocks that are decoded and wait for their commit at most.
const DECODED_MAX: usize = 256;
/// Blocks that one call of `storage` gets at most.
const BATCH_MAX: usize = 64;
/// Batches that are stored and wait for the rules at most.
const STORED_MAX: usize = 2;

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
    pub(crate) fn start(
        context: storage::Context,
        rules: RulesDesk,
        counters: Counters,
        sightings: Sightings,
    ) -> Self {
        let (blocks, line) = mpsc::channel(DECODED_MAX);
        let (stored, batches) = mpsc::channel(STORED_MAX);
        let acks = Arc::clone(&context.acks);
        tokio::spawn(feed(line, stored, context, counters, sightings));
        tokio::spawn(evaluate(batches, rules, acks));
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

/// Acknowledgements of the store that wait for the rules.
#[derive(Debug, Default)]
struct HeldAcks(Mutex<Vec<(GatewayId, AckMessage)>>);

impl HeldAcks {
    fn take(&self) -> Vec<(GatewayId, AckMessage)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl storage::Acks for HeldAcks {
    async fn publish(&self, gateway: &GatewayId, ack: &AckMessage) -> Result<(), storage::PortError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((gateway.clone(), ack.clone()));
        Ok(())
    }
}

/// Blocks that `storage` has settled, in their order.
struct Batch {
    blocks: Vec<Arc<ReceivedBlock>>,
    answers: Vec<(Result<(), PortError>, Stored)>,
    acks: Vec<(GatewayId, AckMessage)>,
}

async fn feed(
    mut line: mpsc::Receiver<(Arc<ReceivedBlock>, Stored)>,
    stored: mpsc::Sender<Batch>,
    context: storage::Context,
    counters: Counters,
    sightings: Sightings,
) {
    let held = Arc::new(HeldAcks::default());
    let context = storage::Context { acks: held.clone(), ..context };
    let mut gathered = Vec::with_capacity(BATCH_MAX);
    while line.recv_many(&mut gathered, BATCH_MAX).await > 0 {
        let (mut blocks, answers): (Vec<_>, Vec<Stored>) = gathered.drain(..).unzip();
        let outcomes = storage::handle(blocks.clone(), &context).await;
        let mut evaluated = Vec::with_capacity(blocks.len());
        for (outcome, block) in outcomes.iter().zip(&blocks) {
            counters.block(outcome.as_ref().ok(), block.block.seqs().count());
            // Of a block that comes again too: the device may not have been registered the first time, and
            // the rules may not have seen it.
            let is_stored =
                matches!(outcome, Ok(storage::Outcome::Stored { .. } | storage::Outcome::Duplicate));
            if is_stored {
                sightings.of_block(block);
            }
            evaluated.push(is_stored);
        }
        let mut evaluated = evaluated.into_iter();
        blocks.retain(|_| evaluated.next().unwrap_or(false));
        let answers =
            outcomes.into_iter().map(|outcome| outcome.map(drop).map_err(PortError::from)).zip(answers);
        let batch = Batch { blocks, answers: answers.collect(), acks: held.take() };
        if stored.send(batch).await.is_err() {
            return;
        }
    }
}

/// Tells gateways of what is stored when the rules have seen it. When they could not keep what they have
/// seen, nothing of the batch is acknowledged: it comes again, and the store knows it by then.
async fn evaluate(mut batches: mpsc::Receiver<Batch>, rules: RulesDesk, acks: Arc<dyn storage::Acks>) {
    while let Some(Batch { blocks, answers, acks: held }) = batches.recv().await {
        let evaluated = rules.evaluate(blocks).await;
        if evaluated.is_ok() {
            for (gateway, ack) in held {
                storage::send(&gateway, &ack, acks.as_ref()).await;
            }
        }
        for (outcome, answer) in answers {
            let outcome = outcome.and_then(|()| evaluated.map_err(PortError::from));
            // A message whose connection is gone needs no answer.
            drop(answer.send(outcome));
        }
    }
}
