//! What a client sends: cutting it into packets, and acting on each.

use std::sync::Arc;

use fieldline_model::valid_filter;

use super::Driver;
use super::acknowledgements::Acknowledgements;
use crate::broker::Wanted;
use crate::packet::decode::{self, Side};
use crate::packet::{Packet, Publish, Subscribe, SubscribeOptions, encode, frame};
use crate::session::Ending;
use crate::stats::add;
use crate::{DisconnectReason, PublishError, QoS, Receipt, Version};

/// Bytes between the socket and the packets.
#[derive(Debug)]
pub(super) struct Input {
    /// The beginning of a packet, or whole packets that must wait.
    unread: Vec<u8>,
    /// `unread` holds a whole packet that may be taken as soon as there is room for it.
    stalled: bool,
    /// The topic of the last publish: a device tends to say the same one again.
    topic: Arc<str>,
}

impl Input {
    pub(super) fn new(unread: Vec<u8>) -> Self {
        let stalled = !unread.is_empty();
        Self { unread, stalled, topic: Arc::from("") }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    pub(super) fn resumable(&self, acknowledgements: &Acknowledgements, version: Version) -> bool {
        self.stalled && !held(acknowledgements, version)
    }
}

/// MQTT 3.1.1 knows no Receive Maximum: such a client is held back by not being read. An MQTT 5
/// client has been told, and never sends so much; one that does is disconnected.
fn held(acknowledgements: &Acknowledgements, version: Version) -> bool {
    version == Version::V3_1_1 && acknowledgements.is_full()
}

/// What one read brought.
#[derive(Debug, Default)]
struct Tally {
    publishes: u64,
    refused: u64,
}

impl Driver {
    /// Takes bytes off the socket and acts on every whole packet that may be taken now.
    pub(super) fn take_input(&mut self, fresh: &[u8]) {
        let mut tally = Tally::default();
        self.input.stalled = false;
        if self.input.unread.is_empty() {
            let used = self.take_packets(fresh, &mut tally);
            self.input.unread.extend_from_slice(fresh.get(used..).unwrap_or_default());
        } else {
            let mut unread = std::mem::take(&mut self.input.unread);
            unread.extend_from_slice(fresh);
            let used = self.take_packets(&unread, &mut tally);
            if used < unread.len() {
                unread.drain(..used);
                self.input.unread = unread;
            }
        }
        let shared = &self.link.shared;
        add(&shared.counters.bytes_in, fresh.len() as u64);
        add(&shared.counters.messages_in, tally.publishes);
        add(&shared.counters.messages_refused, tally.refused);
        if tally.publishes > 0 {
            shared.application.publish_done(&self.link.client);
        }
    }

    /// Gives how many bytes were used up.
    fn take_packets(&mut self, data: &[u8], tally: &mut Tally) -> usize {
        let version = self.link.client.version;
        let bytes_max = self.link.shared.config.packet_bytes_max as usize;
        let mut used = 0;
        while self.ending.is_none() {
            let rest = data.get(used..).unwrap_or_default();
            let taken = match frame(rest, bytes_max) {
                Ok(None) => break,
                Ok(Some(_)) if held(&self.acknowledgements, version) => {
                    self.input.stalled = true;
                    break;
                }
                Ok(Some(frame)) => {
                    used += frame.size;
                    decode::packet(frame, version, Side::Server).and_then(|packet| self.take(packet, tally))
                }
                Err(reason) => Err(reason),
            };
            if let Err(reason) = taken {
                self.close(reason);
            }
        }
        used
    }

    fn take(&mut self, packet: Packet<'_>, tally: &mut Tally) -> Result<(), DisconnectReason> {
        let version = self.link.client.version;
        match packet {
            Packet::Publish(publish) => return self.publish(&publish, tally),
            Packet::Puback { id, .. } => {
                self.cell.acknowledge(self.link.client.connection, id);
                self.mail = true;
            }
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe)?,
            Packet::Unsubscribe { id, filters } => {
                let code = |filter: &String| {
                    let known = self.cell.unsubscribe(&self.link.shared, self.link.client.connection, filter);
                    if known { 0x00 } else { 0x11 }
                };
                let codes: Vec<u8> = filters.iter().map(code).collect();
                encode::unsuback(self.outbox.buffer(), version, id, &codes);
            }
            Packet::Pingreq => encode::pingresp(self.outbox.buffer()),
            Packet::Disconnect { reason, session_expiry_s } => {
                let will_forgotten = reason == DisconnectReason::Normal;
                let session_expiry_s =
                    session_expiry_s.map(|wish| wish.min(self.link.shared.config.session_expiry_s_max));
                self.end(Ending { will_forgotten, session_expiry_s });
            }
            Packet::Suback { .. } | Packet::Unsuback { .. } | Packet::Pingresp => {
                return Err(DisconnectReason::ProtocolError);
            }
        }
        Ok(())
    }

    fn publish(&mut self, publish: &Publish<'_>, tally: &mut Tally) -> Result<(), DisconnectReason> {
        if let Some(id) = publish.id {
            // Sent again while the first is still being worked on: one answer will do for both.
            if publish.duplicate && self.acknowledgements.is_pending(id) {
                return Ok(());
            }
            if self.acknowledgements.is_full() {
                return Err(DisconnectReason::ReceiveMaximumExceeded);
            }
        }
        tally.publishes += 1;
        let shared = &self.link.shared;
        let levels = publish.topic.bytes().filter(|byte| *byte == b'/').count() + 1;
        let allowed = levels <= shared.config.topic_levels_max
            && shared.application.authorize_publish(&self.link.client, publish.topic);
        if !allowed {
            tally.refused += 1;
            return self.refuse(publish);
        }
        let message = publish.to_message(&mut self.input.topic);
        let slot = publish.id.map(|id| self.acknowledgements.enter(id));
        let receipt = Receipt::new(Arc::clone(&self.link), slot, message.clone());
        shared.application.publish(&self.link.client, message, receipt);
        Ok(())
    }

    /// Answers a publish that is not allowed.
    fn refuse(&mut self, publish: &Publish<'_>) -> Result<(), DisconnectReason> {
        match (self.link.client.version, publish.id) {
            (Version::V3_1_1, _) => Err(DisconnectReason::NotAuthorized),
            (Version::V5, None) => Ok(()),
            (Version::V5, Some(id)) => {
                // Behind the ones before it, as any answer.
                let slot = self.acknowledgements.enter(id);
                self.link.complete(slot, crate::link::Outcome::Refused(PublishError::NotAuthorized));
                Ok(())
            }
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), DisconnectReason> {
        let version = self.link.client.version;
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for (filter, options) in &subscribe.filters {
            let granted = self.grant(filter, *options, subscribe.subscription_id);
            codes.push(match (granted, version) {
                (Ok(qos), _) => qos.as_u8(),
                (Err(code), Version::V5) => code,
                (Err(_), Version::V3_1_1) => 0x80,
            });
        }
        encode::suback(self.outbox.buffer(), version, subscribe.id, &codes);
        Ok(())
    }

    /// The QoS granted, or the reason code of the refusal (section 3.9.3).
    fn grant(&self, filter: &str, options: SubscribeOptions, id: Option<u32>) -> Result<QoS, u8> {
        let shared = &self.link.shared;
        let version = self.link.client.version;
        let levels = filter.bytes().filter(|byte| *byte == b'/').count() + 1;
        if !valid_filter(filter) || levels > shared.config.topic_levels_max {
            return Err(0x8f);
        }
        if version == Version::V5 && filter.starts_with("$share/") {
            return Err(0x9e);
        }
        if !shared.application.authorize_subscribe(&self.link.client, filter) {
            return Err(0x87);
        }
        let wanted = Wanted { options, id };
        if self.cell.subscribe(shared, self.link.client.connection, filter, wanted) {
            shared.application.subscribed(&self.link.client, filter);
            Ok(options.qos)
        } else {
            Err(0x97)
        }
    }
}
