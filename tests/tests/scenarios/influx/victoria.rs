//! Numbers in VictoriaMetrics, read back by its own API.

use fieldline_tests::influxdb::VictoriaMetrics;
use serde_json::json;

use super::*;

const MILLI: i64 = 1_000_000;

fn start(folder: &std::path::Path) -> Result<Option<(VictoriaMetrics, InfluxPoints)>> {
    let Some(server) = VictoriaMetrics::start(folder)? else { return Ok(None) };
    let config = InfluxConfig { dialect: InfluxDialect::VictoriaMetrics, ..config(&server.url(), "") };
    Ok(Some((server, InfluxPoints::new(config)?)))
}

#[test]
fn numbers_come_back_through_the_api_of_victoriametrics() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, points)) = start(folder.path())? else { return Ok(()) };
    let now = clock().nanos() / MILLI;
    let at = |count: i64| (0..count).map(|step| (now - 60_000 + step) * MILLI).collect::<Vec<_>>();
    let floats = [21.5, -0.25, 1e6, 98.76, 0.0];
    let columns = || -> Result<_> {
        let mut of_floats = column("temperature", &at(5), Values::Float(floats.to_vec()))?;
        of_floats.qualities = [Quality::Good; 4].into_iter().chain([Quality::Bad]).collect();
        Ok(vec![
            of_floats,
            column("count", &at(3), Values::Integer(vec![-5, 7, i64::MAX]))?,
            column("running", &at(2), Values::Boolean(vec![true, false]))?,
            column("state", &at(1), Values::Text(vec!["idle".to_owned()]))?,
            column("cpu.usage{cpu=0}, a b", &at(2), Values::Float(vec![1.0, f64::NAN]))?,
            column("third", &at(2), Values::Float(vec![1.0 / 3.0, 1e9 / 3.0]))?,
            column("future", &[(now + 3 * 86_400_000) * MILLI], Values::Float(vec![1.0]))?,
        ])
    };
    runtime()?.block_on(async {
        // A redelivery may write everything twice.
        for place in [1, 2] {
            let parts = put(&points, columns()?, (place, place == 1)).await?;
            let reasons: Vec<&str> = parts.iter().map(|part| part.reason.as_str()).collect();
            let expected = ["in-the-future", "text-not-taken", "not-finite", "integer-beyond-2^53"];
            ensure!(reasons == expected, "{reasons:?}");
        }
        let error = points.latest(&DeviceId::new(DEVICE)?).await.err().context("it has no InfluxQL")?;
        ensure!(
            matches!(error, StoreError::Rejected { .. }) && chain(&error).contains("PromQL"),
            "{error:?}"
        );
        anyhow::Ok(())
    })?;
    let values = |name: &str| -> Result<serde_json::Value> {
        let found = server.export(&format!("{{__name__=\"{name}\", device=\"press-4\"}}"))?;
        let mut points: Vec<(i64, f64)> = Vec::new();
        for series in &found {
            ensure!(series["metric"] == json!({ "__name__": name, "device": DEVICE }), "{series}");
            let times =
                series["timestamps"].as_array().into_iter().flatten().filter_map(|time| time.as_i64());
            let values = series["values"].as_array().into_iter().flatten().filter_map(|value| value.as_f64());
            points.extend(times.zip(values));
        }
        points.sort_by_key(|point| point.0);
        // Samples of one millisecond and one value are one; the server drops doubles when it merges.
        points.dedup();
        ensure!(
            points
                .iter()
                .zip(now - 60_000..)
                .all(|(point, time)| point.0 == time || name.ends_with("quality"))
        );
        Ok(points.into_iter().map(|(_, value)| value).collect())
    };
    ensure!(values("temperature_value")? == json!(floats), "{}", values("temperature_value")?);
    ensure!(values("temperature_quality")? == json!([2.0]), "{}", values("temperature_quality")?);
    ensure!(values("count_value")? == json!([-5.0, 7.0]), "{}", values("count_value")?);
    ensure!(values("running_value")? == json!([1.0, 0.0]), "{}", values("running_value")?);
    // Values that it stores together share their last digit, some 15 digits behind the first of the
    // greatest of them.
    let thirds = values("third_value")?;
    let close = |at: usize, exact: f64| thirds[at].as_f64().is_some_and(|found| (found - exact).abs() < 1e-6);
    ensure!(close(0, 1.0 / 3.0) && close(1, 1e9 / 3.0), "{thirds}");
    let odd = values("cpu.usage{cpu=0}, a b_value")?;
    ensure!(odd == json!([1.0]), "{odd}");
    let names = server.export("{device=\"press-4\"}")?;
    ensure!(names.iter().all(|series| !series.to_string().contains("state")), "{names:?}");
    Ok(())
}
