//! Everything that can be set in `fieldline.toml`, with its unit, its default and its limits.

mod rules;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fieldline_model::GatewayId;
use fieldline_mqtt::BrokerConfig;
use serde::{Deserialize, Deserializer};

use crate::certs;
pub use crate::functions::{Endpoint, EndpointError};
pub use rules::RulesSettings;
pub use targets::{EmailSettings, SecuritySettings, TargetSettings, WebhookSettings};

/// The configuration of the on-premise server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data folder; the server keeps its own below it, in `server/`.
    pub data: PathBuf,
    /// The name under which the server keeps readings that reach it without a gateway.
    pub gateway: GatewayId,
    /// The broker.
    pub mqtt: MqttSettings,
    /// The HTTP API.
    pub http: HttpSettings,
    /// What is kept, and for how long.
    pub store: StoreSettings,
    /// The registry of things.
    pub registry: RegistrySettings,
    /// What the server shows of things in their shadows by itself.
    pub shadows: ShadowSettings,
    /// Rules, and the alarms that come of them.
    pub rules: RulesSettings,
    /// Whom rules tell, by name.
    pub targets: BTreeMap<String, TargetSettings>,
    /// Where the functions run, for instance `http://127.0.0.1:9000`; none: in this process, with
    /// the store. Blocks and books then become asynchronous invocations of `ingest` there,
    /// `/api/v1/*` becomes calls of `query`, and `data`, `gateway` and `store` mean nothing.
    pub functions: Option<Endpoint>,
    /// How functions elsewhere are called.
    pub invoke: InvokeSettings,
}

/// How functions elsewhere are called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InvokeSettings {
    /// Invocations of `ingest` that may be under way, and as many of `query`. A gateway has one at a
    /// time, which keeps its blocks in order.
    pub in_flight_max: usize,
    /// How long one invocation may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long a message is tried, in milliseconds from its arrival; then it is refused, and the
    /// gateway sends it again.
    pub patience_ms: u64,
}

impl InvokeSettings {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }
}

impl Default for InvokeSettings {
    fn default() -> Self {
        Self { in_flight_max: 64, timeout_ms: 29_000, patience_ms: 20_000 }
    }
}

/// The broker's listeners and limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttSettings {
    /// Address of the plain listener, or `"off"`; port 0 takes a free one. Loopback only.
    #[serde(deserialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
    /// The listener with mutual TLS; the identity of the server. Where it is not set, and `fieldline certs
    /// init` has made an authority in the data folder, it is as if it were set with its defaults.
    pub tls: Option<TlsSettings>,
    /// The limits of the broker.
    pub limits: BrokerConfig,
    /// How many bytes of messages may wait for the store, all connections together. Beyond it a
    /// message is refused with "quota exceeded" and comes again.
    pub waiting_bytes_max: usize,
}

/// The listener with mutual TLS. Files that are not named are those of `fieldline certs init`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Address and port; port 0 takes a free one. Default: 0.0.0.0:8883.
    pub listen: SocketAddr,
    /// The server's certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// The CA that signs the certificates of gateways and devices, PEM. What such a certificate may do
    /// is the registry's to say. One that is not registered stands for the thing of its Common Name where
    /// this key is set, and does not get in where it is not.
    pub client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// Certificate, key and CA, with those of `certs init` in the data folder where none is named.
    pub fn files(&self, data: &Path) -> [PathBuf; 3] {
        let folder = certs::folder(data);
        let file = |named: &Option<PathBuf>, own| named.clone().unwrap_or_else(|| folder.join(own));
        [
            file(&self.certificate, certs::SERVER_CERTIFICATE),
            file(&self.key, certs::SERVER_KEY),
            file(&self.client_ca, certs::CA_CERTIFICATE),
        ]
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 8883)), certificate: None, key: None, client_ca: None }
    }
}

/// The HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// Address and port, or `"off"`; port 0 takes a free one. Loopback only.
    #[serde(deserialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
    /// Address and port of the data plane with mutual TLS (`/topics`, `/things/…/shadow`,
    /// `/retainedMessage`, `/telemetry`), or `"off"`; port 0 takes a free one. It has the certificates of
    /// `mqtt.tls`, and needs them.
    #[serde(deserialize_with = "address_or_off")]
    pub tls_listen: Option<SocketAddr>,
    /// The largest body of a request, in bytes; a larger one is answered with 413.
    pub body_bytes_max: usize,
}

/// What is kept, and for how long.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// Readings older than so many days are deleted; none keeps everything.
    pub retention_days: Option<u32>,
}

/// The registry of things.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySettings {
    /// Whose readings are taken that come without a gateway, and whether devices appear by themselves.
    pub devices: Devices,
    /// The host that DescribeEndpoint names; none: the one that was asked.
    pub endpoint: Option<String>,
}

/// Which devices may publish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Devices {
    /// All; one that publishes becomes a thing.
    #[default]
    Open,
    /// Without a gateway only those that are things already. What a gateway has taken in is stored.
    Known,
}

/// What the server shows of things in their shadows by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowSettings {
    /// The shadow `telemetry` of a device, with its newest readings, is updated at most once in so long, such
    /// as `"10s"`, and only on change; `"off"`: there is none. 100 ms to a day.
    #[serde(deserialize_with = "duration_or_off")]
    pub telemetry_every: Option<Duration>,
    /// The most named shadows of one thing; an update that would make one more is refused.
    pub named_max: usize,
}

/// Why a configuration cannot be used although each key is well formed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A plain listener would be reachable from other machines.
    #[error(
        "{key} = \"{address}\" is reachable from other machines, but has no identity to protect it: {remedy}, \
         or listen on 127.0.0.1"
    )]
    Exposed {
        /// The key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What would make it safe.
        remedy: &'static str,
    },
    /// A listener with mutual TLS has no certificates.
    #[error(
        "http.tls_listen = \"{address}\" needs an identity: make one with `fieldline certs init`, or configure \
         mqtt.tls (certificate, key, client_ca)"
    )]
    NoIdentity {
        /// The address.
        address: SocketAddr,
    },
    /// A target cannot be used.
    #[error("targets.{name}: {reason}")]
    Target {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A number is outside its limits.
    #[error("{key} = {value}: {expected}")]
    Limit {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
        /// What it should be.
        expected: &'static str,
    },
}

impl Config {
    /// With the listener for which `certs init` has made an identity, where nothing else is said.
    #[must_use]
    pub fn with_identity(mut self) -> Self {
        let made = certs::folder(&self.data).join(certs::CA_CERTIFICATE).exists();
        if self.mqtt.tls.is_none() && made {
            self.mqtt.tls = Some(TlsSettings::default());
        }
        self
    }

    /// Whether a certificate that is not registered gets in: where another authority than the site's own
    /// signs certificates.
    pub(crate) fn lets_strangers_in(&self) -> bool {
        self.mqtt.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// Checks what a type alone cannot say.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let beyond_loopback = |address: &SocketAddr| !address.ip().is_loopback();
        if let Some(address) = self.mqtt.listen.filter(beyond_loopback) {
            let remedy = "configure mqtt.tls (listen, certificate, key, client_ca) for other machines";
            return Err(ConfigError::Exposed { key: "mqtt.listen", address, remedy });
        }
        if let Some(address) = self.http.listen.filter(beyond_loopback) {
            let remedy = "put a TLS proxy with authentication on this machine in front of it";
            return Err(ConfigError::Exposed { key: "http.listen", address, remedy });
        }
        if let Some(address) = self.http.tls_listen.filter(|_| self.mqtt.tls.is_none()) {
            return Err(ConfigError::NoIdentity { address });
        }
        for (name, target) in &self.targets {
            if let Some(reason) = target.fault() {
                return Err(ConfigError::Target { name: name.clone(), reason });
            }
        }
        let body = self.http.body_bytes_max as u64;
        if !(1024..=1 << 30).contains(&body) {
            let expected = "must be 1024 (1 KiB) to 1073741824 (1 GiB)";
            return Err(ConfigError::Limit { key: "http.body_bytes_max", value: body, expected });
        }
        let waiting = self.mqtt.waiting_bytes_max as u64;
        if waiting < u64::from(self.mqtt.limits.packet_bytes_max) {
            let expected = "must be at least mqtt.limits.packet_bytes_max";
            return Err(ConfigError::Limit { key: "mqtt.waiting_bytes_max", value: waiting, expected });
        }
        let invoke = &self.invoke;
        let bounds = [
            ("invoke.in_flight_max", invoke.in_flight_max as u64, 1..=10_000, "must be 1 to 10000"),
            ("invoke.timeout_ms", invoke.timeout_ms, 10..=900_000, "must be 10 to 900000 (15 minutes)"),
            (
                "rules.history_lines_max",
                self.rules.history_lines_max as u64,
                100..=200_000,
                "must be 100 to 200000",
            ),
            ("invoke.patience_ms", invoke.patience_ms, 10..=900_000, "must be 10 to 900000 (15 minutes)"),
        ];
        let every = |key, every: Option<Duration>| {
            let every_ms = every.map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
            let expected = "must be 100ms to 1day, or off (told in ms)";
            every_ms.map(|every_ms| (key, every_ms, 100..=86_400_000, expected))
        };
        let every = [
            every("shadows.telemetry_every", self.shadows.telemetry_every),
            every("rules.look_every", self.rules.look_every),
        ];
        for (key, value, bounds, expected) in bounds.into_iter().chain(every.into_iter().flatten()) {
            if !bounds.contains(&value) {
                return Err(ConfigError::Limit { key, value, expected });
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./fieldline-data"),
            gateway: GatewayId::new("server").expect("the text follows the rule for ids"),
            mqtt: MqttSettings::default(),
            http: HttpSettings::default(),
            store: StoreSettings::default(),
            registry: RegistrySettings::default(),
            shadows: ShadowSettings::default(),
            rules: RulesSettings::default(),
            targets: BTreeMap::new(),
            functions: None,
            invoke: InvokeSettings::default(),
        }
    }
}

impl Default for MqttSettings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 1884))),
            tls: None,
            limits: BrokerConfig::default(),
            waiting_bytes_max: 64 << 20,
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
            tls_listen: None,
            body_bytes_max: 8 << 20,
        }
    }
}

impl Default for ShadowSettings {
    fn default() -> Self {
        Self { telemetry_every: Some(Duration::from_secs(10)), named_max: fieldline_store::NAMED_SHADOWS_MAX }
    }
}

fn address_or_off<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    parse_listen(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn duration_or_off<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    if text == "off" {
        return Ok(None);
    }
    humantime::parse_duration(&text).map(Some).map_err(|_not_a_duration| {
        serde::de::Error::custom(format!("\"{text}\" is neither a duration such as 10s nor \"off\""))
    })
}

/// Reads `address:port`, or `off`, as flags and keys have it.
///
/// # Errors
/// A sentence that says what would have been right.
pub fn parse_listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_not_an_address| {
        format!("\"{text}\" is neither an address such as 127.0.0.1:1884 nor \"off\"")
    })
}
