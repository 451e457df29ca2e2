//! `shadow` on AWS Lambda: batches of a standard SQS queue that holds the blocks of a period, gateways'
//! books, and AWS IoT's lifecycle events. One batch makes at most one update of each shadow.

mod batch;
mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use fieldline_aws::{Aws, IotShadows};
use fieldline_lambda::{Environment, Metric, SettingError, Unit, emit};
use futures_util::{StreamExt, stream};
use tokio::time::timeout_at;

use crate::{Error, Things, Written};
use batch::{Batch, Task};

/// Shadows that are updated at the same time. Each takes two calls of some 20 ms.
const SHADOWS_AT_ONCE: usize = 32;

/// So long before its end a batch is cut short: what is answered does not come again for nothing.
const RESERVE: Duration = Duration::from_secs(3);

/// What the function works with, made once.
#[derive(Debug, Clone)]
pub struct Cloud {
    things: Arc<dyn Things>,
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Tally {
    /// Places of messages.
    failed: BTreeSet<usize>,
    shadows_failed: u64,
    updated: u64,
    unchanged: u64,
    dropped: u64,
    unreadable: u64,
}

impl Cloud {
    /// Reads the function's settings.
    ///
    /// # Errors
    /// One is missing or wrong.
    pub async fn from(environment: &Environment) -> Result<Self, SettingError> {
        let endpoint = environment.url("FIELDLINE_IOT_ENDPOINT", "the URL of the IoT data plane")?;
        let aws = Aws::load().await;
        Ok(Self { things: Arc::new(IotShadows::new(&aws, &endpoint)) })
    }

    /// Handles a batch, and answers before `deadline`, when Lambda would end it. Messages of which a shadow
    /// could not be updated come again; what they say of other shadows is then known already.
    ///
    /// # Errors
    /// None: each message answers for itself.
    pub async fn handle(
        &self,
        event: SqsEvent,
        deadline: Instant,
    ) -> Result<SqsBatchResponse, fieldline_lambda::Error> {
        let began = Instant::now();
        let until = tokio::time::Instant::from(deadline.checked_sub(RESERVE).unwrap_or(began));
        let mut batch = Batch::default();
        for (place, message) in event.records.iter().enumerate() {
            batch.add(place, message);
        }
        let mut tally = Tally { unreadable: batch.unreadable, ..Tally::default() };
        let tasks = batch.tasks().into_iter().map(|task| async move {
            let outcome = timeout_at(until, task.run(self.things.as_ref())).await.ok();
            (task, outcome)
        });
        let mut tasks = stream::iter(tasks).buffer_unordered(SHADOWS_AT_ONCE);
        while let Some((task, outcome)) = tasks.next().await {
            tally.count(task, outcome);
        }
        drop(tasks);
        tally.emit(began);
        let mut answer = SqsBatchResponse::default();
        let ids = tally.failed.iter().filter_map(|place| event.records.get(*place)?.message_id.clone());
        answer.batch_item_failures = ids.map(failure).collect();
        Ok(answer)
    }
}

fn failure(message: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message;
    failure
}

impl Tally {
    /// No outcome: there was no time left.
    fn count(&mut self, task: Task, outcome: Option<Result<Written, Error>>) {
        match outcome {
            Some(Ok(Written::Updated { dropped })) => {
                self.updated += 1;
                self.dropped += dropped as u64;
                return;
            }
            Some(Ok(Written::Unchanged)) => {
                self.unchanged += 1;
                return;
            }
            Some(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a shadow is not up to date");
            }
            None => tracing::error!(shadow = %task, "a shadow is not up to date: no time is left"),
        }
        self.shadows_failed += 1;
        self.failed.extend(task.messages);
    }

    fn emit(&self, began: Instant) {
        let value = began.elapsed().as_secs_f64() * 1_000.0;
        let metrics = [
            Metric::count("ShadowsUpdated", self.updated),
            Metric::count("ShadowsUnchanged", self.unchanged),
            Metric::count("ShadowsFailed", self.shadows_failed),
            Metric::count("ShadowMetricsDropped", self.dropped),
            Metric::count("MessagesUnreadable", self.unreadable),
            Metric { name: "BatchDuration", unit: Unit::Milliseconds, value },
        ];
        emit("shadow", &metrics, &[]);
    }
}
