//! Packets as this crate sees them, between bytes and session.
//!
//! The bodies of the rarer packets are read by `mqtt-protocol-core`. Its `Connection` is not used:
//! it would be a second copy of the session's state, and it ends the connection over a repeated
//! PUBACK. PUBLISH and PUBACK, the packets that come by the hundred thousand, are read and written
//! here without a copy.

pub(crate) mod decode;
pub(crate) mod encode;
mod properties;

use std::sync::Arc;

use bytes::Bytes;

use crate::{DisconnectReason, Message, MessageProperties, QoS, Version};

/// One whole packet: the first byte and what follows the remaining length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) first: u8,
    pub(crate) body: &'a [u8],
    /// Bytes of the packet with its fixed header.
    pub(crate) size: usize,
}

/// Cuts the first packet off `data`; none when it is not whole yet.
///
/// # Errors
/// `PacketTooLarge` as soon as the header says so, `MalformedPacket` for a bad length.
pub(crate) fn frame(data: &[u8], bytes_max: usize) -> Result<Option<Frame<'_>>, DisconnectReason> {
    let Some((&first, rest)) = data.split_first() else { return Ok(None) };
    let mut length = 0usize;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let header = index + 2;
            let size = header + length;
            if size > bytes_max {
                return Err(DisconnectReason::PacketTooLarge);
            }
            return Ok(data.get(header..size).map(|body| Frame { first, body, size }));
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err(DisconnectReason::MalformedPacket) }
}

/// A packet that a server or a client may receive.
#[derive(Debug)]
pub(crate) enum Packet<'a> {
    Publish(Publish<'a>),
    Puback { id: u16, code: u8 },
    Pubrec { id: u16, code: u8 },
    Pubrel { id: u16 },
    Pubcomp { id: u16 },
    Subscribe(Subscribe),
    Suback { id: u16, codes: &'a [u8] },
    Unsubscribe { id: u16, filters: Vec<String> },
    Unsuback { id: u16 },
    Pingreq,
    Pingresp,
    Disconnect { reason: DisconnectReason, session_expiry_s: Option<u32> },
}

/// A PUBLISH, still in the read buffer.
#[derive(Debug)]
pub(crate) struct Publish<'a> {
    /// Empty when the alias stands for it.
    pub(crate) topic: &'a str,
    pub(crate) alias: Option<u16>,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    /// The packet identifier; none on QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) retain: bool,
    pub(crate) duplicate: bool,
    pub(crate) properties: Option<Arc<MessageProperties>>,
}

impl Publish<'_> {
    /// The message by itself, its topic taken from `last` when it is the same again.
    pub(crate) fn to_message(&self, last: &mut Arc<str>) -> Message {
        if **last != *self.topic {
            *last = Arc::from(self.topic);
        }
        Message {
            topic: Arc::clone(last),
            payload: Bytes::copy_from_slice(self.payload),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.clone(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) id: u16,
    pub(crate) subscription_id: Option<u32>,
    pub(crate) filters: Vec<(String, SubscribeOptions)>,
}

/// Section 3.8.3.1 of MQTT 5; on 3.1.1 all but the QoS are the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscribeOptions {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When a subscribe is answered with retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Always,
    IfNew,
    Never,
}

/// A CONNECT.
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) will: Option<Will>,
    /// None when the client did not say.
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: usize,
    pub(crate) authentication_method: bool,
}

/// What is to be published when the client breaks off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) message: Message,
    pub(crate) delay_s: u32,
}

/// A CONNECT that cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectFault {
    /// Not MQTT: the connection is closed without a word.
    Malformed,
    /// A protocol level that is not spoken here.
    Version,
    /// The client identifier is not text.
    Identifier,
}

/// A CONNACK.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Connack {
    pub(crate) code: u8,
    pub(crate) session_present: bool,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) topic_alias_max: Option<u16>,
    pub(crate) packet_bytes_max: Option<u32>,
    pub(crate) keep_alive_s: Option<u16>,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) assigned_client_id: Option<String>,
    /// Maximum QoS, when less than 2.
    pub(crate) qos_max: Option<u8>,
    pub(crate) retain_unavailable: bool,
}

#[cfg(test)]
mod tests;
