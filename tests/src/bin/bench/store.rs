//! The server fed with blocks: processor time, size on disk, and how fast it answers.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use fieldline_model::{
    Class, DeviceId, GatewayId, Metric, Quality, Reading, RuleTopic, StreamId, Timestamp, Value,
};
use fieldline_tests::memory::processor_time;
use fieldline_tests::{Site, publisher};
use fieldline_wire::BlockBuilder;

use crate::figure::Figure;
use crate::query;
use crate::walk::{BASE_S, SERIES, Walk};

/// 10 M points: 1,000 series of 10,000 seconds.
pub(crate) const SECONDS: usize = 10_000;
/// How many seconds a block covers: 50,000 readings.
const SECONDS_PER_BLOCK: usize = 50;

/// Ingest, size and queries of the random-walk set.
pub(crate) fn store(runs: u32) -> Result<Vec<Figure>> {
    let blocks = blocks()?;
    let (mut ingest, mut sizes) = (Vec::new(), Vec::new());
    let mut answers = query::Answers::default();
    for _ in 0..runs {
        let mut site = Site::prepare()?;
        site.server.start()?;
        let id = site.server.process()?.id();
        let before = processor_time(id)?;
        publisher::publish(site.server.mqtt_address(), "bench", &blocks)?;
        let millions = (SERIES * SECONDS) as f64 / 1e6;
        ingest.push((processor_time(id)? - before).as_secs_f64() / millions);
        answers.measure(site.server.http_address())?;
        site.server.stop()?;
        sizes.push(folder_bytes(site.server.data())? as f64 / (millions * 1e6));
        site.finish()?;
    }
    let mut figures = vec![
        Figure::new("store, blocks durable before the ack", "CPU s/M", Some(0.20), ingest),
        Figure::new("store, random-walk set on disk after a stop", "B/point", Some(0.75), sizes),
    ];
    figures.extend(answers.figures());
    Ok(figures)
}

/// The set as a gateway would send it.
fn blocks() -> Result<Vec<(String, Bytes)>> {
    let gateway = GatewayId::new("bench")?;
    let stream = StreamId { gateway: gateway.clone(), epoch: 77 };
    let topic = RuleTopic::Ingest(gateway).to_string();
    let devices: Vec<_> =
        (0..SERIES).map(|n| DeviceId::new(&format!("walk-{n}"))).collect::<Result<_, _>>()?;
    let metric = Metric::new("v")?;
    let mut walk = Walk::new(1);
    let mut first_seq = 1;
    let mut blocks = Vec::new();
    for block in 0..SECONDS / SECONDS_PER_BLOCK {
        let mut builder = BlockBuilder::new(stream.clone(), Class::Live, first_seq);
        for second in 0..SECONDS_PER_BLOCK {
            let time_s = BASE_S + (block * SECONDS_PER_BLOCK + second) as i64;
            let time = Timestamp::from_millis(time_s * 1_000)?;
            for (device, value) in devices.iter().zip(walk.step()) {
                let (device, metric, value) = (device.clone(), metric.clone(), Value::Float(value));
                builder.push(Reading { device, metric, time, value, quality: Quality::Good }.as_ref());
            }
        }
        first_seq += builder.count();
        let block = builder.finish().context("a block is not empty")?;
        blocks.push((topic.clone(), Bytes::from(block.encode())));
    }
    Ok(blocks)
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
