//! An event source mapping: from an SQS queue into a function.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::{Value, json};

use super::function::Ending;
use super::host::{Host, Shared};
use super::queue::Queue;
use crate::random::Random;

/// Of a hundred batches so many are delivered twice, and so many backwards, once the poller is unruly.
const MISCHIEF_PERCENT: u64 = 25;

/// Feeds a function until it is dropped.
#[derive(Debug)]
pub struct Poller {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stopped: AtomicBool,
    batches: AtomicU64,
    returned: AtomicU64,
    unruly: Mutex<Option<Random>>,
}

impl State {
    fn strikes(&self) -> bool {
        let mut unruly = self.unruly.lock().unwrap_or_else(PoisonError::into_inner);
        unruly.as_mut().is_some_and(|random| random.chance(MISCHIEF_PERCENT))
    }
}

impl Poller {
    /// Begins to feed `function` with the messages of `queue`.
    pub fn start(host: &Host, queue: Queue, function: &str) -> Self {
        let state = Arc::<State>::default();
        let (shared, function, poll) = (host.shared(), function.to_owned(), Arc::clone(&state));
        host.spawn(async move {
            while !poll.stopped.load(Ordering::Acquire) {
                if let Err(error) = round(&shared, &queue, &function, &poll).await {
                    eprintln!("the queue of {function}: {error:#}");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        });
        Self { state }
    }

    /// From now on batches come twice or backwards now and then, which a FIFO queue does not do but a
    /// redrive by hand does.
    pub fn be_unruly(&self, seed: u64) {
        *self.state.unruly.lock().unwrap_or_else(PoisonError::into_inner) = Some(Random::new(seed));
    }

    /// From now on the function is fed nothing, and messages stay in the queue.
    pub fn stop(&self) {
        self.state.stopped.store(true, Ordering::Release);
    }

    /// How many batches the function has been given, and how many messages came back from it.
    pub fn counts(&self) -> (u64, u64) {
        (self.state.batches.load(Ordering::Acquire), self.state.returned.load(Ordering::Acquire))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn round(shared: &Arc<Shared>, queue: &Queue, function: &str, state: &State) -> Result<()> {
    let source = queue.clone();
    let mut messages = tokio::task::spawn_blocking(move || source.receive()).await??;
    if messages.is_empty() || state.stopped.load(Ordering::Acquire) {
        return Ok(());
    }
    if state.strikes() {
        messages.reverse();
    }
    state.batches.fetch_add(1, Ordering::AcqRel);
    if state.strikes() {
        // Whatever comes of it: the answer that counts is the second one's.
        drop(shared.invoke(function, event(&messages)).await);
    }
    let ending = shared.invoke(function, event(&messages)).await;
    let failed = failed(&ending, &messages);
    state.returned.fetch_add(failed.len() as u64, Ordering::AcqRel);
    let queue = queue.clone();
    tokio::task::spawn_blocking(move || {
        // One that cannot be settled comes again by itself; the others must not wait for that, too.
        let settled = messages.iter().map(|message| {
            let receipt = message["ReceiptHandle"].as_str().context("a receipt")?;
            if failed.contains(message["MessageId"].as_str().unwrap_or_default()) {
                queue.give_back(receipt)
            } else {
                queue.delete(receipt)
            }
        });
        settled.collect::<Vec<_>>().into_iter().collect()
    })
    .await?
}

/// The event as Lambda makes it of a batch.
fn event(messages: &[Value]) -> Bytes {
    let attribute =
        |value: &Value| json!({ "stringValue": value["StringValue"], "dataType": value["DataType"] });
    let records: Vec<Value> = messages
        .iter()
        .map(|message| {
            let attributes: serde_json::Map<String, Value> = message["MessageAttributes"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), attribute(value)))
                .collect();
            json!({
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": attributes,
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:local.fifo",
                "awsRegion": "us-east-1",
            })
        })
        .collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

/// The messages that come again: those that the answer names, or all when it is no answer. An answer
/// that names a message which was not in the batch means all, too.
fn failed(ending: &Ending, messages: &[Value]) -> BTreeSet<String> {
    let all =
        || messages.iter().filter_map(|message| message["MessageId"].as_str()).map(str::to_owned).collect();
    let Ending::Answer(body) = ending else { return all() };
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return all() };
    let named: BTreeSet<String> = answer["batchItemFailures"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|failure| failure["itemIdentifier"].as_str().unwrap_or_default().to_owned())
        .collect();
    let known: BTreeSet<String> = all();
    if named.is_subset(&known) { named } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_what_comes_again() {
        let messages = [json!({ "MessageId": "a" }), json!({ "MessageId": "b" })];
        let table = [
            (r#"{"batchItemFailures":[]}"#, &[][..]),
            ("null", &[]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#, &["b"]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"x"}]}"#, &["a", "b"]),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, &["a", "b"]),
        ];
        for (answer, expected) in table {
            let found = failed(&Ending::Answer(Bytes::from(answer)), &messages);
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{answer}");
        }
        assert_eq!(failed(&Ending::failure("x", "y"), &messages).len(), 2);
    }
}
