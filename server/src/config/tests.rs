use super::*;
use edge_agent::settings::parse;

#[test]
fn an_empty_file_is_the_default_and_the_default_is_sound() {
    let config: Config = parse("").unwrap();
    assert_eq!(config.mqtt.listen, Some("127.0.0.1:1884".parse().unwrap()));
    assert_eq!(config.http.listen, Some("127.0.0.1:8080".parse().unwrap()));
    config.check().unwrap();
}

#[test]
fn a_full_file_reads_as_written() {
    let config: Config = parse(
        r#"
        data = "/var/lib/fieldline"
        gateway = "hall"
        functions = "http://127.0.0.1:9000"
        [mqtt]
        listen = "off"
        [mqtt.tls]
        certificate = "server.pem"
        key = "server.key"
        client_ca = "ca.pem"
        [mqtt.limits]
        receive_maximum = 50
        [http]
        listen = "127.0.0.1:0"
        [store]
        retention_days = 400
        [invoke]
        timeout_ms = 5000
        [registry]
        devices = "known"
        "#,
    )
    .unwrap();
    config.check().unwrap();
    assert_eq!(config.mqtt.listen, None);
    assert_eq!(config.mqtt.tls.unwrap().listen.port(), 8883);
    assert_eq!(config.mqtt.limits.receive_maximum, 50);
    assert_eq!(config.store.retention_days, Some(400));
    assert_eq!(config.registry.devices, Devices::Known);
    assert_eq!(config.functions.unwrap().to_string(), "http://127.0.0.1:9000");
    assert_eq!((config.invoke.timeout_ms, config.invoke.in_flight_max), (5000, 64));
}

#[test]
fn beyond_loopback_an_identity_is_needed() {
    for text in ["[mqtt]\nlisten = \"0.0.0.0:1884\"", "[http]\nlisten = \"[::]:8080\""] {
        let error = parse::<Config>(text).unwrap().check().unwrap_err().to_string();
        assert!(error.contains("reachable from other machines"), "{error}");
    }
}

#[test]
fn impossible_settings_are_refused_by_key() {
    for (text, key) in [
        ("[http]\nbody_bytes_max = 10", "http.body_bytes_max"),
        ("[mqtt]\nwaiting_bytes_max = 10", "mqtt.waiting_bytes_max"),
        ("[invoke]\nin_flight_max = 0", "invoke.in_flight_max"),
        ("[invoke]\npatience_ms = 1", "invoke.patience_ms"),
        ("[shadows]\ntelemetry_every = \"99ms\"", "shadows.telemetry_every"),
        ("[shadows]\ntelemetry_every = \"2days\"", "shadows.telemetry_every"),
    ] {
        let error = parse::<Config>(text).unwrap().check().unwrap_err().to_string();
        assert!(error.starts_with(key), "{text}: {error}");
    }
    let error = parse::<Config>("[mqtt]\nlisten = \"here\"").unwrap_err();
    assert!(error.starts_with("line 2: \"here\" is neither an address"), "{error}");
    let error = parse::<Config>("[shadows]\ntelemetry_every = \"often\"").unwrap_err();
    assert!(error.contains("neither a duration such as 10s"), "{error}");
    let off: Config = parse("[shadows]\ntelemetry_every = \"off\"").unwrap();
    assert_eq!(off.shadows.telemetry_every, None);
    let error = parse::<Config>("functions = \"https://x\"").unwrap_err();
    assert!(error.contains("plain http only"), "{error}");
}
