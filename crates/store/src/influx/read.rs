//! Points of series, by InfluxQL.

use std::collections::HashMap;

use fieldline_model::{DeviceId, Metric, Quality, Timestamp, Value};
use serde_json::Value as Json;

use super::http::Http;
use super::influxql::{Found, ask_one, literal, measurements};
use super::line::{TIME_MAX, TIME_MIN, kind};
use super::{catalog, name};
use crate::{Pager, Point, SeriesPage, SeriesQuery, StoreError};

/// Rows in one answer.
const ROWS_MAX: usize = 2_000;
/// Series in one statement.
const SERIES_MAX: usize = 20;
/// Names of series that are kept at a time.
const NAMES_MAX: usize = 4_096;
/// What a row has behind its time.
const FIELDS: &str = "\"place\"::integer, \"kind\"::integer, \"quality\"::integer, \"value\"::float, \
                      \"value_int\"::integer, \"value_bool\"::boolean, \"value_text\"::string, \
                      \"value_bits\"::integer";

/// A part of a series.
#[derive(Debug, Default)]
struct Part {
    points: Vec<Point>,
    /// Where to go on; `None` at the end.
    next: Option<i64>,
}

/// Reads a page; see [`crate::PointStore::series`].
pub(super) async fn series(http: &Http, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
    let mut pager = Pager::new(query)?;
    let mut mark = query.after.as_ref().map(|after| ((after.device.clone(), after.metric.clone()), false));
    loop {
        let after = mark.as_ref().map(|(pair, behind)| (pair, *behind));
        let names = catalog::series(http, &query.device, &query.metric, after, NAMES_MAX).await?;
        let pairs: Vec<(DeviceId, Metric)> = names.items.into_iter().collect();
        for group in pairs.chunk_by(|one, other| one.0 == other.0) {
            for group in group.chunks(SERIES_MAX) {
                if drain(http, query, &mut pager, group).await? {
                    return Ok(pager.finish());
                }
            }
        }
        mark = pairs.into_iter().next_back().filter(|_| names.cut).map(|last| (last, true));
        if mark.is_none() {
            return Ok(pager.finish());
        }
    }
}

/// Gives some series of one device to the pager; true when the page is full.
async fn drain(
    http: &Http,
    query: &SeriesQuery,
    pager: &mut Pager<'_>,
    group: &[(DeviceId, Metric)],
) -> Result<bool, StoreError> {
    let (from, to) = (query.from.nanos(), query.to.nanos());
    let mut ahead = match group {
        [(device, _), _, ..] => {
            let rows = (ROWS_MAX / group.len()).min(query.limit.saturating_add(1));
            parts(http, device, group.iter().map(|pair| &pair.1), (from, to), rows).await?
        }
        _ => HashMap::new(),
    };
    for (device, metric) in group {
        let Some(span) = pager.begin(device, metric) else { continue };
        let rows = span.points_max.unwrap_or(ROWS_MAX).min(ROWS_MAX);
        let first = (group.len() > 1 && span.from == from).then(|| ahead.remove(metric).unwrap_or_default());
        let mut part = match first {
            Some(part) => part,
            None => part(http, device, metric, (span.from, span.to), rows).await?,
        };
        loop {
            for point in part.points {
                if pager.push(point) {
                    return Ok(true);
                }
            }
            let Some(next) = part.next else { break };
            part = self::part(http, device, metric, (next, span.to), rows).await?;
        }
        if pager.end() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn part(
    http: &Http,
    device: &DeviceId,
    metric: &Metric,
    span: (i64, i64),
    rows: usize,
) -> Result<Part, StoreError> {
    Ok(parts(http, device, [metric], span, rows).await?.remove(metric).unwrap_or_default())
}

/// The first `rows` points of each series between two times, the second one not included.
async fn parts<'a>(
    http: &Http,
    device: &DeviceId,
    metrics: impl IntoIterator<Item = &'a Metric>,
    (from, to): (i64, i64),
    rows: usize,
) -> Result<HashMap<Metric, Part>, StoreError> {
    let (from, last) = (from.max(TIME_MIN), to.saturating_sub(1).min(TIME_MAX));
    if from > last {
        return Ok(HashMap::new());
    }
    let statement = format!(
        "SELECT {FIELDS} FROM {} WHERE \"device\"::tag = {} AND \"place\"::integer > -1 AND time >= {from} \
         AND time <= {last} GROUP BY * LIMIT {rows}",
        measurements(metrics.into_iter().map(Metric::as_str)),
        literal(device.as_str()),
    );
    let Found { tables, cut } = ask_one(http, statement).await?;
    let mut found = HashMap::new();
    for table in tables.iter().filter(|table| table.is_ours(device.as_str())) {
        let Some(metric) = name::metric(&table.name) else { continue };
        let end = table.values.last().and_then(|row| row.first()?.as_i64());
        let more = table.values.len() >= rows || cut;
        let next = end.filter(|_| more).map(|end| end.saturating_add(1)).filter(|next| *next <= last);
        let points = table.values.iter().filter_map(|row| point(row)).collect();
        found.insert(metric, Part { points, next });
    }
    Ok(found)
}

/// The newest point of each of some metrics of a device.
pub(super) async fn newest(
    http: &Http,
    device: &DeviceId,
    metrics: &[Metric],
) -> Result<Vec<(Metric, Point)>, StoreError> {
    let mut newest = Vec::new();
    for chunk in metrics.chunks(catalog::MEASUREMENTS_MAX) {
        let statement = format!(
            "SELECT {FIELDS} FROM {} WHERE \"device\"::tag = {} AND \"place\"::integer > -1 GROUP BY * \
             ORDER BY time DESC LIMIT 1",
            measurements(chunk.iter().map(Metric::as_str)),
            literal(device.as_str()),
        );
        let found = ask_one(http, statement).await?;
        for table in found.tables.iter().filter(|table| table.is_ours(device.as_str())) {
            let row = table.values.first().and_then(|row| point(row));
            newest.extend(name::metric(&table.name).zip(row));
        }
    }
    Ok(newest)
}

/// A row as a point; `None` if it is not one of ours.
fn point(row: &[Json]) -> Option<Point> {
    let [time, _place, kind, quality, float, integer, boolean, text, bits] = row else { return None };
    let value = match kind.as_i64()? {
        kind::FLOAT => Value::Float(float.as_f64()?),
        kind::INTEGER => Value::Integer(integer.as_i64()?),
        kind::BOOLEAN => Value::Boolean(boolean.as_bool()?),
        kind::TEXT => Value::Text(text.as_str()?.to_owned()),
        kind::BITS => Value::Float(f64::from_bits(bits.as_i64()?.cast_unsigned())),
        _ => return None,
    };
    let quality = Quality::from_code(u8::try_from(quality.as_i64()?).ok()?)?;
    Some(Point { time: Timestamp::from_nanos(time.as_i64()?), value, quality })
}
