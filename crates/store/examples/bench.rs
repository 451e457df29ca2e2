//! Measures the SQLite store: `cargo run --release -p fieldline-store --example bench [series] [seconds]`.
//!
//! The set is the random walk of the promised numbers: values in steps of 0.01, normal steps with σ = 10
//! units, one reading a second; its entropy is 0.671 bytes a point.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fieldline_model::{Class, DeviceId, GatewayId, Metric, StreamId, Timestamp};
use fieldline_store::{
    Aggregate, Buckets, ReceivedBlock, SeriesQuery, SqliteConfig, SqliteStore, TimeSeriesStore,
};
use fieldline_wire::{Block, Column, Limits, Values};

const NOON: i64 = 1_795_348_800_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// Blocks under way at once.
const AT_ONCE: usize = 16;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let series = numbers.next().unwrap_or(1_000);
    let seconds = numbers.next().unwrap_or(10_000);
    let walks: Vec<Vec<f64>> = (0..series).map(|number| walk(number as u64, seconds)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (name, wide, long) in [("50 series x 200 s", 50, 200), ("all series x 60 s", series, 60)] {
        let blocks = blocks(&walks, wide, long)?;
        runtime.block_on(measure(name, &blocks, series, seconds))?;
    }
    Ok(())
}

async fn measure(name: &str, blocks: &[Bytes], series: usize, seconds: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let points = (series * seconds) as f64;
    let store = Arc::new(open(folder.path())?);
    let (cpu, clock) = (cpu(), Instant::now());
    for block in blocks {
        std::hint::black_box(Block::decode(block, &Limits::default())?);
    }
    let decode = per_million(cpu, points);
    println!(
        "\n{name}: {} blocks of {} bytes in the mean",
        blocks.len(),
        total(blocks) / blocks.len().max(1)
    );
    println!("  decode       {decode:.3} CPU-s per million, {:.2} s", clock.elapsed().as_secs_f64());
    let (cpu, clock) = (self::cpu(), Instant::now());
    let mut running = tokio::task::JoinSet::new();
    for encoded in blocks {
        if running.len() >= AT_ONCE {
            running.join_next().await.transpose()?.transpose()?;
        }
        let block = Block::decode(encoded, &Limits::default())?;
        let received = ReceivedBlock { encoded: encoded.clone(), block, received: Timestamp::EPOCH };
        let store = Arc::clone(&store);
        running.spawn(async move { store.write(Arc::new(received)).await });
    }
    while running.join_next().await.transpose()?.transpose()?.is_some() {}
    let durable = clock.elapsed();
    store.flush().await?;
    let spent = per_million(cpu, points);
    println!(
        "  ingest       {spent:.3} CPU-s per million with decoding, {:.3} without; {:.1} M/s durable, {:.2} s with the flush",
        spent - decode,
        points / durable.as_secs_f64() / 1e6,
        clock.elapsed().as_secs_f64()
    );
    println!("  memory       {} MiB peak", peak_mib());
    println!("  {:?}", store.stats());
    store.close().await?;
    drop(store);
    let store = open(folder.path())?;
    sizes(folder.path(), points)?;
    queries(&store).await?;
    Ok(())
}

async fn queries(store: &SqliteStore) -> Result<(), Failure> {
    let one = SeriesQuery { limit: 100_000, ..SeriesQuery::one("device-7", "m7") };
    let hourly = Buckets { step_nanos: 3_600 * SECOND, aggregate: Aggregate::Mean };
    let all = SeriesQuery { buckets: Some(hourly), limit: 100_000, ..SeriesQuery::one("*", "*") };
    let minutes = Buckets { step_nanos: 60 * SECOND, aggregate: Aggregate::Max };
    let fine = SeriesQuery { buckets: Some(minutes), ..one.clone() };
    for (name, query) in [("one series", one), ("one by minute", fine), ("all by hour", all)] {
        let mut times: Vec<Duration> = Vec::new();
        let mut found = 0;
        for _ in 0..21 {
            let clock = Instant::now();
            found = store.series(&query).await?.series.iter().map(|series| series.points.len()).sum();
            times.push(clock.elapsed());
        }
        times.sort();
        let at = |place: usize| times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        println!("  {name:13} {:.3} ms median, {:.3} to {:.3}; {found} points", at(10), at(0), at(20));
    }
    Ok(())
}

fn open(folder: &Path) -> Result<SqliteStore, Failure> {
    Ok(SqliteStore::open(folder, SqliteConfig::default(), Timestamp::EPOCH)?)
}

fn sizes(folder: &Path, points: f64) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let bytes = entry.metadata()?.len();
        println!("  {:12} {bytes} bytes, {:.4} a point", entry.file_name().display(), bytes as f64 / points);
    }
    let file = rusqlite::Connection::open(folder.join("store.db"))?;
    let sum = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0));
    let mut tables =
        file.prepare("SELECT name, count(*), sum(pgsize), sum(unused) FROM dbstat GROUP BY name")?;
    let mut rows = tables.query([])?;
    while let Some(row) = rows.next()? {
        let (name, pages, bytes, unused): (String, i64, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        println!("    {name:10} {pages} pages, {:.4} bytes a point, {unused} unused", bytes as f64 / points);
    }
    let packed = sum("SELECT sum(length(bytes)) FROM pack")? as f64 / points;
    let summaries = sum("SELECT sum(length(summary)) FROM chunk")? as f64 / points;
    println!(
        "  chunks       {} with {packed:.4} bytes a point, summaries {summaries:.4}; {} free pages",
        sum("SELECT count(*) FROM chunk")?,
        sum("PRAGMA freelist_count")?
    );
    Ok(())
}

fn blocks(walks: &[Vec<f64>], wide: usize, long: usize) -> Result<Vec<Bytes>, Failure> {
    let mut next = vec![1u64; walks.len().div_ceil(wide)];
    let mut blocks = Vec::new();
    let seconds = walks.first().map_or(0, Vec::len);
    for start in (0..seconds).step_by(long) {
        for (gateway, (group, next)) in walks.chunks(wide).zip(&mut next).enumerate() {
            let mut columns = Vec::new();
            for (at, walk) in group.iter().enumerate() {
                let number = gateway * wide + at;
                let values: Vec<f64> = walk.iter().skip(start).take(long).copied().collect();
                let end = start + values.len();
                columns.push(Column {
                    device: DeviceId::new(&format!("device-{number}"))?,
                    metric: Metric::new(&format!("m{number}"))?,
                    times: (start..end).map(|second| NOON + second as i64 * SECOND).collect(),
                    values: Values::Float(values),
                    qualities: Vec::new(),
                });
            }
            let count: u64 = columns.iter().map(|column| column.times.len() as u64).sum();
            let stream = StreamId { gateway: GatewayId::new(&format!("gw-{gateway}"))?, epoch: 1 };
            let (first_seq, last_seq) = (*next, *next + count - 1);
            *next += count;
            let block = Block { stream, class: Class::Live, first_seq, last_seq, columns, order: Vec::new() };
            blocks.push(Bytes::from(block.encode()));
        }
    }
    Ok(blocks)
}

fn walk(seed: u64, seconds: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x5851_F42D_4C95_7F2D) + 1;
    let mut uniform = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut units = 2_000i64;
    (0..seconds)
        .map(|_| {
            let normal =
                (-2.0 * uniform().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
            units += (normal * 10.0).round() as i64;
            units as f64 / 100.0
        })
        .collect()
}

fn total(blocks: &[Bytes]) -> usize {
    blocks.iter().map(Bytes::len).sum()
}

/// CPU seconds of this process so far, from `/proc` (100 ticks a second).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn per_million(since: f64, points: f64) -> f64 {
    (cpu() - since) / points * 1e6
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
