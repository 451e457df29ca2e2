//! How quickly readings are written, and how much room they take.

use std::time::Instant;

use fieldline_tests::random::Random;

use super::*;

const SERIES: i64 = 50;
const ROWS: i64 = 100;

/// A block of readings a second apart, as sensors give them: two digits behind the point, a slow walk.
fn blocks(count: i64) -> Result<Vec<Vec<Column>>> {
    let mut random = Random::new(9);
    let mut values = vec![2_000_i64; SERIES as usize];
    let mut blocks = Vec::new();
    for number in 0..count {
        let times: Vec<i64> = (0..ROWS).map(|row| NOON + (number * ROWS + row) * 1_000_000_000).collect();
        let mut columns = Vec::new();
        for (at, value) in values.iter_mut().enumerate() {
            let mut next = || {
                *value += i64::try_from(random.below(21)).unwrap_or(0) - 10;
                *value as f64 / 100.0
            };
            let walk = (0..ROWS).map(|_| next()).collect();
            columns.push(column(&format!("sensor-{at}"), &times, Values::Float(walk))?);
        }
        blocks.push(columns);
    }
    Ok(blocks)
}

#[test]
fn readings_are_written_quickly_and_take_little_room() -> Result<()> {
    let _machine = machine::alone();
    let count = i64::try_from(machine::size("FIELDLINE_INFLUX_BLOCKS", 20))?;
    let folder = tempfile::tempdir()?;
    let Some((server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    let readings = count * SERIES * ROWS;
    let rate = |began: Instant| readings as f64 / began.elapsed().as_secs_f64();
    let (newest, redelivered) = runtime()?.block_on(async {
        let (first, second) = (blocks(count)?, blocks(count)?);
        let began = Instant::now();
        for (place, columns) in (1..).zip(first) {
            ensure!(put(&points, columns, (place, true)).await?.is_empty(), "nothing is set aside");
        }
        let newest = rate(began);
        let began = Instant::now();
        for (place, columns) in (1..).zip(second) {
            ensure!(put(&points, columns, (place, false)).await?.is_empty(), "nothing is set aside");
        }
        anyhow::Ok((newest, rate(began)))
    })?;
    let stored = server.rows(PLANT, "SELECT count(value) FROM \"sensor-0\"")?;
    ensure!(stored[0][1] == count * ROWS, "{stored:?}");
    println!("InfluxDB 1.6: {readings} readings in blocks of {}, {newest:.0} readings/s", SERIES * ROWS);
    println!("the same again, compared with what stands before: {redelivered:.0} readings/s");
    let bytes = server.compacted_bytes(PLANT)?;
    println!("{:.1} bytes a reading on disk", bytes as f64 / readings as f64);
    Ok(())
}
