//! MQTT 5 properties of a message, to and from the protocol crate's.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Properties, PropertiesParse, Property};

use crate::{DisconnectReason, MessageProperties};

/// Reads a property list; gives it and the bytes after it.
pub(super) fn split(data: &[u8]) -> Result<(Properties, &[u8]), DisconnectReason> {
    let (properties, used) = Properties::parse(data).map_err(|_| DisconnectReason::MalformedPacket)?;
    let rest = data.get(used..).ok_or(DisconnectReason::MalformedPacket)?;
    Ok((properties, rest))
}

/// Takes the topic alias out of the properties of a PUBLISH.
pub(super) fn take_alias(list: &mut Properties) -> Result<Option<u16>, DisconnectReason> {
    let mut alias = None;
    for property in list.iter() {
        if let Property::TopicAlias(value) = property {
            once(&mut alias, value.val())?;
        }
    }
    list.retain(|property| !matches!(property, Property::TopicAlias(_)));
    Ok(alias)
}

/// What travels with the message; and the will delay, which only a will may have.
pub(super) fn message(
    properties: &[Property],
) -> Result<(Option<Arc<MessageProperties>>, Option<u32>), DisconnectReason> {
    let mut found = MessageProperties::default();
    let mut will_delay = None;
    for property in properties {
        match property {
            Property::PayloadFormatIndicator(value) => once(&mut found.utf8, value.val() == 1)?,
            Property::MessageExpiryInterval(value) => once(&mut found.expiry_s, value.val())?,
            Property::ContentType(value) => once(&mut found.content_type, Arc::from(value.val()))?,
            Property::ResponseTopic(value) => once(&mut found.response_topic, response_topic(value.val())?)?,
            Property::CorrelationData(value) => {
                once(&mut found.correlation_data, Bytes::copy_from_slice(value.val()))?;
            }
            Property::UserProperty(pair) => {
                found.user.push((Arc::from(pair.key()), Arc::from(pair.val())));
            }
            Property::WillDelayInterval(value) => once(&mut will_delay, value.val())?,
            // What a server says which subscription matched is of no use to this client.
            Property::SubscriptionIdentifier(_) => {}
            Property::TopicAlias(_) => return Err(DisconnectReason::TopicAliasInvalid),
            _ => return Err(DisconnectReason::ProtocolError),
        }
    }
    let any = found != MessageProperties::default();
    Ok((any.then(|| Arc::new(found)), will_delay))
}

fn response_topic(topic: &str) -> Result<Arc<str>, DisconnectReason> {
    if super::decode::valid_topic(topic) {
        Ok(Arc::from(topic))
    } else {
        Err(DisconnectReason::TopicNameInvalid)
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), DisconnectReason> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(DisconnectReason::ProtocolError),
    }
}
