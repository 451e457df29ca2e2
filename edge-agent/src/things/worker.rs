//! The thread that keeps the shadows: takes what waits, makes it durable together, and only then answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fieldline_model::{ShadowPart, ShadowTopic};
use fieldline_mqtt::{Broker, Message, QoS, Routing};
use fieldline_shadow::{Error, Turn};
use serde_json::Value;

use super::access::{self, Watched};
use super::inbox::{Asker, Event, Inbox, Request};
use super::machine::{AHEAD_MS, Machine, Now, Output, Shadows, refusal};
use crate::clock;
use crate::sync::Post;

/// Everything that the thread needs.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) machine: Machine,
    pub(crate) broker: Broker,
    pub(crate) post: Post,
    pub(crate) numbers: Arc<Mutex<Shadows>>,
}

/// Something to be done after the commit.
enum Act {
    Put(Output),
    Answer(Answer),
}

/// Someone who waits for the commit.
struct Answer {
    topic: ShadowTopic,
    payload: Bytes,
    asker: Asker,
    turn: Option<Turn>,
}

impl Worker {
    /// Runs until the inbox is stopped and empty.
    pub(crate) fn run(mut self) {
        let started = Instant::now();
        let mut events = Vec::new();
        loop {
            let until = self.machine.wake();
            let until = until.map(|ms| started + Duration::from_millis(ms.saturating_sub(AHEAD_MS)));
            let goes_on = self.inbox.take(until, &mut events);
            let ms =
                u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(AHEAD_MS);
            let now = Now { ms, epoch_s: clock::now().nanos().div_euclid(1_000_000_000) };
            self.round(&mut events, now);
            if !goes_on {
                return;
            }
        }
    }

    fn round(&mut self, events: &mut Vec<Event>, now: Now) {
        let mut acts = Vec::new();
        for event in events.drain(..) {
            let mut outputs = Vec::new();
            let answer = self.take(event, now, &mut outputs);
            acts.extend(outputs.into_iter().map(Act::Put));
            acts.extend(answer.map(Act::Answer));
        }
        let mut outputs = Vec::new();
        self.machine.work(now, &mut outputs);
        acts.extend(outputs.into_iter().map(Act::Put));
        let committed = self.machine.commit(now);
        if let Err(error) = &committed {
            tracing::error!(%error, "shadows cannot be written; what devices ask is refused meanwhile");
        }
        for act in acts {
            self.act(act, committed.is_ok(), now);
        }
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner) = self.machine.numbers();
    }

    fn take(&mut self, event: Event, now: Now, outputs: &mut Vec<Output>) -> Option<Answer> {
        match event {
            Event::Request(request) => {
                let Request { topic, payload, refused, turn, asker } = *request;
                self.machine.request(&topic, &payload, refused, now, outputs);
                return Some(Answer { topic, payload, asker, turn });
            }
            Event::Watched(filter) => {
                for Watched { filter, shadow } in access::watched(&filter) {
                    self.machine.watched(filter, shadow.as_ref(), now);
                }
            }
            Event::Cloud(topic, payload) => self.machine.heard(&topic, &payload, now, outputs),
            Event::Subscribed(filter, granted) => self.machine.subscribed(&filter, granted, now),
            Event::Up => self.machine.up(now),
            Event::Down => self.machine.down(),
            Event::Missed => self.machine.compare_all(now),
        }
        None
    }

    /// What is not durable is told to nobody; a subscription has nothing to do with the disk. What finds no
    /// room in the post is sent again, as if it had been lost on the way.
    fn act(&self, act: Act, durable: bool, now: Now) {
        match act {
            Act::Put(Output::Subscribe(filters)) => {
                if !self.post.subscribe(filters) {
                    tracing::warn!("too much waits for the server to subscribe to shadows");
                }
            }
            Act::Put(Output::Local(topic, document)) if durable => self.publish(&topic, &document),
            Act::Put(Output::Cloud(topic, request)) if durable => {
                if !self.post.publish(topic.to_string(), request.to_string()) {
                    tracing::debug!(%topic, "too much waits for the server; the shadow is sent later");
                }
            }
            Act::Put(_) => {}
            Act::Answer(answer) => {
                if !durable
                    && let Output::Local(topic, document) =
                        refusal(&answer.topic, &Error::Internal, &answer.payload, now)
                {
                    self.publish(&topic, &document);
                }
                match answer.asker {
                    Asker::Device(receipt) => receipt.accept(Routing::Route),
                    // A rule that is gone asks again.
                    Asker::Rule(written) => drop(written.send(durable)),
                }
                drop(answer.turn);
            }
        }
    }

    fn publish(&self, topic: &ShadowTopic, document: &Value) {
        debug_assert_ne!(topic.part, ShadowPart::Request);
        let payload = Bytes::from(document.to_string());
        self.broker.publish(&Message::new(topic.to_string(), payload, QoS::AtLeastOnce));
    }
}
