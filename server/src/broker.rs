//! The server as the application behind its own broker: which topic goes where, and who may.

use std::sync::Arc;
use std::time::SystemTime;

use fieldline_model::{
    CommandPart, CommandTopic, DeviceTopic, Reason, RuleTopic, ShadowPart, ShadowTopic, Timestamp,
};
use fieldline_mqtt::{
    Application, ClientInfo, ConnectRequest, Message, PublishError, Receipt, Refusal, Routing,
};
use fieldline_wire::parse::{self, Context, Parsed};

use crate::access::{Access, is_reserved};
use crate::answer::Answer;
use crate::books::{BooksDesk, Report};
use crate::commands_desk::{CommandDesk, DeviceResponse};
use crate::counters::Counters;
use crate::data_plane::PAYLOAD_BYTES_MAX;
use crate::direct::{Direct, Done};
use crate::functions::{Errand, Line, Rule};
use crate::intake::{Intake, Job};
use crate::reported::Reported;
use crate::shadows::{Request, ShadowDesk};
use crate::waiting::Waiting;

/// Takes every message, and answers when it is settled.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) back: Back,
    pub(crate) waiting: Waiting,
    pub(crate) counters: Counters,
    pub(crate) access: Access,
}

/// Who works what is taken.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a server has one, for good")]
pub(crate) enum Back {
    /// The functions and the store in this process.
    Store {
        /// For blocks.
        intake: Intake,
        /// For readings that come without a gateway.
        direct: Direct,
        /// For gateways' books.
        books: BooksDesk,
        /// For requests to things' shadows.
        shadows: ShadowDesk,
        /// For what things report by being connected.
        reported: Reported,
        /// For what devices answer to commands.
        commands: CommandDesk,
    },
    /// Functions elsewhere.
    Functions(Line),
}

impl Application for Desk {
    fn authenticate(&self, connect: &ConnectRequest<'_>) -> Result<(), Refusal> {
        self.access.connect(connect)
    }

    fn may_take_over(&self, old: &ClientInfo, new: &ClientInfo) -> bool {
        self.access.may_take_over(old, new)
    }

    fn authorize_publish(&self, client: &ClientInfo, topic: &str) -> bool {
        self.access.may_publish(client, topic)
    }

    fn authorize_subscribe(&self, client: &ClientInfo, filter: &str) -> bool {
        self.access.may_subscribe(client, filter)
    }

    fn authorize_receive(&self, client: &ClientInfo, topic: &str) -> bool {
        self.access.may_receive(client, topic) && self.is_due(topic)
    }

    fn connected(&self, client: &ClientInfo) {
        self.access.connected(client);
        self.presence(client, true);
    }

    fn disconnected(&self, client: &ClientInfo) {
        self.presence(client, false);
        self.access.disconnected(client);
    }

    fn subscribed(&self, _client: &ClientInfo, filter: &str) {
        if let Back::Store { commands, .. } = &self.back {
            commands.subscribed(filter);
        }
    }

    fn publish(&self, client: &ClientInfo, message: Message, receipt: Receipt) {
        if message.retain && !self.access.may_retain(client, &message.topic) {
            return receipt.reject(PublishError::NotAuthorized);
        }
        self.take(&client.client_id, message, receipt.into());
    }
}

impl Desk {
    fn presence(&self, client: &ClientInfo, connected: bool) {
        if let Back::Store { reported, .. } = &self.back {
            reported.presence(client, self.access.thing(client), connected);
        }
    }

    /// Whether the data plane may publish to `topic`. Acknowledgements come that way from a
    /// `storage` that runs elsewhere; with the store in this process nobody but it speaks for it.
    pub(crate) fn may_publish_by_http(&self, topic: &str) -> bool {
        matches!(self.back, Back::Functions(_)) || !is_reserved(topic)
    }

    /// Whether a message may still be delivered: commands are canceled, and they expire.
    fn is_due(&self, topic: &str) -> bool {
        match &self.back {
            Back::Store { commands, .. } => commands.is_due(topic),
            Back::Functions(_) => true,
        }
    }

    /// Takes a message that `client` may publish.
    pub(crate) fn take(&self, client: &str, message: Message, answer: Answer) {
        let topic = Arc::clone(&message.topic);
        if topic.starts_with("$aws/rules/") {
            self.rule(&topic, message, answer);
        } else if topic.starts_with("telemetry/") {
            self.telemetry(client, &topic, &message, answer);
        } else if topic.starts_with("$aws/things/") {
            self.thing(client, &topic, message, answer);
        } else if topic.starts_with("$aws/commands/") {
            self.command(client, &topic, message, answer);
        } else {
            answer.accept(Routing::Route);
        }
    }

    /// Basic Ingest: the message goes to its rule and to no subscriber.
    fn rule(&self, topic: &str, message: Message, answer: Answer) {
        let Ok(rule) = topic.parse::<RuleTopic>() else {
            self.counters.ignored.increment(1);
            tracing::debug!(topic, "no such rule");
            return answer.accept(Routing::Consume);
        };
        let Some(place) = self.waiting.place(message.payload.len()) else {
            self.counters.deferred.increment(1);
            return answer.reject(PublishError::QuotaExceeded);
        };
        let (payload, received) = (message.payload, now());
        match (&self.back, rule) {
            (Back::Store { intake, .. }, RuleTopic::Ingest(gateway)) => {
                intake.offer(Job { gateway, payload, received, answer, place });
            }
            (Back::Store { books, .. }, RuleTopic::Books(gateway)) => {
                books.offer(Report { gateway, payload, received, answer, place });
            }
            (Back::Functions(_), _) if payload.len() > PAYLOAD_BYTES_MAX => {
                self.counters.quarantined(Reason::TooLarge, 1);
                tracing::warn!(topic, bytes = payload.len(), "a message is larger than AWS IoT takes");
                answer.reject(PublishError::PayloadFormatInvalid);
            }
            (Back::Functions(line), rule) => {
                let (rule, gateway) = match rule {
                    RuleTopic::Ingest(gateway) => (Rule::Ingest, gateway),
                    RuleTopic::Books(gateway) => (Rule::Books, gateway),
                };
                line.offer(Errand { rule, gateway, payload, received, answer, place });
            }
        }
    }

    /// A request for a shadow: the reply comes on a topic of its own.
    fn thing(&self, client: &str, topic: &str, message: Message, answer: Answer) {
        let shadow = topic.parse::<ShadowTopic>().ok().filter(|topic| topic.part == ShadowPart::Request);
        let (Back::Store { shadows, .. }, Some(topic)) = (&self.back, shadow) else {
            self.counters.ignored.increment(1);
            tracing::debug!(topic, client, "nothing here takes this topic of a thing");
            return answer.accept(Routing::Consume);
        };
        let Some(place) = self.waiting.place(message.payload.len()) else {
            self.counters.deferred.increment(1);
            return answer.reject(PublishError::QuotaExceeded);
        };
        shadows.offer(Request { client: client.to_owned(), topic, payload: message.payload, answer, place });
    }

    /// What a device answers to a command: it hears on a topic of its own what became of it.
    fn command(&self, client: &str, topic: &str, message: Message, answer: Answer) {
        let response = topic.parse::<CommandTopic>().ok().filter(|topic| topic.part == CommandPart::Response);
        let (Back::Store { commands, .. }, Some(topic)) = (&self.back, response) else {
            self.counters.ignored.increment(1);
            tracing::debug!(topic, client, "nothing here takes this topic of a command");
            return answer.accept(Routing::Consume);
        };
        let Some(place) = self.waiting.place(message.payload.len()) else {
            self.counters.deferred.increment(1);
            return answer.reject(PublishError::QuotaExceeded);
        };
        commands.respond(DeviceResponse { topic, payload: message.payload, answer, place });
    }

    /// A device without a gateway: its readings are acknowledged, and shown to subscribers, when
    /// they are stored.
    fn telemetry(&self, client: &str, topic: &str, message: &Message, answer: Answer) {
        let Back::Store { direct, .. } = &self.back else {
            // Nothing here or there would store it, so it is not acknowledged as if it were kept.
            tracing::debug!(topic, client, "telemetry needs a gateway where the functions run elsewhere");
            return answer.reject(PublishError::NotAuthorized);
        };
        let mut parsed = Parsed::default();
        if let Err((reason, detail)) = read(topic, &message.payload, &mut parsed) {
            tracing::debug!(topic, client, detail, "telemetry cannot be read");
            direct.set_aside(reason, 1, topic, &message.payload, &detail);
            return answer.reject(PublishError::PayloadFormatInvalid);
        }
        direct.set_aside_rejects(&parsed.rejects, topic, &message.payload);
        if parsed.rows.is_empty() {
            return answer.accept(Routing::Route);
        }
        match self.waiting.place(message.payload.len()) {
            Some(place) => direct.offer(parsed.rows, Done::Device(answer), place),
            None => {
                self.counters.deferred.increment(1);
                answer.reject(PublishError::QuotaExceeded);
            }
        }
    }
}

/// Reads a payload of `telemetry/<device>[/<metric>]`.
pub(crate) fn read(topic: &str, payload: &[u8], parsed: &mut Parsed) -> Result<(), (Reason, String)> {
    let topic: DeviceTopic = topic.parse().map_err(|error: fieldline_model::TopicError| {
        let detail = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        (Reason::BadName, detail)
    })?;
    let context = Context { device: topic.device().as_str(), now: now() };
    let outcome = match &topic {
        DeviceTopic::Device(_) => parse::payload(payload, &context, parsed),
        DeviceTopic::Metric(_, metric) => parse::scalar(payload, &context, metric, parsed),
    };
    outcome.map_err(|error| (Reason::Malformed, error.to_string()))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
