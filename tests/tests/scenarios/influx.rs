//! The store on InfluxDB's line protocol, against a real InfluxDB 1.6 and a real VictoriaMetrics.

mod beside;
mod failing;
mod many;
mod refusals;
mod throughput;
mod victoria;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use fieldline_model::{Class, DeviceId, GatewayId, Metric, Quality, StreamId, Timestamp, Value};
use fieldline_store::{
    InfluxConfig, InfluxDialect, InfluxPoints, MemoryStore, PlacedBlock, PlacingStore, PointStore,
    ReceivedBlock, SeriesQuery, SetAside, StoreError, contract,
};
use fieldline_tests::influxdb::{InfluxDb, Options};
use fieldline_tests::machine;
use fieldline_tests::publisher::runtime;
use fieldline_wire::{Block, Column, Values};

/// The database of tests that need only one.
const PLANT: &str = "plant";
const DEVICE: &str = "press-4";
/// Some time in 2026.
const NOON: i64 = 1_795_348_800_000_000_000;

fn clock() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// Settings with pauses that suit a test.
fn config(url: &str, database: &str) -> InfluxConfig {
    InfluxConfig {
        request_timeout: Duration::from_secs(5),
        backoff_first: Duration::from_millis(5),
        ..InfluxConfig::new(InfluxDialect::V1, url, database)
    }
}

/// A server with the database [`PLANT`], and an adapter for it.
fn plant(folder: &std::path::Path, options: &Options) -> Result<Option<(InfluxDb, InfluxPoints)>> {
    let Some(server) = InfluxDb::start(folder, options)? else { return Ok(None) };
    server.create_database(PLANT)?;
    let points = InfluxPoints::new(config(&server.url(), PLANT))?;
    Ok(Some((server, points)))
}

fn column(metric: &str, times: &[i64], values: Values) -> Result<Column> {
    let (device, metric) = (DeviceId::new(DEVICE)?, Metric::new(metric)?);
    Ok(Column { device, metric, times: times.to_vec(), values, qualities: vec![] })
}

fn block(columns: Vec<Column>) -> Result<Block> {
    let count: usize = columns.iter().map(|column| column.values.len()).sum();
    let stream = StreamId { gateway: GatewayId::new("gw-1")?, epoch: 7 };
    Ok(Block { stream, class: Class::Live, first_seq: 1, last_seq: count as u64, columns, order: Vec::new() })
}

async fn put(
    points: &InfluxPoints,
    columns: Vec<Column>,
    (place, newest): (u64, bool),
) -> Result<Vec<SetAside>, StoreError> {
    let received = Arc::new(ReceivedBlock::new(block(columns).expect("good names"), clock()));
    points.put(&PlacedBlock { received, place, newest }).await
}

/// All points of a metric, as time, value and quality.
async fn read(points: &InfluxPoints, metric: &str) -> Result<Vec<(i64, Value, Quality)>> {
    let query = SeriesQuery { limit: 1_000_000, ..SeriesQuery::one(DEVICE, metric) };
    let page = points.series(&query).await?;
    ensure!(page.next.is_none(), "the page is cut");
    let found = page.series.into_iter().flat_map(|series| series.points);
    Ok(found.map(|point| (point.time.nanos(), point.value, point.quality)).collect())
}

/// The error and what lies behind it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

#[test]
fn the_contract_holds_on_a_real_influxdb() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(server) = InfluxDb::start(folder.path(), &Options::default())? else { return Ok(()) };
    let number = AtomicU64::new(0);
    let fresh = async || {
        let name = format!("contract_{}", number.fetch_add(1, Ordering::Relaxed));
        server.create_database(&name).expect("a database can be made");
        let points = InfluxPoints::new(config(&server.url(), &name)).expect("the settings are good");
        PlacingStore::new(points, MemoryStore::new(), clock)
    };
    runtime()?.block_on(contract::run(fresh, async |_: &mut _| {}));
    Ok(())
}

#[test]
fn every_value_comes_back_bit_for_bit() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((_server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let floats =
        [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, f64::MIN, 1.0 / 3.0];
    let integers = [i64::MIN, i64::MAX, (1 << 53) + 1, -1, 0];
    let texts =
        ["", "a\"b'c", "line\nline", "back\\slash\\", "\\n", "ü ⚠ 😀", "a,b=c d", "\\\"", "tab\tcr\r", "$1"];
    runtime()?.block_on(async {
        let at = |count: usize| (0..count as i64).map(|step| NOON + step).collect::<Vec<_>>();
        let mut of_floats = column("f", &at(floats.len()), Values::Float(floats.to_vec()))?;
        of_floats.qualities = [Quality::Good, Quality::Bad, Quality::Uncertain].repeat(3);
        let columns = vec![
            of_floats.clone(),
            column("i", &at(integers.len()), Values::Integer(integers.to_vec()))?,
            column("b", &at(2), Values::Boolean(vec![true, false]))?,
            column("t", &at(texts.len()), Values::Text(texts.map(str::to_owned).to_vec()))?,
        ];
        ensure!(put(&points, columns, (1, true)).await?.is_empty(), "nothing is set aside");
        let found = read(&points, "f").await?;
        for (at, (time, value, quality)) in found.iter().enumerate() {
            let Value::Float(value) = value else { anyhow::bail!("{value:?} is no float") };
            ensure!(value.to_bits() == floats[at].to_bits(), "{value} is not {}", floats[at]);
            ensure!((*time, *quality) == (NOON + at as i64, of_floats.qualities[at]), "{quality:?}");
        }
        ensure!(found.len() == floats.len(), "{found:?}");
        let values = async |metric: &str| -> Result<Vec<Value>> {
            Ok(read(&points, metric).await?.into_iter().map(|(_, value, _)| value).collect())
        };
        ensure!(values("i").await? == integers.map(Value::Integer), "{:?}", values("i").await?);
        ensure!(values("b").await? == [true, false].map(Value::Boolean), "{:?}", values("b").await?);
        let expected = texts.map(|text| Value::Text(text.to_owned()));
        ensure!(values("t").await? == expected, "{:?}", values("t").await?);
        Ok(())
    })
}

#[test]
fn hostile_names_are_names_and_nothing_else() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let names = [
        "cpu.usage{cpu=0}",
        "a b,c=d",
        "a\" FROM x; DROP DATABASE plant; --",
        "a'; DROP MEASUREMENT \"x\"; --",
        "back\\slash",
        "\\",
        "ends\\",
        "\\\"; DROP DATABASE plant",
        "_internal",
        "_",
        "50% of 100%25",
        "%5C",
        "$param",
        "Außentemperatur °C ⚠ 😀",
        "select",
        "=",
        ",",
        "\"",
        "'",
        "time",
        "(?i)re.*",
    ];
    server.write(PLANT, "x v=1 1")?;
    runtime()?.block_on(async {
        let mut columns = Vec::new();
        for (at, name) in names.iter().enumerate() {
            // What the model does not take as a metric never comes here.
            Metric::new(name).with_context(|| format!("{name:?} is no metric"))?;
            columns.push(column(name, &[NOON, NOON + 1], Values::Integer(vec![at as i64, -1]))?);
        }
        let before = vec![column("select", &[NOON], Values::Integer(vec![99]))?];
        put(&points, before, (9, true)).await?;
        ensure!(put(&points, columns, (5, false)).await?.is_empty(), "nothing is set aside");
        for (at, name) in names.iter().enumerate() {
            let found = read(&points, name).await.with_context(|| format!("{name:?}"))?;
            let first = if *name == "select" { 99 } else { at as i64 };
            let values: Vec<_> = found.iter().map(|(_, value, _)| value.clone()).collect();
            ensure!(values == [Value::Integer(first), Value::Integer(-1)], "{name:?}: {found:?}");
        }
        let latest = points.latest(&DeviceId::new(DEVICE)?).await?;
        ensure!(latest.len() == names.len(), "{latest:?}");
        anyhow::Ok(())
    })?;
    let kept = server.rows(PLANT, "SELECT v FROM x")?;
    ensure!(kept.len() == 1, "what others wrote is still there: {kept:?}");
    Ok(())
}
