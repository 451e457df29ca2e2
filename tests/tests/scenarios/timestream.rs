//! The store in Timestream, against a strict stand-in and, for the wire format, against moto.

mod endpoints;
mod failures;
mod moto;
mod names;
mod reading;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use fieldline_aws::{Aws, Timestream, TimestreamConfig};
use fieldline_model::{Class, DeviceId, GatewayId, Metric, Quality, StreamId, Timestamp, Value};
use fieldline_store::{
    MemoryStore, PlacedBlock, PlacingStore, Point, PointStore, ReceivedBlock, SeriesQuery, SetAside, contract,
};
use fieldline_tests::timestream::{Options, Retention, Stub};
use fieldline_wire::{Block, Column, Values};

/// Noon of a day, around which the contract's readings lie.
const NOON: i64 = 1_795_348_800_000_000_000;
const HOUR: i64 = 3_600_000_000_000;
const DATABASE: &str = "fieldline";
/// What an attempt at a call may take.
const ATTEMPT: Duration = Duration::from_secs(10);

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}

/// The evening of that day.
fn options() -> Options {
    Options { clock: Arc::new(|| NOON + 8 * HOUR), ..Options::default() }
}

fn stub() -> Result<Stub> {
    Stub::start(options())
}

async fn connect(url: &str, table: &str) -> Result<Timestream> {
    let aws = Aws::emulator(url, ATTEMPT).await;
    let config = TimestreamConfig { database: DATABASE.to_owned(), table: table.to_owned() };
    Timestream::connect(&aws, config).await.context("cannot connect")
}

async fn points(url: &str) -> Result<Timestream> {
    connect(url, "readings").await
}

type Store = PlacingStore<Timestream, MemoryStore>;

fn store(points: Timestream) -> Store {
    // Goes on by a second each time it is asked.
    let now = AtomicI64::new(1_800_000_000_000_000_000);
    PlacingStore::new(points, MemoryStore::new(), move || {
        Timestamp::from_nanos(now.fetch_add(1_000_000_000, Ordering::Relaxed))
    })
}

fn column(device: &str, metric: &str, times: &[i64], values: Values) -> Column {
    Column {
        device: DeviceId::new(device).expect("a good name"),
        metric: Metric::new(metric).expect("a good name"),
        times: times.to_vec(),
        values,
        qualities: Vec::new(),
    }
}

fn block(columns: Vec<Column>) -> Block {
    let count: usize = columns.iter().map(|column| column.times.len()).sum();
    let stream = StreamId { gateway: GatewayId::new("gw").expect("a good name"), epoch: 7 };
    Block {
        stream,
        class: Class::Live,
        first_seq: 101,
        last_seq: 100 + count as u64,
        columns,
        order: Vec::new(),
    }
}

fn placed(block: Block, place: u64) -> PlacedBlock {
    let received = Arc::new(ReceivedBlock::new(block, Timestamp::from_nanos(NOON + 8 * HOUR)));
    PlacedBlock { received, place, newest: true }
}

async fn put(points: &Timestream, columns: Vec<Column>, place: u64) -> Result<Vec<SetAside>> {
    Ok(points.put(&placed(block(columns), place)).await?)
}

/// All points of one series.
async fn series(points: &Timestream, device: &str, metric: &str) -> Result<Vec<Point>> {
    let page = PointStore::series(points, &SeriesQuery::one(device, metric)).await?;
    Ok(page.series.into_iter().next().map(|series| series.points).unwrap_or_default())
}

/// The same, each as text: a NaN is not equal to itself.
async fn texts(points: &Timestream, device: &str, metric: &str) -> Result<Vec<String>> {
    let points = series(points, device, metric).await?;
    Ok(points.iter().map(|point| format!("{:?} {:?}", point.value, point.quality)).collect())
}

fn float(value: f64) -> Value {
    Value::Float(value)
}

#[test]
fn the_contract_holds() -> Result<()> {
    let tables = (0..100).map(|number| (DATABASE.to_owned(), format!("table-{number:02}"))).collect();
    // Small pages: every answer of some length has several.
    let stub = Stub::start(Options { tables, page_rows_max: 61, ..options() })?;
    let (url, next) = (stub.url(), AtomicUsize::new(0));
    run(async {
        let fresh = async || {
            let table = format!("table-{:02}", next.fetch_add(1, Ordering::Relaxed));
            store(connect(&url, &table).await.expect("the stand-in is there"))
        };
        contract::run(fresh, async |_| {}).await;
        Ok(())
    })?;
    println!("{:?}", stub.counts());
    Ok(())
}

#[test]
fn calls_and_bytes_of_a_block_of_30_000_readings() -> Result<()> {
    for metrics in [1_usize, 5, 20] {
        let stub = stub()?;
        let rows = 30_000 / metrics / 10;
        let times: Vec<i64> = (0..rows as i64).map(|at| NOON + at * 1_000_000_000).collect();
        let mut columns = Vec::new();
        for device in 0..10 {
            for metric in 0..metrics {
                let values =
                    times.iter().map(|time| 20.0 + (time / 7_000_000_000 % 97) as f64 / 8.0).collect();
                let (device, metric) = (format!("press-{device:02}"), format!("temperature_{metric:02}"));
                columns.push(column(&device, &metric, &times, Values::Float(values)));
            }
        }
        run(async {
            let points = points(&stub.url()).await?;
            let began = std::time::Instant::now();
            assert_eq!(put(&points, columns, 1).await?, []);
            let counts = stub.counts();
            println!(
                "{metrics} metrics at a time: {} calls, {} records, {} body bytes and {:.1} billed bytes a reading, {:?} in all",
                counts.writes,
                counts.records,
                counts.bytes / 30_000,
                counts.kibibytes_billed as f64 * 1024.0 / 30_000.0,
                began.elapsed(),
            );
            assert_eq!(counts.records, 30_000 / metrics as u64);
            // A device's last call may have less than 100, the next device is in it, too.
            assert_eq!(counts.writes, counts.records.div_ceil(100));
            Ok(())
        })?;
    }
    Ok(())
}

fn good(value: Value) -> String {
    format!("{value:?} {:?}", Quality::Good)
}

fn retention(memory_hours: i64, magnetic_days: i64, magnetic_writes: bool) -> Retention {
    Retention { memory_hours, magnetic_days, magnetic_writes }
}
