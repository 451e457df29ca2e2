//! Blocks and books on their way to `ingest`, in a line for each gateway.
//!
//! Within a line one call is under way at a time, so that a gateway's blocks arrive as they were
//! sent while nothing fails; lines know nothing of each other but the bound on calls under way. A
//! message is answered when its event has been taken, and refused when it could not be handed over
//! in time: then the gateway sends it again.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use fieldline_model::{GatewayId, Timestamp};
use fieldline_mqtt::{PublishError, Routing};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::event;
use super::invoke::{InvokeError, Invoker};
use crate::answer::Answer;
use crate::config::InvokeSettings;
use crate::counters::Counters;
use crate::stop;
use crate::waiting::Place;

/// The function behind both rules.
const INGEST: &str = "ingest";
/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Which topic rule a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// A block.
    Ingest,
    /// A gateway's books.
    Books,
}

/// A message for a rule.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) rule: Rule,
    pub(crate) gateway: GatewayId,
    pub(crate) payload: Bytes,
    pub(crate) received: Timestamp,
    pub(crate) answer: Answer,
    pub(crate) place: Place,
}

/// The lines' entrance. Cheap to clone. The bound on what waits is that of [`crate::waiting`].
#[derive(Debug, Clone)]
pub(crate) struct Line {
    errands: mpsc::UnboundedSender<(Errand, Instant)>,
}

impl Line {
    /// Starts the task that works the lines until `stopping`. What is in them then is not
    /// acknowledged: it comes again.
    pub(crate) fn start(
        invoker: Invoker,
        settings: InvokeSettings,
        counters: Counters,
        stopping: watch::Receiver<bool>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (errands, entrance) = mpsc::unbounded_channel();
        let caller = Arc::new(Caller { invoker, settings, counters });
        let lines = Lines { caller, waiting: HashMap::new(), ready: VecDeque::new() };
        (Self { errands }, tokio::spawn(lines.run(entrance, stopping)))
    }

    /// Puts a message into its gateway's line.
    pub(crate) fn offer(&self, errand: Errand) {
        if self.errands.send((errand, Instant::now())).is_err() {
            tracing::debug!("a message came too late for this run");
        }
    }
}

type Key = (GatewayId, Rule);
type Calls = FuturesUnordered<Pin<Box<dyn Future<Output = Key> + Send>>>;

/// All lines. A key in `waiting` has a call under way or stands in `ready`, never both.
struct Lines {
    caller: Arc<Caller>,
    waiting: HashMap<Key, VecDeque<(Errand, Instant)>>,
    /// Lines whose first message may be called as soon as there is room.
    ready: VecDeque<Key>,
}

impl Lines {
    async fn run(
        mut self,
        mut entrance: mpsc::UnboundedReceiver<(Errand, Instant)>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut calls = Calls::new();
        loop {
            while calls.len() < self.caller.settings.in_flight_max
                && let Some((key, errand)) = self.next()
            {
                let caller = Arc::clone(&self.caller);
                calls.push(Box::pin(async move {
                    caller.settle(errand).await;
                    key
                }));
            }
            tokio::select! {
                Some(key) = calls.next(), if !calls.is_empty() => self.free(key),
                errand = entrance.recv() => match errand {
                    Some(errand) => self.add(errand),
                    None => return,
                },
                () = stop::told(&mut stopping) => return,
            }
        }
    }

    fn add(&mut self, (errand, since): (Errand, Instant)) {
        let key = (errand.gateway.clone(), errand.rule);
        let line = self.waiting.entry(key.clone()).or_insert_with(|| {
            self.ready.push_back(key);
            VecDeque::new()
        });
        line.push_back((errand, since));
    }

    fn next(&mut self) -> Option<(Key, (Errand, Instant))> {
        let key = self.ready.pop_front()?;
        let errand = self.waiting.get_mut(&key)?.pop_front()?;
        Some((key, errand))
    }

    /// A line's call has ended: the line is ready for its next, or gone.
    fn free(&mut self, key: Key) {
        match self.waiting.get(&key) {
            Some(line) if line.is_empty() => drop(self.waiting.remove(&key)),
            Some(_) => self.ready.push_back(key),
            None => {}
        }
    }
}

struct Caller {
    invoker: Invoker,
    settings: InvokeSettings,
    counters: Counters,
}

impl Caller {
    async fn settle(&self, (errand, since): (Errand, Instant)) {
        let Errand { rule, gateway, payload, received, answer, place } = errand;
        let body = event::of_rule(rule, &gateway, &payload, received);
        match self.hand_over(body, since).await {
            Ok(()) => {
                self.counters.invoked.increment(1);
                answer.accept(Routing::Consume);
            }
            Err(error) => {
                self.counters.deferred.increment(1);
                let error = error.as_ref().map(|error| error as &dyn std::error::Error);
                tracing::error!(%gateway, ?rule, error, "a message was not handed to its function; it comes again");
                answer.reject(PublishError::ImplementationSpecific);
            }
        }
        drop(place);
    }

    /// Tries until the event is taken or the message's time is over; the last error if there was
    /// an attempt.
    async fn hand_over(&self, body: Bytes, since: Instant) -> Result<(), Option<InvokeError>> {
        let (mut pause, mut last) = (PAUSE, None);
        loop {
            let left = self.settings.patience().saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(last);
            }
            match self.invoker.event(INGEST, body.clone(), left.min(self.settings.timeout())).await {
                Ok(()) => return Ok(()),
                Err(error) if error.passes() => {
                    self.counters.retried.increment(1);
                    tracing::debug!(error = &error as &dyn std::error::Error, "an invocation failed");
                    last = Some(error);
                }
                Err(error) => return Err(Some(error)),
            }
            tokio::time::sleep(pause.min(self.settings.patience().saturating_sub(since.elapsed()))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
