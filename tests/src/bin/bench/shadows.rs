//! Device shadows: durable updates, how far a change is heard, and what many of them take.

mod device;
mod disk;
mod fanout;
mod many;
mod rest;

use std::time::Duration;

use anyhow::{Context, Result};
use fieldline_tests::memory::processor_time;
use fieldline_tests::{Site, moto};

use crate::figure::Figure;
use device::Load;

/// Updates of one thing; AWS IoT allows ten under way.
const ONE: Load = Load { things: 1, connections: 1, updates: 5_000, window: 10 };
/// A connection for each of 1,000 things, one update under way on each.
const EACH: Load = Load { things: 1_000, connections: 1_000, updates: 20, window: 1 };
/// The same things behind 100 connections.
const SHARED: Load = Load { things: 1_000, connections: 100, updates: 200, window: 10 };
/// Subscribers that hear a change.
const LISTENERS: [usize; 2] = [100, 1_000];

/// Values of all runs, by name.
#[derive(Debug, Default)]
struct Values(Vec<(String, &'static str, Vec<f64>)>);

impl Values {
    fn add(&mut self, name: &str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| known == name) {
            Some((.., values)) => values.push(value),
            None => self.0.push((name.to_owned(), unit, vec![value])),
        }
    }
}

/// Everything; the disk and moto are measured in the same run, to compare with.
pub(crate) fn shadows(runs: u32) -> Result<Vec<Figure>> {
    let mut values = Values::default();
    for _ in 0..runs {
        let mut site = Site::prepare()?;
        let syncs = disk::syncs_per_second(site.folder())?;
        values.add("disk, write of 4 KiB and fdatasync", "1/s", syncs);
        site.server.start()?;
        for (name, load) in [
            ("one thing, 10 under way", ONE),
            ("1,000 things, a connection each", EACH),
            ("1,000 things behind 100 connections", SHARED),
        ] {
            let server = site.server.process()?.id();
            let before = processor_time(server)?;
            let measured = device::run(site.server.mqtt_address(), load)?;
            let processor = processor_time(server)? - before;
            let updates = measured.rate();
            values.add(&format!("shadows, {name}"), "updates/s", updates);
            values.add(&format!("shadows, {name}, per fdatasync/s"), "ratio", updates / syncs);
            values.add(&format!("shadows, {name}, median"), "ms", measured.percentile_ms(50));
            values.add(&format!("shadows, {name}, p99"), "ms", measured.percentile_ms(99));
            values.add(&format!("shadows, {name}, server"), "CPU µs", micros(processor, measured.count()));
        }
        for listeners in LISTENERS {
            let last = fanout::last_ms(&site.server, listeners)?;
            values.add(&format!("shadows, delta by HTTP to the last of {listeners}"), "ms", last);
        }
        let ours = rest::updates_per_second(site.server.http_address(), &[])?;
        values.add("shadows, by HTTP, 8 clients, a connection each time", "updates/s", ours);
        site.server.stop()?;
        beside_moto(&mut values, ours)?;
        site.finish()?;
        many::measure(&mut values)?;
    }
    Ok(values.0.into_iter().map(|(name, unit, values)| Figure::new(&name, unit, None, values)).collect())
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// The emulator that others test against; it keeps shadows in memory.
fn beside_moto(values: &mut Values, ours: f64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    for client in 0..rest::CLIENTS {
        moto.create_thing(&rest::thing(client)).context("a thing of moto's")?;
    }
    let scope = fieldline_tests::emulator::scope("iotdata");
    let theirs = rest::updates_per_second(moto.address(), &[&scope])?;
    values.add("moto, the same, in memory", "updates/s", theirs);
    values.add("shadows by HTTP, times moto's", "ratio", ours / theirs);
    Ok(())
}
