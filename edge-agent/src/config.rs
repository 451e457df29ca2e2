//! Everything that can be set, with its unit, its default and its limits.

mod check;
mod commands;
mod remote;
#[cfg(test)]
mod tests;
mod things;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytesize::ByteSize;
use fieldline_filter::Rule;
use fieldline_journal::Policy;
use fieldline_model::GatewayId;
use fieldline_rules::Rule as AlarmRule;
use serde::Deserialize;

use crate::address::ServerAddress;
use crate::mapping::Mapping;
use crate::sources::password::{self, Place};

pub use check::ConfigError;
pub use commands::CommandsSettings;
pub use remote::RemoteSettings;
pub use things::ThingsSettings;

/// The configuration of a gateway's agent, as it stands in `agent.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder for the journal, the quarantine and the shadows.
    pub data: PathBuf,
    /// Who this gateway is.
    pub gateway: GatewaySettings,
    /// The MQTT listener for devices.
    pub mqtt: MqttSettings,
    /// The HTTP listener for devices, and for status and metrics.
    pub http: HttpSettings,
    /// Brokers on site to subscribe to. Weaker than the listener: such a broker acknowledges to the
    /// device before the agent has the reading on disk.
    pub broker: Vec<BrokerSettings>,
    /// How topics beyond `telemetry/…` are read; the first that matches counts.
    pub map: Vec<Mapping>,
    /// What is left out, per metric; the first that matches counts.
    pub filter: Vec<Rule>,
    /// What is watched for, and what is done then, in any order; each with `runs = "edge"`.
    pub rules: Vec<AlarmRule>,
    /// What is accepted at all.
    pub limits: Limits,
    /// The store-and-forward log.
    pub journal: JournalSettings,
    /// The uplink. Without `server` the agent only buffers.
    pub sync: SyncSettings,
    /// The shadows of the devices behind this gateway.
    pub things: ThingsSettings,
    /// The commands of the devices behind this gateway.
    pub commands: CommandsSettings,
    /// The configuration from afar.
    pub remote: RemoteSettings,
}

/// Who this gateway is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// The thing name of the gateway, also its MQTT client id.
    pub id: GatewayId,
}

/// The MQTT listener for devices.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttSettings {
    /// Address and port, or `"off"`; port 0 takes a free one.
    #[serde(deserialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
    /// The listener's own certificate and the CA of its devices; needed beyond loopback.
    pub tls: Option<ListenerTls>,
    /// How many messages of one connection may wait for their PUBACK (MQTT's Receive Maximum).
    pub receive_maximum: u16,
    /// How many devices may be connected at once.
    pub connections_max: usize,
}

/// Files for a listener with mutual TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The listener's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The CA that signs device certificates, PEM.
    pub client_ca: PathBuf,
}

/// The HTTP listener for devices, status and metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// Address and port, or `"off"`; port 0 takes a free one. Loopback only.
    #[serde(deserialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
    /// How long a request may wait for the disk before it is answered with 503.
    #[serde(with = "humantime_serde")]
    pub commit_timeout: Duration,
}

/// A broker on site to subscribe to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// `mqtt://host:port`.
    pub address: ServerAddress,
    /// The topic filters to subscribe to.
    pub topics: Vec<String>,
    /// The client id there; the gateway's id with `-source` where none is given.
    pub client_id: Option<String>,
    /// A user name, where the broker wants one.
    pub username: Option<String>,
    /// A file with the password, read for each connection. In a configuration from afar it has to lie below
    /// `remote.secrets_dir`, from where a relative path is taken.
    pub password_file: Option<PathBuf>,
    /// Where that file may lie: said by who read the settings, not by the settings.
    #[serde(skip)]
    pub(crate) place: Place,
}

impl BrokerSettings {
    /// Whether it stands in the gateway's own file.
    pub(crate) fn is_own(&self) -> bool {
        self.place == Place::Anywhere
    }

    /// The password, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or does not lie where it may.
    pub(crate) fn password(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.password_file.as_ref();
        let read = path.map(|path| password::read(path, &self.place)).transpose();
        read.with_context(|| format!("broker {}", self.address))
    }
}

/// What is accepted at all.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest message, in bytes.
    pub payload_bytes_max: ByteSize,
    /// Readings older than this are quarantined as `too-old`.
    #[serde(with = "humantime_serde")]
    pub past_max: Duration,
    /// Readings further ahead than this are quarantined as `too-new`.
    #[serde(with = "humantime_serde")]
    pub future_max: Duration,
    /// How many metrics one device may have; readings of further ones are quarantined as `cardinality`.
    pub metrics_per_device_max: usize,
    /// How many devices there may be; readings of further ones are quarantined as `cardinality`.
    pub devices_max: usize,
    /// How many filter windows may be open; series beyond that are sent without a window.
    pub windows_max: usize,
}

/// The store-and-forward log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// How much disk it may take.
    pub bytes_max: ByteSize,
    /// How old a reading may grow in it; no limit where none is given.
    #[serde(with = "humantime_serde")]
    pub age_max: Option<Duration>,
    /// What happens when it is full: `drop-oldest` or `refuse`.
    pub policy: Policy,
    /// How large one file of it grows.
    pub segment_bytes: ByteSize,
}

/// The uplink.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncSettings {
    /// `mqtt://host:port`, or `mqtts://host:port` for TLS; absent: buffer only.
    pub server: Option<ServerAddress>,
    /// Certificates for `mqtts://`.
    pub tls: Option<UplinkTls>,
    /// The MQTT version: `"5"` or `"3.1.1"`.
    pub version: UplinkVersion,
    /// The pace of the backlog, in bytes per second; live readings may run a second's worth ahead of
    /// it. AWS IoT Core takes 512 KB/s on a connection, and delays what is beyond.
    pub bytes_per_second: ByteSize,
    /// How many messages are sent in any second, live or not. AWS IoT Core takes 100 on a connection,
    /// and drops what is beyond.
    pub messages_per_second: u32,
    /// How many blocks may wait for the store's acknowledgement.
    pub in_flight_max: usize,
    /// After how long without the store's acknowledgement a block is sent again; doubles each time.
    #[serde(with = "humantime_serde")]
    pub ack_timeout: Duration,
    /// How long live readings are gathered into one block; alarms never wait.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Live readings that have waited this long join the backlog.
    #[serde(with = "humantime_serde")]
    pub live_lag_max: Duration,
    /// The first pause before a new attempt to connect; full jitter.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// The longest pause.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// How long the server may take to answer a CONNECT (with TCP and TLS), a SUBSCRIBE or a PINGREQ
    /// before the connection is given up.
    #[serde(with = "humantime_serde")]
    pub answer_timeout: Duration,
    /// How long the server shall keep this gateway's session while it is away, so that what the store
    /// acknowledged meanwhile is told afterwards; `0s`: not at all. (MQTT 3.1.1 can only say whether.)
    #[serde(with = "humantime_serde")]
    pub session: Duration,
    /// MQTT's keep-alive; AWS IoT Core takes 30 to 1200 s.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// How often the books are reported when something has changed.
    #[serde(with = "humantime_serde")]
    pub books_every: Duration,
}

/// Certificates of the uplink.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkTls {
    /// The CA of the server, PEM.
    pub ca: PathBuf,
    /// The gateway's certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// The protocol to ask for by ALPN. Default: `x-amzn-mqtt-ca` for port 443 of AWS IoT Core, where
    /// it chooses MQTT; otherwise none.
    pub alpn: Option<String>,
}

/// The MQTT version of the uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum UplinkVersion {
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V3_1_1,
    /// MQTT 5.
    #[default]
    #[serde(rename = "5")]
    V5,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./edge-agent-data"),
            gateway: GatewaySettings::default(),
            mqtt: MqttSettings::default(),
            http: HttpSettings::default(),
            broker: Vec::new(),
            map: Vec::new(),
            filter: Vec::new(),
            rules: Vec::new(),
            limits: Limits::default(),
            journal: JournalSettings::default(),
            sync: SyncSettings::default(),
            things: ThingsSettings::default(),
            commands: CommandsSettings::default(),
            remote: RemoteSettings::default(),
        }
    }
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self { id: GatewayId::new("gateway-1").expect("the text follows the rule for ids") }
    }
}

impl Default for MqttSettings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 1883))),
            tls: None,
            receive_maximum: 100,
            connections_max: 10_000,
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            commit_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes_max: ByteSize::kib(256),
            past_max: Duration::from_secs(20 * 365 * 86_400),
            future_max: Duration::from_secs(86_400),
            metrics_per_device_max: 1_000,
            devices_max: 10_000,
            windows_max: 1_000,
        }
    }
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            bytes_max: ByteSize::gib(1),
            age_max: None,
            policy: Policy::DropOldest,
            segment_bytes: ByteSize::mib(8),
        }
    }
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            server: None,
            tls: None,
            version: UplinkVersion::default(),
            bytes_per_second: ByteSize::b(512_000),
            messages_per_second: 100,
            in_flight_max: 16,
            ack_timeout: Duration::from_secs(30),
            linger: Duration::from_millis(100),
            live_lag_max: Duration::from_secs(10),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(10),
            session: Duration::from_secs(3600),
            keep_alive: Duration::from_secs(60),
            books_every: Duration::from_secs(5),
        }
    }
}

fn address_or_off<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        serde::de::Error::custom(format!(
            "\"{text}\" is neither an address such as 127.0.0.1:1883 nor \"off\""
        ))
    })
}
