//! A gateway with its disk, its link and the cloud behind it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use fieldline_journal::sim::{Outcome, SimFs};
use fieldline_model::{ShadowId, ShadowOperation, ShadowPart, ShadowTopic, ThingName};
use serde_json::{Value, json};

use super::super::cabinet::Cabinet;
use super::super::machine::{AHEAD_MS, Bounds, Machine, Now, Output};
use super::cloud::Cloud;

/// How a message fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Lost,
    Twice,
}

pub(super) struct Site {
    pub(super) disk: SimFs,
    pub(super) machine: Option<Machine>,
    pub(super) cloud: Cloud,
    pub(super) up: bool,
    pub(super) now: Now,
    /// Requests of the gateway on their way to the cloud.
    pub(super) asked: VecDeque<(ShadowTopic, String)>,
    /// Answers to subscriptions on their way.
    granted: VecDeque<String>,
    /// What the devices were told, newest last.
    pub(super) told: Vec<(ShadowTopic, Value)>,
    bounds: Bounds,
    runs: u32,
}

pub(super) fn shadow(thing: &str) -> ShadowId {
    ShadowId { thing: ThingName::new(thing).unwrap(), name: None }
}

pub(super) fn topic(thing: &str, operation: ShadowOperation) -> ShadowTopic {
    ShadowTopic { shadow: shadow(thing), operation, part: ShadowPart::Request }
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with(Bounds { shadows_max: 10, subscriptions_max: 20, every_thing: false, widens: false })
    }

    pub(super) fn with(bounds: Bounds) -> Self {
        let mut site = Self {
            disk: SimFs::new(),
            machine: None,
            cloud: Cloud::default(),
            up: false,
            now: Now { ms: AHEAD_MS, epoch_s: 1_000_000 },
            asked: VecDeque::new(),
            granted: VecDeque::new(),
            told: Vec::new(),
            bounds,
            runs: 0,
        };
        site.boot();
        site
    }

    fn boot(&mut self) {
        self.runs += 1;
        let opened = Cabinet::open(Arc::new(self.disk.clone()), PathBuf::from("/data/shadows"));
        if let Ok((cabinet, shadows)) = opened {
            self.machine = Some(Machine::new(cabinet, shadows, self.bounds.clone(), self.runs));
        }
    }

    /// Power is cut and comes back; the link is down.
    pub(super) fn crash(&mut self, outcome: Outcome, seed: u64) {
        self.disk = self.disk.reboot(outcome, seed);
        self.machine = None;
        self.cut();
        self.boot();
    }

    pub(super) fn link(&mut self, up: bool) {
        if self.up == up {
            return;
        }
        if up {
            self.up = true;
            self.round(|machine, now, _| machine.up(now));
        } else {
            self.cut();
            self.round(|machine, _, _| machine.down());
        }
    }

    fn cut(&mut self) {
        self.up = false;
        self.cloud.cut();
        self.asked.clear();
        self.granted.clear();
    }

    /// Whether the gateway waits for an answer of the cloud.
    pub(super) fn asks(&self) -> bool {
        !self.asked.is_empty() || !self.granted.is_empty()
    }

    /// Whether a request for this thing is on its way.
    pub(super) fn heard_of(&self, thing: &str) -> bool {
        self.asked.iter().any(|(topic, _)| topic.shadow.thing.as_str() == thing)
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.epoch_s = 1_000_000 + i64::try_from(self.now.ms / 1000).unwrap();
        self.round(|_, _, _| {});
    }

    /// One round as the worker does it; what it was told, if it is durable.
    pub(super) fn round(
        &mut self,
        take: impl FnOnce(&mut Machine, Now, &mut Vec<Output>),
    ) -> Option<Vec<Output>> {
        let machine = self.machine.as_mut()?;
        let mut outputs = Vec::new();
        take(machine, self.now, &mut outputs);
        let count = outputs.len();
        machine.work(self.now, &mut outputs);
        let durable = machine.commit(self.now).is_ok();
        for output in &outputs {
            match output.clone() {
                Output::Subscribe(filters) if self.up => self.granted.extend(filters),
                Output::Cloud(topic, request) if durable && self.up => {
                    self.asked.push_back((topic, request.to_string()));
                }
                Output::Local(topic, document) if durable => self.told.push((topic, document)),
                _ => {}
            }
        }
        outputs.truncate(count);
        durable.then_some(outputs)
    }

    /// A device asks; the reply, if there is one.
    pub(super) fn device(
        &mut self,
        thing: &str,
        operation: ShadowOperation,
        request: &Value,
    ) -> Option<Result<Value, Value>> {
        let (topic, payload) = (topic(thing, operation), request.to_string());
        let outputs = self.round(|machine, now, outputs| {
            machine.request(&topic, payload.as_bytes(), None, now, outputs);
        })?;
        match outputs.last() {
            Some(Output::Local(reply, document)) if reply.part == ShadowPart::Accepted => {
                Some(Ok(document.clone()))
            }
            Some(Output::Local(_, document)) => Some(Err(document.clone())),
            other => panic!("no reply: {other:?}"),
        }
    }

    pub(super) fn update(&mut self, thing: &str, state: Value) -> Option<Result<Value, Value>> {
        self.device(thing, ShadowOperation::Update, &json!({ "state": state }))
    }

    /// What the device sees.
    pub(super) fn local(&mut self, thing: &str) -> Option<Value> {
        let found = self.device(thing, ShadowOperation::Get, &json!({}))?;
        let mut state = found.ok()?["state"].clone();
        state.as_object_mut().unwrap().remove("delta");
        Some(state)
    }

    /// An application in the cloud asks.
    pub(super) fn in_cloud(&mut self, thing: &str, operation: ShadowOperation, request: &Value) {
        self.cloud.ask(&topic(thing, operation), &request.to_string(), self.now.epoch_s);
    }

    pub(super) fn desire(&mut self, thing: &str, desired: Value) {
        let request = json!({ "state": { "desired": desired } });
        self.in_cloud(thing, ShadowOperation::Update, &request);
    }

    /// The oldest request of the gateway reaches the cloud, or not.
    pub(super) fn upward(&mut self, fate: Fate) {
        if let Some(filter) = self.granted.pop_front() {
            self.cloud.subscribe(&filter);
            self.round(|machine, now, _| machine.subscribed(&filter, true, now));
        }
        let Some((topic, request)) = self.asked.pop_front() else { return };
        let times = match fate {
            Fate::Arrives => 1,
            Fate::Lost => 0,
            Fate::Twice => 2,
        };
        (0..times).for_each(|_| self.cloud.ask(&topic, &request, self.now.epoch_s));
    }

    /// Any message of the cloud reaches the gateway, or not.
    pub(super) fn downward(&mut self, which: usize, fate: Fate) {
        if self.cloud.said.is_empty() {
            return;
        }
        let at = which % self.cloud.said.len();
        let (topic, document) = match fate {
            Fate::Twice => self.cloud.said[at].clone(),
            _ => self.cloud.said.remove(at),
        };
        // At QoS 1 what is said to all is lost only with its connection.
        let to_all = topic.part == ShadowPart::Documents || topic.operation == ShadowOperation::Delete;
        if fate == Fate::Lost && to_all {
            self.link(false);
        }
        // The agent hands on neither requests nor deltas.
        if fate != Fate::Lost && topic.part != ShadowPart::Delta {
            self.round(|machine, now, outputs| machine.heard(&topic, document.as_bytes(), now, outputs));
        }
    }

    /// Lets everything come to rest with a good link; how many rounds that took.
    pub(super) fn rest(&mut self) -> usize {
        self.disk.heal();
        self.link(true);
        for rounds in 0..20_000 {
            if self.asked.is_empty() && self.granted.is_empty() && self.cloud.said.is_empty() {
                match self.machine.as_ref().unwrap().wake() {
                    None => return rounds,
                    Some(wake) => self.pass(wake.saturating_sub(self.now.ms)),
                }
            }
            self.upward(Fate::Arrives);
            self.downward(0, Fate::Arrives);
        }
        panic!("it does not come to rest: {:?}", self.machine);
    }
}
