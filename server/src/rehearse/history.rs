//! Readings of the past, by time.

use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use fieldline_model::{DeviceId, Metric, Quality, Reading, Timestamp, Value};

use crate::cli::PastArgs;
use crate::client::{Api, encoded};
use crate::replay::recording::Recording;
use crate::stored::{Query, moment};

/// More are not gone through at once; they lie in memory.
const READINGS_MAX: usize = 5_000_000;

/// The readings that `wanted` (of device and metric) wants, the oldest first.
pub(super) async fn read(
    args: &PastArgs,
    wanted: &(dyn Fn(&str, &str) -> bool + Sync),
) -> anyhow::Result<Vec<Reading>> {
    let mut readings = match &args.csv {
        Some(_) => of_file(args, wanted)?,
        None => of_server(args, wanted).await?,
    };
    ensure!(!readings.is_empty(), nothing(args));
    readings.sort_by_key(|reading| reading.time);
    Ok(readings)
}

fn nothing(args: &PastArgs) -> String {
    let devices: Vec<&str> = args.device.iter().map(DeviceId::as_str).collect();
    let whose = if devices.is_empty() { String::new() } else { format!(" of {}", devices.join(", ")) };
    match &args.csv {
        Some(file) => format!(
            "{} has no values{whose} that are asked about; --metric or --map COLUMN=METRIC says what its columns are",
            file.display()
        ),
        None => format!("the server has no readings{whose} since {} that are asked about", args.from),
    }
}

fn of_file(args: &PastArgs, wanted: &dyn Fn(&str, &str) -> bool) -> anyhow::Result<Vec<Reading>> {
    let (Some(file), [device]) = (&args.csv, args.device.as_slice()) else {
        bail!("a file holds the readings of one device: give --device once");
    };
    let mut recording = Recording::open(file, &args.columns)?;
    let mut readings = Vec::new();
    while let Some(row) = recording.next_row()? {
        for (metric, text) in row.values {
            if wanted(device.as_str(), metric.as_str()) {
                let value = serde_json::from_str::<Value>(&text)
                    .with_context(|| format!("{}: {text:?} is no value", file.display()))?;
                readings.push(reading(device, &metric, row.nanos, value));
            }
        }
        ensure!(readings.len() <= READINGS_MAX, too_many());
    }
    Ok(readings)
}

async fn of_server(
    args: &PastArgs,
    wanted: &(dyn Fn(&str, &str) -> bool + Sync),
) -> anyhow::Result<Vec<Reading>> {
    let api = Api::new(&args.server.server)?;
    let now = Timestamp::from_system(SystemTime::now());
    let from = moment(&args.from, now).context("--from")?;
    let to = args.to.as_ref().map(|to| moment(to, now).context("--to")).transpose()?;
    let mut readings = Vec::new();
    for (device, metric) in series(&api, args).await? {
        if !wanted(device.as_str(), metric.as_str()) {
            continue;
        }
        let mut query = Query::new(&device, &metric);
        query.add("precision", "ns");
        query.add("from", &from);
        if let Some(to) = &to {
            query.add("to", to);
        }
        for (nanos, value) in query.pages(&api, READINGS_MAX.saturating_sub(readings.len()) + 1).await? {
            if let Ok(value) = serde_json::from_value(value) {
                readings.push(reading(&device, &metric, nanos, value));
            }
        }
        ensure!(readings.len() <= READINGS_MAX, too_many());
    }
    Ok(readings)
}

/// The series of the devices that are named, or of all.
async fn series(api: &Api, args: &PastArgs) -> anyhow::Result<Vec<(DeviceId, Metric)>> {
    let devices = if args.device.is_empty() { devices(api).await? } else { args.device.clone() };
    let mut series = Vec::new();
    for device in devices {
        let latest = api.get(&format!("/api/v1/devices/{}/latest", encoded(device.as_str()))).await?;
        let metrics = latest["metrics"].as_array().into_iter().flatten();
        for metric in metrics.filter_map(|entry| entry["metric"].as_str()) {
            series.push((device.clone(), Metric::new(metric)?));
        }
    }
    Ok(series)
}

async fn devices(api: &Api) -> anyhow::Result<Vec<DeviceId>> {
    let answer = api.get("/api/v1/devices").await?;
    let names = answer["devices"].as_array().into_iter().flatten();
    names.filter_map(|device| device["device"].as_str()).map(|name| Ok(DeviceId::new(name)?)).collect()
}

fn too_many() -> String {
    format!("that is more than {READINGS_MAX} readings; narrow it with --device, --from and --to")
}

fn reading(device: &DeviceId, metric: &Metric, nanos: i64, value: Value) -> Reading {
    let (device, metric) = (device.clone(), metric.clone());
    Reading { device, metric, time: Timestamp::from_nanos(nanos), value, quality: Quality::Good }
}
