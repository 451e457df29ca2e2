//! Merging the small objects of readings in S3: cut off after every call, beside readers, beside itself.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use fieldline_aws::{CompactConfig, Compacted, ParquetStore};
use fieldline_model::{DeviceId, Timestamp, Value};
use fieldline_store::{DeviceQuery, PointStore, SeriesQuery};
use fieldline_tests::cloud::{Faults, Planned};
use fieldline_tests::emulator::Emulator;
use fieldline_tests::machine;
use fieldline_tests::moto;
use fieldline_tests::publisher::runtime;
use fieldline_tests::random::Random;
use fieldline_wire::Values;

use super::s3_store::{NOON, SECOND, at, calls, column, placed, store, url_of};

const BLOCKS: u64 = 6;
/// Six objects become two.
const CONFIG: CompactConfig =
    CompactConfig { objects_kept: 2, small_bytes: 1 << 20, inputs_bytes_max: 1 << 20, inputs_max: 3 };

/// Blocks that overwrite each other in part, in two days.
async fn fill(store: &ParquetStore, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    for number in 1..=BLOCKS {
        let mut columns = Vec::new();
        for device in 0..2 {
            let times: Vec<i64> = (0..20).map(|_| NOON + random.below(50) as i64 * SECOND).collect();
            let values = times.iter().map(|_| random.unit()).collect();
            columns.push(column(&format!("device-{device}"), "level", times, Values::Float(values))?);
        }
        columns.push(column("other", "state", vec![NOON + 86_400 * SECOND], Values::Boolean(vec![true]))?);
        store.put(&placed(number * 100, 1 + random.below(1_000), columns)?).await?;
    }
    Ok(())
}

/// All that can be asked.
async fn answers(store: &ParquetStore) -> Result<String> {
    let series = store.series(&SeriesQuery::one("*", "*")).await?;
    let one = store.series(&SeriesQuery::one("device-1", "level")).await?;
    let devices = store.devices(&DeviceQuery::default()).await?;
    let latest = store.latest(&DeviceId::new("device-0")?).await?;
    Ok(format!("{series:?}\n{one:?}\n{devices:?}\n{latest:?}"))
}

#[test]
fn a_compaction_that_is_cut_off_after_any_call_changes_no_answer_and_is_finished_by_the_next() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let mut cuts = 0;
    loop {
        let proxy = Faults::start(moto.address(), 1)?;
        proxy.plan(vec![Planned::Pass; cuts]);
        proxy.plan([Planned::Status(400); 1_000]);
        if runtime()?.block_on(cut_off(&moto, &proxy, cuts))? {
            println!("cut after each of {cuts} calls");
            return Ok(());
        }
        cuts += 1;
    }
}

/// A compaction that gets so many calls through; whether these were enough.
async fn cut_off(moto: &Emulator, proxy: &Faults, cuts: usize) -> Result<bool> {
    let bucket = format!("cut-{cuts}");
    let direct = store(moto, &bucket).await?;
    fill(&direct, 3).await?;
    let before = answers(&direct).await?;
    let outcome = at(&url_of(proxy), &bucket).await?.compact(None, &CONFIG).await;
    let made = calls(proxy);
    // Whoever asks now has nothing in memory.
    let url = format!("http://{}", moto.address());
    ensure!(answers(&at(&url, &bucket).await?).await? == before, "cut after {cuts} calls");
    ensure!(answers(&direct).await? == before, "cut after {cuts} calls, asked as before");
    let finished = at(&url, &bucket).await?.compact(None, &CONFIG).await?;
    ensure!(finished.failed == 0, "{finished:?}");
    ensure!(answers(&at(&url, &bucket).await?).await? == before, "finished after {cuts} calls");
    let (objects, _) = moto.objects(&bucket)?;
    ensure!(objects.len() <= 4, "two in each of two days: {objects:?}");
    if made <= cuts as u64 {
        let whole = matches!(outcome, Ok(Compacted { failed: 0, written: 4, deleted: 12, .. }));
        ensure!(whole, "{outcome:?}");
        return Ok(true);
    }
    ensure!(outcome.map_or(true, |outcome| outcome.failed > 0), "a cut is told");
    Ok(false)
}

#[test]
fn readers_and_other_compactions_beside_one_see_every_reading() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let url = format!("http://{}", moto.address());
    runtime()?.block_on(async {
        for round in 0..6 {
            let bucket = format!("round-{round}");
            let store = store(&moto, &bucket).await?;
            fill(&store, round).await?;
            let before = answers(&store).await?;
            let done = AtomicBool::new(false);
            let compactions = async {
                let (one, other) = (at(&url, &bucket).await?, at(&url, &bucket).await?);
                let (one, other) = tokio::join!(one.compact(None, &CONFIG), other.compact(None, &CONFIG));
                done.store(true, Ordering::Relaxed);
                ensure!(one?.failed + other?.failed == 0);
                Ok(())
            };
            let reader = async {
                let mut asked = 0;
                while !done.load(Ordering::Relaxed) {
                    // Nothing in memory: every object has to be there.
                    ensure!(answers(&at(&url, &bucket).await?).await? == before, "round {round}");
                    asked += 1;
                }
                Ok(asked)
            };
            let (compacted, asked) = tokio::join!(compactions, reader);
            compacted?;
            ensure!(asked? > 0, "nobody has asked");
            ensure!(answers(&store).await? == before, "round {round}, afterwards");
        }
        Ok(())
    })
}

#[test]
fn what_is_damaged_stays_and_great_objects_are_read_in_part() -> Result<()> {
    const DEVICES: usize = 10;
    const EACH: usize = 2_500;
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let proxy = Faults::start(moto.address(), 1)?;
    runtime()?.block_on(async {
        let store = store(&moto, "readings").await?;
        let mut random = Random::new(9);
        let blocks = 12;
        for number in 0..blocks {
            let mut columns = Vec::new();
            for device in 0..DEVICES {
                let from = NOON + (number * EACH) as i64;
                let times = (from..from + EACH as i64).collect();
                let noise = (0..EACH).map(|_| random.unit()).collect();
                columns.push(column(&format!("device-{device}"), "noise", times, Values::Float(noise))?);
            }
            store.put(&placed(number as u64 * 100_000, 1 + number as u64, columns)?).await?;
        }
        let key = "readings/day=2026-11-22/gateway=gw%253A1/00000000000009-1-1-live-0000000000000001.parquet";
        moto.put_object("readings", key, b"PAR1 and nothing that follows from it")?;
        let mut query = SeriesQuery::one("device-3", "noise");
        query.limit = 100_000;
        let before = store.series(&query).await?;
        ensure!(before.series[0].points.len() == blocks * EACH);

        ensure!(store.compact(Some("2026-11-21"), &CompactConfig::default()).await? == Compacted::default());
        ensure!(store.compact(Some("yesterday"), &CompactConfig::default()).await.is_err());
        let done = store.compact(Some("2026-11-22"), &CompactConfig::default()).await?;
        println!("{done:?}");
        ensure!(done.written == 1 && done.deleted == blocks as u64 && done.damaged == 1, "{done:?}");
        ensure!(done.readings == (blocks * EACH * DEVICES) as u64, "{done:?}");
        let (objects, bytes) = moto.objects("readings")?;
        ensure!(objects.len() == 2 && bytes > 2 << 20, "{objects:?}");
        println!("{:.2} bytes for each reading of noise", bytes as f64 / done.readings as f64);

        let fresh = at(&url_of(&proxy), "readings").await?;
        let after = fresh.series(&query).await?;
        ensure!(format!("{after:?}") == format!("{before:?}"), "the same readings");
        query.from = Timestamp::from_nanos(NOON);
        query.to = Timestamp::from_nanos(NOON + 5);
        let fresh = at(&url_of(&proxy), "readings").await?;
        let before_it = calls(&proxy);
        ensure!(fresh.series(&query).await?.series[0].points.len() == 5);
        // The listing, the damaged object, the footer, and one or two row groups.
        ensure!(calls(&proxy) - before_it <= 5, "{} calls", calls(&proxy) - before_it);
        Ok(())
    })
}

#[test]
fn the_catalog_answers_for_the_days_that_have_not_changed() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let proxy = Faults::start(moto.address(), 1)?;
    let url = format!("http://{}", moto.address());
    runtime()?.block_on(async {
        const DAY: i64 = 86_400 * SECOND;
        let store = store(&moto, "readings").await?;
        // Each day has a metric of its own, and one that all have.
        for day in 0..30_u32 {
            let at = NOON + i64::from(day) * DAY;
            let columns = vec![
                column("press-4", &format!("metric-{day}"), vec![at], Values::Integer(vec![1]))?,
                column("press-4", "all", vec![at], Values::Integer(vec![i64::from(day)]))?,
            ];
            store.put(&placed(u64::from(day) * 10 + 1, u64::from(day) + 1, columns)?).await?;
        }
        let before = answers(&store).await?;
        ensure!(store.compact(None, &CONFIG).await?.catalog, "a catalog is written");
        ensure!(!store.compact(None, &CONFIG).await?.catalog, "nothing has changed");
        ensure!(answers(&at(&url, "readings").await?).await? == before);
        let device = DeviceId::new("press-4")?;
        let fresh = at(&url_of(&proxy), "readings").await?;
        let before_it = calls(&proxy);
        ensure!(fresh.latest(&device).await?.len() == 31);
        // Two listings, the catalog, the objects of two days.
        ensure!(calls(&proxy) - before_it == 5, "{} calls", calls(&proxy) - before_it);

        // Late data: an older reading, a newer metric, and a better place for what stands.
        let late = vec![
            column("press-4", "all", vec![NOON + DAY], Values::Integer(vec![-1]))?,
            column("press-4", "metric-3", vec![NOON + 3 * DAY], Values::Integer(vec![33]))?,
            column("press-5", "late", vec![NOON + 3 * DAY], Values::Integer(vec![3]))?,
        ];
        store.put(&placed(1_001, 1_000, late)?).await?;
        let latest = fresh.latest(&device).await?;
        ensure!(latest.iter().any(|latest| latest.point.value == Value::Integer(33)), "{latest:?}");
        ensure!(latest[0].point.value == Value::Integer(29), "{latest:?}");
        ensure!(fresh.devices(&DeviceQuery::default()).await?.devices.len() == 2);
        let before = answers(&store).await?;
        let done = store.compact(None, &CONFIG).await?;
        ensure!(done.catalog && answers(&at(&url, "readings").await?).await? == before, "{done:?}");

        // A catalog that is damaged is as good as none.
        let key = "readings/catalog/00000000000000ff-0.parquet";
        moto.put_object("readings", key, b"no catalog")?;
        let fresh = at(&url, "readings").await?;
        ensure!(answers(&fresh).await? == before && fresh.damaged() > 0);
        ensure!(fresh.compact(None, &CONFIG).await?.catalog, "there is a new one");
        let fresh = at(&url, "readings").await?;
        ensure!(answers(&fresh).await? == before && fresh.damaged() == 0);
        Ok(())
    })
}
