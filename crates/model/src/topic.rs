use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DeviceId, GatewayId, IdError, Metric, RangeSet};

/// The Basic Ingest rule that takes blocks.
pub const INGEST_RULE: &str = "fieldline_ingest";
/// The Basic Ingest rule that takes a gateway's books.
pub const BOOKS_RULE: &str = "fieldline_books";

/// Why a topic is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The topic has another shape.
    #[error("the topic is none of {expected}")]
    Shape {
        /// The shapes that would have been right.
        expected: &'static str,
    },
    /// A level is not the id it should be.
    #[error("a topic level is wrong")]
    Id(#[from] IdError),
}

/// Where devices publish: `telemetry/<device>` or `telemetry/<device>/<metric>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceTopic {
    /// A payload with named values: JSON, SenML or line protocol.
    Device(DeviceId),
    /// A payload with one scalar.
    Metric(DeviceId, Metric),
}

impl DeviceTopic {
    /// The device that publishes.
    pub fn device(&self) -> &DeviceId {
        match self {
            Self::Device(device) | Self::Metric(device, _) => device,
        }
    }
}

impl FromStr for DeviceTopic {
    type Err = TopicError;
    fn from_str(topic: &str) -> Result<Self, TopicError> {
        let shape = TopicError::Shape { expected: "telemetry/<device>, telemetry/<device>/<metric>" };
        let Some(rest) = topic.strip_prefix("telemetry/") else { return Err(shape) };
        match rest.split_once('/') {
            None => Ok(Self::Device(DeviceId::new(rest)?)),
            Some((device, metric)) => Ok(Self::Metric(DeviceId::new(device)?, Metric::new(metric)?)),
        }
    }
}

impl fmt::Display for DeviceTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "telemetry/{device}"),
            Self::Metric(device, metric) => write!(f, "telemetry/{device}/{metric}"),
        }
    }
}

/// Where gateways publish, by AWS IoT's Basic Ingest: `$aws/rules/<rule>/<gateway>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleTopic {
    /// A block of readings.
    Ingest(GatewayId),
    /// The gateway's [`crate::Books`] as JSON.
    Books(GatewayId),
}

impl FromStr for RuleTopic {
    type Err = TopicError;
    fn from_str(topic: &str) -> Result<Self, TopicError> {
        let shape = TopicError::Shape {
            expected: "$aws/rules/fieldline_ingest/<gateway>, $aws/rules/fieldline_books/<gateway>",
        };
        match topic.strip_prefix("$aws/rules/").and_then(|rest| rest.split_once('/')) {
            Some((INGEST_RULE, gateway)) => Ok(Self::Ingest(GatewayId::new(gateway)?)),
            Some((BOOKS_RULE, gateway)) => Ok(Self::Books(GatewayId::new(gateway)?)),
            _ => Err(shape),
        }
    }
}

impl fmt::Display for RuleTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingest(gateway) => write!(f, "$aws/rules/{INGEST_RULE}/{gateway}"),
            Self::Books(gateway) => write!(f, "$aws/rules/{BOOKS_RULE}/{gateway}"),
        }
    }
}

/// Where a gateway listens: `fieldline/<gateway>/ack`, `fieldline/<gateway>/config/<sha256>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayTopic {
    /// An [`AckMessage`] as JSON.
    Ack(GatewayId),
    /// A configuration that is too large for the gateway's shadow, retained: the JSON document whose
    /// SHA-256 this is, in 64 lower-case hexadecimal digits.
    Config(GatewayId, String),
}

impl FromStr for GatewayTopic {
    type Err = TopicError;
    fn from_str(topic: &str) -> Result<Self, TopicError> {
        let shape = TopicError::Shape { expected: "fieldline/<gateway>/ack or …/config/<sha256>" };
        let Some((gateway, rest)) = topic.strip_prefix("fieldline/").and_then(|rest| rest.split_once('/'))
        else {
            return Err(shape);
        };
        let is_digest = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match (rest, rest.strip_prefix("config/")) {
            ("ack", _) => Ok(Self::Ack(GatewayId::new(gateway)?)),
            (_, Some(sha256)) if is_digest(sha256) => {
                Ok(Self::Config(GatewayId::new(gateway)?, sha256.to_owned()))
            }
            _ => Err(shape),
        }
    }
}

impl fmt::Display for GatewayTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ack(gateway) => write!(f, "fieldline/{gateway}/ack"),
            Self::Config(gateway, sha256) => write!(f, "fieldline/{gateway}/config/{sha256}"),
        }
    }
}

/// Where alarms are told, retained: `fieldline/alarms/<device>/<rule>`. The alarm as a CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmTopic {
    /// Whose alarm.
    pub device: DeviceId,
    /// Of which rule: 1 to 64 of `a-z A-Z 0-9 : _ -`.
    pub rule: String,
}

impl FromStr for AlarmTopic {
    type Err = TopicError;
    fn from_str(topic: &str) -> Result<Self, TopicError> {
        let is_name = |rule: &str| {
            let of_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-');
            (1..=64).contains(&rule.len()) && rule.bytes().all(of_names)
        };
        match topic.strip_prefix("fieldline/alarms/").and_then(|rest| rest.split_once('/')) {
            Some((device, rule)) if is_name(rule) => {
                Ok(Self { device: DeviceId::new(device)?, rule: rule.to_owned() })
            }
            _ => Err(TopicError::Shape { expected: "fieldline/alarms/<device>/<rule>" }),
        }
    }
}

impl fmt::Display for AlarmTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fieldline/alarms/{}/{}", self.device, self.rule)
    }
}

/// The store's word to a gateway: these sequence numbers of this stream are settled for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckMessage {
    /// The stream's epoch.
    pub epoch: u64,
    /// What is stored (or quarantined there, and so the store's care from now on).
    pub stored: RangeSet,
}

/// Whether `filter` is well formed: `+` and `#` alone in their level, `#` last, not empty, no NUL
/// ([MQTT-4.7.1-1] to [MQTT-4.7.3-2]).
pub fn valid_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > 65_535 || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let good = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            other => !other.contains(['+', '#']),
        };
        if !good {
            return false;
        }
    }
    true
}

/// Whether an MQTT topic filter takes a topic, by section 4.7 of MQTT 3.1.1 and 5: `+` stands for
/// one level, a last `#` for any number including none, and neither opens a topic that begins
/// with `$`.
pub fn topic_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match topic_levels.next() {
            Some(found) if level == "+" || level == found => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_as_they_were_written() {
        for topic in ["telemetry/press-4", "telemetry/press-4/oil.temp"] {
            assert_eq!(topic.parse::<DeviceTopic>().unwrap().to_string(), topic);
        }
        for topic in ["$aws/rules/fieldline_ingest/gw-1", "$aws/rules/fieldline_books/gw-1"] {
            assert_eq!(topic.parse::<RuleTopic>().unwrap().to_string(), topic);
        }
        let config = format!("fieldline/gw-1/config/{}", "0a".repeat(32));
        for topic in ["fieldline/gw-1/ack", &config] {
            assert_eq!(topic.parse::<GatewayTopic>().unwrap().to_string(), topic);
        }
        let alarm = "fieldline/alarms/press-4/oil:hot_2";
        assert_eq!(alarm.parse::<AlarmTopic>().unwrap().to_string(), alarm);
        for strange in ["fieldline/alarms/press-4", "fieldline/alarms/press-4/a/b", "fieldline/alarms//a"] {
            assert!(strange.parse::<AlarmTopic>().is_err(), "{strange}");
        }
        for strange in
            ["fieldline/gw-1", "fieldline/gw-1/config/0A", &config.to_uppercase(), &format!("{config}/x")]
        {
            assert!(strange.parse::<GatewayTopic>().is_err(), "{strange}");
        }
    }

    #[test]
    fn strange_topics_are_refused() {
        for topic in
            ["", "telemetry", "telemetry/", "telemetry/a b", "telemetry/a/", "telemetry/a/b/c", "x/y"]
        {
            assert!(topic.parse::<DeviceTopic>().is_err(), "{topic}");
        }
        for topic in ["$aws/rules/other/gw", "$aws/rules/fieldline_ingest", "$aws/rules/fieldline_ingest/a/b"]
        {
            assert!(topic.parse::<RuleTopic>().is_err(), "{topic}");
        }
    }

    #[test]
    fn filters_match_as_section_4_7_says() {
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor", "$SYS/monitor", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/b", "a/b", true),
            ("a/b", "a/B", false),
            ("a/b", "a/b/", false),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(topic_matches(filter, topic), expected, "{filter} on {topic}");
        }
    }

    #[test]
    fn wildcards_stand_alone_in_their_level() {
        for good in ["#", "+", "a/+/b", "a/#", "/", "+/#"] {
            assert!(valid_filter(good), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "a+", "+a/b", "a\0b"] {
            assert!(!valid_filter(bad), "{bad}");
        }
    }
}
