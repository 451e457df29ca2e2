//! What waits for the thread that keeps the shadows. Whoever hands something over never waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fieldline_model::ShadowTopic;
use fieldline_mqtt::Receipt;
use fieldline_shadow::{Error, Turn};
use tokio::sync::oneshot;

/// So many requests of devices may wait, all together.
const REQUESTS_MAX: usize = 256;
/// So many messages of the cloud may wait. When more come, everything is compared anew.
const MESSAGES_MAX: usize = 256;

/// Who waits for the answer.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A device, for its PUBACK.
    Device(Receipt),
    /// A rule of this gateway, for whether it is on disk.
    Rule(oneshot::Sender<bool>),
}

/// A request of a device, or of a rule.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) topic: ShadowTopic,
    pub(crate) payload: Bytes,
    /// Why it is refused, if that is known already.
    pub(crate) refused: Option<Error>,
    pub(crate) turn: Option<Turn>,
    pub(crate) asker: Asker,
}

/// Something that has happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A device asks.
    Request(Box<Request>),
    /// A device has subscribed.
    Watched(String),
    /// The cloud says something.
    Cloud(ShadowTopic, Bytes),
    /// The server has answered a subscription.
    Subscribed(String, bool),
    /// The link is up.
    Up,
    /// The link is lost.
    Down,
    /// Messages of the cloud were dropped.
    Missed,
}

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    requests: usize,
    messages: usize,
    stopping: bool,
}

/// The inbox.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

impl Inbox {
    /// Hands over a request; it comes back when too many wait, or the agent stops.
    pub(crate) fn request(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        let mut waiting = self.lock();
        if waiting.requests >= REQUESTS_MAX || waiting.stopping {
            return Err(request);
        }
        waiting.requests += 1;
        self.put(waiting, Event::Request(request));
        Ok(())
    }

    /// A device listens. Nothing is lost when there is no room: it is known with its first request.
    pub(crate) fn watched(&self, filter: &str) {
        let mut waiting = self.lock();
        if waiting.requests < REQUESTS_MAX {
            waiting.requests += 1;
            self.put(waiting, Event::Watched(filter.to_owned()));
        }
    }

    /// A message of the cloud.
    pub(crate) fn message(&self, topic: ShadowTopic, payload: Bytes) {
        let mut waiting = self.lock();
        waiting.messages += 1;
        match waiting.messages {
            ..=MESSAGES_MAX => self.put(waiting, Event::Cloud(topic, payload)),
            count if count == MESSAGES_MAX + 1 => self.put(waiting, Event::Missed),
            _ => {}
        }
    }

    /// Of the link there is little to say.
    pub(crate) fn link(&self, event: Event) {
        self.put(self.lock(), event);
    }

    /// The next [`Inbox::take`] is the last.
    pub(crate) fn stop(&self) {
        let mut waiting = self.lock();
        waiting.stopping = true;
        drop(waiting);
        self.ready.notify_one();
    }

    /// All that waits, as soon as there is something or the time has come; false when that is all.
    pub(crate) fn take(&self, until: Option<Instant>, events: &mut Vec<Event>) -> bool {
        let mut waiting = self.lock();
        while waiting.events.is_empty() && !waiting.stopping {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            waiting = if until.is_none() {
                self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.ready.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
            };
        }
        (waiting.requests, waiting.messages) = (0, 0);
        events.append(&mut waiting.events);
        !waiting.stopping
    }

    fn put(&self, mut waiting: MutexGuard<'_, Waiting>, event: Event) {
        waiting.events.push(event);
        drop(waiting);
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
