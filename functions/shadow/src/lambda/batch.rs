//! A batch, sorted by shadow.

use std::collections::HashMap;
use std::fmt;

use aws_lambda_events::sqs::SqsMessage;
use fieldline_model::{Books, DeviceId, GatewayId, ThingName, Timestamp};

use super::message::{Message, read};
use crate::newest::offer;
use crate::{Error, Metrics, Presence, Things, Written, health, newest_of, presence, telemetry};

/// What the messages of a batch say of each shadow, and which messages say it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    devices: HashMap<DeviceId, (Metrics, Vec<usize>)>,
    gateways: HashMap<GatewayId, (Books, Timestamp, Vec<usize>)>,
    things: HashMap<ThingName, (Presence, Vec<usize>)>,
    /// Messages that are none of ours.
    pub(super) unreadable: u64,
}

/// One shadow to be updated.
#[derive(Debug)]
pub(super) struct Task {
    what: What,
    /// The places of the messages that it comes from.
    pub(super) messages: Vec<usize>,
}

#[derive(Debug)]
enum What {
    Telemetry(DeviceId, Metrics),
    Health(GatewayId, Books, Timestamp),
    Presence(Presence),
}

impl Batch {
    /// Takes in the message at `place`. One that cannot be read is passed over: a block of that kind
    /// `storage` puts into the quarantine.
    pub(super) fn add(&mut self, place: usize, message: &SqsMessage) {
        match read(message) {
            Ok(Message::Block(block, received)) => {
                for column in &block.columns {
                    let Some(sample) = newest_of(column, received) else { continue };
                    let (metrics, places) = self.devices.entry(column.device.clone()).or_default();
                    offer(metrics, &column.metric, sample);
                    if places.last() != Some(&place) {
                        places.push(place);
                    }
                }
            }
            Ok(Message::Books(gateway, books, received)) => {
                let held = self.gateways.entry(gateway).or_insert((Books::default(), Timestamp::MIN, vec![]));
                if received > held.1 {
                    (held.0, held.1) = (books, received);
                }
                held.2.push(place);
            }
            Ok(Message::Presence(event)) => {
                let held = self.things.entry(event.thing.clone());
                let held = held.or_insert_with(|| (event.clone(), Vec::new()));
                if event.supersedes(&held.0) {
                    held.0 = event;
                }
                held.1.push(place);
            }
            Ok(Message::Stranger) => {}
            Err(error) => {
                self.unreadable += 1;
                tracing::warn!(error = error.as_ref() as &dyn std::error::Error, "a message cannot be read");
            }
        }
    }

    pub(super) fn tasks(self) -> Vec<Task> {
        let devices = self
            .devices
            .into_iter()
            .map(|(device, (metrics, messages))| Task { what: What::Telemetry(device, metrics), messages });
        let gateways = self.gateways.into_iter().map(|(gateway, (books, received, messages))| Task {
            what: What::Health(gateway, books, received),
            messages,
        });
        let things = self.things.into_values();
        let things = things.map(|(event, messages)| Task { what: What::Presence(event), messages });
        devices.chain(gateways).chain(things).collect()
    }
}

impl Task {
    pub(super) async fn run(&self, things: &dyn Things) -> Result<Written, Error> {
        match &self.what {
            What::Telemetry(device, metrics) => telemetry(device, metrics, things).await,
            What::Health(gateway, books, received) => health(gateway, books, *received, things).await,
            What::Presence(event) => presence(event, things).await,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Telemetry(device, _) => write!(f, "{device}~telemetry"),
            What::Health(gateway, ..) => write!(f, "{gateway}~health"),
            What::Presence(event) => write!(f, "{}~presence", event.thing),
        }
    }
}
