//! What a configuration may not say although each key is well formed.

use std::net::SocketAddr;
use std::time::Duration;

use fieldline_filter::{Filter, RuleError};
use fieldline_model::valid_filter;

use super::Config;
use super::things::SUBSCRIPTIONS_MAX_AWS;
use crate::address::ServerAddress;
use crate::rules;

/// Why a configuration cannot be used although each key is well formed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A plain listener would be reachable from other machines.
    #[error(
        "{key} = \"{address}\" is reachable from other machines, but no identity is configured; \
         give {remedy}, or listen on 127.0.0.1"
    )]
    Exposed {
        /// The key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What would make it safe.
        remedy: &'static str,
    },
    /// A filter rule is impossible.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A rule cannot be used.
    #[error("{0}")]
    Rules(String),
    /// A topic filter is malformed.
    #[error("{key}: \"{filter}\" is not an MQTT topic filter")]
    Topic {
        /// The key.
        key: &'static str,
        /// The text.
        filter: String,
    },
    /// A number is outside its limits.
    #[error("{key} = {value}: {expected}")]
    Limit {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// `mqtts://` without certificates.
    #[error("sync.server is mqtts://, so sync.tls.ca must name the CA of the server")]
    NoCa,
}

impl Config {
    /// Checks what a type alone cannot say.
    pub fn check(&self) -> Result<Filter, ConfigError> {
        if let Some(address) = self.mqtt.listen.filter(|address| !address.ip().is_loopback())
            && self.mqtt.tls.is_none()
        {
            let remedy = "mqtt.tls with certificate, key and client_ca";
            return Err(ConfigError::Exposed { key: "mqtt.listen", address, remedy });
        }
        if let Some(address) = self.http.listen.filter(|address| !address.ip().is_loopback()) {
            let remedy = "it a TLS proxy on this machine";
            return Err(ConfigError::Exposed { key: "http.listen", address, remedy });
        }
        // A password would go out in the clear to where TLS is expected.
        if let Some(broker) = self.broker.iter().find(|broker| broker.address.tls) {
            let (key, value) = ("broker.address", broker.address.to_string());
            return Err(ConfigError::Limit {
                key,
                value,
                expected: "must be mqtt://, TLS is not spoken there",
            });
        }
        let maps = self.map.iter().map(|map| ("map.topic", &map.topic));
        let sources =
            self.broker.iter().flat_map(|broker| broker.topics.iter().map(|topic| ("broker.topics", topic)));
        if let Some((key, filter)) = maps.chain(sources).find(|(_, filter)| !valid_filter(filter)) {
            return Err(ConfigError::Topic { key, filter: filter.clone() });
        }
        if self.sync.server.as_ref().is_some_and(|server| server.tls) && self.sync.tls.is_none() {
            return Err(ConfigError::NoCa);
        }
        self.check_times()?;
        self.check_numbers()?;
        rules::check(&self.rules).map_err(ConfigError::Rules)?;
        Ok(Filter::new(self.filter.clone())?)
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        let sync = &self.sync;
        let aws = sync.server.as_ref().is_some_and(ServerAddress::is_aws);
        // MQTT's keep-alive is a u16 of seconds. AWS IoT Core cuts off what is silent for 1.5 times its
        // own limit, whatever the client has asked for.
        let (least_s, most_s, expected) = if aws {
            (30, 1_200, "must be 30s to 20m: AWS IoT Core takes no other")
        } else {
            (1, 65_535, "must be 1s to 18h")
        };
        let (from, to) = (Duration::from_secs(least_s), Duration::from_secs(most_s));
        let times = [
            ("sync.keep_alive", sync.keep_alive, from, to, expected),
            (
                "sync.answer_timeout",
                sync.answer_timeout,
                Duration::from_millis(50),
                Duration::from_secs(300),
                "must be 50ms to 5m",
            ),
        ];
        for (key, value, least, most, expected) in times {
            if !(least..=most).contains(&value) {
                let value = humantime::format_duration(value).to_string();
                return Err(ConfigError::Limit { key, value, expected });
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let sync = &self.sync;
        let at_least_one = [
            ("sync.in_flight_max", sync.in_flight_max as u64),
            ("sync.messages_per_second", u64::from(sync.messages_per_second)),
            ("mqtt.receive_maximum", u64::from(self.mqtt.receive_maximum)),
            ("limits.metrics_per_device_max", self.limits.metrics_per_device_max as u64),
            ("limits.devices_max", self.limits.devices_max as u64),
            ("things.shadows_max", self.things.shadows_max as u64),
            ("commands.devices_max", self.commands.devices_max as u64),
        ];
        if let Some((key, value)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Limit { key, value: value.to_string(), expected: "must be at least 1" });
        }
        let aws = sync.server.as_ref().is_some_and(ServerAddress::is_aws);
        let commands = if self.commands.enabled(aws) { self.commands.devices_max } else { 0 };
        let subscriptions = self.things.subscriptions_max(aws).saturating_add(commands);
        if aws && subscriptions > SUBSCRIPTIONS_MAX_AWS {
            return Err(ConfigError::Limit {
                key: "things.subscriptions_max and commands.devices_max",
                value: subscriptions.to_string(),
                expected: "must be at most 45 together: AWS IoT Core takes 50 subscriptions on a connection",
            });
        }
        let sizes = [
            ("sync.bytes_per_second", sync.bytes_per_second, 1024, u64::MAX, "must be at least 1 KiB"),
            ("journal.segment_bytes", self.journal.segment_bytes, 65_536, 1 << 30, "must be 64 KiB to 1 GiB"),
            ("journal.bytes_max", self.journal.bytes_max, 1 << 20, u64::MAX, "must be at least 1 MiB"),
            (
                "limits.payload_bytes_max",
                self.limits.payload_bytes_max,
                1024,
                1 << 24,
                "must be 1 KiB to 16 MiB",
            ),
        ];
        for (key, value, least, most, expected) in sizes {
            if !(least..=most).contains(&value.as_u64()) {
                return Err(ConfigError::Limit { key, value: value.to_string(), expected });
            }
        }
        Ok(())
    }
}
