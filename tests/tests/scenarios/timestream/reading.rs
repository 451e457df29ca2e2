//! Which of two records stands, and how much is read for an answer.

use fieldline_store::{Buckets, DeviceQuery};

use super::*;

/// Records with different columns do not replace each other: the place decides, column by column.
#[test]
fn of_records_with_different_columns_the_place_decides() -> Result<()> {
    let one = |metric: &str, value: f64| column("d", metric, &[NOON], Values::Float(vec![value]));
    let text = |metric: &str, value: &str| column("d", metric, &[NOON], Values::Text(vec![value.to_owned()]));
    let blocks = [
        (10, vec![one("a", 1.0), one("b", 1.0), text("c", "one")]),
        (30, vec![one("a", 3.0)]),
        (20, vec![one("a", 2.0), one("b", 2.0)]),
        (15, vec![text("c", "1.5"), one("b", 1.5)]),
        (40, vec![one("c", 4.0)]),
    ];
    for turn in 0..blocks.len() {
        let stub = stub()?;
        run(async {
            let points = points(&stub.url()).await?;
            for at in 0..blocks.len() {
                let (place, columns) = &blocks[(at + turn) % blocks.len()];
                put(&points, columns.clone(), *place).await?;
                // A second time, and under an older place, nothing changes.
                put(&points, columns.clone(), *place).await?;
                put(&points, columns.clone(), *place - 9).await?;
            }
            for (metric, value) in [("a", 3.0), ("b", 2.0), ("c", 4.0)] {
                assert_eq!(texts(&points, "d", metric).await?, [good(float(value))], "{metric}, turn {turn}");
            }
            let latest = PointStore::latest(&points, &DeviceId::new("d")?).await?;
            let values: Vec<Value> = latest.into_iter().map(|latest| latest.point.value).collect();
            assert_eq!(values, [float(3.0), float(2.0), float(4.0)]);
            Ok(())
        })?;
    }
    Ok(())
}

/// More records of one time than a page has rows.
#[test]
fn many_records_of_one_time_do_not_stop_a_page() -> Result<()> {
    let stub = Stub::start(Options { page_rows_max: 7, ..options() })?;
    run(async {
        let points = points(&stub.url()).await?;
        for at in 0..60_u64 {
            let other = format!("other-{at}");
            let columns = vec![
                column("d", "a", &[NOON, NOON + 5], Values::Float(vec![at as f64, -1.0])),
                column("d", &other, &[NOON], Values::Boolean(vec![true])),
            ];
            put(&points, columns, 1 + at).await?;
        }
        let mut query = SeriesQuery { limit: 1, ..SeriesQuery::one("d", "a") };
        let first = PointStore::series(&points, &query).await?;
        assert_eq!(first.series[0].points[0].value, float(59.0));
        query.after = first.next;
        let second = PointStore::series(&points, &query).await?;
        assert_eq!((second.series[0].points[0].value.clone(), second.next), (float(-1.0), None));
        Ok(())
    })
}

#[test]
fn an_answer_reads_no_more_than_it_needs() -> Result<()> {
    let stub = stub()?;
    run(async {
        let points = points(&stub.url()).await?;
        let times: Vec<i64> = (0..20_000).map(|at| NOON + at * 1_000_000_000).collect();
        let values = || Values::Float(times.iter().map(|time| *time as f64).collect());
        put(&points, vec![column("d", "a", &times, values()), column("e", "a", &times, values())], 1).await?;
        stub.take_statements();
        let before = stub.counts().queries;
        let page =
            PointStore::series(&points, &SeriesQuery { limit: 10, ..SeriesQuery::one("d", "a") }).await?;
        assert_eq!(page.series[0].points.len(), 10);
        // The columns, and one page of points.
        assert_eq!(stub.counts().queries - before, 2);
        let statements = stub.take_statements();
        assert!(statements[1].ends_with("LIMIT 22"), "{statements:?}");
        let before = stub.counts().queries;
        let latest = PointStore::latest(&points, &DeviceId::new("d")?).await?;
        assert_eq!((latest.len(), stub.counts().queries - before), (1, 3));
        let before = stub.counts().queries;
        let devices = PointStore::devices(&points, &DeviceQuery::default()).await?.devices;
        assert_eq!((devices.len(), stub.counts().queries - before), (2, 3));
        let buckets = Some(Buckets { step_nanos: HOUR, aggregate: fieldline_store::Aggregate::Count });
        let page =
            PointStore::series(&points, &SeriesQuery { buckets, ..SeriesQuery::one("*", "*") }).await?;
        let counts = page.series.iter().flat_map(|series| &series.points).map(|point| &point.value);
        let sum: i64 = counts.map(|value| if let Value::Integer(count) = value { *count } else { 0 }).sum();
        assert_eq!(sum, 40_000);
        Ok(())
    })
}
