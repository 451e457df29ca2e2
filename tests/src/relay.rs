//! A press, and a relay that a rule of the gateway switches.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use bytes::Bytes;
use fieldline_model::{CommandPart, CommandTopic, ThingName};
use fieldline_mqtt::{ClientOptions, Connection, Event, QoS};
use serde_json::{Value, json};

use crate::wait::PATIENCE;

/// Opens the relay when the press is hot, and knows by how much: `rules` of an agent.
pub const HOT: &str = r#"[{ name = "hot", runs = "edge", when = "temperature > 80.0", severity = "critical", then = [
  { command = { device = "relay-1", command = "open", payload = { delay_s = 5 } } },
  { derive = { metric = "excess", value = "temperature - 80.0" } },
] }]"#;

/// The clock.
///
/// # Errors
/// It has not been set.
pub fn now_ms() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?)
}

/// What a device says: topic and payload.
pub fn reading(device: &str, ms: i64, temperature: f64) -> (String, Bytes) {
    let payload = json!({ "temperature": temperature, "ts": ms }).to_string();
    (format!("telemetry/{device}"), payload.into())
}

/// Lets a press get hot and cold again so often; how long the relay waited each time, sorted, and what it was told
/// first.
///
/// # Errors
/// A connection breaks, or the relay hears nothing for a long time.
pub async fn switch(broker: SocketAddr, times: i64) -> Result<(Vec<Duration>, Value)> {
    let options = |name| ClientOptions::new(broker.ip().to_string(), broker.port(), name);
    let mut relay = Connection::open(&options("relay-1")).await?;
    let requests = CommandTopic::requests_of(&ThingName::new("relay-1")?);
    relay.subscribe(&[(&requests, QoS::AtLeastOnce)])?;
    while !matches!(relay.next().await?, Event::Subscribed { .. }) {}
    let mut press = Connection::open(&options("press-4")).await?;
    let (start, mut took, mut first) = (now_ms()?, Vec::new(), Value::Null);
    for round in 0..times {
        let began = Instant::now();
        say(&mut press, start + 2 * round, 95.0).await?;
        let request = tokio::time::timeout(PATIENCE, request(&mut relay)).await??;
        took.push(began.elapsed());
        ensure!(request["command"] == "open", "{request}");
        if first.is_null() {
            first = request["parameters"].clone();
        }
        say(&mut press, start + 2 * round + 1, 20.0).await?;
    }
    took.sort();
    Ok((took, first))
}

async fn say(press: &mut Connection, ms: i64, temperature: f64) -> Result<()> {
    let (topic, payload) = reading("press-4", ms, temperature);
    press.publish(&topic, payload, QoS::AtLeastOnce, false)?;
    while !matches!(press.next().await?, Event::Published(_)) {}
    Ok(())
}

async fn request(relay: &mut Connection) -> Result<Value> {
    loop {
        if let Event::Message { message, id, .. } = relay.next().await? {
            id.into_iter().for_each(|id| relay.acknowledge(id));
            let topic: CommandTopic = message.topic.parse()?;
            ensure!(topic.part == CommandPart::Request, "{topic}");
            return Ok(serde_json::from_slice(&message.payload)?);
        }
    }
}
