//! What the agent takes when little happens, and when much waits.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use fieldline_tests::{Site, machine, memory};

use crate::figure::Figure;
use crate::load::publish;
use crate::path::unpaced;
use crate::walk::BASE_S;

const MEBIBYTE: f64 = 1_048_576.0;

/// Start and memory without load.
pub(crate) fn idle(runs: u32) -> Result<Vec<Figure>> {
    let (mut starts, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut site = Site::prepare()?;
        site.server.start()?;
        let began = Instant::now();
        site.agent.start()?;
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        // One reading has gone the whole way, so that what is allocated lazily is counted.
        fieldline_tests::oracle::fresh_reading_passes(site.agent.http(), site.server.http())?;
        sizes.push(memory::proportional_bytes(site.agent.process()?.id())? as f64 / MEBIBYTE);
        site.finish()?;
    }
    Ok(vec![
        Figure::new("agent, from start to ready", "ms", Some(100.0), starts),
        Figure::new("agent, idle memory (PSS)", "MiB", Some(7.0), sizes),
    ])
}

/// The most memory while 10 M readings pile up; once, as it takes its time.
pub(crate) fn backlog(_: u32) -> Result<Vec<Figure>> {
    let readings = i64::try_from(machine::size("FIELDLINE_BACKLOG", 10_000_000))?;
    let mut site = Site::prepare()?;
    unpaced(&mut site.agent);
    site.agent.start()?;
    // In parts, so that the messages themselves do not fill the memory.
    for part in 0..readings / 1_000_000 {
        let message = |number: i64| {
            let object = |n: i64| {
                format!(
                    "{{\"v\":{}.5,\"ts\":{}}}",
                    n % 40,
                    (BASE_S + part * 100_000 + number / 10 * 1_000 + n) * 1_000
                )
            };
            let payload = (0..1_000).map(object).collect::<Vec<_>>().join(",");
            (format!("telemetry/pile-{}", number % 10), Bytes::from(format!("[{payload}]")))
        };
        publish(site.agent.mqtt_address(), 4, 5, &(0..1_000).map(message).collect::<Vec<_>>())?;
    }
    let most = site.agent.memory_bytes_max()? as f64 / MEBIBYTE;
    site.finish()?;
    let name = format!("agent, most memory with {readings} readings waiting");
    Ok(vec![Figure::new(&name, "MiB", Some(24.0), vec![most])])
}
