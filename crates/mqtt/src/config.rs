//! What the broker allows, and its defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of the broker. Everything that a client can make grow has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// Messages of one connection that may await their PUBACK or PUBREC. At the limit the socket is
    /// not read any further (TCP holds the client back); an MQTT 5 client, which has been told the
    /// number, is disconnected with 0x93 when it goes beyond. For MQTT 5 those that await their PUBREL
    /// count too; an MQTT 3.1.1 session has at most 65,535 of them. Default 100, at least 1.
    pub receive_maximum: u16,
    /// Topic aliases that an MQTT 5 client may set on a connection. Default 16; 0 allows none.
    pub topic_alias_max: u16,
    /// The largest packet taken, in bytes, fixed header included. Default 256 KiB.
    pub packet_bytes_max: u32,
    /// The longest keep-alive granted, in seconds; a longer one (and none at all) is cut down to
    /// this on MQTT 5. On 3.1.1, which has no means to say so, the client's own wish stands.
    /// Default 3600. 0 grants any.
    pub keep_alive_s_max: u16,
    /// From the TCP accept to the CONNECT packet, TLS handshake included; in milliseconds.
    /// Default 10,000.
    pub connect_timeout_ms: u64,
    /// The longest life of a session without connection, in seconds. MQTT 3.1.1 sessions with
    /// `clean_session = 0` get this one. Default 7 days.
    pub session_expiry_s_max: u32,
    /// Sessions held, connected or not. Beyond it a CONNECT is refused as busy. Default 10,000.
    pub sessions_max: usize,
    /// Connections open at a time. For one more, one that has not said who it is gives way; where there is
    /// none such, it is closed at once. Default 10,000.
    pub connections_max: usize,
    /// Messages queued for one session. At the limit the oldest QoS 0 message goes first, then the
    /// oldest of QoS 1 and 2; both are counted. Default 1,000.
    pub queue_messages_max: usize,
    /// Bytes queued for one session; the same policy. Default 4 MiB.
    pub queue_bytes_max: usize,
    /// Messages to one subscriber that may await its PUBACK or PUBCOMP (less when its Receive Maximum
    /// is less). Default 100, at least 1.
    pub inflight_max: u16,
    /// Subscriptions of one session. Default 100.
    pub subscriptions_max: usize,
    /// Levels of a topic or filter (AWS IoT allows 8; here `$aws/rules/<rule>/` counts too).
    /// Default 32.
    pub topic_levels_max: usize,
    /// Retained messages. At the limit a new topic is not retained (counted as dropped); known
    /// topics may still change. Default 10,000.
    pub retained_messages_max: usize,
    /// Bytes of retained messages; the same policy. Default 16 MiB.
    pub retained_bytes_max: usize,
    /// Bytes of the server's own retained messages, which have room beside those of clients; beyond it they
    /// are not kept, and the server is told so. As many messages as of clients. Default 64 MiB.
    pub retained_own_bytes_max: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            receive_maximum: 100,
            packet_bytes_max: 256 * 1024,
            topic_alias_max: 16,
            keep_alive_s_max: 3600,
            connect_timeout_ms: 10_000,
            session_expiry_s_max: 7 * 24 * 3600,
            sessions_max: 10_000,
            connections_max: 10_000,
            queue_messages_max: 1_000,
            queue_bytes_max: 4 * 1024 * 1024,
            inflight_max: 100,
            subscriptions_max: 100,
            topic_levels_max: 32,
            retained_messages_max: 10_000,
            retained_bytes_max: 16 * 1024 * 1024,
            retained_own_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl BrokerConfig {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Raises what must not be zero.
    pub(crate) fn sane(mut self) -> Self {
        self.receive_maximum = self.receive_maximum.max(1);
        self.inflight_max = self.inflight_max.max(1);
        self.packet_bytes_max = self.packet_bytes_max.max(64);
        self
    }
}
