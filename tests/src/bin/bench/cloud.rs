//! The functions as Lambda runs them: start, memory, size, and what a block costs with each store.

mod feed;
mod price;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fieldline_tests::cloud::{Ending, Faults, Life, Stack, StoreKind, Volume};
use fieldline_tests::memory::{processor_time, proportional_bytes};
use fieldline_tests::programs;
use fieldline_tests::wait::until;

use crate::figure::Figure;
use feed::{BlockSize, Feed};
use price::{Bill, Memory};

const PATIENCE: Duration = Duration::from_secs(30);
/// Blocks that a figure is the mean of.
const BLOCKS: u32 = 10;

/// The stores, and what a billion readings may cost with each.
const STORES: [(StoreKind, &str, Option<f64>); 3] = [
    (StoreKind::Timestream, "Timestream", Some(20.0)),
    (StoreKind::S3, "S3", Some(0.15)),
    // A server that is paid by the hour, whatever is written to it.
    (StoreKind::InfluxDb, "InfluxDB", None),
];

/// Everything.
pub(crate) fn cloud(runs: u32) -> Result<Vec<Figure>> {
    let mut figures = functions(runs)?;
    for (store, name, target) in STORES {
        figures.extend(costs(runs, store, name, target)?);
    }
    figures.push(Figure::new(
        "JSON message per reading, Timestream",
        "$/billion",
        None,
        vec![price::naive()],
    ));
    Ok(figures)
}

/// Start, memory and size of each function's binary.
fn functions(runs: u32) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    // With this store all functions are there.
    let stack = Stack::start(folder.path(), StoreKind::S3, Ok)?.context("a tool is missing")?;
    let mut figures = Vec::new();
    for name in programs::FUNCTIONS {
        let (mut starts, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let before = stack.host.life(name).map(|life| life.process);
            stack.host.kill(name);
            let (life, start) = until("the function's start", PATIENCE, || {
                let life = stack.host.life(name).filter(|life| Some(life.process) != before);
                Ok(life.and_then(|life| Some((life, life.initialised?))))
            })?;
            starts.push(start.as_secs_f64() * 1e3);
            memory.push(proportional_bytes(life.process)? as f64 / 1048576.0);
        }
        figures.push(Figure::new(&format!("{name}, start to first poll"), "ms", None, starts));
        figures.push(Figure::new(&format!("{name}, memory after its start"), "MiB", None, memory));
        let size = zipped_bytes(programs::function(name)?)? as f64 / 1048576.0;
        figures.push(Figure::new(&format!("{name}, zipped"), "MiB", None, vec![size]));
    }
    stack.finish()?;
    Ok(figures)
}

/// As a deployment package: by DEFLATE.
fn zipped_bytes(program: &Path) -> Result<usize> {
    let output = Command::new("gzip").args(["-9", "-c"]).arg(program).output()?;
    ensure!(output.status.success(), "gzip ended with {}", output.status);
    Ok(output.stdout.len())
}

/// What blocks cost with one store: processor time of `storage`, calls, bytes, dollars.
fn costs(runs: u32, store: StoreKind, name: &str, target: Option<f64>) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut proxies: Vec<Faults> = Vec::new();
    let stack = Stack::start(folder.path(), store, |service| {
        let proxy = Faults::start(service, 0)?;
        let address = proxy.address();
        proxies.push(proxy);
        Ok(address)
    })?;
    let stack = stack.context("a tool is missing")?;
    // What `ingest` publishes would be counted twice.
    stack.deliver_nothing();
    let mut figures = Vec::new();
    for size in [BlockSize::Live, BlockSize::Usual, BlockSize::Full] {
        let mut feed = Feed::new(size);
        // What is done once for a process or a stream is not a block's.
        invoke(&stack, "ingest", feed.rule_event()?)?;
        invoke(&stack, "storage", feed.queue_event()?)?;
        let (mut processor, mut dollars, mut shown) = (Vec::new(), Vec::new(), String::new());
        for _ in 0..runs {
            let (before, billed) = (traffic(&proxies), stack.timestream_billed());
            let (mut bill, mut ms) = (Bill::default(), 0.0);
            for _ in 0..BLOCKS {
                feed.next_block()?;
                let ingest = timed(&stack, "ingest", feed.rule_event()?)?;
                let storage = timed(&stack, "storage", feed.queue_event()?)?;
                ms += storage.as_secs_f64() * 1e3;
                bill.block(feed.block_bytes());
                bill.invocation(Memory::Ingest, ingest);
                bill.invocation(Memory::Storage, storage);
            }
            let calls = difference(&before, &traffic(&proxies));
            bill.calls(&calls);
            bill.timestream(stack.timestream_billed() - billed);
            let millions = feed.readings() as f64 * f64::from(BLOCKS) / 1e6;
            processor.push(ms / f64::from(BLOCKS));
            dollars.push(bill.dollars() / millions * 1e3);
            shown = show(&calls, millions);
        }
        let what = format!("{name}, block of {} readings", feed.readings());
        eprintln!("{what}, per million readings: {shown}");
        figures.push(Figure::new(&format!("{what}, storage"), "CPU ms", None, processor));
        let target = target.filter(|_| size == BlockSize::Full);
        figures.push(Figure::new(&what, "$/billion", target, dollars));
    }
    stack.finish()?;
    Ok(figures)
}

fn invoke(stack: &Stack, name: &str, event: String) -> Result<()> {
    match stack.host.invoke(name, event)? {
        Ending::Answer(answer) => {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let refused = answer.contains("itemIdentifier") || answer.contains("quarantined");
            ensure!(!refused, "{name} did not take it: {answer}");
            Ok(())
        }
        Ending::Failure(error) => anyhow::bail!("{name}: {}", String::from_utf8_lossy(&error)),
    }
}

/// Processor time of one invocation.
fn timed(stack: &Stack, name: &str, event: String) -> Result<Duration> {
    let process = |life: Life| life.process;
    let id = stack.host.life(name).map(process).context("the function does not run")?;
    let before = processor_time(id)?;
    invoke(stack, name, event)?;
    Ok(processor_time(id)? - before)
}

type Calls = BTreeMap<String, Volume>;

fn traffic(proxies: &[Faults]) -> Calls {
    let mut all = Calls::new();
    for (name, volume) in proxies.iter().flat_map(Faults::traffic) {
        let sum = all.entry(name).or_default();
        sum.calls += volume.calls;
        sum.bytes += volume.bytes;
    }
    all
}

fn difference(before: &Calls, after: &Calls) -> Calls {
    let less = |(name, volume): (&String, &Volume)| {
        let before = before.get(name).copied().unwrap_or_default();
        let rest = Volume { calls: volume.calls - before.calls, bytes: volume.bytes - before.bytes };
        (rest.calls > 0).then(|| (name.clone(), rest))
    };
    after.iter().filter_map(less).collect()
}

fn show(calls: &Calls, millions: f64) -> String {
    let each = calls.iter().map(|(name, volume)| {
        let (calls, bytes) = (volume.calls as f64 / millions, volume.bytes as f64 / millions / 1e6);
        format!("{calls:.0} × {name} ({bytes:.2} MB)")
    });
    each.collect::<Vec<_>>().join(", ")
}
