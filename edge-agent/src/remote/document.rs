//! A configuration from afar: some sections of `agent.toml` as JSON, laid over the gateway's own file.

use std::time::Duration;

use bytesize::ByteSize;
use fieldline_filter::Rule;
use fieldline_rules::Rule as AlarmRule;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::address::ServerAddress;
use crate::config::{BrokerSettings, Config, UplinkVersion};
use crate::mapping::Mapping;
use crate::settings;
use crate::sync::Uplink;

/// The sections that may come from afar.
const SECTIONS: [&str; 6] = ["broker", "filter", "limits", "map", "rules", "sync"];
/// Those that a gateway would be stranded without, or that need a person beside it.
const LOCAL: [&str; 9] =
    ["commands", "config", "data", "gateway", "http", "journal", "mqtt", "remote", "things"];

/// SHA-256 of the document's canonical JSON (no blanks, keys in order), in hexadecimal.
pub(crate) fn digest(document: &Value) -> String {
    hexadecimal(document.to_string().as_bytes())
}

/// SHA-256 in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The gateway's own configuration with the document laid over it: lists take the place of the file's,
/// keys of `sync` and `limits` that of its keys.
///
/// # Errors
/// What is wrong with it, for a person; also a file that it needs and that cannot be read.
pub(crate) fn lay_over(base: &Config, document: &Value) -> Result<Config, String> {
    let config = lay_over_unread(base, document)?;
    if let Some(server) = &config.sync.server {
        Uplink::options(&config.gateway.id, server, &config.sync).map_err(|error| format!("{error:#}"))?;
    }
    for broker in &config.broker {
        broker.password().map_err(|error| format!("{error:#}"))?;
    }
    Ok(config)
}

/// The same, without a look at the files that it needs: they were there when it was committed.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn lay_over_unread(base: &Config, document: &Value) -> Result<Config, String> {
    let Value::Object(sections) = document else {
        return Err("a configuration is an object of sections".to_owned());
    };
    let mut config = base.clone();
    for (name, value) in sections {
        match name.as_str() {
            "filter" => config.filter = read::<Vec<Rule>>(name, value)?,
            "rules" => config.rules = read::<Vec<AlarmRule>>(name, value)?,
            "map" => config.map = read::<Vec<Mapping>>(name, value)?,
            "broker" => config.broker = brokers(base, read(name, value)?),
            "limits" => read::<Limits>(name, value)?.lay_over(&mut config),
            "sync" => read::<Sync>(name, value)?.lay_over(&mut config),
            local if LOCAL.contains(&local) => {
                return Err(format!("{local} is set in the gateway's own file only"));
            }
            unknown => {
                let known = SECTIONS.join(", ");
                return Err(format!("there is no section {unknown}; those that can be set: {known}"));
            }
        }
    }
    config.check().map_err(|error| error.to_string())?;
    // A configuration is committed when its server was reached: that has to be one that showed a certificate.
    let speaks_tls = |config: &Config| config.sync.server.as_ref().is_some_and(|server| server.tls);
    if speaks_tls(base) && !speaks_tls(&config) {
        return Err("sync.server: must be mqtts://, as in the gateway's own file".to_owned());
    }
    Ok(config)
}

/// What they read goes out to whom they name, so it has to lie where it was put for that.
fn brokers(base: &Config, brokers: Vec<BrokerSettings>) -> Vec<BrokerSettings> {
    let place = base.remote.place();
    brokers.into_iter().map(|broker| BrokerSettings { place: place.clone(), ..broker }).collect()
}

fn read<T: DeserializeOwned>(section: &str, value: &Value) -> Result<T, String> {
    settings::of_json(value).map_err(|error| format!("{section}: {error}"))
}

/// Keys of `[limits]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    #[serde(default, with = "humantime_serde")]
    past_max: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    future_max: Option<Duration>,
    metrics_per_device_max: Option<usize>,
    devices_max: Option<usize>,
    windows_max: Option<usize>,
}

impl Limits {
    fn lay_over(self, config: &mut Config) {
        let limits = &mut config.limits;
        set(&mut limits.past_max, self.past_max);
        set(&mut limits.future_max, self.future_max);
        set(&mut limits.metrics_per_device_max, self.metrics_per_device_max);
        set(&mut limits.devices_max, self.devices_max);
        set(&mut limits.windows_max, self.windows_max);
    }
}

/// Keys of `[sync]`: all but the files of certificates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sync {
    server: Option<ServerAddress>,
    version: Option<UplinkVersion>,
    bytes_per_second: Option<ByteSize>,
    messages_per_second: Option<u32>,
    in_flight_max: Option<usize>,
    #[serde(default, with = "humantime_serde")]
    ack_timeout: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    linger: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    live_lag_max: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    backoff_min: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    backoff_max: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    answer_timeout: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    session: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    keep_alive: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    books_every: Option<Duration>,
}

impl Sync {
    fn lay_over(self, config: &mut Config) {
        let sync = &mut config.sync;
        if self.server.is_some() {
            sync.server = self.server;
        }
        set(&mut sync.version, self.version);
        set(&mut sync.bytes_per_second, self.bytes_per_second);
        set(&mut sync.messages_per_second, self.messages_per_second);
        set(&mut sync.in_flight_max, self.in_flight_max);
        set(&mut sync.ack_timeout, self.ack_timeout);
        set(&mut sync.linger, self.linger);
        set(&mut sync.live_lag_max, self.live_lag_max);
        set(&mut sync.backoff_min, self.backoff_min);
        set(&mut sync.backoff_max, self.backoff_max);
        set(&mut sync.answer_timeout, self.answer_timeout);
        set(&mut sync.session, self.session);
        set(&mut sync.keep_alive, self.keep_alive);
        set(&mut sync.books_every, self.books_every);
    }
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(value) = from {
        *to = value;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_changes_what_it_names_and_nothing_else() {
        let base: Config = settings::parse(
            "[sync]\nserver = \"mqtt://a:1\"\nlinger = \"3s\"\n[[filter]]\nmetric = \"x\"\n[[map]]\ntopic = \"a/+\"\ndevice = \"{1}\"",
        )
        .unwrap();
        let document = json!({
            "sync": { "server": "mqtt://b:2", "bytes_per_second": 64_000 },
            "limits": { "past_max": "30d" },
            "filter": [{ "metric": "t", "deadband": 0.5 }, { "metric": "u" }],
        });
        let config = lay_over(&base, &document).unwrap();
        assert_eq!(config.sync.server.unwrap().to_string(), "mqtt://b:2");
        assert_eq!(config.sync.linger, Duration::from_secs(3));
        assert_eq!(config.sync.bytes_per_second.as_u64(), 64_000);
        assert_eq!(config.limits.past_max, Duration::from_secs(30 * 86_400));
        assert_eq!((config.filter.len(), config.map.len()), (2, 1));
        assert!(lay_over(&base, &json!({})).is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_would_be_right() {
        let base = Config::default();
        for (document, word) in [
            (json!([]), "an object of sections"),
            (json!({ "journal": {} }), "journal is set in the gateway's own file only"),
            (json!({ "filters": [] }), "there is no section filters"),
            (json!({ "sync": { "lingr": "1s" } }), "did you mean `linger`?"),
            (json!({ "sync": { "linger": 5 } }), "sync: "),
            (json!({ "sync": { "tls": {} } }), "sync: unknown field `tls`"),
            (json!({ "sync": { "server": "mqtts://x:1" } }), "sync.tls.ca"),
            (json!({ "sync": { "in_flight_max": 0 } }), "sync.in_flight_max = 0"),
            (json!({ "filter": [{ "deadband": -1 }] }), "filter 1"),
            (json!({ "map": [{ "topic": "a#", "device": "x" }] }), "map.topic"),
            (json!({ "rules": [{ "name": "hot", "whn": "x > 1.0" }] }), "did you mean `when`?"),
            (
                json!({ "rules": [{ "name": "hot", "runs": "edge", "when": "x > > 1.0" }] }),
                "rules: hot: when line 1, column",
            ),
            (json!({ "rules": [{ "name": "hot", "when": "x > 1.0" }] }), "rules: hot: runs"),
        ] {
            let error = lay_over(&base, &document).unwrap_err();
            assert!(error.contains(word), "{document}: {error}");
        }
    }

    /// A broker of an attacker, who would be sent any file of this machine as its password.
    #[test]
    fn a_password_comes_out_of_the_folder_of_secrets_only() {
        let root = tempfile::tempdir().unwrap();
        let key = root.path().join("gateway.key");
        std::fs::create_dir(root.path().join("secrets")).unwrap();
        std::fs::write(&key, "private").unwrap();
        std::fs::write(root.path().join("secrets/plc"), "open sesame").unwrap();
        let broker = |path: &str| json!({ "broker": [{ "address": "mqtt://x", "topics": ["a"], "password_file": path }] });
        let mut base = Config::default();
        let error = lay_over(&base, &broker("plc")).unwrap_err();
        assert!(error.contains("remote.secrets_dir is not set"), "{error}");
        base.remote.keep_secrets_beside(&root.path().join("agent.toml"));
        for path in ["../gateway.key", "nothing", key.to_str().unwrap()] {
            let error = lay_over(&base, &broker(path)).unwrap_err();
            assert!(error.contains("is no file in remote.secrets_dir"), "{path}: {error}");
        }
        let config = lay_over(&base, &broker("plc")).unwrap();
        assert_eq!(config.broker[0].password().unwrap().unwrap(), b"open sesame");
        // Also what was committed before is not read from elsewhere.
        assert!(lay_over_unread(&base, &broker("../gateway.key")).unwrap().broker[0].password().is_err());
    }

    #[test]
    fn a_server_that_needs_no_certificate_does_not_take_the_place_of_one_that_does() {
        let base: Config = settings::parse("[sync]\nserver = \"mqtts://a\"\ntls.ca = \"ca.pem\"").unwrap();
        let server = |address: &str| lay_over_unread(&base, &json!({ "sync": { "server": address } }));
        assert!(server("mqtt://b").unwrap_err().contains("must be mqtts://"));
        assert!(server("mqtts://b").is_ok());
        let plain: Config = settings::parse("[sync]\nserver = \"mqtt://a\"").unwrap();
        assert!(lay_over_unread(&plain, &json!({ "sync": { "server": "mqtt://b" } })).is_ok());
    }

    #[test]
    fn the_digest_knows_no_order_of_keys() {
        let a: Value = serde_json::from_str(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#).unwrap();
        assert_eq!(digest(&a), digest(&b));
        assert_eq!(digest(&json!({})), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }
}
