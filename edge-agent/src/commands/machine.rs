//! What becomes of responses, and which devices are heard: inputs and the time come in, outputs go out.
//!
//! Invariants
//! - Of one execution, one response is under way to the server: the server's replies name the execution, not the
//!   response.
//! - A response is let go of only when the server has answered it on this connection or an earlier one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fieldline_model::{CommandPart, CommandTopic, ExecutionId, ThingName};

/// Responses that may wait in all, each of at most [`super::PAYLOAD_BYTES_MAX`].
const WAITING_MAX: usize = 256;
/// How long the server may take to answer.
const ANSWER_MS_MAX: u64 = 10_000;
/// How long a device's PUBACK is held. Those of its readings wait behind it, so it is not held for ever.
const HELD_MS_MAX: u64 = 20_000;

/// What is to be done; `R` is what a device is answered with.
#[derive(Debug, PartialEq)]
pub(super) enum Output<R> {
    /// Subscribe on the uplink.
    Subscribe(Vec<String>),
    /// Publish on the uplink.
    Up(CommandTopic, Bytes),
    /// The server has answered: PUBACK.
    Settled(R),
    /// No PUBACK: the device says it again when it connects anew.
    Abandoned(R),
    /// There is no room: refused.
    Refused(R),
}

/// What the server has said of a device's filter on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// Nothing was asked.
    Not,
    /// It was asked; `again` when the device has subscribed since.
    Asked {
        again: bool,
    },
    Granted,
    Refused,
}

/// A response, and the devices' receipts of it.
#[derive(Debug)]
struct Waiting<R> {
    payload: Bytes,
    receipts: Vec<R>,
    since_ms: u64,
    /// How often it was sent.
    sent: u32,
}

/// The responses to one command, in order.
#[derive(Debug)]
struct Line<R> {
    waiting: VecDeque<Waiting<R>>,
    /// When the first was sent on this connection.
    sent_ms: Option<u64>,
    /// Replies that may still come to what was sent more than once, and until when that is to be expected.
    strays: u32,
    strays_until_ms: u64,
}

type Key = (ThingName, ExecutionId);

/// The machine.
#[derive(Debug)]
pub(super) struct Machine<R> {
    devices_max: usize,
    devices: BTreeMap<ThingName, Hearing>,
    lines: BTreeMap<Key, Line<R>>,
    up: bool,
}

impl<R> Machine<R> {
    pub(super) fn new(devices_max: usize) -> Self {
        Self { devices_max, devices: BTreeMap::new(), lines: BTreeMap::new(), up: false }
    }

    /// Everything that is listened to.
    pub(super) fn filters(&mut self) -> Vec<String> {
        for hearing in self.devices.values_mut() {
            *hearing = Hearing::Asked { again: false };
        }
        self.devices.keys().map(filter_of).collect()
    }

    /// A device listens: the server is asked anew, for it then publishes again what is unanswered. False when
    /// there is no room for another device.
    pub(super) fn watched(&mut self, thing: &ThingName, outputs: &mut Vec<Output<R>>) -> bool {
        if !self.knows(thing) {
            return false;
        }
        match self.devices.get_mut(thing) {
            Some(Hearing::Asked { again }) => *again = true,
            Some(hearing) if self.up => {
                *hearing = Hearing::Asked { again: false };
                outputs.push(Output::Subscribe(vec![filter_of(thing)]));
            }
            _ => {}
        }
        true
    }

    fn knows(&mut self, thing: &ThingName) -> bool {
        if !self.devices.contains_key(thing) {
            if self.devices.len() >= self.devices_max {
                return false;
            }
            self.devices.insert(thing.clone(), Hearing::Not);
        }
        true
    }

    /// A device answers a command.
    pub(super) fn respond(
        &mut self,
        topic: &CommandTopic,
        payload: Bytes,
        receipt: R,
        now_ms: u64,
        outputs: &mut Vec<Output<R>>,
    ) {
        let count: usize = self.lines.values().map(|line| line.waiting.len()).sum();
        let key = (topic.thing.clone(), topic.execution.clone());
        let same = self
            .lines
            .get_mut(&key)
            .and_then(|line| line.waiting.iter_mut().find(|waiting| waiting.payload == payload));
        if let Some(same) = same {
            if same.receipts.is_empty() {
                same.since_ms = now_ms;
            }
            return same.receipts.push(receipt);
        }
        let refused = self.devices.get(&topic.thing) == Some(&Hearing::Refused);
        if refused || count >= WAITING_MAX || !self.knows(&topic.thing) {
            return outputs.push(Output::Refused(receipt));
        }
        if self.up && self.devices.get(&topic.thing) == Some(&Hearing::Not) {
            self.watched(&topic.thing, outputs);
        }
        let waiting = Waiting { payload, receipts: vec![receipt], since_ms: now_ms, sent: 0 };
        self.lines.entry(key.clone()).or_default().waiting.push_back(waiting);
        self.send(&key, now_ms, outputs);
    }

    /// The server has answered a subscription.
    pub(super) fn subscribed(
        &mut self,
        filter: &str,
        granted: bool,
        now_ms: u64,
        outputs: &mut Vec<Output<R>>,
    ) {
        let thing = super::access::watched(filter).filter(|thing| filter_of(thing) == filter);
        let Some(thing) = thing else { return };
        let Some(hearing) = self.devices.get_mut(&thing) else { return };
        if granted && *hearing == (Hearing::Asked { again: true }) {
            *hearing = Hearing::Asked { again: false };
            return outputs.push(Output::Subscribe(vec![filter_of(&thing)]));
        }
        *hearing = if granted { Hearing::Granted } else { Hearing::Refused };
        let keys: Vec<Key> = self.lines.keys().filter(|(of, _)| *of == thing).cloned().collect();
        if granted {
            return keys.iter().for_each(|key| self.send(key, now_ms, outputs));
        }
        for line in keys.iter().filter_map(|key| self.lines.remove(key)) {
            let receipts = line.waiting.into_iter().flat_map(|waiting| waiting.receipts);
            outputs.extend(receipts.map(Output::Refused));
        }
    }

    /// The link is up: devices that came while it was made are asked for.
    pub(super) fn up(&mut self, outputs: &mut Vec<Output<R>>) {
        self.up = true;
        self.ask(outputs);
    }

    /// These could not be asked for; they are when time has passed.
    pub(super) fn unasked(&mut self, filters: &[String]) {
        for thing in filters.iter().filter_map(|filter| super::access::watched(filter)) {
            self.devices.entry(thing).and_modify(|hearing| *hearing = Hearing::Not);
        }
    }

    fn ask(&mut self, outputs: &mut Vec<Output<R>>) {
        let mut filters = Vec::new();
        for (thing, hearing) in &mut self.devices {
            if *hearing == Hearing::Not {
                *hearing = Hearing::Asked { again: false };
                filters.push(filter_of(thing));
            }
        }
        if !filters.is_empty() {
            outputs.push(Output::Subscribe(filters));
        }
    }

    /// The link is lost: what has no answer is sent again on the next one.
    pub(super) fn down(&mut self) {
        self.up = false;
        self.devices.values_mut().for_each(|hearing| *hearing = Hearing::Not);
        self.lines.values_mut().for_each(|line| line.sent_ms = None);
    }

    /// Whether a reply may be another one to what was answered already. The device must not hear it either: it
    /// would take it for the reply to what it has said since.
    pub(super) fn is_stray(&mut self, topic: &CommandTopic, now_ms: u64) -> bool {
        let line = self.lines.get_mut(&(topic.thing.clone(), topic.execution.clone()));
        match line.filter(|line| line.strays > 0 && now_ms < line.strays_until_ms) {
            Some(line) => {
                line.strays -= 1;
                true
            }
            None => false,
        }
    }

    /// The server has accepted or rejected the response that is under way.
    pub(super) fn answered(&mut self, topic: &CommandTopic, now_ms: u64, outputs: &mut Vec<Output<R>>) {
        debug_assert!(matches!(topic.part, CommandPart::Accepted | CommandPart::Rejected));
        let key = (topic.thing.clone(), topic.execution.clone());
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.strays = 0;
        if line.waiting.front().is_none_or(|first| first.sent == 0) {
            return;
        }
        let Some(done) = line.waiting.pop_front() else { return };
        line.strays = done.sent.saturating_sub(1);
        line.strays_until_ms = now_ms + ANSWER_MS_MAX;
        line.sent_ms = None;
        outputs.extend(done.receipts.into_iter().map(Output::Settled));
        if line.waiting.is_empty() && line.strays == 0 {
            self.lines.remove(&key);
        } else {
            self.send(&key, now_ms, outputs);
        }
    }

    /// Time passes: what the server does not answer is sent again, and no PUBACK is held too long.
    pub(super) fn tick(&mut self, now_ms: u64, outputs: &mut Vec<Output<R>>) {
        if self.up {
            self.ask(outputs);
        }
        self.lines.retain(|_, line| !line.waiting.is_empty() || now_ms < line.strays_until_ms);
        for line in self.lines.values_mut() {
            if line.sent_ms.is_some_and(|sent| now_ms >= sent + ANSWER_MS_MAX) {
                line.sent_ms = None;
            }
            for waiting in line.waiting.iter_mut().filter(|one| now_ms >= one.since_ms + HELD_MS_MAX) {
                outputs.extend(waiting.receipts.drain(..).map(Output::Abandoned));
            }
        }
        let keys: Vec<Key> = self.lines.keys().cloned().collect();
        keys.iter().for_each(|key| self.send(key, now_ms, outputs));
    }

    /// Sends the first response to a command, if its reply would be heard and it is not under way.
    fn send(&mut self, key: &Key, now_ms: u64, outputs: &mut Vec<Output<R>>) {
        let hears = matches!(self.devices.get(&key.0), Some(Hearing::Granted));
        let Some(line) = self.lines.get_mut(key).filter(|line| hears && line.sent_ms.is_none()) else {
            return;
        };
        let Some(first) = line.waiting.front_mut() else { return };
        first.sent += 1;
        line.sent_ms = Some(now_ms);
        let (thing, execution) = key.clone();
        let topic = CommandTopic { thing, execution, part: CommandPart::Response };
        outputs.push(Output::Up(topic, first.payload.clone()));
    }
}

impl<R> Default for Line<R> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), sent_ms: None, strays: 0, strays_until_ms: 0 }
    }
}

/// Requests and replies with one subscription; what the device says itself is heard too, and passed over.
fn filter_of(thing: &ThingName) -> String {
    format!("$aws/commands/things/{thing}/executions/#")
}

#[cfg(test)]
mod tests;
