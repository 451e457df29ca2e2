//! What a client sends: cutting it into packets, and acting on each.

use std::sync::Arc;

use super::Driver;
use super::acknowledgements::Acknowledgements;
use super::aliases::Aliases;
use crate::broker::Wanted;
use crate::inbound::Arrival;
use crate::link::Outcome;
use crate::packet::decode::{self, Side};
use crate::packet::{Packet, Publish, Subscribe, SubscribeOptions, encode, frame};
use crate::receipt::Owed;
use crate::session::Ending;
use crate::share;
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
    aliases: Aliases,
}

impl Input {
    pub(super) fn new(unread: Vec<u8>) -> Self {
        let stalled = !unread.is_empty();
        Self { unread, stalled, topic: Arc::from(""), aliases: Aliases::default() }
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
            Packet::Publish(publish) => return self.publish_by_alias(publish, tally),
            Packet::Puback { id, .. } => {
                self.cell.acknowledge(self.link.client.connection, id);
                self.mail = true;
            }
            Packet::Pubrec { id, code } => {
                let known = self.cell.received(self.link.client.connection, id, code);
                if known && code >= 0x80 {
                    self.mail = true;
                } else if code < 0x80 {
                    // 0x92: Packet Identifier not found (section 3.6.2.1).
                    encode::pubrel(self.outbox.buffer(), version, id, if known { 0 } else { 0x92 });
                }
            }
            Packet::Pubcomp { id } => {
                self.cell.complete(self.link.client.connection, id);
                self.mail = true;
            }
            Packet::Pubrel { id } => {
                let known = self.cell.release_inbound(self.link.client.connection, id);
                // 0x92: Packet Identifier not found (section 3.7.2.1).
                encode::pubcomp(self.outbox.buffer(), version, id, if known { 0 } else { 0x92 });
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

    /// A publish whose topic may be an alias.
    fn publish_by_alias(&mut self, publish: Publish<'_>, tally: &mut Tally) -> Result<(), DisconnectReason> {
        let Some(alias) = publish.alias else { return self.publish(&publish, tally) };
        let maximum = self.link.shared.config.topic_alias_max;
        let topic = self.input.aliases.resolve(alias, publish.topic, maximum)?;
        self.publish(&Publish { topic: &topic, ..publish }, tally)
    }

    fn publish(&mut self, publish: &Publish<'_>, tally: &mut Tally) -> Result<(), DisconnectReason> {
        let Some(owed) = self.owed(publish)? else { return Ok(()) };
        tally.publishes += 1;
        let shared = &self.link.shared;
        let levels = publish.topic.bytes().filter(|byte| *byte == b'/').count() + 1;
        let allowed = levels <= shared.config.topic_levels_max
            && shared.application.authorize_publish(&self.link.client, publish.topic);
        if !allowed {
            tally.refused += 1;
            return self.refuse(owed);
        }
        let message = publish.to_message(&mut self.input.topic);
        let receipt = Receipt::new(Arc::clone(&self.link), owed, message.clone());
        shared.application.publish(&self.link.client, message, receipt);
        Ok(())
    }

    /// What a publish is owed, and its place among the answers; none when the message is known already and
    /// there is nothing to hand over.
    fn owed(&mut self, publish: &Publish<'_>) -> Result<Option<Option<Owed>>, DisconnectReason> {
        let Some(id) = publish.id else { return Ok(Some(None)) };
        let exactly_once = publish.qos == QoS::ExactlyOnce;
        // Sent again while the first is still being worked on: one answer will do for both.
        if (publish.duplicate || exactly_once) && self.acknowledgements.is_pending(id) {
            return Ok(None);
        }
        if exactly_once {
            return self.owed_once(id);
        }
        // Of MQTT 3.1.1 only what the application has is counted: such a client is held back by not being
        // read, and what it has yet to release could then never be released.
        let counts = self.exactly_once && self.link.client.version == Version::V5;
        let unreleased = if counts { self.cell.unreleased() } else { 0 };
        if self.acknowledgements.is_full_with(unreleased) {
            return Err(DisconnectReason::ReceiveMaximumExceeded);
        }
        Ok(Some(Some(Owed::Connection(self.acknowledgements.enter(id, publish.qos)))))
    }

    /// The same for QoS 2, where the session knows what has been handed over ([MQTT-4.3.3-10]).
    fn owed_once(&mut self, id: u16) -> Result<Option<Option<Owed>>, DisconnectReason> {
        if self.acknowledgements.is_full() {
            return Err(DisconnectReason::ReceiveMaximumExceeded);
        }
        let counts = self.link.client.version == Version::V5;
        let full = counts && self.acknowledgements.is_full_with(self.cell.unreleased());
        let messages_max = match (full, counts) {
            (true, _) => 0,
            (false, true) => usize::from(self.link.shared.config.receive_maximum),
            // There is an identifier for each, and no more than 65,535 of them.
            (false, false) => usize::MAX,
        };
        self.exactly_once = true;
        let number = self.acknowledgements.enter(id, QoS::ExactlyOnce);
        match self.cell.arrive(&self.link, id, number, messages_max) {
            Some(Arrival::New) => Ok(Some(Some(Owed::Session(Arc::clone(&self.cell), id)))),
            Some(Arrival::Received) => {
                self.link.complete(number, Outcome::Accepted);
                Ok(None)
            }
            Some(Arrival::Excess) => Err(DisconnectReason::ReceiveMaximumExceeded),
            Some(Arrival::Waiting) | None => Ok(None),
        }
    }

    /// Answers a publish that is not allowed.
    fn refuse(&mut self, owed: Option<Owed>) -> Result<(), DisconnectReason> {
        let refused = Outcome::Refused(PublishError::NotAuthorized);
        match owed {
            // Behind the ones before it, as any answer.
            Some(Owed::Connection(number)) => self.link.complete(number, refused),
            Some(Owed::Session(cell, id)) => cell.answer(id, refused),
            None => {}
        }
        match self.link.client.version {
            Version::V3_1_1 => Err(DisconnectReason::NotAuthorized),
            Version::V5 => Ok(()),
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), DisconnectReason> {
        let version = self.link.client.version;
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        // [MQTT-3.8.3-4]: a group is nobody's own.
        let mut groups = subscribe.filters.iter().filter(|(filter, _)| filter.starts_with("$share/"));
        if groups.any(|(_, options)| options.no_local) {
            return Err(DisconnectReason::ProtocolError);
        }
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
        let filter = share::filter(filter).ok_or(0x8f_u8)?;
        let levels = filter.topics.bytes().filter(|byte| *byte == b'/').count() + 1;
        if levels > shared.config.topic_levels_max {
            return Err(0x8f);
        }
        if !shared.application.authorize_subscribe(&self.link.client, filter.topics) {
            return Err(0x87);
        }
        let wanted = Wanted { options, id };
        if self.cell.subscribe(shared, self.link.client.connection, filter, wanted) {
            shared.application.subscribed(&self.link.client, filter.topics);
            Ok(options.qos)
        } else {
            Err(0x97)
        }
    }
}
