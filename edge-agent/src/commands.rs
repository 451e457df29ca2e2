//! Commands for the devices behind this gateway: requests come down, responses go up.
//!
//! Invariants
//! - Nothing is kept here that the server does not have: it publishes what is unanswered again whenever the
//!   gateway subscribes, and that is on each connection and whenever a device subscribes.
//! - A device's PUBACK for a response comes when the server has answered it. Where that takes too long there is
//!   none, and the response is sent on all the same as soon as the link is back.

mod access;
mod machine;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fieldline_model::{CommandPart, CommandTopic, GatewayId};
use fieldline_mqtt::{Broker, ClientInfo, Message, PublishError, QoS, Receipt, Routing};
use fieldline_shadow::{Turn, Turns};
use serde_json::json;
use tokio::sync::watch;

use self::machine::{Machine, Output};
use crate::config::CommandsSettings;
use crate::sync::{Correspondent, Post, stopped};
use crate::things::name;

/// The server takes responses of at most 32 KiB.
const PAYLOAD_BYTES_MAX: usize = 32 * 1024;
/// How often unanswered responses are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A device's response that waits for the server.
#[derive(Debug)]
struct Held {
    receipt: Receipt,
    /// A device has so many responses under way, and no more.
    _turn: Turn,
}

/// The part of the agent that passes commands on.
#[derive(Debug)]
pub(crate) struct Commands {
    gateway: GatewayId,
    machine: Mutex<Machine<Held>>,
    turns: Turns,
    ends: OnceLock<(Broker, Post)>,
    began: Instant,
}

impl Commands {
    /// None if they are switched off. `aws` is whether the server is AWS IoT Core.
    pub(crate) fn open(gateway: &GatewayId, settings: &CommandsSettings, aws: bool) -> Option<Arc<Self>> {
        settings.enabled(aws).then(|| {
            Arc::new(Self {
                gateway: gateway.clone(),
                machine: Mutex::new(Machine::new(settings.devices_max)),
                turns: Turns::default(),
                ends: OnceLock::new(),
                began: Instant::now(),
            })
        })
    }

    /// Tells where devices and the server are.
    pub(crate) fn connect(&self, broker: Broker, post: Post) {
        if self.ends.set((broker, post)).is_err() {
            tracing::error!("commands are passed on already");
        }
    }

    /// Looks after what is unanswered until told to stop.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(LOOK) => self.with(|machine, now, outputs| machine.tick(now, outputs)),
            }
        }
    }

    pub(crate) fn may_publish(&self, client: &ClientInfo, topic: &str) -> bool {
        access::may_publish(&self.gateway, name(client), topic)
    }

    pub(crate) fn may_subscribe(&self, client: &ClientInfo, filter: &str) -> bool {
        access::may_subscribe(&self.gateway, name(client), filter)
    }

    /// A device has subscribed.
    pub(crate) fn watched(&self, filter: &str) {
        let Some(thing) = access::watched(filter) else { return };
        if !self.with(|machine, _, outputs| machine.watched(&thing, outputs)) {
            tracing::error!(%thing, "there is no room for the commands of another device (commands.devices_max)");
        }
    }

    /// A device has answered a command.
    pub(crate) fn respond(&self, client: &ClientInfo, message: Message, receipt: Receipt) {
        let Ok(topic) = message.topic.parse::<CommandTopic>() else {
            return receipt.accept(Routing::Consume);
        };
        if message.payload.len() > PAYLOAD_BYTES_MAX {
            self.too_large(&topic);
            return receipt.accept(Routing::Consume);
        }
        let Some(turn) = self.turns.take(&client.client_id).filter(Turn::works) else {
            return receipt.reject(PublishError::QuotaExceeded);
        };
        let held = Held { receipt, _turn: turn };
        self.with(|machine, now, outputs| machine.respond(&topic, message.payload, held, now, outputs));
    }

    fn too_large(&self, topic: &CommandTopic) {
        let document = json!({
            "executionId": topic.execution,
            "error": "InvalidRequest",
            "errorMessage": "a response has at most 32 KiB",
        });
        let topic = topic.with(CommandPart::Rejected).to_string();
        self.publish(&Message::new(topic, Bytes::from(document.to_string()), QoS::AtLeastOnce));
    }

    fn publish(&self, message: &Message) {
        if let Some((broker, _)) = self.ends.get() {
            broker.publish(message);
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Machine<Held>, u64, &mut Vec<Output<Held>>) -> T) -> T {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
        let mut outputs = Vec::new();
        let outcome = {
            let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut machine, now_ms, &mut outputs)
        };
        outputs.into_iter().for_each(|output| self.act(output));
        outcome
    }

    /// What finds no room in the post is sent again, as if it had been lost on the way.
    fn act(&self, output: Output<Held>) {
        match output {
            Output::Subscribe(filters) => {
                if !self.ends.get().is_some_and(|(_, post)| post.subscribe(filters.clone())) {
                    tracing::warn!(
                        "too much waits for the server to subscribe to commands; again in a second"
                    );
                    self.with(|machine, _, _| machine.unasked(&filters));
                }
            }
            Output::Up(topic, payload) => {
                if !self.ends.get().is_some_and(|(_, post)| post.publish(topic.to_string(), payload)) {
                    tracing::debug!(%topic, "too much waits for the server; a response is sent later");
                }
            }
            Output::Settled(held) => held.receipt.accept(Routing::Consume),
            Output::Abandoned(held) => drop(held),
            Output::Refused(held) => held.receipt.reject(PublishError::QuotaExceeded),
        }
    }
}

impl Correspondent for Commands {
    fn filters(&self) -> Vec<String> {
        self.with(|machine, _, _| machine.filters())
    }

    fn up(&self, _generation: u64) {
        self.with(|machine, _, outputs| machine.up(outputs));
    }

    fn subscribed(&self, filter: &str, granted: bool) {
        self.with(|machine, now, outputs| machine.subscribed(filter, granted, now, outputs));
    }

    fn down(&self) {
        self.with(|machine, _, _| machine.down());
    }

    /// The device has the reply before its PUBACK.
    fn heard(&self, message: &Message) {
        let Ok(topic) = message.topic.parse::<CommandTopic>() else { return };
        if topic.part == CommandPart::Response || topic.thing.as_str() == self.gateway.as_str() {
            return;
        }
        let is_reply = topic.part != CommandPart::Request;
        if is_reply && self.with(|machine, now, _| machine.is_stray(&topic, now)) {
            return;
        }
        let mut down = Message::new(Arc::clone(&message.topic), message.payload.clone(), QoS::AtLeastOnce);
        down.properties.clone_from(&message.properties);
        self.publish(&down);
        if is_reply {
            self.with(|machine, now, outputs| machine.answered(&topic, now, outputs));
        }
    }
}
