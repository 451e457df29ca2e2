//! Recorded data goes in by `fieldline replay` and comes back row by row.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fieldline_model::Timestamp;
use fieldline_tests::clients::run;
use fieldline_tests::random::Random;
use fieldline_tests::wait::until;
use fieldline_tests::{Site, machine, programs, recordings};

fn replay_and_compare(site: &Site, file: &Path) -> Result<()> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).context("a name")?;
    let agent = format!("mqtt://{}", site.agent.mqtt_address());
    run(Command::new(programs::server()?)
        .arg("replay")
        .arg(file)
        .args(["--device", name, "--metric", "value", "--speed", "max", "--agent", &agent]))?;
    // By time; where a time repeats, the last value stands.
    let rows: BTreeMap<i64, String> = recordings::rows(file)?.into_iter().collect();
    let server = site.server.http();
    let points = until("the recording", Duration::from_secs(60), || {
        let points = server.series(name, "value")?;
        Ok((points.len() >= rows.len()).then_some(points))
    })?;
    // The last row may be on its way while an earlier value of its time stands already.
    fieldline_tests::ledger::settle(site.agent.http(), server, "gw-1", Duration::from_secs(60))?;
    let points = if points.is_empty() { points } else { server.series(name, "value")? };
    assert_eq!(points.len(), rows.len(), "{name}");
    for ((time, value), (expected_time, text)) in points.iter().zip(&rows) {
        let written: f64 = text.parse()?;
        assert_eq!((time, value.as_f64()), (expected_time, Some(written)), "{name}");
    }
    Ok(())
}

#[test]
fn recordings_come_back_row_by_row() -> Result<()> {
    let _machine = machine::shared();
    let files = recordings::files()?;
    if files.is_empty() {
        return Ok(());
    }
    let site = Site::start()?;
    for file in &files {
        replay_and_compare(&site, file)?;
    }
    println!("{} recordings compared", files.len());
    site.finish()
}

#[test]
fn a_generated_recording_with_repeats_comes_back_row_by_row() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    let file = site.folder().join("generated.csv");
    let mut random = Random::new(7);
    let mut text = String::from("timestamp,value\n");
    let mut minutes = 0;
    for _ in 0..3_000 {
        // Now and then a time repeats, or steps back.
        minutes = if random.chance(3) { minutes - random.below(3) as i64 } else { minutes + 1 };
        let time = Timestamp::from_nanos((1_700_000_040 + 60 * minutes) * 1_000_000_000);
        let time = time.to_string().replace('T', " ").replace('Z', "");
        let value = if random.chance(20) {
            random.below(100).to_string()
        } else {
            format!("{}", random.normal() * 20.0)
        };
        text.push_str(&format!("{time},{value}\n"));
    }
    std::fs::write(&file, text)?;
    replay_and_compare(&site, &file)?;
    site.finish()
}
