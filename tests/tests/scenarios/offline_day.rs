//! A day without the server: the backlog drains at its pace, and live readings do not wait for it.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fieldline_tests::ledger::{of_agent, settle};
use fieldline_tests::publisher::{Publisher, Source, runtime};
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Site, machine};
use serde_json::{Value, json};

const DEVICES: u64 = 100;
const DEVICES_PER_CONNECTION: u64 = 10;
const PER_MESSAGE: u64 = 400;
/// What it holds; beside it come 4 to 5 MiB of program in a release build, which makes less than 24.
const MEMORY_BYTES_MAX: u64 = 16 << 20;
const PROBES: i64 = 40;
/// What the link may carry at once beyond its pace: a few blocks, and live readings on top.
const BURST_BYTES: u64 = 3 * 120 * 1024;

/// What ten of the devices have measured once a second since `base_ms`; they share a connection, as
/// behind a field bus.
struct Day {
    base_ms: i64,
    messages: u64,
    first_device: u64,
}

impl Day {
    fn value(device: u64, second: u64) -> f64 {
        let noise = Random::new(device << 32 | second).below(20) as f64;
        let wave = 200.0 * ((second as f64) / 900.0 + device as f64).sin();
        (wave + noise).round() / 10.0
    }
}

impl Source for Day {
    fn due(&mut self, index: u64) -> Option<tokio::time::Instant> {
        (index < self.messages * DEVICES_PER_CONNECTION).then(tokio::time::Instant::now)
    }

    fn message(&mut self, index: u64) -> (String, Bytes) {
        let device = self.first_device + index % DEVICES_PER_CONNECTION;
        let index = index / DEVICES_PER_CONNECTION;
        let mut text = String::with_capacity(40 * PER_MESSAGE as usize);
        for second in index * PER_MESSAGE..(index + 1) * PER_MESSAGE {
            let time = self.base_ms + 1_000 * second.cast_signed();
            text.push_str(if text.is_empty() { "[" } else { "," });
            text.push_str(&format!("{{\"v\":{:?},\"ts\":{time}}}", Self::value(device, second)));
        }
        text.push(']');
        (format!("telemetry/day-{device}"), Bytes::from(text))
    }

    fn acknowledged(&mut self, _: u64) {}
}

#[test]
fn a_day_offline_drains_at_its_pace_while_live_readings_pass() -> Result<()> {
    let _machine = machine::alone();
    let messages = machine::size("FIELDLINE_BACKLOG", 400_000) / DEVICES / PER_MESSAGE;
    let readings = messages * DEVICES * PER_MESSAGE;
    let mut site = Site::prepare()?;
    site.agent.set("journal.bytes_max", "\"4GiB\"");
    site.agent.set("sync.ack_timeout", "\"10s\"");
    // Readings as regular as these take a fraction of a byte each; at this pace the backlog takes a
    // minute or more, longer than the probes do.
    let pace = (readings / 100).max(2_048);
    site.agent.set("sync.bytes_per_second", &pace.to_string());
    site.server.start()?;
    site.agent.start()?;
    let before = probe(&site, 0)?;
    site.server.stop()?;

    let began = Instant::now();
    let base_ms = fill(&site, messages)?;
    println!("{readings} readings taken in {:?}", began.elapsed());
    let memory = site.agent.held_bytes_max()?;
    println!("the agent has taken {:.1} MiB at most", memory as f64 / f64::from(1 << 20));
    ensure!(memory <= MEMORY_BYTES_MAX, "{memory} bytes of memory with a backlog of {readings}");

    // A power cut in the middle of it: recovery reads the whole backlog, and must not hold it.
    site.agent.kill()?;
    let restarted = Instant::now();
    site.agent.start()?;
    let memory = site.agent.held_bytes_max()?;
    println!("restarted in {:?} with {:.1} MiB", restarted.elapsed(), memory as f64 / f64::from(1 << 20));
    ensure!(memory <= MEMORY_BYTES_MAX, "recovery took {memory} bytes of memory");

    let sent_before = bytes_sent(&site)?;
    site.server.start()?;
    let began = Instant::now();
    let during = probe(&site, PROBES)?;
    let (left, took) = (waiting(&site)?, began.elapsed());
    println!("a live reading took {before:?} before, {during:?} beside a backlog of {left}");
    ensure!(
        during <= (before * 3).max(Duration::from_secs(1)),
        "live readings wait for the backlog: {during:?}"
    );
    ensure!(left > 0, "the backlog has drained faster than its pace of {pace} bytes a second, in {took:?}");
    let sent = bytes_sent(&site)? - sent_before;
    let allowed = (pace as f64 * (took.as_secs_f64() + 1.0)) as u64 + BURST_BYTES;
    ensure!(sent <= allowed, "{sent} bytes in {took:?} is faster than {pace} bytes a second");
    settle(site.agent.http(), site.server.http(), "gw-1", Duration::from_secs(300))?;
    println!("drained in {:?}", began.elapsed());
    compare(&site, base_ms, messages * PER_MESSAGE)?;
    let memory = site.agent.held_bytes_max()?;
    println!("and the agent has taken {:.1} MiB at most", memory as f64 / f64::from(1 << 20));
    ensure!(memory <= MEMORY_BYTES_MAX, "draining took {memory} bytes of memory");
    site.finish()
}

/// The backlog goes in; gives the time of its first reading.
fn fill(site: &Site, messages: u64) -> Result<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let base_ms = i64::try_from(now.as_secs())? * 1_000 - 2 * 86_400_000;
    let address = site.agent.mqtt_address();
    runtime()?.block_on(async {
        let mut devices = tokio::task::JoinSet::new();
        for first_device in (0..DEVICES).step_by(DEVICES_PER_CONNECTION as usize) {
            let mut publisher = Publisher::new(address, &format!("bus-{first_device}"));
            publisher.window = 4;
            let mut day = Day { base_ms, messages, first_device };
            devices.spawn(async move { publisher.run(&mut day).await });
        }
        while let Some(ended) = devices.join_next().await {
            ended??;
        }
        Ok(base_ms)
    })
}

/// How long live readings take from the device to a query: the slowest but one of [`PROBES`].
fn probe(site: &Site, first: i64) -> Result<Duration> {
    let mut durations = Vec::new();
    for n in first..first + PROBES {
        let began = Instant::now();
        let body = json!({ "n": n }).to_string();
        let answer = site.agent.http().post("/telemetry/live", "application/json", body.as_bytes())?;
        ensure!(answer.status < 300, "a live reading is refused: {answer:?}");
        until("a live reading", PATIENCE, || {
            let latest = site.server.http().json("/api/v1/devices/live/latest")?;
            Ok(holds(&latest, &json!(n)).then_some(()))
        })?;
        durations.push(began.elapsed());
    }
    durations.sort();
    durations.iter().rev().nth(1).copied().context("there are probes")
}

/// Whether a value stands somewhere in an answer.
fn holds(answer: &Value, wanted: &Value) -> bool {
    match answer {
        Value::Array(list) => list.iter().any(|entry| holds(entry, wanted)),
        Value::Object(map) => {
            map.get("value") == Some(wanted) || map.values().any(|entry| holds(entry, wanted))
        }
        _ => false,
    }
}

fn waiting(site: &Site) -> Result<u64> {
    Ok(of_agent(site.agent.http())?.lanes.iter().map(|lane| lane.buffered.count()).sum())
}

fn bytes_sent(site: &Site) -> Result<u64> {
    site.agent.http().json("/status")?["uplink"]["bytes_sent"].as_u64().context("uplink.bytes_sent")
}

/// Every device by its count, three of them reading by reading.
fn compare(site: &Site, base_ms: i64, seconds: u64) -> Result<()> {
    let server = site.server.http();
    let to = base_ms + 1_000 * seconds.cast_signed();
    for device in 0..DEVICES {
        let path = format!(
            "/api/v1/series?device=day-{device}&metric=v&from={base_ms}&to={to}&step=86400s&agg=count"
        );
        let counts = server.json(&path)?;
        let points = counts["points"].as_array().context("points")?;
        let count: f64 = points.iter().filter_map(|point| point[1].as_f64()).sum();
        ensure!(count == seconds as f64, "device {device} has {count} of {seconds} readings");
    }
    for device in [0, DEVICES / 2, DEVICES - 1] {
        let points = server.series(&format!("day-{device}"), "v")?;
        ensure!(points.len() as u64 == seconds, "device {device}: {} of {seconds}", points.len());
        for (second, (time, value)) in (0_u64..).zip(&points) {
            let right = *time == base_ms + 1_000 * second.cast_signed()
                && value.as_f64() == Some(Day::value(device, second));
            ensure!(right, "device {device}, second {second}: {value} at {time}");
        }
    }
    Ok(())
}
