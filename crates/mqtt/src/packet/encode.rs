//! Packets to bytes, appended to what waits for the socket.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, ContentType, CorrelationData, MaximumPacketSize, MaximumQos,
    MessageExpiryInterval, PayloadFormat, PayloadFormatIndicator, Properties, Property, Qos as CoreQos,
    ReceiveMaximum, ResponseTopic, ServerKeepAlive, SessionExpiryInterval, SubscriptionIdentifier,
    TopicAliasMaximum, UserProperty, WillDelayInterval, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::{Connack, Will};
use crate::{ClientError, ClientOptions, DisconnectReason, Message, MessageProperties, QoS, Version};

/// The largest remaining length (section 1.5.5).
const REMAINING_MAX: usize = 268_435_455;

/// How a PUBLISH goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublishHeader<'a> {
    pub(crate) version: Version,
    pub(crate) qos: QoS,
    /// The packet identifier; none for QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) duplicate: bool,
    pub(crate) retain: bool,
    /// What is left of the message expiry, in place of the message's own.
    pub(crate) expiry_s: Option<u32>,
    pub(crate) subscription_ids: &'a [u32],
}

/// Appends a PUBLISH, unless it would be larger than `bytes_max`: then false, and nothing is
/// appended.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    message: &Message,
    header: &PublishHeader<'_>,
    bytes_max: usize,
) -> bool {
    let properties = match header.version {
        Version::V3_1_1 => Vec::new(),
        Version::V5 => publish_properties(message.properties.as_deref(), header),
    };
    let properties_prefix = match header.version {
        Version::V3_1_1 => 0,
        Version::V5 => varint_size(properties.len()),
    };
    let id_size = if header.id.is_some() { 2 } else { 0 };
    let remaining =
        2 + message.topic.len() + id_size + properties_prefix + properties.len() + message.payload.len();
    let Ok(topic_length) = u16::try_from(message.topic.len()) else { return false };
    if remaining > REMAINING_MAX || 1 + varint_size(remaining) + remaining > bytes_max {
        return false;
    }
    out.reserve(5 + remaining);
    out.push(0x30 | (header.qos.as_u8() << 1) | (u8::from(header.duplicate) << 3) | u8::from(header.retain));
    varint(out, remaining);
    out.extend_from_slice(&topic_length.to_be_bytes());
    out.extend_from_slice(message.topic.as_bytes());
    if let Some(id) = header.id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if header.version == Version::V5 {
        varint(out, properties.len());
        out.extend_from_slice(&properties);
    }
    out.extend_from_slice(&message.payload);
    true
}

/// No allocation for the message without properties, which is nearly every one.
fn publish_properties(properties: Option<&MessageProperties>, header: &PublishHeader<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(properties) = properties
        && let Ok(list) = property_list(properties, header.expiry_s)
    {
        for property in &list {
            bytes.append(&mut property.to_continuous_buffer());
        }
    }
    for id in header.subscription_ids {
        if let Ok(property) = SubscriptionIdentifier::new(*id) {
            bytes.append(&mut property.to_continuous_buffer());
        }
    }
    bytes
}

fn property_list(properties: &MessageProperties, expiry_s: Option<u32>) -> Result<Properties, MqttError> {
    let mut list = Properties::new();
    if let Some(utf8) = properties.utf8 {
        let format = if utf8 { PayloadFormat::String } else { PayloadFormat::Binary };
        list.push(PayloadFormatIndicator::new(format)?.into());
    }
    if let Some(expiry) = expiry_s.or(properties.expiry_s) {
        list.push(MessageExpiryInterval::new(expiry)?.into());
    }
    if let Some(text) = &properties.content_type {
        list.push(ContentType::new(text.as_ref())?.into());
    }
    if let Some(topic) = &properties.response_topic {
        list.push(ResponseTopic::new(topic.as_ref())?.into());
    }
    if let Some(data) = &properties.correlation_data {
        list.push(CorrelationData::new(data.to_vec())?.into());
    }
    for (key, value) in &properties.user {
        list.push(UserProperty::new(key.as_ref(), value.as_ref())?.into());
    }
    Ok(list)
}

/// Appends a PUBACK; the code is left out when it is 0 or the version has none.
pub(crate) fn puback(out: &mut Vec<u8>, version: Version, id: u16, code: u8) {
    settlement(out, 0x40, version, id, code);
}

/// Appends a PUBREC, with the code as in a PUBACK.
pub(crate) fn pubrec(out: &mut Vec<u8>, version: Version, id: u16, code: u8) {
    settlement(out, 0x50, version, id, code);
}

/// Appends a PUBREL, with the code as in a PUBACK.
pub(crate) fn pubrel(out: &mut Vec<u8>, version: Version, id: u16, code: u8) {
    settlement(out, 0x62, version, id, code);
}

/// Appends a PUBCOMP, with the code as in a PUBACK.
pub(crate) fn pubcomp(out: &mut Vec<u8>, version: Version, id: u16, code: u8) {
    settlement(out, 0x70, version, id, code);
}

fn settlement(out: &mut Vec<u8>, first: u8, version: Version, id: u16, code: u8) {
    let [high, low] = id.to_be_bytes();
    if code == 0 || version == Version::V3_1_1 {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, code]);
    }
}

/// Appends a SUBACK.
pub(crate) fn suback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    acknowledgement(out, 0x90, version, id, codes);
}

/// Appends an UNSUBACK; MQTT 3.1.1 has no codes in it.
pub(crate) fn unsuback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    let codes = if version == Version::V5 { codes } else { &[] };
    acknowledgement(out, 0xb0, version, id, codes);
}

fn acknowledgement(out: &mut Vec<u8>, first: u8, version: Version, id: u16, codes: &[u8]) {
    let no_properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    out.push(first);
    varint(out, 2 + no_properties.len() + codes.len());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(no_properties);
    out.extend_from_slice(codes);
}

/// Appends a SUBSCRIBE or an UNSUBSCRIBE (`options` is none for the latter).
pub(crate) fn request<'a>(
    out: &mut Vec<u8>,
    version: Version,
    id: u16,
    filters: impl Iterator<Item = (&'a str, Option<QoS>)> + Clone,
) {
    let subscribe = filters.clone().any(|(_, qos)| qos.is_some());
    let size: usize =
        filters.clone().map(|(filter, qos)| 2 + filter.len() + usize::from(qos.is_some())).sum();
    out.push(if subscribe { 0x82 } else { 0xa2 });
    varint(out, 2 + usize::from(version == Version::V5) + size);
    out.extend_from_slice(&id.to_be_bytes());
    if version == Version::V5 {
        out.push(0);
    }
    for (filter, qos) in filters {
        let length = u16::try_from(filter.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(filter.as_bytes());
        out.extend(qos.map(QoS::as_u8));
    }
}

/// Appends a DISCONNECT.
pub(crate) fn disconnect(out: &mut Vec<u8>, version: Version, reason: DisconnectReason) {
    match (version, reason.code()) {
        (Version::V3_1_1, _) | (Version::V5, 0) => out.extend_from_slice(&[0xe0, 0]),
        (Version::V5, code) => out.extend_from_slice(&[0xe0, 1, code]),
    }
}

pub(crate) fn pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xc0, 0]);
}

pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Appends a CONNACK.
pub(crate) fn connack(out: &mut Vec<u8>, version: Version, connack: &Connack) {
    let start = [u8::from(connack.session_present), connack.code];
    if version == Version::V3_1_1 {
        out.extend_from_slice(&[0x20, 2]);
        out.extend_from_slice(&start);
        return;
    }
    let mut properties = Vec::new();
    for property in connack_properties(connack).unwrap_or_default() {
        properties.append(&mut property.to_continuous_buffer());
    }
    out.push(0x20);
    varint(out, 2 + varint_size(properties.len()) + properties.len());
    out.extend_from_slice(&start);
    varint(out, properties.len());
    out.extend_from_slice(&properties);
}

fn connack_properties(connack: &Connack) -> Result<Vec<Property>, MqttError> {
    let mut list = Properties::new();
    if connack.code != 0 {
        return Ok(list);
    }
    if let Some(value) = connack.receive_maximum {
        list.push(ReceiveMaximum::new(value)?.into());
    }
    if let Some(value) = connack.topic_alias_max {
        list.push(TopicAliasMaximum::new(value)?.into());
    }
    if let Some(value) = connack.packet_bytes_max {
        list.push(MaximumPacketSize::new(value)?.into());
    }
    if let Some(value) = connack.keep_alive_s {
        list.push(ServerKeepAlive::new(value)?.into());
    }
    if let Some(value) = connack.session_expiry_s {
        list.push(SessionExpiryInterval::new(value)?.into());
    }
    if let Some(value) = connack.qos_max {
        list.push(MaximumQos::new(value)?.into());
    }
    if let Some(value) = &connack.assigned_client_id {
        list.push(AssignedClientIdentifier::new(value.as_str())?.into());
    }
    Ok(list)
}

/// A whole CONNECT.
///
/// # Errors
/// [`ClientError::Invalid`] when an option does not fit into the packet.
pub(crate) fn connect(options: &ClientOptions) -> Result<Vec<u8>, ClientError> {
    let built = match options.version {
        Version::V3_1_1 => connect_v3(options),
        Version::V5 => connect_v5(options),
    };
    built.map_err(|_| ClientError::Invalid { what: "a connect option" })
}

fn connect_v3(options: &ClientOptions) -> Result<Vec<u8>, MqttError> {
    let mut builder = v3_1_1::Connect::builder()
        .client_id(options.client_id.as_str())?
        .clean_session(options.clean_start)
        .keep_alive(options.keep_alive_s);
    if let Some(will) = &options.will {
        builder = builder.will_message(
            will.topic.as_ref(),
            will.payload.to_vec(),
            core_qos(will.qos),
            will.retain,
        )?;
    }
    if let Some(name) = &options.username {
        builder = builder.user_name(name.as_str())?;
    }
    if let Some(password) = &options.password {
        builder = builder.password(password.clone())?;
    }
    Ok(builder.build()?.to_continuous_buffer())
}

fn connect_v5(options: &ClientOptions) -> Result<Vec<u8>, MqttError> {
    let mut properties: Properties = vec![
        ReceiveMaximum::new(options.receive_maximum.max(1))?.into(),
        MaximumPacketSize::new(options.packet_bytes_max.max(64))?.into(),
    ];
    if options.session_expiry_s > 0 {
        properties.push(SessionExpiryInterval::new(options.session_expiry_s)?.into());
    }
    let mut builder = v5_0::Connect::builder()
        .client_id(options.client_id.as_str())?
        .clean_start(options.clean_start)
        .keep_alive(options.keep_alive_s)
        .props(properties);
    if let Some(message) = &options.will {
        let will = Will { message: message.clone(), delay_s: options.will_delay_s };
        let (topic, payload) = (message.topic.as_ref(), message.payload.to_vec());
        builder = builder
            .will_message(topic, payload, core_qos(message.qos), message.retain)?
            .will_props(will_properties(&will)?);
    }
    if let Some(name) = &options.username {
        builder = builder.user_name(name.as_str())?;
    }
    if let Some(password) = &options.password {
        builder = builder.password(password.clone())?;
    }
    Ok(builder.build()?.to_continuous_buffer())
}

fn will_properties(will: &Will) -> Result<Properties, MqttError> {
    let given = will.message.properties.clone().unwrap_or_else(|| Arc::new(MessageProperties::default()));
    let mut list = property_list(&given, None)?;
    if will.delay_s > 0 {
        list.push(WillDelayInterval::new(will.delay_s)?.into());
    }
    Ok(list)
}

fn core_qos(qos: QoS) -> CoreQos {
    match qos {
        QoS::AtMostOnce => CoreQos::AtMostOnce,
        QoS::AtLeastOnce => CoreQos::AtLeastOnce,
        QoS::ExactlyOnce => CoreQos::ExactlyOnce,
    }
}

fn varint_size(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
