//! `ingest` on AWS Lambda: events of the topic rules, blocks to SNS, the ledger in DynamoDB.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use fieldline_aws::{Aws, BlockTopic, DynamoLedger, IotAcks, LedgerConfig};
use fieldline_lambda::{Environment, Metric, SettingError, emit};
use fieldline_model::{Books, GatewayId, Reason, Timestamp};
use fieldline_store::{Balance, Ledger};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Block, BlockQueue, Context, Event, LedgerQuarantine, Outcome, PortError, Refused};

/// What a topic rule makes of a message: `SELECT encode(*, 'base64') AS block, topic(1) AS gateway,
/// timestamp() AS received`, or the same with `books`.
#[derive(Debug, Clone, Deserialize)]
pub struct RuleEvent {
    gateway: String,
    /// Epoch milliseconds.
    received: i64,
    #[serde(flatten)]
    message: Message,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Message {
    Block(String),
    Books(String),
}

/// What the function works with, made once.
#[derive(Clone)]
pub struct Cloud {
    context: Context,
    ledger: Arc<dyn Ledger>,
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloud").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Cloud {
    /// Reads the function's settings.
    ///
    /// # Errors
    /// One is missing or wrong.
    pub async fn from(environment: &Environment) -> Result<Self, SettingError> {
        let topic = environment.required("FIELDLINE_BLOCKS_TOPIC_ARN", "the ARN of an SNS FIFO topic")?;
        let table = environment.required("FIELDLINE_LEDGER_TABLE", "the name of a DynamoDB table")?;
        let bucket = environment.required("FIELDLINE_QUARANTINE_BUCKET", "the name of an S3 bucket")?;
        let endpoint = environment.url("FIELDLINE_IOT_ENDPOINT", "the URL of the IoT data plane")?;
        let aws = Aws::load().await;
        let ledger = DynamoLedger::new(&aws, LedgerConfig { table, quarantine_bucket: bucket });
        let acks = Arc::new(IotAcks::new(&aws, &endpoint));
        Ok(Self::new(Arc::new(ledger), acks, Arc::new(Queue(BlockTopic::new(&aws, topic)))))
    }

    fn new(ledger: Arc<dyn Ledger>, acks: Arc<dyn storage::Acks>, blocks: Arc<dyn BlockQueue>) -> Self {
        let quarantine = Arc::new(LedgerQuarantine { ledger: Arc::clone(&ledger), acks });
        Self { context: Context { limits: fieldline_wire::Limits::default(), blocks, quarantine }, ledger }
    }

    /// Handles one event; the answer is for whoever invokes the function by hand.
    ///
    /// # Errors
    /// Nothing became of the message; Lambda tries again, and at last hands it to where failures go.
    pub async fn handle(&self, event: RuleEvent) -> Result<Value, fieldline_lambda::Error> {
        let gateway = GatewayId::new(&event.gateway)?;
        let received = Timestamp::from_millis(event.received).unwrap_or(Timestamp::EPOCH);
        match event.message {
            Message::Block(text) => {
                let payload = Bytes::from(BASE64.decode(text)?);
                self.block(Event { gateway, payload, received }).await
            }
            Message::Books(text) => self.books(&gateway, Bytes::from(BASE64.decode(text)?), received).await,
        }
    }

    async fn block(&self, event: Event) -> Result<Value, fieldline_lambda::Error> {
        let gateway = event.gateway.clone();
        match crate::handle(event, &self.context).await? {
            Outcome::Accepted { stream, seqs } => {
                let block = format!("{stream}/{}-{}", seqs.first, seqs.last);
                tracing::info!(block, "block accepted");
                emit("ingest", &[Metric::count("BlocksAccepted", 1)], &[("block", &block)]);
                Ok(json!({ "accepted": block }))
            }
            Outcome::Quarantined { reason } => {
                let facts = [("gateway", gateway.as_str()), ("reason", reason.as_str())];
                emit("ingest", &[Metric::count("BlocksQuarantined", 1)], &facts);
                Ok(json!({ "quarantined": reason }))
            }
        }
    }

    async fn books(
        &self,
        gateway: &GatewayId,
        payload: Bytes,
        received: Timestamp,
    ) -> Result<Value, fieldline_lambda::Error> {
        let books: Books = match serde_json::from_slice(&payload) {
            Ok(books) => books,
            Err(error) => {
                let (reason, detail) = (Reason::Malformed, format!("books that cannot be read: {error}"));
                let refused =
                    Refused { gateway, reason, detail: &detail, settled: None, payload: &payload, received };
                self.context.quarantine.set_aside(refused).await?;
                return Ok(json!({ "quarantined": reason }));
            }
        };
        self.ledger.record_books(gateway, books, received).await?;
        let missing = self.missing(gateway).await?;
        emit("ingest", &[Metric::count("LedgerGaps", missing)], &[("gateway", gateway.as_str())]);
        Ok(json!({ "recorded": gateway, "missing": missing }))
    }

    /// Readings of a gateway of which nobody knows where they are.
    async fn missing(&self, gateway: &GatewayId) -> Result<u64, fieldline_lambda::Error> {
        let ledgers = self.ledger.ledger(Some(gateway)).await?;
        Ok(ledgers
            .iter()
            .map(|ledger| match ledger.balance {
                Balance::Off { at_gateway, unaccounted } => {
                    let lost = u64::try_from(at_gateway.unsigned_abs()).unwrap_or(u64::MAX);
                    unaccounted.saturating_add(lost)
                }
                Balance::Balanced | Balance::Unknown => 0,
            })
            .sum())
    }
}

/// The queue in front of `storage`.
#[derive(Debug)]
struct Queue(BlockTopic);

#[async_trait]
impl BlockQueue for Queue {
    async fn push(&self, block: Block) -> Result<(), PortError> {
        self.0.publish(&block.content.stream, &block.encoded, block.received).await.map_err(PortError::from)
    }
}
