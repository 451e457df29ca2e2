//! Configurations as people write them.

use super::*;
use crate::settings::parse;

#[test]
fn an_empty_file_is_the_default_and_the_default_is_sound() {
    let config: Config = parse("").unwrap();
    assert_eq!(config.mqtt.listen, Some("127.0.0.1:1883".parse().unwrap()));
    config.check().unwrap();
}

#[test]
fn a_full_file_reads_as_written() {
    let config: Config = parse(
        r#"
        data = "/var/lib/agent"
        [gateway]
        id = "hall-7"
        [mqtt]
        listen = "off"
        [[broker]]
        address = "mqtt://10.0.0.5:1883"
        topics = ["sensors/#"]
        [[map]]
        topic = "sensors/+/temp"
        device = "{1}"
        metric = "temperature"
        format = "scalar"
        [[filter]]
        metric = "temperature"
        deadband = 0.1
        [journal]
        bytes_max = "4GiB"
        policy = "refuse"
        age_max = "30d"
        [sync]
        server = "mqtts://example.test:8883"
        tls = { ca = "ca.pem" }
        ack_timeout = "5s"
        version = "3.1.1"
        "#,
    )
    .unwrap();
    config.check().unwrap();
    assert_eq!(config.mqtt.listen, None);
    assert_eq!(config.journal.policy, Policy::Refuse);
    assert_eq!(config.journal.age_max, Some(Duration::from_secs(30 * 86_400)));
    assert!(config.sync.server.unwrap().tls);
}

#[test]
fn beyond_loopback_an_identity_is_needed() {
    for text in ["[mqtt]\nlisten = \"0.0.0.0:1883\"", "[http]\nlisten = \"[::]:8081\""] {
        let error = parse::<Config>(text).unwrap().check().unwrap_err().to_string();
        assert!(error.contains("no identity is configured"), "{error}");
    }
}

const AWS_TOO_SLOW: &str = "[sync]\nkeep_alive = \"21m\"\n\
    server = \"mqtts://x-ats.iot.eu-west-1.amazonaws.com:443\"\ntls.ca = \"x\"";

const AWS_TOO_MANY: &str = "things.subscriptions_max = 46\n\
    sync = { server = \"mqtts://x-ats.iot.eu-west-1.amazonaws.com:443\", tls.ca = \"x\" }";

const AWS_COMMANDS_TOO_MANY: &str = "things.subscriptions_max = 6\ncommands.enabled = true\n\
    sync = { server = \"mqtts://x-ats.iot.eu-west-1.amazonaws.com:443\", tls.ca = \"x\" }";

#[test]
fn impossible_settings_are_refused_by_key() {
    for (text, key) in [
        ("[sync]\nin_flight_max = 0", "sync.in_flight_max"),
        ("[sync]\nanswer_timeout = \"0s\"", "sync.answer_timeout"),
        ("[sync]\nkeep_alive = \"0s\"", "sync.keep_alive"),
        (AWS_TOO_SLOW, "sync.keep_alive"),
        ("[journal]\nsegment_bytes = 10", "journal.segment_bytes"),
        ("[[broker]]\naddress = \"mqtts://x\"\ntopics = [\"a\"]", "broker.address"),
        ("[[map]]\ntopic = \"a#\"\ndevice = \"x\"", "map.topic"),
        ("[[filter]]\ndeadband = -1", "filter 1"),
        ("[sync]\nserver = \"mqtts://x:1\"", "sync.tls.ca"),
        ("[things]\nshadows_max = 0", "things.shadows_max"),
        ("[commands]\ndevices_max = 0", "commands.devices_max"),
        (AWS_COMMANDS_TOO_MANY, "commands.devices_max"),
        (AWS_TOO_MANY, "things.subscriptions_max"),
    ] {
        let error = parse::<Config>(text).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(key), "{text}: {error}");
    }
}
