//! How a client connects.

use std::fmt;
use std::time::Duration;

use crate::{Message, TlsClient, Version};

/// Everything that [`crate::Connection::open`] needs.
#[derive(Clone)]
pub struct ClientOptions {
    /// Host name or IP address of the broker.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The client identifier. Empty lets the server choose (MQTT 3.1.1: with `clean_start` only).
    pub client_id: String,
    /// The protocol spoken. Default 5.
    pub version: Version,
    /// Start without what the server may still hold of an earlier session. Default true.
    pub clean_start: bool,
    /// How long the server shall keep the session after the connection, in seconds (MQTT 5).
    /// Default 0. On 3.1.1 `clean_start` decides both.
    pub session_expiry_s: u32,
    /// The longest silence, in seconds, before a PINGREQ is sent; 0 switches it off. Default 30.
    pub keep_alive_s: u16,
    /// How long a PINGRESP may take. Default 10 s.
    pub ping_timeout: Duration,
    /// User name.
    pub username: Option<String>,
    /// Password; MQTT 3.1.1 allows it only with a user name.
    pub password: Option<Vec<u8>>,
    /// What the server publishes when this client breaks off.
    pub will: Option<Message>,
    /// How long the server waits with the will, in seconds (MQTT 5).
    pub will_delay_s: u32,
    /// TLS; plain TCP when none.
    pub tls: Option<TlsClient>,
    /// The largest packet taken, in bytes. Default 256 KiB.
    pub packet_bytes_max: u32,
    /// For TCP, TLS and CONNACK together. Default 10 s.
    pub connect_timeout: Duration,
    /// QoS 1 messages in flight, each way (less when the server's Receive Maximum is less).
    /// Default 100.
    pub receive_maximum: u16,
}

impl ClientOptions {
    /// The defaults for a broker at `host`:`port`.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            version: Version::V5,
            clean_start: true,
            session_expiry_s: 0,
            keep_alive_s: 30,
            ping_timeout: Duration::from_secs(10),
            username: None,
            password: None,
            will: None,
            will_delay_s: 0,
            tls: None,
            packet_bytes_max: 256 * 1024,
            connect_timeout: Duration::from_secs(10),
            receive_maximum: 100,
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("client_id", &self.client_id)
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("username", &self.username)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
