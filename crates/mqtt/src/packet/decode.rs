//! Bytes to packets.

use mqtt_protocol_core::mqtt::packet::{Property, RetainHandling as CoreRetain, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::{
    Connack, Connect, ConnectFault, Frame, Packet, Publish, RetainHandling, Subscribe, SubscribeOptions,
    Will, properties,
};
use crate::{DisconnectReason, Message, QoS, Version};

/// Which side is reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// Reads any packet that may come after CONNECT and CONNACK.
///
/// # Errors
/// The reason to end the connection with.
pub(crate) fn packet<'a>(
    frame: Frame<'a>,
    version: Version,
    side: Side,
) -> Result<Packet<'a>, DisconnectReason> {
    let body = frame.body;
    match (frame.first, side) {
        (0x30..=0x3f, _) => publish(frame, version, side).map(Packet::Publish),
        (0x40, _) => puback(body),
        (0x50, Side::Server) => pubrec(body, version),
        (0x70, Side::Server) => Ok(Packet::Pubcomp { id: packet_id(body)?.0 }),
        (0x62, Side::Server) => Ok(Packet::Pubrel { id: packet_id(body)?.0 }),
        (0x82, Side::Server) => subscribe(body, version).map(Packet::Subscribe),
        (0xa2, Side::Server) => unsubscribe(body, version),
        (0xc0, Side::Server) if body.is_empty() => Ok(Packet::Pingreq),
        (0xe0, _) => disconnect(body, version, side),
        (0x90, Side::Client) => suback(body, version),
        (0xb0, Side::Client) => Ok(Packet::Unsuback { id: packet_id(body)?.0 }),
        (0xd0, Side::Client) if body.is_empty() => Ok(Packet::Pingresp),
        // What the other side may not send, or not now.
        (0x50 | 0x62 | 0x70 | 0x10 | 0x20 | 0xf0, _) => Err(DisconnectReason::ProtocolError),
        _ => Err(DisconnectReason::MalformedPacket),
    }
}

fn publish(frame: Frame<'_>, version: Version, side: Side) -> Result<Publish<'_>, DisconnectReason> {
    let (duplicate, retain) = (frame.first & 0x08 != 0, frame.first & 0x01 != 0);
    let qos = match ((frame.first >> 1) & 0x03, side) {
        (0, _) if duplicate => return Err(DisconnectReason::MalformedPacket),
        (0, _) => QoS::AtMostOnce,
        (1, _) => QoS::AtLeastOnce,
        (2, Side::Server) => QoS::ExactlyOnce,
        (2, Side::Client) => return Err(DisconnectReason::QosNotSupported),
        _ => return Err(DisconnectReason::MalformedPacket),
    };
    let (topic, mut rest) = text(frame.body)?;
    let mut id = None;
    if qos > QoS::AtMostOnce {
        let (found, after) = packet_id(rest)?;
        (id, rest) = (Some(found), after);
    }
    let (mut message_properties, mut alias) = (None, None);
    if version == Version::V5 {
        (message_properties, alias, rest) = publish_properties(rest, side)?;
    }
    if topic.is_empty() && alias.is_none() {
        return Err(match version {
            Version::V5 => DisconnectReason::ProtocolError,
            Version::V3_1_1 => DisconnectReason::MalformedPacket,
        });
    }
    if !topic.is_empty() && !valid_topic(topic) {
        return Err(DisconnectReason::TopicNameInvalid);
    }
    Ok(Publish { topic, alias, payload: rest, qos, id, retain, duplicate, properties: message_properties })
}

type SharedProperties = Option<std::sync::Arc<crate::MessageProperties>>;

type PublishProperties<'a> = (SharedProperties, Option<u16>, &'a [u8]);

fn publish_properties(data: &[u8], side: Side) -> Result<PublishProperties<'_>, DisconnectReason> {
    if let Some((0, rest)) = data.split_first() {
        return Ok((None, None, rest));
    }
    // A topic alias alone, as it nearly always comes. Of 0 the protocol crate says that it is malformed, which it
    // still is beside other properties.
    if let ([3, 0x23, high, low, rest @ ..], Side::Server) = (data, side) {
        return Ok((None, Some(u16::from_be_bytes([*high, *low])), rest));
    }
    let (mut list, rest) = properties::split(data)?;
    let misplaced = |property: &Property| matches!(property, Property::SubscriptionIdentifier(_));
    if side == Side::Server && list.iter().any(misplaced) {
        return Err(DisconnectReason::ProtocolError);
    }
    let alias = match side {
        Side::Server => properties::take_alias(&mut list)?,
        // This client has offered none, so what is left in the list is an error.
        Side::Client => None,
    };
    match properties::message(&list)? {
        (found, None) => Ok((found, alias, rest)),
        (_, Some(_)) => Err(DisconnectReason::ProtocolError),
    }
}

fn puback(body: &[u8]) -> Result<Packet<'_>, DisconnectReason> {
    let (id, rest) = packet_id(body)?;
    Ok(Packet::Puback { id, code: rest.first().copied().unwrap_or(0) })
}

fn pubrec(body: &[u8], version: Version) -> Result<Packet<'_>, DisconnectReason> {
    let (id, rest) = packet_id(body)?;
    // MQTT 3.1.1 has no code in it.
    let code = rest.first().copied().filter(|_| version == Version::V5);
    Ok(Packet::Pubrec { id, code: code.unwrap_or(0) })
}

fn suback(body: &[u8], version: Version) -> Result<Packet<'_>, DisconnectReason> {
    let (id, mut rest) = packet_id(body)?;
    if version == Version::V5 {
        (_, rest) = properties::split(rest)?;
    }
    Ok(Packet::Suback { id, codes: rest })
}

fn disconnect(body: &[u8], version: Version, side: Side) -> Result<Packet<'_>, DisconnectReason> {
    let mut session_expiry_s = None;
    let reason = match (version, body.split_first()) {
        (Version::V3_1_1, Some(_)) => return Err(DisconnectReason::MalformedPacket),
        (Version::V3_1_1, None) if side == Side::Client => return Err(DisconnectReason::ProtocolError),
        (_, None) => DisconnectReason::Normal,
        (Version::V5, Some((&code, rest))) => {
            if !rest.is_empty() {
                let (list, _) = properties::split(rest)?;
                session_expiry_s = list.iter().find_map(|property| match property {
                    Property::SessionExpiryInterval(value) => Some(value.val()),
                    _ => None,
                });
            }
            DisconnectReason::from_code(code)
        }
    };
    Ok(Packet::Disconnect { reason, session_expiry_s })
}

fn subscribe(body: &[u8], version: Version) -> Result<Subscribe, DisconnectReason> {
    let (id, _) = packet_id(body)?;
    let mut subscription_id = None;
    let entries = match version {
        Version::V3_1_1 => v3_1_1::Subscribe::parse(body).map_err(fault)?.0.entries().clone(),
        Version::V5 => {
            let (parsed, _) = v5_0::Subscribe::parse(body).map_err(fault)?;
            for property in parsed.props() {
                if let Property::SubscriptionIdentifier(value) = property {
                    subscription_id = Some(value.val());
                }
            }
            parsed.entries().clone()
        }
    };
    // On 3.1.1 all but the QoS is reserved ([MQTT-3.8.3-4]).
    let reserved = |entry: &SubEntry| *entry.sub_opts().to_buffer() > [2];
    if version == Version::V3_1_1 && entries.iter().any(reserved) {
        return Err(DisconnectReason::MalformedPacket);
    }
    let filters = entries
        .iter()
        .map(|entry| {
            let options = entry.sub_opts();
            let options = SubscribeOptions {
                qos: qos(options.qos() as u8),
                no_local: options.nl(),
                retain_as_published: options.rap(),
                retain_handling: match options.rh() {
                    CoreRetain::SendRetained => RetainHandling::Always,
                    CoreRetain::SendRetainedIfNotExists => RetainHandling::IfNew,
                    CoreRetain::DoNotSendRetained => RetainHandling::Never,
                },
            };
            (entry.topic_filter().to_owned(), options)
        })
        .collect();
    Ok(Subscribe { id, subscription_id, filters })
}

fn unsubscribe(body: &[u8], version: Version) -> Result<Packet<'_>, DisconnectReason> {
    let (id, _) = packet_id(body)?;
    let filters = match version {
        Version::V3_1_1 => {
            let (parsed, _) = v3_1_1::Unsubscribe::parse(body).map_err(fault)?;
            parsed.entries().iter().map(|entry| entry.as_str().to_owned()).collect()
        }
        Version::V5 => {
            let (parsed, _) = v5_0::Unsubscribe::parse(body).map_err(fault)?;
            parsed.entries().iter().map(|entry| entry.as_str().to_owned()).collect()
        }
    };
    Ok(Packet::Unsubscribe { id, filters })
}

/// Reads a CONNECT.
pub(crate) fn connect(frame: Frame<'_>) -> Result<Connect, ConnectFault> {
    if frame.first != 0x10 {
        return Err(ConnectFault::Malformed);
    }
    let (name, rest) = text(frame.body).map_err(|_| ConnectFault::Malformed)?;
    let (Some(&level), Some(&flags)) = (rest.first(), rest.get(1)) else {
        return Err(ConnectFault::Malformed);
    };
    let version = match (name, level) {
        ("MQTT", 4) => Version::V3_1_1,
        ("MQTT", 5) => Version::V5,
        ("MQTT" | "MQIsdp", _) => return Err(ConnectFault::Version),
        _ => return Err(ConnectFault::Malformed),
    };
    check_flags(flags)?;
    let parsed = match version {
        Version::V3_1_1 => connect_v3(frame.body),
        Version::V5 => connect_v5(frame.body),
    };
    let parsed = parsed.map_err(|error| match error {
        MqttError::ClientIdentifierNotValid => ConnectFault::Identifier,
        _ => ConnectFault::Malformed,
    })?;
    let texts = [Some(&parsed.client_id), parsed.username.as_ref()];
    let will_topic = parsed.will.as_ref().map_or("will", |will| &will.message.topic);
    if texts.iter().flatten().any(|text| text.contains('\0')) || !valid_topic(will_topic) {
        return Err(ConnectFault::Malformed);
    }
    Ok(parsed)
}

/// What the protocol crate's parser leaves unchecked: reserved bit, will bits without a will, QoS 3.
fn check_flags(flags: u8) -> Result<(), ConnectFault> {
    let (will, will_qos, will_retain) = (flags & 0x04 != 0, (flags >> 3) & 0x03, flags & 0x20 != 0);
    if flags & 0x01 != 0 || will_qos == 3 || (!will && (will_qos != 0 || will_retain)) {
        return Err(ConnectFault::Malformed);
    }
    Ok(())
}

fn connect_v3(body: &[u8]) -> Result<Connect, MqttError> {
    let (packet, used) = v3_1_1::Connect::parse(body)?;
    let will = packet.will_topic().zip(packet.will_payload()).map(|(topic, payload)| Will {
        message: Message {
            retain: packet.will_retain(),
            ..Message::new(topic, payload.to_vec(), qos(packet.will_qos() as u8))
        },
        delay_s: 0,
    });
    if used != body.len() {
        return Err(MqttError::MalformedPacket);
    }
    Ok(Connect {
        version: Version::V3_1_1,
        client_id: packet.client_id().to_owned(),
        clean_start: packet.clean_session(),
        keep_alive_s: packet.keep_alive(),
        username: packet.user_name().map(str::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will,
        session_expiry_s: None,
        receive_maximum: u16::MAX,
        packet_bytes_max: usize::MAX,
        authentication_method: false,
    })
}

fn connect_v5(body: &[u8]) -> Result<Connect, MqttError> {
    let (packet, used) = v5_0::Connect::parse(body)?;
    if used != body.len() {
        return Err(MqttError::MalformedPacket);
    }
    let mut connect = Connect {
        version: Version::V5,
        client_id: packet.client_id().to_owned(),
        clean_start: packet.clean_start(),
        keep_alive_s: packet.keep_alive(),
        username: packet.user_name().map(str::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will: None,
        session_expiry_s: None,
        receive_maximum: u16::MAX,
        packet_bytes_max: usize::MAX,
        authentication_method: false,
    };
    for property in packet.props() {
        match property {
            Property::SessionExpiryInterval(value) => connect.session_expiry_s = Some(value.val()),
            Property::ReceiveMaximum(value) => connect.receive_maximum = value.val().max(1),
            Property::MaximumPacketSize(value) => connect.packet_bytes_max = value.val() as usize,
            Property::AuthenticationMethod(_) => connect.authentication_method = true,
            _ => {}
        }
    }
    if let Some((topic, payload)) = packet.will_topic().zip(packet.will_payload()) {
        let (properties, delay) =
            properties::message(packet.will_props()).map_err(|_| MqttError::MalformedPacket)?;
        let message = Message {
            retain: packet.will_retain(),
            properties,
            ..Message::new(topic, payload.to_vec(), qos(packet.will_qos() as u8))
        };
        connect.will = Some(Will { message, delay_s: delay.unwrap_or(0) });
    }
    Ok(connect)
}

/// A QoS that has been checked not to be 3.
fn qos(code: u8) -> QoS {
    match code {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// Reads a CONNACK.
pub(crate) fn connack(frame: Frame<'_>, version: Version) -> Result<Connack, DisconnectReason> {
    let (0x20, [flags, code, rest @ ..]) = (frame.first, frame.body) else {
        return Err(DisconnectReason::ProtocolError);
    };
    let mut connack = Connack { code: *code, session_present: flags & 1 != 0, ..Connack::default() };
    if version == Version::V3_1_1 || rest.is_empty() {
        return Ok(connack);
    }
    for property in properties::split(rest)?.0 {
        match property {
            Property::ReceiveMaximum(value) => connack.receive_maximum = Some(value.val().max(1)),
            Property::MaximumPacketSize(value) => connack.packet_bytes_max = Some(value.val()),
            Property::ServerKeepAlive(value) => connack.keep_alive_s = Some(value.val()),
            Property::SessionExpiryInterval(value) => connack.session_expiry_s = Some(value.val()),
            Property::AssignedClientIdentifier(value) => {
                connack.assigned_client_id = Some(value.val().to_owned());
            }
            Property::MaximumQos(value) => connack.qos_max = Some(value.val()),
            Property::RetainAvailable(value) => connack.retain_unavailable = value.val() == 0,
            _ => {}
        }
    }
    Ok(connack)
}

/// A topic name: no wildcards, no NUL ([MQTT-3.3.2-2], [MQTT-4.7.3-2]), not empty.
pub(crate) fn valid_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= 65_535 && !topic.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0))
}

fn text(data: &[u8]) -> Result<(&str, &[u8]), DisconnectReason> {
    let malformed = DisconnectReason::MalformedPacket;
    let (length, rest) = data.split_first_chunk::<2>().ok_or(malformed)?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(malformed)?;
    Ok((std::str::from_utf8(text).map_err(|_| malformed)?, rest))
}

/// A packet identifier, which is never 0 ([MQTT-2.3.1-1]).
fn packet_id(data: &[u8]) -> Result<(u16, &[u8]), DisconnectReason> {
    match data.split_first_chunk::<2>() {
        Some((id, rest)) if *id != [0, 0] => Ok((u16::from_be_bytes(*id), rest)),
        _ => Err(DisconnectReason::MalformedPacket),
    }
}

fn fault(error: MqttError) -> DisconnectReason {
    match error {
        MqttError::ProtocolError => DisconnectReason::ProtocolError,
        _ => DisconnectReason::MalformedPacket,
    }
}
