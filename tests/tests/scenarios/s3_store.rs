//! Readings in S3 as Parquet, against moto, and LocalStack where it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fieldline_aws::{Aws, ParquetStore, S3Config};
use fieldline_model::{Class, DeviceId, GatewayId, Metric, Quality, StreamId, Timestamp, Value};
use fieldline_store::{
    DeviceQuery, Glob, MemoryStore, PlacedBlock, PlacingStore, PointStore, ReceivedBlock, SeriesQuery,
    StoreError, contract,
};
use fieldline_tests::cloud::{Faults, Planned};
use fieldline_tests::emulator::Emulator;
use fieldline_tests::machine;
use fieldline_tests::publisher::runtime;
use fieldline_tests::random::Random;
use fieldline_tests::{localstack, moto};
use fieldline_wire::{Block, Column, Values};

pub(super) const NOON: i64 = 1_795_348_800_000_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

pub(super) fn url_of(proxy: &Faults) -> String {
    format!("http://{}", proxy.address())
}

/// How many calls have come to a proxy.
pub(super) fn calls(proxy: &Faults) -> u64 {
    proxy.traffic().iter().map(|(_, volume)| volume.calls).sum()
}

pub(super) async fn at(url: &str, bucket: &str) -> Result<ParquetStore> {
    let aws = Aws::emulator(url, Duration::from_secs(3)).await;
    Ok(ParquetStore::connect(&aws, S3Config { bucket: bucket.to_owned() })?)
}

pub(super) async fn store(moto: &Emulator, bucket: &str) -> Result<ParquetStore> {
    moto.create_bucket(bucket)?;
    at(&format!("http://{}", moto.address()), bucket).await
}

pub(super) fn column(device: &str, metric: &str, times: Vec<i64>, values: Values) -> Result<Column> {
    let (device, metric) = (DeviceId::new(device)?, Metric::new(metric)?);
    Ok(Column { device, metric, times, values, qualities: Vec::new() })
}

/// A block of `gw:1` from `first_seq` on.
pub(super) fn placed(first_seq: u64, place: u64, columns: Vec<Column>) -> Result<PlacedBlock> {
    let count: usize = columns.iter().map(|column| column.times.len()).sum();
    let stream = StreamId { gateway: GatewayId::new("gw:1")?, epoch: 7 };
    let last_seq = first_seq + count as u64 - 1;
    let block = Block { stream, class: Class::Live, first_seq, last_seq, columns, order: Vec::new() };
    let received = Arc::new(ReceivedBlock::new(block, Timestamp::from_nanos(NOON)));
    Ok(PlacedBlock { received, place, newest: true })
}

/// One reading of `press-4/temperature`.
fn single(seq: u64, place: u64, time: i64, value: i64) -> Result<PlacedBlock> {
    placed(seq, place, vec![column("press-4", "temperature", vec![time], Values::Integer(vec![value]))?])
}

async fn points(store: &ParquetStore, device: &str, metric: &str) -> Result<Vec<(i64, Value)>> {
    let page = store.series(&SeriesQuery::one(device, metric)).await?;
    let points = page.series.into_iter().flat_map(|series| series.points);
    Ok(points.map(|point| (point.time.nanos(), point.value)).collect())
}

#[test]
fn the_contract_holds_for_parquet_in_localstacks_s3() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(services) = localstack::start(folder.path())? else { return Ok(()) };
    contract_holds(&services)
}

#[test]
fn the_contract_holds_for_parquet_in_s3() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(services) = moto::start(folder.path())? else { return Ok(()) };
    contract_holds(&services)
}

fn contract_holds(services: &Emulator) -> Result<()> {
    let (began, number) = (Instant::now(), AtomicU64::new(0));
    runtime()?.block_on(async {
        let fresh = async || {
            let bucket = format!("readings-{}", number.fetch_add(1, Ordering::Relaxed));
            let points = store(services, &bucket).await.expect("a bucket");
            let clock = || Timestamp::from_system(std::time::SystemTime::now());
            PlacingStore::new(points, MemoryStore::new(), clock)
        };
        contract::run(fresh, async |_: &mut _| {}).await;
    });
    println!("the contract took {:?}", began.elapsed());
    Ok(())
}

#[test]
fn a_resend_is_harmless_under_the_same_place_and_under_another() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    runtime()?.block_on(async {
        let store = store(&moto, "readings").await?;
        for (place, value) in [(5, 50), (5, 50), (9, 50), (7, 70), (9, 50)] {
            // A block of place 7 that comes late is another one: it loses against place 9.
            store.put(&single(1, place, NOON, value)?).await?;
        }
        let expected = vec![(NOON, Value::Integer(50))];
        ensure!(points(&store, "press-4", "temperature").await? == expected);
        let (objects, _) = moto.objects("readings")?;
        ensure!(objects.len() == 3, "one for each place: {objects:?}");
        let prefix = "readings/day=2026-11-22/gateway=gw%3A1/00000000000007-1-1-live-";
        ensure!(objects.iter().all(|key| key.starts_with(prefix)), "{objects:?}");
        Ok(())
    })
}

#[test]
fn odd_names_and_odd_values_come_back_as_they_were() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    runtime()?.block_on(async {
        let store = store(&moto, "readings").await?;
        let metrics = ["a=b&c?d%2F..\\", "\"quoted\" 'name'; DROP", "λ ⚠ 漢字", " ", &"m".repeat(256)];
        let times = [i64::MIN, -1, 0, NOON, i64::MAX - 1];
        let mut columns = Vec::new();
        for metric in metrics {
            columns.push(column(&"d".repeat(128), metric, times.to_vec(), Values::Float(vec![-0.0; 5]))?);
            columns.push(column(":_-", metric, times.to_vec(), Values::Text(vec![metric.to_owned(); 5]))?);
        }
        for column in &mut columns {
            column.qualities =
                vec![Quality::Bad, Quality::Good, Quality::Uncertain, Quality::Good, Quality::Bad];
        }
        store.put(&placed(1, 1, columns.clone())?).await?;
        for expected in &columns {
            let page =
                store.series(&SeriesQuery::one(expected.device.as_str(), expected.metric.as_str())).await?;
            let found = &page.series[0].points;
            ensure!(found.iter().map(|point| point.time.nanos()).eq(times), "{found:?}");
            ensure!(found.iter().map(|point| point.quality).eq(expected.qualities.iter().copied()));
            let bits = |value: &Value| match value {
                Value::Float(value) => value.to_bits().to_string(),
                other => format!("{other:?}"),
            };
            ensure!(found.iter().all(|point| bits(&point.value) == bits(&found[0].value)));
        }
        let devices = store.devices(&DeviceQuery::default()).await?.devices;
        let named: Vec<(&str, u64)> =
            devices.iter().map(|info| (info.device.as_str(), info.series)).collect();
        ensure!(named == [(":_-", 5), (&"d".repeat(128), 5)], "{named:?}");
        ensure!(devices.iter().all(|info| info.last == Some(Timestamp::from_nanos(i64::MAX - 1))));
        ensure!(store.latest(&DeviceId::new(":_-")?).await?.len() == 5);
        let none = SeriesQuery { device: Glob::new("no such/device"), ..SeriesQuery::one("", "x") };
        ensure!(store.series(&none).await?.series.is_empty());
        Ok(())
    })
}

#[test]
fn more_objects_than_a_listing_has_room_for_and_damaged_ones_hide_nothing() -> Result<()> {
    const OBJECTS: u64 = 1_050;
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    runtime()?.block_on(async {
        let store = store(&moto, "readings").await?;
        for number in 0..OBJECTS {
            store.put(&single(number + 1, number + 1, NOON + number as i64, number as i64)?).await?;
        }
        let whole = points(&store, "press-4", "temperature").await?;
        ensure!(whole.len() as u64 == OBJECTS, "{} points", whole.len());
        ensure!(store.damaged() == 0);
        let folder = "readings/day=2026-11-22/gateway=gw-1/";
        let cut_off = [b"PAR1".as_slice(), &[7; 60], &[0xff, 0xff, 0xff, 0x7f], b"PAR1"].concat();
        let nonsense = [b"PAR1".as_slice(), &[7; 60], &[50, 0, 0, 0], b"PAR1"].concat();
        for (name, bytes) in [("a", b"".as_slice()), ("b", b"no Parquet"), ("c", &cut_off), ("d", &nonsense)]
        {
            moto.put_object("readings", &format!("{folder}{name}.parquet"), bytes)?;
        }
        moto.put_object("readings", &format!("{folder}a.txt"), b"somebody's note")?;
        ensure!(points(&store, "press-*", "*").await? == whole);
        ensure!(store.latest(&DeviceId::new("press-4")?).await?.len() == 1);
        ensure!(store.damaged() >= 4, "{} are counted", store.damaged());
        Ok(())
    })
}

#[test]
fn a_query_lists_the_days_that_it_asks_for() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let proxy = Faults::start(moto.address(), 1)?;
    moto.create_bucket("readings")?;
    runtime()?.block_on(async {
        let store = at(&url_of(&proxy), "readings").await?;
        for day in 0..60 {
            store.put(&single(day + 1, day + 1, NOON + day as i64 * DAY, 1)?).await?;
        }
        let mut query = SeriesQuery::one("press-4", "temperature");
        query.from = Timestamp::from_nanos(NOON + 30 * DAY);
        query.to = Timestamp::from_nanos(NOON + 30 * DAY + SECOND);
        let before = calls(&proxy);
        ensure!(store.series(&query).await?.series[0].points.len() == 1);
        let made = calls(&proxy) - before;
        ensure!(made == 2, "a listing and an object: {made}");
        query.to = Timestamp::from_nanos(NOON + 34 * DAY);
        let before = calls(&proxy);
        ensure!(store.series(&query).await?.series[0].points.len() == 4);
        let made = calls(&proxy) - before;
        ensure!(made == 1 + 5 + 4, "the days, five of them, four objects that are new to it: {made}");
        Ok(())
    })
}

#[test]
fn s3_that_fails_is_tried_again_and_told_apart_from_s3_that_refuses() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let proxy = Faults::start(moto.address(), 1)?;
    moto.create_bucket("readings")?;
    runtime()?.block_on(async {
        let store = at(&url_of(&proxy), "readings").await?;
        // The second attempt finds what the first has written.
        for faults in [&[Planned::Status(503), Planned::Status(500)][..], &[Planned::AnswerLost]] {
            proxy.plan(faults.iter().copied());
            store.put(&single(1, 1, NOON, 1)?).await?;
        }
        proxy.plan([Planned::Status(503), Planned::AnswerLost, Planned::Status(500)]);
        ensure!(points(&store, "press-4", "temperature").await?.len() == 1);
        // Five attempts at each of the two calls.
        proxy.plan([Planned::Status(503); 10]);
        for outcome in [
            store.put(&single(2, 2, NOON, 1)?).await.map(drop),
            store.latest(&DeviceId::new("a")?).await.map(drop),
        ] {
            ensure!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
        }
        proxy.plan([Planned::Status(403)]);
        let outcome = store.series(&SeriesQuery::one("*", "*")).await;
        ensure!(matches!(outcome, Err(StoreError::Rejected { .. })), "{outcome:?}");
        let elsewhere = at(&url_of(&proxy), "no-such-bucket").await?;
        for outcome in [
            elsewhere.put(&single(1, 1, NOON, 1)?).await.map(drop),
            elsewhere.series(&SeriesQuery::one("*", "*")).await.map(drop),
        ] {
            ensure!(matches!(outcome, Err(StoreError::Rejected { .. })), "{outcome:?}");
        }
        Ok(())
    })
}

/// A random walk in hundredths, once a second, of so many devices.
fn walk(random: &mut Random, devices: usize, readings: usize) -> Result<Vec<Column>> {
    (0..devices)
        .map(|device| {
            let mut value = 2_000_i64;
            let values = (0..readings / devices).map(|_| {
                value += random.below(11) as i64 - 5;
                value as f64 / 100.0
            });
            let times = (0..readings / devices).map(|at| NOON + at as i64 * SECOND).collect();
            column(&format!("device-{device}"), "temperature", times, Values::Float(values.collect()))
        })
        .collect()
}

#[test]
fn a_block_is_one_call_and_few_bytes_for_each_reading() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let proxy = Faults::start(moto.address(), 1)?;
    moto.create_bucket("readings")?;
    runtime()?.block_on(async {
        let store = at(&url_of(&proxy), "readings").await?;
        let mut random = Random::new(5);
        let mut stored = 0;
        for (number, devices) in (1..).zip([1, 100]) {
            store.put(&placed(1, number, walk(&mut random, devices, 30_000)?)?).await?;
            ensure!(calls(&proxy) == number, "{} calls", calls(&proxy));
            let (_, bytes) = moto.objects("readings")?;
            let each = (bytes - stored) as f64 / 30_000.0;
            println!("{devices} devices: 1 call, {each:.2} bytes for each of 30,000 readings");
            ensure!(each < 4.0, "{each} bytes for each reading");
            stored = bytes;
        }
        Ok(())
    })
}
