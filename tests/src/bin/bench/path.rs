//! From a device to the store: processor time and bytes.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use fieldline_tests::ledger::settle;
use fieldline_tests::memory::processor_time;
use fieldline_tests::{Site, site::Agent};

use crate::figure::Figure;
use crate::load::publish;
use crate::walk::{BASE_S, Walk};

const PATIENCE: Duration = Duration::from_secs(300);

/// Without the pace that protects a cloud account, so that a run takes seconds; it costs nothing.
pub(crate) fn unpaced(agent: &mut Agent) {
    agent.set("sync.bytes_per_second", "\"1GiB\"");
    agent.set("sync.messages_per_second", "100000");
    agent.set("journal.bytes_max", "\"8GiB\"");
}

/// JSON arrays of 100 readings, four connections with 20 in flight.
pub(crate) fn batched(runs: u32) -> Result<Vec<Figure>> {
    let messages: Vec<_> = (0..10_000).map(|number| array(number % 50, number / 50, 100)).collect();
    let (agent, server) = measure(runs, 4, 20, &messages, 1_000_000)?;
    Ok(vec![
        Figure::new("agent, batched MQTT QoS 1 to delivery", "CPU s/M", Some(1.0), agent),
        Figure::new("server, the same readings stored", "CPU s/M", None, server),
    ])
}

/// One reading a message, 200 devices with one message in flight each.
pub(crate) fn single(runs: u32) -> Result<Vec<Figure>> {
    let messages: Vec<_> = (0..100_000).map(|number| array(number % 200, number / 200, 1)).collect();
    let (agent, server) = measure(runs, 200, 1, &messages, 100_000)?;
    Ok(vec![
        Figure::new("agent, 200 devices with one message in flight", "CPU s/M", Some(9.0), agent),
        Figure::new("server, the same readings stored", "CPU s/M", None, server),
    ])
}

/// Message `turn` of a device: `count` readings, one a second.
fn array(device: i64, turn: i64, count: i64) -> (String, Bytes) {
    let object = |n: i64| {
        let second = turn * count + n;
        let value = (f64::from(u32::try_from(second % 1_000).unwrap_or(0)) * 0.1 * 10.0).round() / 10.0;
        format!("{{\"temperature\":{value:?},\"ts\":{}}}", (BASE_S + second) * 1_000)
    };
    let payload = match count {
        1 => object(0),
        _ => format!("[{}]", (0..count).map(object).collect::<Vec<_>>().join(",")),
    };
    (format!("telemetry/bench-{device}"), Bytes::from(payload))
}

fn measure(
    runs: u32,
    connections: usize,
    window: usize,
    messages: &[(String, Bytes)],
    readings: u64,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut agent, mut server) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut site = Site::prepare()?;
        unpaced(&mut site.agent);
        site.server.start()?;
        site.agent.start()?;
        let ids = [site.agent.process()?.id(), site.server.process()?.id()];
        let before = [processor_time(ids[0])?, processor_time(ids[1])?];
        publish(site.agent.mqtt_address(), connections, window, messages)?;
        settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
        let millions = readings as f64 / 1e6;
        agent.push((processor_time(ids[0])? - before[0]).as_secs_f64() / millions);
        server.push((processor_time(ids[1])? - before[1]).as_secs_f64() / millions);
        site.finish()?;
    }
    Ok((agent, server))
}

/// Bytes on the uplink of the random-walk set, when a backlog of 60 readings a series and more waits.
pub(crate) fn uplink(runs: u32) -> Result<Vec<Figure>> {
    let mut values = Vec::new();
    for run in 0..runs {
        let mut site = Site::prepare()?;
        unpaced(&mut site.agent);
        site.agent.start()?;
        publish(site.agent.mqtt_address(), 4, 20, &walk_messages(u64::from(run), 600))?;
        site.server.start()?;
        settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
        let uplink = site.agent.http().json("/status")?["uplink"].clone();
        let bytes = uplink["bytes_sent"].as_f64().context("uplink.bytes_sent")?;
        values.push(bytes / uplink["readings_sent"].as_f64().context("uplink.readings_sent")?);
        site.finish()?;
    }
    Ok(vec![Figure::new("uplink, random-walk set from a backlog", "B/reading", Some(0.75), values)])
}

/// The set as ten gateways' worth of devices would send it: every minute a message of each device
/// with 100 metrics and 60 seconds.
fn walk_messages(seed: u64, seconds: i64) -> Vec<(String, Bytes)> {
    let mut walk = Walk::new(seed);
    let mut messages = Vec::new();
    for minute in 0..seconds / 60 {
        let rows: Vec<Vec<f64>> = (0..60).map(|_| walk.step()).collect();
        for device in 0..10 {
            for (part, rows) in rows.chunks(10).enumerate() {
                let objects: Vec<String> = rows
                    .iter()
                    .enumerate()
                    .map(|(row, values)| {
                        let second = minute * 60 + (part * 10 + row) as i64;
                        let fields = values.iter().skip(device * 100).take(100).enumerate();
                        let fields: String =
                            fields.map(|(n, value)| format!("\"m{n}\":{value:?},")).collect();
                        format!("{{{fields}\"ts\":{}}}", (BASE_S + second) * 1_000)
                    })
                    .collect();
                let payload = format!("[{}]", objects.join(","));
                messages.push((format!("telemetry/walk-{device}"), Bytes::from(payload)));
            }
        }
    }
    messages
}
