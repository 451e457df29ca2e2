//! The server as the application behind its own broker: which topic goes where, and who may.

mod access;

use std::sync::Arc;
use std::time::SystemTime;

use fieldline_model::{DeviceTopic, Reason, RuleTopic, Timestamp};
use fieldline_mqtt::{
    Application, ClientInfo, ConnectRequest, Message, PublishError, Receipt, Refusal, Routing,
};
use fieldline_wire::parse::{self, Context, Parsed};

use crate::books::{BooksDesk, Report};
use crate::counters::Counters;
use crate::direct::{Direct, Done};
use crate::intake::{Intake, Job};
use crate::waiting::Waiting;

/// Takes every message, and answers when it is settled.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) intake: Intake,
    pub(crate) direct: Direct,
    pub(crate) books: BooksDesk,
    pub(crate) waiting: Waiting,
    pub(crate) counters: Counters,
}

impl Application for Desk {
    fn authenticate(&self, connect: &ConnectRequest<'_>) -> Result<(), Refusal> {
        access::may_connect(connect)
    }

    fn authorize_publish(&self, client: &ClientInfo, topic: &str) -> bool {
        access::may_publish(access::name(client), topic)
    }

    fn authorize_subscribe(&self, client: &ClientInfo, filter: &str) -> bool {
        access::may_subscribe(access::name(client), filter)
    }

    fn publish(&self, client: &ClientInfo, message: Message, receipt: Receipt) {
        let topic = Arc::clone(&message.topic);
        if topic.starts_with("$aws/rules/") {
            self.rule(&topic, message, receipt);
        } else if topic.starts_with("telemetry/") {
            self.telemetry(client, &topic, &message, receipt);
        } else {
            receipt.accept(Routing::Route);
        }
    }
}

impl Desk {
    /// Basic Ingest: the message goes to its rule and to no subscriber.
    fn rule(&self, topic: &str, message: Message, receipt: Receipt) {
        let Ok(rule) = topic.parse::<RuleTopic>() else {
            self.counters.ignored.increment(1);
            tracing::debug!(topic, "no such rule");
            return receipt.accept(Routing::Consume);
        };
        let Some(place) = self.waiting.place(message.payload.len()) else {
            self.counters.deferred.increment(1);
            return receipt.reject(PublishError::QuotaExceeded);
        };
        let (payload, received) = (message.payload, now());
        match rule {
            RuleTopic::Ingest(gateway) => {
                self.intake.offer(Job { gateway, payload, received, receipt, place })
            }
            RuleTopic::Books(gateway) => {
                self.books.offer(Report { gateway, payload, received, receipt, place })
            }
        }
    }

    /// A device without a gateway: its readings are acknowledged, and shown to subscribers, when
    /// they are stored.
    fn telemetry(&self, client: &ClientInfo, topic: &str, message: &Message, receipt: Receipt) {
        let mut parsed = Parsed::default();
        if let Err((reason, detail)) = read(topic, &message.payload, &mut parsed) {
            tracing::debug!(topic, client = %client.client_id, detail, "telemetry cannot be read");
            self.direct.set_aside(reason, 1, topic, &message.payload, &detail);
            return receipt.reject(PublishError::PayloadFormatInvalid);
        }
        self.direct.set_aside_rejects(&parsed.rejects, topic, &message.payload);
        if parsed.rows.is_empty() {
            return receipt.accept(Routing::Route);
        }
        match self.waiting.place(message.payload.len()) {
            Some(place) => self.direct.offer(parsed.rows, Done::Device(receipt), place),
            None => {
                self.counters.deferred.increment(1);
                receipt.reject(PublishError::QuotaExceeded);
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
