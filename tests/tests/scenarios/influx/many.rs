//! More series, devices and points than fit into one answer of the database.

use fieldline_store::{Aggregate, Buckets, DeviceQuery};

use super::*;

#[test]
fn a_long_series_is_read_in_parts_and_overwritten_where_it_is_older() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((_server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let count = 9_000_usize;
    let times: Vec<i64> = (0..count as i64).map(|at| NOON + at).collect();
    let every_third: Vec<i64> = times.iter().copied().step_by(3).collect();
    let all = |value: i64, count: usize| Values::Integer(vec![value; count]);
    runtime()?.block_on(async {
        let newer = vec![column("m", &every_third, all(2, every_third.len()))?];
        ensure!(put(&points, newer, (20, true)).await?.is_empty(), "nothing is set aside");
        let older = || Ok::<_, anyhow::Error>(vec![column("m", &times, all(1, count))?]);
        for _ in 0..2 {
            ensure!(put(&points, older()?, (10, false)).await?.is_empty(), "nothing is set aside");
        }
        let (mut query, mut found) = (SeriesQuery { limit: 3_500, ..SeriesQuery::one("*", "*") }, Vec::new());
        loop {
            let page = points.series(&query).await?;
            found.extend(page.series.into_iter().flat_map(|series| series.points));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        ensure!(found.len() == count, "{} points", found.len());
        for (at, point) in found.iter().enumerate() {
            let expected = if at % 3 == 0 { 2 } else { 1 };
            ensure!(point.time.nanos() == times[at] && point.value == Value::Integer(expected), "{point:?}");
        }
        let buckets = Some(Buckets { step_nanos: 5_000, aggregate: Aggregate::Sum });
        let page = points.series(&SeriesQuery { buckets, ..SeriesQuery::one(DEVICE, "m") }).await?;
        let sums: Vec<Value> = page.series[0].points.iter().map(|point| point.value.clone()).collect();
        // Of 5,000 points 1,667 are 2, of the 4,000 behind them 1,333.
        ensure!(sums == [6_667, 5_333].map(Value::Integer), "{sums:?}");
        Ok(())
    })
}

#[test]
fn thousands_of_devices_and_metrics_are_listed() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((_server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let count = 2_300;
    runtime()?.block_on(async {
        let mut columns = Vec::new();
        for at in 0..count {
            columns.push(column(&format!("metric-{at:04}"), &[NOON], Values::Integer(vec![at]))?);
            let device = DeviceId::new(&format!("device-{at:04}"))?;
            columns.push(Column { device, ..column("shared", &[NOON + at], Values::Boolean(vec![true]))? });
        }
        ensure!(put(&points, columns, (1, true)).await?.is_empty(), "nothing is set aside");

        let (mut query, mut names) = (DeviceQuery::default(), Vec::new());
        loop {
            let page = points.devices(&query).await?;
            names.extend(page.devices.into_iter().map(|info| (info.device.to_string(), info.series)));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let mut expected: Vec<_> = (0..count).map(|at| (format!("device-{at:04}"), 1)).collect();
        expected.push((DEVICE.to_owned(), count as u64));
        ensure!(names == expected, "{} devices", names.len());

        let all = points.series(&SeriesQuery { limit: 10_000, ..SeriesQuery::one("*", "*") }).await?;
        ensure!(all.series.len() == 2 * count as usize && all.next.is_none(), "{} series", all.series.len());
        let latest = points.latest(&DeviceId::new(DEVICE)?).await?;
        ensure!(latest.len() == count as usize, "{} metrics", latest.len());
        Ok(())
    })
}
