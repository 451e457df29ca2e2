//! The one task that owns the executions: requests in their order, those that wait together in one
//! commit, and nobody hears of a change before it is durable.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fieldline_model::{CommandPart, CommandStatus, CommandTopic, ExecutionId};
use fieldline_mqtt::{Broker, Message, MessageProperties, QoS, Routing};
use fieldline_store::{Entries, StoreError};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::desk::{Ask, DeviceResponse, Due, Line, Many, One};
use super::execution::{Execution, Response, ResponseError};
use super::state::{Book, KIND, Limits, Refused};
use crate::stop;

/// Requests that share a commit at most.
const TOGETHER_MAX: usize = 256;
/// The clock is looked at this often at least, so that a step of it goes unnoticed no longer.
const LOOK: Duration = Duration::from_secs(60);
/// How long it may take from accepting a command to publishing it, in milliseconds, for its time to be told
/// in full.
const MOMENT_MS: i64 = 50;
/// How long after a failed write the next try comes by itself.
const AGAIN: Duration = Duration::from_secs(1);

/// The executions, where they are kept, and how devices hear of them.
pub(crate) struct Service {
    store: Arc<dyn Entries>,
    broker: Broker,
    limits: Limits,
    /// None after a write has failed: what is durable is read again.
    book: Option<Book>,
    waiters: HashMap<ExecutionId, Vec<Waiter>>,
    due: Due,
}

/// Who waits for a change, and the status that is not one.
type Waiter = (Option<CommandStatus>, oneshot::Sender<One>);

/// Who hears of what, once it is durable.
enum Told {
    One(oneshot::Sender<One>, One),
    Created(oneshot::Sender<One>, Arc<Execution>),
    Many(oneshot::Sender<Many>, Vec<Arc<Execution>>),
    Device(Box<DeviceResponse>, Result<(), ResponseError>),
    Again(Vec<Arc<Execution>>),
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("book", &self.book).finish_non_exhaustive()
    }
}

impl Service {
    /// Reads what is stored.
    pub(crate) async fn open(
        store: Arc<dyn Entries>,
        broker: Broker,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let book = Some(load(store.as_ref(), &limits).await?);
        Ok(Self { store, broker, limits, book, waiters: HashMap::new(), due: Due::default() })
    }

    /// Does what is asked until `stopping`, and then what is left.
    pub(crate) async fn run(
        mut self,
        Line { asks: mut line, due }: Line,
        mut stopping: watch::Receiver<bool>,
    ) {
        self.due = due;
        self.set_due();
        let mut open = true;
        let mut asks = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop::told(&mut stopping), if open => {
                    open = false;
                    line.close();
                }
                count = line.recv_many(&mut asks, TOGETHER_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.work(asks.drain(..)).await;
                }
                () = tokio::time::sleep(self.until_next()), if open => self.work(std::iter::empty()).await,
            }
        }
    }

    fn until_next(&self) -> Duration {
        let Some(book) = &self.book else { return AGAIN };
        let wait_ms = book.wake_at().map(|at| at.saturating_sub(now_ms()).max(0).unsigned_abs());
        wait_ms.map_or(LOOK, Duration::from_millis).min(LOOK)
    }

    /// After what is durable was read.
    fn set_due(&self) {
        let all = self.book.iter().flat_map(Book::all);
        all.for_each(|execution| self.due.set(&execution.id, Some(execution)));
    }

    async fn work(&mut self, asks: impl Iterator<Item = Ask>) {
        if self.book.is_none() {
            self.book = load(self.store.as_ref(), &self.limits).await.inspect_err(log_unreadable).ok();
            self.set_due();
        }
        let Some(mut book) = self.book.take() else {
            asks.for_each(|ask| self.refuse(ask));
            return;
        };
        let now = now_ms();
        book.tick(now);
        let told: Vec<Told> = asks.filter_map(|ask| self.done(&mut book, ask, now)).collect();
        let (changes, changed) = book.take_changes();
        let written = if changes.is_empty() { Ok(()) } else { self.store.write_entries(changes).await };
        match written {
            Ok(()) => {
                self.wake(&book, &changed);
                self.book = Some(book);
                told.into_iter().for_each(|told| self.tell(told));
            }
            Err(error) => {
                log_unwritten(&error);
                told.into_iter().for_each(|told| self.tell(told.unwritten()));
            }
        }
    }

    /// Does what is asked, in memory; who is to hear of it, unless that waits for a change.
    fn done(&mut self, book: &mut Book, ask: Ask, now: i64) -> Option<Told> {
        Some(match ask {
            Ask::Create(order, reply) => {
                let known = order.id.as_ref().is_some_and(|id| book.get(id).is_ok());
                match book.create(order, now, random()) {
                    Ok(execution) if !known => Told::Created(reply, execution),
                    outcome => Told::One(reply, outcome),
                }
            }
            Ask::Cancel(id, reply) => Told::One(reply, book.cancel(&id, now)),
            Ask::Get(id, reply) => Told::One(reply, book.get(&id)),
            Ask::Wait(id, status, reply) => match book.get(&id) {
                Ok(execution) if !differs(&execution, status) => {
                    let waiters = self.waiters.entry(id).or_default();
                    waiters.retain(|(_, reply)| !reply.is_closed());
                    waiters.push((status, reply));
                    return None;
                }
                outcome => Told::One(reply, outcome),
            },
            Ask::List(which, reply) => {
                Told::Many(reply, book.list(which.thing.as_ref(), which.status, which.limit))
            }
            Ask::Response(response) => {
                let topic = &response.topic;
                let outcome = Response::parse(&response.payload)
                    .and_then(|parsed| book.respond(&topic.thing, &topic.execution, parsed, now));
                Told::Device(response, outcome)
            }
            Ask::Subscribed(filter) => Told::Again(book.unanswered(&filter)),
        })
    }

    /// What has changed is durable now: from here on it is delivered or not, and those who waited for it hear.
    fn wake(&mut self, book: &Book, changed: &BTreeSet<ExecutionId>) {
        for id in changed {
            self.due.set(id, book.get(id).ok().as_deref());
            let Some(waiters) = self.waiters.remove(id) else { continue };
            let outcome = book.get(id);
            let mut waiting = Vec::new();
            for (status, reply) in waiters {
                match &outcome {
                    Ok(execution) if !differs(execution, status) => waiting.push((status, reply)),
                    outcome => send(reply, outcome.clone()),
                }
            }
            if !waiting.is_empty() {
                self.waiters.insert(id.clone(), waiting);
            }
        }
    }

    fn tell(&self, told: Told) {
        match told {
            Told::One(reply, outcome) => send(reply, outcome),
            Told::Many(reply, list) => send(reply, Ok(list)),
            Told::Created(reply, execution) => {
                self.deliver(&execution);
                send(reply, Ok(execution));
            }
            Told::Again(executions) => executions.iter().for_each(|execution| self.deliver(execution)),
            Told::Device(response, outcome) => self.answer(*response, &outcome),
        }
    }

    /// Nothing can be done at the moment.
    fn refuse(&self, ask: Ask) {
        match ask {
            Ask::Create(_, reply) | Ask::Cancel(_, reply) | Ask::Get(_, reply) | Ask::Wait(_, _, reply) => {
                send(reply, Err(Refused::Unavailable));
            }
            Ask::List(_, reply) => send(reply, Err(Refused::Unavailable)),
            Ask::Response(response) => self.answer(*response, &Err(ResponseError::Internal)),
            Ask::Subscribed(_) => {}
        }
    }

    /// Publishes a command for its device. One that is not connected hears it when it subscribes.
    fn deliver(&self, execution: &Execution) {
        let left_ms = execution.expires.saturating_sub(now_ms()).max(0);
        // Rounded down, since what has expired must not reach a device out of its session's queue; but 30 s
        // that have just begun are told as 30, and 0 would say that it has expired.
        let expiry_s = u32::try_from((left_ms + MOMENT_MS) / 1000).unwrap_or(u32::MAX).max(1);
        let properties = MessageProperties {
            utf8: Some(true),
            expiry_s: Some(expiry_s),
            content_type: Some("application/json".into()),
            response_topic: Some(execution.topic(CommandPart::Response).to_string().into()),
            correlation_data: Some(Bytes::copy_from_slice(execution.id.as_str().as_bytes())),
            user: Vec::new(),
        };
        let topic = execution.topic(CommandPart::Request).to_string();
        let payload = Bytes::from(execution.request().to_string());
        self.broker.publish(&Message::new(topic, payload, QoS::AtLeastOnce).with_properties(properties));
    }

    /// Tells a device what became of its answer; its PUBACK comes last.
    fn answer(&self, response: DeviceResponse, outcome: &Result<(), ResponseError>) {
        let DeviceResponse { topic, answer, place, .. } = response;
        let id = &topic.execution;
        match outcome {
            Ok(()) => self.reply(&topic.with(CommandPart::Accepted), &json!({ "executionId": id })),
            Err(error) => {
                tracing::debug!(%topic, %error, "a response to a command was refused");
                let document = json!({
                    "executionId": id, "error": error.code(), "errorMessage": error.to_string(),
                });
                self.reply(&topic.with(CommandPart::Rejected), &document);
            }
        }
        answer.accept(Routing::Route);
        drop(place);
    }

    fn reply(&self, topic: &CommandTopic, document: &Value) {
        let payload = Bytes::from(document.to_string());
        self.broker.publish(&Message::new(topic.to_string(), payload, QoS::AtLeastOnce));
    }
}

impl Told {
    /// The same when what was done could not be written, and so is not done.
    fn unwritten(self) -> Self {
        match self {
            Self::One(reply, _) | Self::Created(reply, _) => Self::One(reply, Err(Refused::Unavailable)),
            Self::Device(response, _) => Self::Device(response, Err(ResponseError::Internal)),
            // A list may show what is not durable: its requester hears nothing, which is "unavailable".
            Self::Many(..) | Self::Again(_) => Self::Again(Vec::new()),
        }
    }
}

fn differs(execution: &Execution, status: Option<CommandStatus>) -> bool {
    status.map_or(execution.status.is_end(), |status| execution.status != status)
}

fn send<T>(reply: oneshot::Sender<T>, outcome: T) {
    if reply.send(outcome).is_err() {
        tracing::debug!("a client hung up before it heard of its command");
    }
}

async fn load(store: &dyn Entries, limits: &Limits) -> anyhow::Result<Book> {
    Ok(Book::load(limits.clone(), store.entries(KIND).await?)?)
}

fn log_unreadable(error: &anyhow::Error) {
    tracing::error!(error = format!("{error:#}"), "the commands cannot be read; none are taken");
}

fn log_unwritten(error: &StoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "commands could not be written");
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        tracing::debug!("no randomness for the id of a command");
    }
    u64::from_be_bytes(bytes)
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> i64 {
    crate::broker::now().nanos().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests;
