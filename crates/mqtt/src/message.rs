//! The words of a publish: message, quality of service, protocol version.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How hard the protocol tries. The client of this crate speaks QoS 0 and 1, the broker all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QoS {
    /// QoS 0: sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent again until it is acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: handed over in two steps, so that it arrives once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The number on the wire.
    pub fn as_u8(self) -> u8 {
        self as u8
    }
}

/// Which MQTT a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Version {
    /// MQTT 3.1.1 (protocol level 4).
    #[default]
    #[serde(rename = "3.1.1")]
    V3_1_1,
    /// MQTT 5 (protocol level 5).
    #[serde(rename = "5")]
    V5,
}

/// One application message. A clone shares topic, payload and properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic name: no wildcards, not empty.
    pub topic: Arc<str>,
    /// The payload, byte for byte.
    pub payload: Bytes,
    /// The quality of service.
    pub qos: QoS,
    /// From a publisher: keep this as the topic's retained message (an empty payload clears it).
    /// To a subscriber: this is a retained message, not a fresh one.
    pub retain: bool,
    /// What MQTT 5 adds; none on 3.1.1 and when the publisher gave none.
    pub properties: Option<Arc<MessageProperties>>,
}

impl Message {
    /// A message without properties that is not retained.
    pub fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>, qos: QoS) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos, retain: false, properties: None }
    }

    /// The same message, to be retained.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// The same message with MQTT 5 properties.
    #[must_use]
    pub fn with_properties(mut self, properties: MessageProperties) -> Self {
        self.properties =
            if properties == MessageProperties::default() { None } else { Some(Arc::new(properties)) };
        self
    }

    /// What the message counts against a limit in bytes: topic, payload and a fixed overhead.
    pub fn size_bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.size_bytes());
        self.topic.len() + self.payload.len() + properties + OVERHEAD_BYTES
    }
}

/// Roughly what a queued message costs beside its bytes.
const OVERHEAD_BYTES: usize = 96;

/// The properties of an MQTT 5 PUBLISH that travel with the message (section 3.3.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Payload Format Indicator: `Some(true)` says that the payload is UTF-8.
    pub utf8: Option<bool>,
    /// Message Expiry Interval in seconds; what is left of it when the message is delivered.
    pub expiry_s: Option<u32>,
    /// Content Type.
    pub content_type: Option<Arc<str>>,
    /// Response Topic.
    pub response_topic: Option<Arc<str>>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// User properties, in order, repeats allowed.
    pub user: Vec<(Arc<str>, Arc<str>)>,
}

impl MessageProperties {
    fn size_bytes(&self) -> usize {
        let user: usize = self.user.iter().map(|(key, value)| key.len() + value.len() + 32).sum();
        self.content_type.as_ref().map_or(0, |text| text.len())
            + self.response_topic.as_ref().map_or(0, |text| text.len())
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + user
            + 64
    }
}
