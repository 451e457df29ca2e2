//! Calls that are throttled, fail, get no answer, or fail after they were made.

use fieldline_store::{StoreError, TimeSeriesStore, contract};
use fieldline_tests::cloud::{Faults, Odds, Planned};

use super::*;

const SOON: Duration = Duration::from_millis(700);

async fn through(proxy: &Faults) -> Result<Timestream> {
    let aws = Aws::emulator(&format!("http://{}", proxy.address()), SOON).await;
    let config = TimestreamConfig { database: DATABASE.to_owned(), table: "readings".to_owned() };
    Ok(Timestream::connect(&aws, config).await?)
}

/// Several calls' worth.
fn some(from: i64) -> Vec<Column> {
    let times: Vec<i64> = (from..from + 250).map(|at| NOON + at * 1_000_000_000).collect();
    vec![
        column(
            "press-4",
            "temperature",
            &times,
            Values::Float(times.iter().map(|time| *time as f64).collect()),
        ),
        column("press-4", "count", &times, Values::Integer(times.clone())),
    ]
}

#[test]
fn a_failure_that_passes_is_tried_again() -> Result<()> {
    let faults = [Planned::Status(500), Planned::Status(503), Planned::Silence, Planned::AnswerLost];
    for fault in faults {
        let stub = stub()?;
        let proxy = Faults::start(stub.address(), 31)?;
        run(async {
            let points = through(&proxy).await?;
            proxy.plan([fault]);
            assert_eq!(put(&points, some(0), 5).await?, [], "{fault:?}");
            assert_eq!(stub.records(), 250, "{fault:?}");
            proxy.plan([fault]);
            assert_eq!(series(&points, "press-4", "temperature").await?.len(), 250, "{fault:?}");
            Ok(())
        })?;
        assert_eq!(proxy.struck(), 2, "{fault:?} has not come about");
    }
    Ok(())
}

#[test]
fn throttling_by_the_service_itself_is_tried_again() -> Result<()> {
    let stub = stub()?;
    run(async {
        let points = points(&stub.url()).await?;
        stub.throttle(2);
        assert_eq!(put(&points, some(0), 5).await?, []);
        stub.throttle(2);
        assert_eq!(series(&points, "press-4", "count").await?.len(), 250);
        Ok(())
    })
}

#[test]
fn a_failure_that_lasts_is_reported_and_the_redelivery_makes_it_good() -> Result<()> {
    let stub = stub()?;
    let proxy = Faults::start(stub.address(), 31)?;
    run(async {
        let store = store(through(&proxy).await?);
        let model = MemoryStore::new();
        let received = Arc::new(ReceivedBlock::new(block(some(0)), Timestamp::from_nanos(NOON)));
        // The first call passes, and what follows is made, but nobody hears of it.
        proxy.plan([Planned::Pass]);
        proxy.set(Odds { lose: 50, fail: 50, ..Odds::default() });
        let error = store.write(Arc::clone(&received)).await.expect_err("nothing is acknowledged");
        assert!(matches!(error, StoreError::Unavailable { service: "Timestream", .. }), "{error}");
        let error = store.latest(&DeviceId::new("press-4")?).await.expect_err("nothing is answered");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(stub.records() > 0, "some of it was stored");
        proxy.set(Odds::default());
        assert_eq!(store.write(Arc::clone(&received)).await?.new, 500);
        model.write(received).await?;
        assert_eq!(stub.records(), 250, "nothing is there twice");
        contract::assert_same_points(&store, &model).await;
        Ok(())
    })
}

/// Blocks of three streams over a line on which four calls of ten fail.
#[test]
fn nothing_is_lost_or_doubled_on_a_bad_line() -> Result<()> {
    let stub = stub()?;
    let proxy = Faults::start(stub.address(), 31)?;
    run(async {
        let store = store(through(&proxy).await?);
        let model = MemoryStore::new();
        proxy.set(Odds { lose: 20, fail: 20, ..Odds::default() });
        for block in contract::Feed::new(3).blocks().into_iter().step_by(3) {
            let received = Arc::new(ReceivedBlock::new(block, Timestamp::from_nanos(NOON)));
            let expected = model.write(Arc::clone(&received)).await?;
            let mut written = store.write(Arc::clone(&received)).await;
            while let Err(StoreError::Unavailable { .. }) = written {
                written = store.write(Arc::clone(&received)).await;
            }
            assert_eq!(written?, expected);
        }
        proxy.set(Odds::default());
        contract::assert_same_points(&store, &model).await;
        Ok(())
    })
}

#[test]
fn what_no_repetition_heals_is_said_so() -> Result<()> {
    let stub = stub()?;
    run(async {
        let points = connect(&stub.url(), "no-such-table").await?;
        let error =
            put(&points, some(0), 1).await.expect_err("there is no table").downcast::<StoreError>()?;
        assert!(matches!(error, StoreError::Rejected { service: "Timestream", .. }), "{error}");
        let error = series(&points, "press-4", "count").await.expect_err("there is no table");
        assert!(matches!(error.downcast::<StoreError>()?, StoreError::Rejected { .. }));
        assert!(connect(&stub.url(), "a\"b").await.is_err(), "no name of a table");
        Ok(())
    })
}
