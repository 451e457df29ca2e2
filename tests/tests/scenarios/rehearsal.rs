//! Rules and filters tried on recordings before they are put in force.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use fieldline_model::Timestamp;
use fieldline_tests::{programs, recordings};
use serde_json::Value;

/// When each sample recording begins.
const START: &str = "2026-11-20T05:00:00Z";

/// An industry, the device of its recording, and what its rules find: rule, and between which minutes it is
/// raised first. The fault begins with the earliest of them.
type Sample = (&'static str, &'static str, &'static str, &'static [(&'static str, i64, i64)]);

const SAMPLES: [Sample; 5] = [
    ("factory", "hall", "press-4", &[("press-overheats", 420, 520), ("bearing-wears", 300, 520)]),
    (
        "clinic",
        "fridges",
        "fridge-2",
        &[("door-left-open", 300, 310), ("vaccine-out-of-range", 480, 600), ("compressor-tires", 480, 600)],
    ),
    ("farm", "barn", "barn-1", &[("ammonia", 360, 420), ("water-stands-still", 500, 650)]),
    ("city", "river", "gauge-7", &[("river-rises", 400, 440), ("gauge-stuck", 520, 700)]),
    ("shop", "freezers", "freezer-3", &[("defrost-hangs", 480, 530), ("freezer-warm", 560, 600)]),
];

fn fieldline(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::server()?);
    Ok(command.args(arguments).current_dir(programs::repository()).output()?)
}

/// The answer of `rules test --json`.
fn rehearse(rules: &str, csv: &Path, device: &str) -> Result<Value> {
    let csv = csv.to_str().context("a path")?;
    let output = fieldline(&["rules", "test", rules, "--csv", csv, "--device", device, "--json"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Minutes from the start of the recording at which a rule was raised.
fn raised(answer: &Value, rule: &str) -> Result<Vec<i64>> {
    let start: Timestamp = START.parse()?;
    let alarms = answer["alarms"].as_array().context("alarms")?;
    let of_rule = alarms.iter().filter(|alarm| alarm["rule"] == rule);
    let mut minutes = of_rule
        .map(|alarm| {
            let at: Timestamp = alarm["raised_at"].as_str().context("a time")?.parse()?;
            Ok((at.millis() - start.millis()) / 60_000)
        })
        .collect::<Result<Vec<_>>>()?;
    minutes.sort_unstable();
    Ok(minutes)
}

#[test]
fn the_samples_of_five_industries_catch_their_faults_and_nothing_else() -> Result<()> {
    for (industry, rules, device, expected) in SAMPLES {
        let folder = programs::repository().join("samplconfig").join(industry);
        let rules = format!("samplconfig/{industry}/rules/{rules}.toml");
        let csv = folder.join("fault.csv");

        let answer = rehearse(&rules, &csv, device)?;
        for (rule, from, to) in expected {
            let minutes = raised(&answer, rule)?;
            let first = *minutes.first().with_context(|| format!("{industry}: {rule} does not fire"))?;
            ensure!((*from..=*to).contains(&first), "{industry}: {rule} is raised at minutes {minutes:?}");
        }
        let alarms = answer["alarms"].as_array().context("alarms")?;
        let others = alarms.iter().find(|alarm| expected.iter().all(|(rule, ..)| alarm["rule"] != *rule));
        ensure!(others.is_none(), "{industry}: {others:?}");

        // Without the fault nothing fires.
        let begins = expected.iter().map(|(_, from, _)| *from).min().context("a fault")?;
        let text = std::fs::read_to_string(&csv)?;
        let healthy: Vec<&str> = text.lines().take(1 + usize::try_from(begins)?).collect();
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), healthy.join("\n"))?;
        let answer = rehearse(&rules, file.path(), device)?;
        ensure!(answer["alarms"] == serde_json::json!([]), "{industry}, healthy: {}", answer["alarms"]);
    }
    Ok(())
}

#[test]
fn every_sample_of_rules_passes_the_check() -> Result<()> {
    let mut files: Vec<String> = Vec::new();
    for industry in std::fs::read_dir(programs::repository().join("samplconfig"))? {
        let rules = industry?.path().join("rules");
        if rules.is_dir() {
            for file in std::fs::read_dir(rules)? {
                files.push(file?.path().to_str().context("a path")?.to_owned());
            }
        }
    }
    ensure!(files.len() >= SAMPLES.len(), "{files:?}");
    let mut arguments = vec!["rules", "check"];
    arguments.extend(files.iter().map(String::as_str));
    let output = fieldline(&arguments)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && !said.contains("error:") && !said.contains("warning:"), "{said}");
    Ok(())
}

#[test]
fn a_mistake_is_told_with_its_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let check = |text: &str| -> Result<(bool, String)> {
        let file: PathBuf = folder.path().join("rules.toml");
        std::fs::write(&file, text)?;
        let output = fieldline(&["rules", "check", file.to_str().context("a path")?])?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    for (condition, place) in [
        ("temperature > 80 &&", "line 1, column 20"),
        ("avgg(temperature, '5m') > 1.0", "avg"),
        ("temperature > ", "line 1"),
    ] {
        let (fine, said) = check(&format!("[[rules]]\nname = \"a\"\nwhen = \"{condition}\"\n"))?;
        ensure!(!fine && said.contains("a: error: when") && said.contains(place), "{condition}: {said}");
    }
    let (fine, said) = check("[[rules]]\nname = \"a\"\nwen = \"x > 1\"\n")?;
    ensure!(!fine && said.contains("line 3") && said.contains("did you mean `when`?"), "{said}");
    let (fine, said) = check("[[rules]]\nname = \"a\"\nwhen = \"x > 1\"\n")?;
    ensure!(fine && said.contains("1 rules, 0 that cannot be used"), "{said}");
    Ok(())
}

#[test]
fn filters_are_tried_on_a_recording() -> Result<()> {
    let output = fieldline(&[
        "filters",
        "test",
        "samplconfig/factory/agent.toml",
        "--csv",
        "samplconfig/factory/fault.csv",
        "--device",
        "press-4",
        "--json",
    ])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let series = answer["series"].as_array().context("series")?;
    let temperature =
        series.iter().find(|line| line["metric"] == "temperature").context("the temperature")?;
    let sent = temperature["sent"].as_u64().context("a number")?;
    ensure!((1..720).contains(&sent), "{temperature}");
    // The sample's deadband.
    ensure!(
        temperature["error_max"].as_f64().is_some_and(|error| error > 0.0 && error <= 0.2 + 1e-9),
        "{temperature}"
    );
    Ok(())
}

#[test]
fn an_analysis_writes_a_chart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let svg = folder.path().join("chart.svg");
    let output = fieldline(&[
        "analyze",
        "p95(temperature, \"1h\")",
        "--above",
        "75",
        "--csv",
        "samplconfig/factory/fault.csv",
        "--device",
        "press-4",
        "--svg",
        svg.to_str().context("a path")?,
    ])?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains("was above 75 once"), "{said}");
    let drawn = std::fs::read_to_string(&svg)?;
    ensure!(drawn.starts_with("<svg") && drawn.contains("<polyline"), "{drawn}");
    Ok(())
}

/// A recording, the failures that it is known for, and how many other stretches are marked at most.
const RECORDED: [(&str, &[(&str, &str)], usize); 4] = [
    (
        "machine_temperature_system_failure",
        &[
            ("2013-12-10T06:25", "2013-12-12T05:35"),
            ("2013-12-15T17:50", "2013-12-17T17:00"),
            ("2014-01-27T14:20", "2014-01-29T13:30"),
            ("2014-02-07T14:55", "2014-02-09T14:05"),
        ],
        // Two dips that a reader of the chart would mark too.
        3,
    ),
    (
        "ambient_temperature_system_failure",
        &[("2013-12-15T07:00", "2013-12-30T09:00"), ("2014-03-29T15:00", "2014-04-20T22:00")],
        1,
    ),
    ("ec2_network_in_257a54", &[("2014-04-15T16:44", "2014-04-16T16:44")], 0),
    ("occupancy_6005", &[("2015-09-15T06:14", "2015-09-16T06:14")], 1),
];

#[test]
fn anomaly_finds_the_failures_of_recordings_and_little_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let chart = folder.path().join("chart.svg");
    for file in recordings::files()? {
        let name = file.file_stem().and_then(|stem| stem.to_str()).context("a name")?;
        let Some((_, failures, others)) = RECORDED.iter().find(|(known, ..)| *known == name) else {
            continue;
        };
        let (csv, svg) = (file.to_str().context("a path")?, chart.to_str().context("a path")?);
        let flags = ["--above", "0.5", "--csv", csv, "--device", "x", "--json", "--svg", svg];
        let output = fieldline(&[&["analyze", "anomaly(value)"], &flags[..]].concat())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let word = |stretch: &Value, key: &str| stretch[key].as_str().unwrap_or_default().to_owned();
        let marked = answer["above"].as_array().context("no stretches")?;
        let marked: Vec<_> = marked.iter().map(|one| (word(one, "from"), word(one, "to"))).collect();
        let meets = |(from, to): &(String, String), failure: &(&str, &str)| {
            from.as_str() < failure.1 && to.as_str() > failure.0
        };
        for failure in *failures {
            ensure!(marked.iter().any(|one| meets(one, failure)), "{name}: {failure:?} is not in {marked:?}");
        }
        let more = marked.iter().filter(|one| !failures.iter().any(|failure| meets(one, failure))).count();
        ensure!(more <= *others, "{name}: {more} others in {marked:?}");
        ensure!(std::fs::read_to_string(&chart)?.contains("<svg"), "{name}: no chart");
        println!("{name}: all {} failures, {more} more", failures.len());
    }
    Ok(())
}
