//! Devices that report by MQTT as fast as they are answered.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use fieldline_model::{ShadowId, ShadowOperation, ShadowPart, ShadowTopic, ThingName};
use fieldline_mqtt::{ClientOptions, Connection, Event, QoS};
use fieldline_tests::publisher::runtime;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// Who reports, and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) things: usize,
    /// Each speaks for as many things as any other.
    pub(crate) connections: usize,
    /// Of each connection.
    pub(crate) updates: usize,
    /// Updates under way on each connection.
    pub(crate) window: usize,
}

/// How long everything took.
#[derive(Debug)]
pub(crate) struct Measured {
    elapsed: Duration,
    /// From each request to its reply, ascending.
    times: Vec<Duration>,
}

impl Measured {
    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let place = self.times.len() * percent / 100;
        self.times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// The name of a thing by its number.
pub(crate) fn thing(number: usize) -> String {
    format!("thing-{number}")
}

/// A message of a thing's classic shadow.
pub(crate) fn topic(thing: &str, part: ShadowPart) -> Result<String> {
    let shadow = ShadowId { thing: ThingName::new(thing)?, name: None };
    Ok(ShadowTopic { shadow, operation: ShadowOperation::Update, part }.to_string())
}

/// A connection that has subscribed to `filters`.
pub(crate) async fn subscribed(address: SocketAddr, id: &str, filters: &[String]) -> Result<Connection> {
    let options = ClientOptions::new(address.ip().to_string(), address.port(), id);
    let mut connection = Connection::open(&options).await?;
    for filters in filters.chunks(8) {
        let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), QoS::AtLeastOnce)).collect();
        connection.subscribe(&filters)?;
        let granted = loop {
            if let Event::Subscribed { granted, .. } = timeout(PATIENCE, connection.next()).await?? {
                break granted;
            }
        };
        ensure!(granted.iter().all(Result::is_ok), "a subscription is refused: {granted:?}");
    }
    Ok(connection)
}

/// All connect, then all begin.
pub(crate) fn run(address: SocketAddr, load: Load) -> Result<Measured> {
    runtime()?.block_on(async {
        let start = Arc::new(Barrier::new(load.connections + 1));
        let mut devices = JoinSet::new();
        for number in 0..load.connections {
            let things: Vec<_> = (number..load.things).step_by(load.connections).map(thing).collect();
            let start = Arc::clone(&start);
            devices.spawn(async move {
                let mut device = Device::open(address, number, &things).await?;
                start.wait().await;
                device.report(load).await
            });
        }
        tokio::select! {
            _ = start.wait() => {}
            Some(early) = devices.join_next() => {
                early??;
                bail!("a device ended before the others were there");
            }
        }
        let (began, mut times) = (Instant::now(), Vec::new());
        while let Some(ended) = devices.join_next().await {
            times.extend(ended??);
        }
        let elapsed = began.elapsed();
        times.sort();
        Ok(Measured { elapsed, times })
    })
}

struct Device {
    connection: Connection,
    requests: Vec<String>,
}

impl Device {
    async fn open(address: SocketAddr, number: usize, things: &[String]) -> Result<Self> {
        let (mut filters, mut requests) = (Vec::new(), Vec::new());
        for thing in things {
            filters.push(topic(thing, ShadowPart::Accepted)?);
            filters.push(topic(thing, ShadowPart::Rejected)?);
            requests.push(topic(thing, ShadowPart::Request)?);
        }
        Ok(Self { connection: subscribed(address, &format!("device-{number}"), &filters).await?, requests })
    }

    /// Reports of its things in turn; how long each took from the request to `accepted`.
    async fn report(&mut self, load: Load) -> Result<Vec<Duration>> {
        let mut topics = self.requests.iter().cycle();
        let (mut under_way, mut times) = (HashMap::<String, VecDeque<Instant>>::new(), Vec::new());
        let mut sent = 0;
        while times.len() < load.updates {
            while sent < load.updates && sent - times.len() < load.window && self.connection.vacancy() > 0 {
                let topic = topics.next().context("a device has a thing")?;
                under_way.entry(format!("{topic}/accepted")).or_default().push_back(Instant::now());
                self.connection.publish(topic, report(sent), QoS::AtLeastOnce, false)?;
                sent += 1;
            }
            let event = timeout(PATIENCE, self.connection.next()).await;
            match event.with_context(|| format!("{} of {sent} updates answered", times.len()))?? {
                Event::Message { message, id, .. } => {
                    let began = under_way.get_mut(&*message.topic).and_then(VecDeque::pop_front);
                    let said = || format!("{}: {}", message.topic, String::from_utf8_lossy(&message.payload));
                    times.push(began.with_context(said)?.elapsed());
                    if let Some(id) = id {
                        self.connection.acknowledge(id);
                    }
                }
                Event::Refused(_, reason) => bail!("an update is refused: {reason:?}"),
                _ => {}
            }
        }
        ensure!(sent == times.len(), "replies are missing");
        // What is acknowledged last is to reach the server before the connection ends.
        drop(timeout(PATIENCE, self.connection.flush()).await);
        Ok(times)
    }
}

/// What a small machine reports.
fn report(turn: usize) -> Bytes {
    let temperature = 20.0 + (turn % 100) as f64 / 10.0;
    let reported = json!({ "temperature": temperature, "turn": turn, "mode": "auto", "running": true });
    Bytes::from(json!({ "state": { "reported": reported } }).to_string())
}
