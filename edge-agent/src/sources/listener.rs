//! The MQTT listener: devices publish here and are acknowledged when their readings are on disk.

use std::sync::Arc;

use fieldline_mqtt::{Application, ClientInfo, ConnectRequest, Message, Receipt, Refusal, Routing};

use super::reader::{Heard, Reader};
use super::thing;
use crate::commands::Commands;
use crate::intake::completion::Completion;
use crate::things::Things;

/// The agent as the application behind its own broker.
#[derive(Debug)]
pub(crate) struct Listener {
    reader: Arc<Reader>,
    things: Option<Arc<Things>>,
    commands: Option<Arc<Commands>>,
}

impl Listener {
    pub(crate) fn new(
        reader: Arc<Reader>,
        things: Option<Arc<Things>>,
        commands: Option<Arc<Commands>>,
    ) -> Self {
        Self { reader, things, commands }
    }

    /// Whoever passes commands on, if the topic or filter is one of theirs.
    fn commands(&self, topic: &str) -> Option<&Arc<Commands>> {
        self.commands.as_ref().filter(|_| topic.starts_with("$aws/commands/"))
    }
}

impl Application for Listener {
    /// On loopback anyone is a device; beyond it the TLS layer has checked the certificate already, and the client
    /// id has to be one of its thing: whoever connected by another's would be given that one's session.
    fn authenticate(&self, connect: &ConnectRequest<'_>) -> Result<(), Refusal> {
        match connect.identity {
            Some(identity) => thing::may_connect(identity, connect.client_id),
            None => Ok(()),
        }
    }

    /// With a certificate, a device speaks for itself only; of `$` topics, it may ask for its shadows
    /// and answer its commands.
    fn authorize_publish(&self, client: &ClientInfo, topic: &str) -> bool {
        let own = |identity: &fieldline_mqtt::Identity| match topic.strip_prefix("telemetry/") {
            Some(rest) => identity.common_name.as_deref() == rest.split('/').next(),
            None => true,
        };
        if let Some(commands) = self.commands(topic) {
            return commands.may_publish(client, topic);
        }
        if topic.starts_with('$') {
            return self.things.as_ref().is_some_and(|things| things.may_publish(client, topic));
        }
        client.identity.as_deref().is_none_or(own)
    }

    fn authorize_subscribe(&self, client: &ClientInfo, filter: &str) -> bool {
        if let Some(commands) = self.commands(filter) {
            return commands.may_subscribe(client, filter);
        }
        let of_things = |things: &Arc<Things>| things.may_subscribe(client, filter);
        !filter.starts_with('$') || self.things.as_ref().is_some_and(of_things)
    }

    /// Also a session that was begun under other rules tells nobody of another's shadows and commands.
    fn authorize_receive(&self, client: &ClientInfo, topic: &str) -> bool {
        client.identity.as_deref().is_none_or(|identity| thing::may_receive(identity, topic))
    }

    fn subscribed(&self, _client: &ClientInfo, filter: &str) {
        if let Some(commands) = self.commands(filter) {
            commands.watched(filter);
        } else if let Some(things) = &self.things {
            things.subscribed(filter);
        }
    }

    /// Telemetry goes to the journal, requests for shadows to where they are kept, answers to commands to the
    /// server; anything else is between the devices.
    fn publish(&self, client: &ClientInfo, message: Message, receipt: Receipt) {
        if let Some(commands) = self.commands(&message.topic) {
            return commands.respond(client, message, receipt);
        }
        if let Some(things) = self.things.as_ref().filter(|_| message.topic.starts_with('$')) {
            return things.ask(client, message, receipt);
        }
        if !self.reader.is_telemetry(&message.topic) {
            return receipt.accept(Routing::Route);
        }
        let heard = self.reader.hear(&message.topic, &message.payload, |readable| {
            if readable { Completion::Device(receipt) } else { Completion::DeviceRefused(receipt) }
        });
        debug_assert_eq!(heard, Heard::Telemetry);
    }

    fn publish_done(&self, _client: &ClientInfo) {
        self.reader.burst_ended();
    }
}
