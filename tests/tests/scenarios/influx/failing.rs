//! A database that does not do it now.

use std::time::Instant;

use fieldline_tests::cloud::{Faults, Odds, Planned};

use super::*;

const PATIENCE: Duration = Duration::from_millis(500);

#[test]
fn what_fails_for_now_is_tried_again_and_stored_once() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, _)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let faults = Faults::start(server.address(), 1)?;
    let url = format!("http://{}", faults.address());
    let points = InfluxPoints::new(InfluxConfig {
        request_timeout: PATIENCE,
        attempts_max: 3,
        ..config(&url, PLANT)
    })?;
    let readings = |at: i64| -> Result<_> {
        Ok(vec![column("m", &[NOON + at, NOON + at + 1], Values::Float(vec![1.5, 2.5]))?])
    };
    runtime()?.block_on(async {
        let table = [
            [Planned::Status(429), Planned::Status(503)],
            [Planned::Status(500), Planned::Silence],
            [Planned::AnswerLost, Planned::Status(504)],
            [Planned::AnswerLost, Planned::AnswerLost],
        ];
        for (at, planned) in (0..).zip(table) {
            faults.plan(planned);
            let parts = put(&points, readings(10 * at)?, (1, true)).await?;
            ensure!(parts.is_empty(), "{planned:?}: {parts:?}");
            faults.plan(planned);
            let found = read(&points, "m").await?;
            ensure!(found.len() as i64 == 2 * (at + 1), "{planned:?}: {found:?}");
        }
        faults.plan([Planned::RetryAfter(1)]);
        let began = Instant::now();
        put(&points, readings(0)?, (1, true)).await?;
        ensure!(began.elapsed() >= Duration::from_secs(1), "it comes back when it is asked to");
        Ok(())
    })
}

#[test]
fn when_the_attempts_are_used_up_the_caller_is_told_to_come_again() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, direct)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let faults = Faults::start(server.address(), 2)?;
    let url = format!("http://{}", faults.address());
    let points = InfluxPoints::new(InfluxConfig {
        request_timeout: PATIENCE,
        attempts_max: 3,
        ..config(&url, PLANT)
    })?;
    let nobody = InfluxPoints::new(config("http://127.0.0.1:9", PLANT))?;
    let reading = || column("m", &[NOON], Values::Float(vec![1.5])).map(|column| vec![column]);
    runtime()?.block_on(async {
        faults.plan([Planned::AnswerLost, Planned::Status(503), Planned::Silence]);
        for (error, who) in [
            (put(&points, reading()?, (1, true)).await, "a failing database"),
            (put(&nobody, reading()?, (1, true)).await, "nobody"),
        ] {
            ensure!(matches!(error, Err(StoreError::Unavailable { .. })), "{who}: {error:?}");
        }
        ensure!(faults.struck() == 3, "three attempts, not {}", faults.struck());
        // It was stored all the same; the redelivery changes nothing.
        ensure!(read(&direct, "m").await?.len() == 1, "the answer was lost, not the call");
        ensure!(put(&points, reading()?, (2, true)).await?.is_empty(), "nothing is set aside");
        ensure!(read(&direct, "m").await?.len() == 1, "once");
        Ok(())
    })
}

#[test]
fn a_bad_day_changes_no_answer() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, _)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let faults = Faults::start(server.address(), 3)?;
    // No refusals as throttled: the proxy speaks of those as AWS does.
    faults.set(Odds { throttle: 0, fail: 10, lose: 10 });
    let url = format!("http://{}", faults.address());
    let points = InfluxPoints::new(InfluxConfig { attempts_max: 10, ..config(&url, PLANT) })?;
    let mut store = PlacingStore::new(points, MemoryStore::new(), clock);
    runtime()?.block_on(contract::compare_with_model(&mut store, 4, &async |_: &mut _| {}));
    ensure!(faults.struck() > 10, "faults have struck: {}", faults.struck());
    println!("{} faults", faults.struck());
    Ok(())
}
