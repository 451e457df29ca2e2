//! `rules` on AWS Lambda: batches of an SQS FIFO queue that holds blocks, and a schedule's events, which stand
//! for the clock. Each gateway has a state and a [`crate::Runner`] of its own.
//!
//! A gateway may have several streams, and two invocations may hold one of them each. Whoever commits second is
//! refused, reads the state again and evaluates again: that is slower, and never wrong.

mod account;
mod desk;
mod fares;
mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_lambda::{Environment, Metric, SettingError, Unit, emit};
use fieldline_model::{GatewayId, Timestamp};
use fieldline_wire::{Block, Limits};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::time::timeout_at;

use crate::{CommitError, Outlet, PortError, StateStore};
use account::AwsAccount;
use desk::Desk;

/// Gateways that are evaluated at the same time.
const GATEWAYS_AT_ONCE: usize = 8;

/// So long before its end an invocation is cut short: what is answered does not come again for nothing.
const RESERVE: Duration = Duration::from_secs(5);

/// So long before its end an invocation delivers nothing more, and commits what it has delivered.
const RESERVE_FOR_COMMITS: Duration = Duration::from_secs(20);

/// What the function is invoked with.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// Messages of the queue.
    Batch {
        /// Each a block, in base64.
        #[serde(rename = "Records")]
        records: Vec<SqsMessage>,
    },
    /// EventBridge's: a minute has passed.
    Schedule {
        /// Whose event it is.
        source: ScheduleSource,
    },
}

/// Who may say that a minute has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ScheduleSource {
    /// A rule of EventBridge.
    #[serde(rename = "aws.events")]
    Rule,
    /// EventBridge Scheduler.
    #[serde(rename = "aws.scheduler")]
    Scheduler,
}

/// The state of a gateway's rules, which others may write, too.
#[async_trait]
pub trait GatewayState: StateStore {
    /// Whether nobody else has committed since it was loaded.
    async fn is_current(&self) -> Result<bool, PortError>;
}

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// Its name, which ends in `.toml` or `.json`.
    pub name: String,
    /// What tells this version from another one.
    pub version: String,
}

/// What the function works with.
#[async_trait]
pub trait Account: Send + Sync {
    /// The state of a gateway.
    fn state(&self, gateway: &GatewayId) -> Arc<dyn GatewayState>;

    /// Where the effects of a gateway go.
    fn outlet(&self, gateway: &GatewayId) -> Arc<dyn Outlet>;

    /// Gateways with something to do by the clock.
    async fn due(&self, now: Timestamp) -> Result<Vec<GatewayId>, PortError>;

    /// The files of rules there are.
    async fn files(&self) -> Result<Vec<RuleFile>, PortError>;

    /// What a file says.
    async fn text(&self, name: &str) -> Result<String, PortError>;

    /// What [`Account::accept`] was last given of a file.
    async fn accepted(&self, name: &str) -> Result<Option<String>, PortError>;

    /// Keeps the text of a file that can be used, for when it says something else that cannot.
    async fn accept(&self, name: &str, text: &str) -> Result<(), PortError>;
}

/// The function's context, made once.
#[derive(Debug)]
pub struct Cloud {
    desk: Desk,
    clock: fn() -> Timestamp,
}

/// What is to be done for a gateway.
#[derive(Debug, Default)]
struct Work {
    messages: Vec<String>,
    blocks: Vec<Block>,
}

/// What became of an invocation.
#[derive(Debug, Default)]
struct Tally {
    failed: Vec<String>,
    gateways: u64,
    gateways_failed: u64,
    blocks: u64,
    unreadable: u64,
}

impl Cloud {
    /// Reads the function's settings.
    ///
    /// # Errors
    /// One is missing or wrong.
    pub async fn from(environment: &Environment) -> Result<Self, SettingError> {
        Ok(Self::new(Arc::new(AwsAccount::from(environment).await?), fieldline_lambda::now))
    }

    /// A function on these ports.
    pub fn new(account: Arc<dyn Account>, clock: fn() -> Timestamp) -> Self {
        Self { desk: Desk::new(account), clock }
    }

    /// Handles an event, and answers before `deadline`, when Lambda would end it. The blocks of a gateway are one
    /// commit: all of their messages come again, or none.
    ///
    /// # Errors
    /// There are no rules, or it is not known what is due. A gateway whose rules could not be evaluated is none:
    /// its messages come again, and by the clock its turn does.
    pub async fn handle(
        &self,
        event: Event,
        deadline: Instant,
    ) -> Result<SqsBatchResponse, fieldline_lambda::Error> {
        let began = Instant::now();
        let until = tokio::time::Instant::from(deadline.checked_sub(RESERVE).unwrap_or(began));
        let now = (self.clock)();
        let mut tally = Tally::default();
        self.desk.deliver_until(deadline.checked_sub(RESERVE_FOR_COMMITS).unwrap_or(began));
        self.desk.refresh(now).await?;
        let work = match event {
            Event::Batch { records } => sorted(&records, &mut tally),
            Event::Schedule { .. } => {
                let due = self.desk.due(now).await?;
                due.into_iter().map(|gateway| (gateway, Work::default())).collect()
            }
        };
        let tasks = work.into_iter().map(|(gateway, work)| async move {
            let outcome = timeout_at(until, self.desk.run(&gateway, &work.blocks, now)).await.ok();
            (gateway, work, outcome)
        });
        let mut tasks = stream::iter(tasks).buffer_unordered(GATEWAYS_AT_ONCE);
        while let Some((gateway, work, outcome)) = tasks.next().await {
            tally.count(&gateway, work, outcome);
        }
        drop(tasks);
        tally.emit(began);
        let mut answer = SqsBatchResponse::default();
        answer.batch_item_failures = tally.failed.into_iter().map(failure).collect();
        Ok(answer)
    }
}

/// The blocks of each gateway, in their order. What is no block is passed over: `storage` has the same message,
/// and sets it aside.
fn sorted(records: &[SqsMessage], tally: &mut Tally) -> BTreeMap<GatewayId, Work> {
    let mut work: BTreeMap<GatewayId, Work> = BTreeMap::new();
    for message in records {
        match decode(message) {
            Ok(block) => {
                let work = work.entry(block.stream.gateway.clone()).or_default();
                work.messages.push(message.message_id.clone().unwrap_or_default());
                work.blocks.push(block);
            }
            Err(error) => {
                tracing::warn!(error = &*error, "no block in a message");
                tally.unreadable += 1;
            }
        }
    }
    work
}

fn decode(message: &SqsMessage) -> Result<Block, PortError> {
    let encoded = BASE64.decode(message.body.as_deref().unwrap_or_default())?;
    Ok(Block::decode(&encoded, &Limits::default())?)
}

fn failure(message: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message;
    failure
}

impl Tally {
    /// No outcome: there was no time left.
    fn count(&mut self, gateway: &GatewayId, work: Work, outcome: Option<Result<(), CommitError>>) {
        self.gateways += 1;
        match outcome {
            Some(Ok(())) => {
                self.blocks += work.blocks.len() as u64;
                return;
            }
            Some(Err(error)) => {
                tracing::error!(%gateway, error = &error as &dyn std::error::Error, "rules not evaluated");
            }
            None => tracing::error!(%gateway, "rules not evaluated: no time is left"),
        }
        self.gateways_failed += 1;
        self.failed.extend(work.messages);
    }

    fn emit(&self, began: Instant) {
        let value = began.elapsed().as_secs_f64() * 1_000.0;
        let metrics = [
            Metric::count("GatewaysEvaluated", self.gateways - self.gateways_failed),
            Metric::count("GatewaysFailed", self.gateways_failed),
            Metric::count("BlocksEvaluated", self.blocks),
            Metric::count("MessagesUnreadable", self.unreadable),
            Metric { name: "BatchDuration", unit: Unit::Milliseconds, value },
        ];
        emit("rules", &metrics, &[]);
    }
}
