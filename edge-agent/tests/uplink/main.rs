//! The agent as a client of AWS IoT Core: the server's side of AWS's Device Advisor tests, played by
//! a scripted broker. Each test is named after the Device Advisor test that it stands for; the table
//! is in `docs/guides/aws.md`. (`devices` is the other side: devices on the agent's own listener; `moved` is about
//! the configuration from afar.)
//!
//! A test plays the broker line by line: it accepts the agent's connection, reads what comes and
//! answers, or does not. Nothing waits for a time but the agent itself, by its settings.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod authority;
mod connect;
mod devices;
mod exchange;
mod gateway;
mod moved;
mod peer;
mod quiet;
mod quotas;
mod sessions;
mod stand_in;
mod tls;

use std::time::Duration;

/// Far longer than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The MQTT versions that the agent speaks, as in its configuration.
const VERSIONS: [&str; 2] = ["3.1.1", "5"];

/// What the future gives, or a failure that says what was waited for.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

#[test]
fn the_guide_names_these_tests() {
    let guide = include_str!("../../../docs/guides/aws.md");
    let sources = [
        include_str!("connect.rs"),
        include_str!("exchange.rs"),
        include_str!("quotas.rs"),
        include_str!("sessions.rs"),
        include_str!("tls.rs"),
    ];
    let named: Vec<&str> = guide
        .split('`')
        .filter(|word| ["mqtt_", "tls_", "no_"].iter().any(|start| word.starts_with(start)))
        .collect();
    assert!(named.len() >= 20, "{named:?}");
    for name in named {
        assert!(sources.iter().any(|source| source.contains(&format!("async fn {name}()"))), "{name}");
    }
}
