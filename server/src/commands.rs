//! The query commands: ask the server, print the answer.

pub mod alarms;
pub mod shadow;
pub mod things;

use std::io::{IsTerminal, Write};
use std::time::SystemTime;

use anyhow::Context;
use fieldline_chart::{Chart, Line};
use fieldline_model::{DeviceId, Metric, Timestamp};
use serde_json::{Value, json};

use crate::cli::{DevicesArgs, LedgerArgs, QueryArgs};
use crate::client::{Api, encoded};
use crate::stored::{Query, moment};
use crate::view;

/// How many values are shown where nothing is said.
const SHOWN: usize = 20;
/// How many rows of characters a chart has.
const CHART_ROWS: u32 = 10;
/// The first look back for the last values, in milliseconds; widened fourfold until it holds enough.
const LOOK_BACK_MS: i64 = 10_000;

/// `fieldline devices`
///
/// # Errors
/// The server cannot be asked.
pub async fn devices(args: &DevicesArgs) -> anyhow::Result<()> {
    let answer = Api::new(&args.server.server)?.get("/api/v1/devices").await?;
    print(&if args.json { format!("{answer}\n") } else { view::devices(&answer) })
}

/// `fieldline ledger`
///
/// # Errors
/// The server cannot be asked.
pub async fn ledger(args: &LedgerArgs) -> anyhow::Result<()> {
    let answer = Api::new(&args.server.server)?.get("/api/v1/ledger").await?;
    print(&if args.json { format!("{answer}\n") } else { view::ledger(&answer) })
}

/// `fieldline query`
///
/// # Errors
/// The server cannot be asked, or a time cannot be read.
pub async fn query(args: &QueryArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let Some(metric) = &args.metric else {
        let answer = latest(&api, &args.device).await?;
        return print(&if args.json { format!("{answer}\n") } else { view::latest(&answer) });
    };
    let limit = args.limit.unwrap_or(if args.from.is_some() { usize::MAX } else { SHOWN });
    let points = match (&args.from, &args.step) {
        (Some(_), _) => forward(&api, args, metric, limit).await?,
        (None, Some(_)) => {
            let mut buckets = forward(&api, args, metric, usize::MAX).await?;
            buckets.drain(..buckets.len().saturating_sub(limit));
            buckets
        }
        (None, None) => last(&api, args, metric, limit).await?,
    };
    if args.json {
        let points: Vec<Value> = points.into_iter().map(|(time, value)| json!([time, value])).collect();
        return print(&format!("{}\n", json!({"device": args.device, "metric": metric, "points": points})));
    }
    if args.csv {
        return print(&view::csv(&points));
    }
    print(&(drawing(&points) + &view::series_table(&points)))
}

/// A chart above the table, on a terminal only.
fn drawing(points: &[(i64, Value)]) -> String {
    if !std::io::stdout().is_terminal() {
        return String::new();
    }
    let number =
        |(millis, value): &(i64, Value)| Some((Timestamp::from_millis(*millis).ok()?, value.as_f64()?));
    let points: Vec<_> = points.iter().filter_map(number).collect();
    if points.len() < 2 {
        return String::new();
    }
    let lines = vec![Line { name: String::new(), points }];
    format!("{}\n", on_terminal(&Chart { lines, ..Chart::default() }))
}

/// The chart as wide as the terminal, with some room for the labels at its right.
pub(crate) fn on_terminal(chart: &Chart) -> String {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(80_u32);
    chart.to_text(columns.saturating_sub(12), CHART_ROWS)
}

async fn latest(api: &Api, device: &DeviceId) -> anyhow::Result<Value> {
    Ok(api.get(&format!("/api/v1/devices/{}/latest", encoded(device.as_str()))).await?)
}

/// Everything from `--from` on, page by page, up to `limit`.
async fn forward(
    api: &Api,
    args: &QueryArgs,
    metric: &Metric,
    limit: usize,
) -> anyhow::Result<Vec<(i64, Value)>> {
    let mut query = Query::new(&args.device, metric);
    for (key, text) in [("from", &args.from), ("to", &args.to)] {
        if let Some(text) = text {
            query.add(
                key,
                &moment(text, Timestamp::from_system(SystemTime::now()))
                    .with_context(|| format!("--{key}"))?,
            );
        }
    }
    if let Some(step) = &args.step {
        query.add("step", step);
    }
    if let Some(aggregate) = args.agg {
        query.add("agg", aggregate.as_str());
    }
    query.pages(api, limit).await
}

/// The last `limit` values before `--to`, or of all.
async fn last(
    api: &Api,
    args: &QueryArgs,
    metric: &Metric,
    limit: usize,
) -> anyhow::Result<Vec<(i64, Value)>> {
    let end = match &args.to {
        Some(text) => {
            let text = moment(text, Timestamp::from_system(SystemTime::now())).context("--to")?;
            text.parse::<i64>().or_else(|_| text.parse::<Timestamp>().map(Timestamp::millis))?
        }
        None => match newest(&latest(api, &args.device).await?, metric)? {
            Some(newest) => newest.saturating_add(1),
            None => return Ok(Vec::new()),
        },
    };
    let mut span = LOOK_BACK_MS;
    loop {
        let from = end.saturating_sub(span);
        let mut query = Query::new(&args.device, metric);
        query.add("from", &from.to_string());
        query.add("to", &end.to_string());
        let mut points = query.pages(api, usize::MAX).await?;
        // Times before 1677 cannot be told, so there is nothing further back.
        let all = Timestamp::from_millis(from.saturating_sub(span.saturating_mul(3))).is_err();
        if points.len() >= limit || all {
            points.drain(..points.len().saturating_sub(limit));
            return Ok(points);
        }
        span = span.saturating_mul(4);
    }
}

/// When the metric was last measured, in epoch milliseconds.
fn newest(latest: &Value, metric: &Metric) -> anyhow::Result<Option<i64>> {
    let metrics = latest.get("metrics").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let found =
        metrics.iter().find(|entry| entry.get("metric").and_then(Value::as_str) == Some(metric.as_str()));
    if let Some(found) = found {
        let time = found.get("time").and_then(Value::as_str).unwrap_or_default();
        return Ok(Some(time.parse::<Timestamp>()?.millis()));
    }
    let known: Vec<&str> = metrics.iter().filter_map(|entry| entry.get("metric")?.as_str()).collect();
    anyhow::bail!("the device has no metric \"{metric}\"; it has: {}", known.join(", "))
}

/// A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_metric_is_told_with_the_known_ones() {
        let latest = json!({"metrics": [{"metric": "a", "time": "1970-01-01T00:00:01Z"}, {"metric": "b"}]});
        assert_eq!(newest(&latest, &Metric::new("a").unwrap()).unwrap(), Some(1000));
        let error = newest(&latest, &Metric::new("c").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "the device has no metric \"c\"; it has: a, b");
    }
}
