//! `storage` on AWS Lambda: batches of an SQS FIFO queue, answered block by block.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use fieldline_aws::{Aws, IotAcks};
use fieldline_lambda::{Environment, Metric, SettingError, Unit, emit, open_stores};
use fieldline_model::{GatewayId, StreamId, Timestamp};
use fieldline_store::{ReceivedBlock, Refused};
use fieldline_wire::{Block, Limits};
use futures_util::{StreamExt, stream};

use crate::{Context, Outcome, handle_in_order};

/// Streams whose blocks are written at the same time. A full block is some 55 MB as records of Timestream,
/// and the function has 512 MB.
const STREAMS_AT_ONCE: usize = 4;

/// So long before its end a batch is cut short. Acknowledgements take up to 8 s, and what is answered is
/// not delivered again for nothing.
const RESERVE: Duration = Duration::from_secs(12);

/// What the function works with, made once.
#[derive(Debug, Clone)]
pub struct Cloud {
    context: Context,
}

/// A message of the queue that holds a block.
#[derive(Debug)]
struct Delivery {
    message: String,
    block: Arc<ReceivedBlock>,
}

/// What the deliveries of one stream came to.
#[derive(Debug, Default)]
struct Tally {
    failed: Vec<String>,
    stored: u64,
    readings: u64,
    duplicates: u64,
    /// Blocks that lie in the quarantine, whole or in part.
    quarantined: u64,
}

impl Cloud {
    /// Reads the function's settings.
    ///
    /// # Errors
    /// One is missing or wrong.
    pub async fn from(environment: &Environment) -> Result<Self, SettingError> {
        let endpoint = environment.url("FIELDLINE_IOT_ENDPOINT", "the URL of the IoT data plane")?;
        let aws = Aws::load().await;
        let stores = open_stores(environment, &aws).await?;
        let acks = Arc::new(IotAcks::new(&aws, &endpoint));
        Ok(Self { context: Context { store: stores.readings, ledger: stores.ledger, acks } })
    }

    /// Handles a batch, and answers before `deadline`, when Lambda would end it. Messages of one group are blocks of one stream: they are stored in their order,
    /// and at the first that fails that group stops; what was not done is named in the answer and
    /// comes again. Groups do not wait for each other.
    ///
    /// # Errors
    /// None: each message answers for itself.
    pub async fn handle(
        &self,
        event: SqsEvent,
        deadline: Instant,
    ) -> Result<SqsBatchResponse, fieldline_lambda::Error> {
        let began = Instant::now();
        let until = deadline.checked_sub(RESERVE).unwrap_or(began);
        let mut total = Tally::default();
        let mut streams: BTreeMap<StreamId, Vec<Delivery>> = BTreeMap::new();
        for message in event.records {
            let id = message.message_id.clone().unwrap_or_default();
            match decode(&message) {
                Ok(block) => {
                    let delivery = Delivery { message: id, block: Arc::new(block) };
                    streams.entry(delivery.block.block.stream.clone()).or_default().push(delivery);
                }
                Err(poison) => match self.set_aside(&message, &poison).await {
                    Ok(()) => total.quarantined += 1,
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "not quarantined");
                        total.failed.push(id);
                    }
                },
            }
        }
        let streams = stream::iter(streams.into_values()).map(|deliveries| self.stream(deliveries, until));
        let mut tallies = streams.buffer_unordered(STREAMS_AT_ONCE);
        while let Some(tally) = tallies.next().await {
            total.add(tally);
        }
        drop(tallies);
        total.emit(began);
        let mut answer = SqsBatchResponse::default();
        answer.batch_item_failures = total.failed.into_iter().map(failure).collect();
        Ok(answer)
    }

    async fn stream(&self, deliveries: Vec<Delivery>, until: Instant) -> Tally {
        let blocks: Vec<_> = deliveries.iter().map(|delivery| Arc::clone(&delivery.block)).collect();
        let mut outcomes = handle_in_order(&blocks, &self.context, until.into()).await.into_iter();
        let mut tally = Tally::default();
        for delivery in deliveries {
            let block = format!("{}/{}", delivery.block.block.stream, delivery.block.block.seqs());
            match outcomes.next() {
                Some(Ok(outcome)) => {
                    tracing::info!(block, ?outcome, "block settled");
                    tally.count(outcome, delivery.block.block.seqs().count());
                }
                Some(Err(error)) => {
                    tracing::error!(block, error = &error as &dyn std::error::Error, "block not stored");
                    tally.failed.push(delivery.message.clone());
                }
                None => tally.failed.push(delivery.message.clone()),
            }
        }
        tally
    }

    /// A message that is no block and never will be: its bytes to the quarantine.
    async fn set_aside(
        &self,
        message: &SqsMessage,
        poison: &Poison,
    ) -> Result<(), fieldline_store::StoreError> {
        tracing::warn!(reason = poison.reason, gateway = %poison.gateway, "message quarantined");
        let refused = Refused {
            gateway: poison.gateway.clone(),
            readings: None,
            reason: poison.reason.clone(),
            bytes: Bytes::from(message.body.clone().unwrap_or_default()),
            received: received(message),
        };
        self.context.ledger.quarantine(refused).await
    }
}

/// Why a message is no block.
#[derive(Debug)]
struct Poison {
    gateway: GatewayId,
    reason: String,
}

fn decode(message: &SqsMessage) -> Result<ReceivedBlock, Poison> {
    let body = message.body.as_deref().unwrap_or_default();
    let poison = |reason: &str| Poison { gateway: gateway(message), reason: reason.to_owned() };
    let encoded = Bytes::from(BASE64.decode(body).map_err(|_error| poison("not-base64"))?);
    let block = Block::decode(&encoded, &Limits::default()).map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "no block in a message");
        poison("not-a-block")
    })?;
    Ok(ReceivedBlock { encoded, block, received: received(message) })
}

/// The gateway as `ingest` wrote it beside the block.
fn gateway(message: &SqsMessage) -> GatewayId {
    attribute(message, "gateway")
        .and_then(|text| GatewayId::new(text).ok())
        .unwrap_or_else(|| GatewayId::new("unknown").expect("the word follows the rule for ids"))
}

fn received(message: &SqsMessage) -> Timestamp {
    let millis = attribute(message, "received").and_then(|text| text.parse().ok());
    millis.and_then(|millis| Timestamp::from_millis(millis).ok()).unwrap_or(Timestamp::EPOCH)
}

fn attribute<'a>(message: &'a SqsMessage, name: &str) -> Option<&'a str> {
    message.message_attributes.get(name)?.string_value.as_deref()
}

fn failure(message: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message;
    failure
}

impl Tally {
    fn count(&mut self, outcome: Outcome, readings: u64) {
        match outcome {
            Outcome::Stored { set_aside } => {
                self.stored += 1;
                self.quarantined += u64::from(set_aside > 0);
                self.readings += readings;
            }
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Quarantined => self.quarantined += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.failed.extend(other.failed);
        self.stored += other.stored;
        self.readings += other.readings;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
    }

    fn emit(&self, began: Instant) {
        let value = began.elapsed().as_secs_f64() * 1_000.0;
        let metrics = [
            Metric::count("BlocksStored", self.stored),
            Metric::count("ReadingsStored", self.readings),
            Metric::count("BlocksDuplicate", self.duplicates),
            Metric::count("BlocksQuarantined", self.quarantined),
            Metric::count("BlocksFailed", self.failed.len() as u64),
            Metric { name: "BatchDuration", unit: Unit::Milliseconds, value },
        ];
        emit("storage", &metrics, &[]);
    }
}
