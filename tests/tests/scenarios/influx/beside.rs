//! Other programs that write into the same database.

use fieldline_store::{DeviceQuery, Glob};
use serde_json::json;

use super::*;

/// What Telegraf and others may have written: measurements of ours with other tags, fields and types.
const FOREIGN: &str = "\
cpu,host=a,device=press-4 usage_idle=97.5,usage_user=1i 1795348800000000000
temperature,device=press-4,host=a value=99.5,place=9i,kind=0i,quality=0i 1795348800000000000
temperature,host=a value=98.5 1795348800000000000
temperature value=97.5 1795348800000000000
temperature,device=press-4 setpoint=20 1795348800000000000
temperature,device=press-4 setpoint=21 1795348805000000000
temperature,device=press-4 value=\"cold\",place=\"here\" 1700000000000000000
temperature,device=not\\ a\\ name value=1.5,place=1i 1795348800000000000
load,device=press-5 value=3.5 1795348800000000000
_odd,device=press-4 value=1 1795348800000000000
back\\\\slash%5Fx,device=press-4 value=1 1795348800000000000
";

#[test]
fn other_programs_in_the_same_database_disturb_nothing() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    server.write(PLANT, FOREIGN)?;
    let values = |values: &[f64]| Values::Float(values.to_vec());
    runtime()?.block_on(async {
        let before = read(&points, "*").await?;
        ensure!(before.is_empty(), "what others wrote is not ours: {before:?}");
        ensure!(points.devices(&DeviceQuery::default()).await?.devices.is_empty(), "nor are their devices");

        let newer = vec![column("temperature", &[NOON], values(&[21.5]))?];
        ensure!(put(&points, newer, (20, true)).await?.is_empty(), "nothing is set aside");
        let older = vec![column("temperature", &[NOON, NOON + 1], values(&[1.0, 22.5]))?];
        ensure!(put(&points, older, (10, false)).await?.is_empty(), "nothing is set aside");
        server.write(PLANT, FOREIGN)?;

        let good = Quality::Good;
        let expected = [(NOON, Value::Float(21.5), good), (NOON + 1, Value::Float(22.5), good)];
        for metric in ["temperature", "temp*", "*"] {
            let found = read(&points, metric).await?;
            ensure!(found == expected, "{metric}: {found:?}");
        }
        let latest = points.latest(&DeviceId::new(DEVICE)?).await?;
        ensure!(latest.len() == 1 && latest[0].point.value == Value::Float(22.5), "{latest:?}");
        for device in ["*", DEVICE] {
            let query = DeviceQuery { device: Glob::new(device), ..DeviceQuery::default() };
            let found = points.devices(&query).await?.devices;
            ensure!(found.len() == 1 && found[0].series == 1, "{found:?}");
        }
        anyhow::Ok(())
    })?;
    let theirs = server.rows(PLANT, "SELECT setpoint FROM temperature")?;
    ensure!(theirs.len() == 2, "what others wrote is still there: {theirs:?}");
    Ok(())
}

#[test]
fn users_read_plain_influxql() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let second = 1_000_000_000;
    let times: Vec<i64> = (0..120).map(|at| NOON + at * second).collect();
    let floats: Vec<f64> = (0..120).map(|at| f64::from(at) / 4.0).collect();
    runtime()?.block_on(async {
        let columns = vec![
            column("temperature", &times, Values::Float(floats))?,
            column("count", &times[..1], Values::Integer(vec![i64::MAX]))?,
            column("running", &times[..1], Values::Boolean(vec![true]))?,
            column("state", &times[..1], Values::Text(vec!["idle".to_owned()]))?,
        ];
        ensure!(put(&points, columns, (1, true)).await?.is_empty(), "nothing is set aside");
        anyhow::Ok(())
    })?;
    let table = [
        ("SELECT last(value) FROM temperature WHERE device = 'press-4'", json!([NOON + 119 * second, 29.75])),
        ("SELECT value_int FROM \"count\" WHERE device = 'press-4'", json!([NOON, i64::MAX])),
        ("SELECT value_bool FROM running", json!([NOON, true])),
        ("SELECT value_text FROM state", json!([NOON, "idle"])),
        ("SELECT count(value) FROM temperature WHERE quality = 0", json!([0, 120])),
        ("SHOW TAG VALUES FROM temperature WITH KEY = device", json!(["device", DEVICE])),
    ];
    for (statement, expected) in table {
        let rows = server.rows(PLANT, statement)?;
        ensure!(rows.first() == Some(&expected), "{statement}: {rows:?}");
    }
    let minutes = "SELECT mean(value) FROM temperature WHERE device = 'press-4' AND time >= 1795348800s AND \
                   time < 1795348920s GROUP BY time(1m)";
    let found = server.rows(PLANT, minutes)?;
    let means: Vec<Option<f64>> = found.iter().map(|row| row[1].as_f64()).collect();
    ensure!(means == [Some(7.375), Some(22.375)], "{found:?}");
    Ok(())
}
