//! What 10,000 things with shadows take.

use std::time::Instant;

use anyhow::Result;
use fieldline_tests::Site;
use fieldline_tests::memory::proportional_bytes;

use super::Values;
use super::device::{self, Load};

/// Each thing is updated once, over 500 connections.
const THINGS: usize = 10_000;
const ONCE: Load = Load { things: THINGS, connections: 500, updates: THINGS / 500, window: 5 };
const MEBIBYTE: f64 = 1_048_576.0;

/// Memory and start, without things and with them.
pub(crate) fn measure(values: &mut Values) -> Result<()> {
    let mut site = Site::prepare()?;
    let (empty, start_empty) = start(&mut site)?;
    device::run(site.server.mqtt_address(), ONCE)?;
    let written = proportional_bytes(site.server.process()?.id())? as f64;
    site.server.stop()?;
    let (full, start_full) = start(&mut site)?;
    site.finish()?;
    values.add("server without things, memory (PSS)", "MiB", empty / MEBIBYTE);
    values.add("server that has made 10,000 shadows, memory (PSS)", "MiB", written / MEBIBYTE);
    values.add("server started with 10,000 shadows, memory (PSS)", "MiB", full / MEBIBYTE);
    values.add("memory of one thing of 10,000, made", "B", (written - empty) / THINGS as f64);
    values.add("memory of one thing of 10,000, after a start", "B", (full - empty) / THINGS as f64);
    values.add("server without things, from start to ready", "ms", start_empty);
    values.add("server with 10,000 shadows, from start to ready", "ms", start_full);
    Ok(())
}

/// Memory in bytes when the server is ready, and how long that took in milliseconds.
fn start(site: &mut Site) -> Result<(f64, f64)> {
    let began = Instant::now();
    site.server.start()?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    Ok((proportional_bytes(site.server.process()?.id())? as f64, ms))
}
