//! Queries. Each takes what it needs of the heads under the lock, lets go of it, then reads chunks.

use std::ops::{Bound, ControlFlow};

use fieldline_model::{DeviceId, Quality, Timestamp, Value};
use rusqlite::Connection;

use super::pieces::{Piece, clusters, last_chunk, merge, of_head};
use super::registry::Name;
use super::shared::Shared;
use crate::aggregate::Summary;
use crate::points::Points;
use crate::{
    Buckets, Cursor, DeviceInfo, DevicePage, DeviceQuery, Latest, Point, Series, SeriesPage, SeriesQuery,
    StoreError,
};

/// Series whose heads are looked at under one lock.
const SERIES_AT_ONCE: usize = 1_024;

/// Answers a query for points or buckets.
pub(super) fn series(shared: &Shared, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
    let limit = query.limit.min(shared.config.page_points_max.max(1));
    shared.with_reader(|connection| {
        // One point more than fits says that there is another page.
        let mut page = Page { found: Vec::new(), left: limit + 1 };
        let mut start = match &query.after {
            Some(after) => Bound::Included((after.device.clone(), after.metric.clone())),
            None => first_name(query).map_or(Bound::Unbounded, Bound::Included),
        };
        while page.left > 0 {
            let (wanted, next) = snapshot(shared, query, &start);
            // One state of the chunks, and a later one than that of the heads.
            let _state = connection.unchecked_transaction()?;
            for wanted in wanted {
                read(connection, shared, query, wanted, &mut page)?;
                if page.left == 0 {
                    break;
                }
            }
            match next {
                Some(name) => start = Bound::Excluded(name),
                None => break,
            }
        }
        Ok(page.finish())
    })
}

/// The series at which the names begin that the query can match.
fn first_name(query: &SeriesQuery) -> Option<Name> {
    let device = DeviceId::new(query.device.exact()?).ok()?;
    let metric = query.metric.exact().and_then(|metric| metric.parse().ok());
    // The least metric name there is.
    Some((device, metric.or_else(|| " ".parse().ok())?))
}

/// A series to read and what the heads hold of it.
struct Wanted {
    name: Name,
    number: u32,
    span: (i64, i64),
    heads: Vec<Piece>,
}

/// The next series that match, and where to go on.
fn snapshot(shared: &Shared, query: &SeriesQuery, start: &Bound<Name>) -> (Vec<Wanted>, Option<Name>) {
    let live = shared.live();
    let mut wanted = Vec::new();
    let only = query.device.exact();
    for (name, number) in live.registry.series(start.as_ref()) {
        if only.is_some_and(|only| only != name.0.as_str()) {
            break;
        }
        if !query.device.matches(name.0.as_str()) || !query.metric.matches(name.1.as_str()) {
            continue;
        }
        let span = (from_of(query, name), query.to.nanos());
        let mut heads = Vec::new();
        for held in live.frozen.as_deref().into_iter().chain([&live.active]) {
            if let Some(head) = held.get(number) {
                of_head(head, span.0, span.1, &mut heads);
            }
        }
        wanted.push(Wanted { name: name.clone(), number, span, heads });
        if wanted.len() >= SERIES_AT_ONCE {
            return (wanted, Some(name.clone()));
        }
        if only.is_some() && query.metric.exact().is_some() {
            break;
        }
    }
    (wanted, None)
}

/// Where to begin in a series: behind the cursor, if it is the cursor's.
fn from_of(query: &SeriesQuery, name: &Name) -> i64 {
    let from = query.from.nanos();
    match &query.after {
        Some(after) if (&after.device, &after.metric) == (&name.0, &name.1) => {
            let step = query.buckets.map_or(1, |buckets| buckets.step_nanos);
            from.max(after.time.nanos().saturating_add(step))
        }
        _ => from,
    }
}

fn read(
    connection: &Connection,
    shared: &Shared,
    query: &SeriesQuery,
    wanted: Wanted,
    page: &mut Page,
) -> Result<(), StoreError> {
    let Wanted { name, number, span, heads } = wanted;
    if span.0 >= span.1 {
        return Ok(());
    }
    let mut out = Sink::new(query.buckets, span, page.left);
    let flow = clusters(connection, number, span, heads, &mut |pieces| {
        if let ([piece], Some(buckets)) = (pieces, query.buckets)
            && let Some(summary) = piece.summary().filter(|summary| summary.tells(buckets.aggregate))
            && out.take_whole(piece.span(), summary)
        {
            return Ok(out.flow());
        }
        out.take(&*merge(pieces, connection, shared)?);
        Ok(out.flow())
    })?;
    if flow.is_continue() {
        out.finish();
    }
    page.add(name, out.points);
    Ok(())
}

/// Points and buckets of one series, in order of time.
struct Sink {
    buckets: Option<Buckets>,
    span: (i64, i64),
    limit: usize,
    points: Vec<Point>,
    bucket: Option<(i64, Summary)>,
}

impl Sink {
    fn new(buckets: Option<Buckets>, span: (i64, i64), limit: usize) -> Self {
        Self { buckets, span, limit, points: Vec::new(), bucket: None }
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.points.len() < self.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Takes a summary, if all of its points lie in one bucket and in the span.
    fn take_whole(&mut self, (first, last): (i64, i64), summary: Summary) -> bool {
        let Some(buckets) = self.buckets else { return false };
        let start = buckets.start(first);
        let whole = start == buckets.start(last) && self.span.0 <= first && last < self.span.1;
        if whole {
            self.add(start, summary);
        }
        whole
    }

    fn add(&mut self, start: i64, summary: Summary) {
        match &mut self.bucket {
            Some((held, sum)) if *held == start => sum.add(summary),
            _ => {
                self.finish();
                self.bucket = Some((start, summary));
            }
        }
    }

    /// Ends the current bucket.
    fn finish(&mut self) {
        let Some(((start, summary), buckets)) = self.bucket.take().zip(self.buckets) else { return };
        if let Some(value) = summary.value(buckets.aggregate) {
            self.points.push(Point { time: Timestamp::from_nanos(start), value, quality: summary.worst });
        }
    }

    fn take(&mut self, points: &Points) {
        let mut positions = points.positions(self.span.0, self.span.1);
        let Some(buckets) = self.buckets else {
            positions.end = positions.end.min(positions.start + self.limit.saturating_sub(self.points.len()));
            self.points.extend(positions.filter_map(|at| point(points, at)));
            return;
        };
        while self.points.len() < self.limit
            && let Some(time) = points.times.get(positions.start).filter(|_| !positions.is_empty())
        {
            let start = buckets.start(*time);
            let end = match start.checked_add(buckets.step_nanos) {
                Some(next) => points.positions(start, next).end.min(positions.end),
                None => positions.end,
            };
            self.add(start, Summary::of(points, positions.start..end));
            positions.start = end;
        }
    }
}

fn point(points: &Points, at: usize) -> Option<Point> {
    let time = Timestamp::from_nanos(*points.times.get(at)?);
    Some(Point { time, value: points.values.get(at)?, quality: points.quality(at) })
}

/// What has been found, one point more than is wanted.
struct Page {
    found: Vec<Series>,
    left: usize,
}

impl Page {
    fn add(&mut self, (device, metric): Name, mut points: Vec<Point>) {
        points.truncate(self.left);
        self.left -= points.len();
        if !points.is_empty() {
            self.found.push(Series { device, metric, points });
        }
    }

    fn finish(mut self) -> SeriesPage {
        if self.left > 0 {
            return SeriesPage { series: self.found, next: None };
        }
        if let Some(last) = self.found.last_mut() {
            last.points.pop();
        }
        self.found.retain(|series| !series.points.is_empty());
        let next = self.found.last().and_then(|series| {
            let time = series.points.last()?.time;
            Some(Cursor { device: series.device.clone(), metric: series.metric.clone(), time })
        });
        SeriesPage { series: self.found, next }
    }
}

/// The newest reading of each metric of a device.
pub(super) fn latest(shared: &Shared, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
    let metrics: Vec<_> = {
        let live = shared.live();
        let heads = |number| {
            let mut pieces = Vec::new();
            for held in live.frozen.as_deref().into_iter().chain([&live.active]) {
                held.get(number).into_iter().for_each(|head| of_head(head, i64::MIN, i64::MAX, &mut pieces));
            }
            pieces
        };
        let metrics = live.registry.metrics(device).into_iter();
        metrics.map(|(metric, number)| (metric, number, heads(number))).collect()
    };
    shared.with_reader(|connection| {
        let _state = connection.unchecked_transaction()?;
        let mut newest = Vec::new();
        for (metric, number, mut pieces) in metrics {
            pieces.extend(last_chunk(connection, number)?.map(Piece::Chunk));
            let point = newest_of(pieces, connection, shared)?;
            newest.extend(point.map(|point| Latest { metric, point }));
        }
        Ok(newest)
    })
}

fn newest_of(
    mut pieces: Vec<Piece>,
    connection: &Connection,
    shared: &Shared,
) -> Result<Option<Point>, StoreError> {
    let Some(last) = pieces.iter().map(|piece| piece.span().1).max() else { return Ok(None) };
    pieces.retain(|piece| piece.span().1 == last);
    if let [piece] = pieces.as_slice()
        && let Some(summary) = piece.summary().filter(|summary| summary.worst == Quality::Good)
        && let Some((_, value)) = summary.ends
    {
        let value: Value = value;
        return Ok(Some(Point { time: Timestamp::from_nanos(last), value, quality: Quality::Good }));
    }
    let points = merge(&pieces, connection, shared)?;
    Ok(points.len().checked_sub(1).and_then(|at| point(&points, at)))
}

/// A page of devices.
pub(super) fn devices(shared: &Shared, query: &DeviceQuery) -> DevicePage {
    let live = shared.live();
    let limit = query.limit.clamp(1, shared.config.page_points_max.max(1));
    let mut found = live
        .registry
        .devices(query.after.as_ref())
        .filter(|(device, ..)| query.device.matches(device.as_str()))
        .map(|(device, series, last)| DeviceInfo {
            device: device.clone(),
            series: series as u64,
            last: last.map(Timestamp::from_nanos),
        });
    let devices: Vec<DeviceInfo> = found.by_ref().take(limit).collect();
    let next = found.next().and(devices.last().map(|info| info.device.clone()));
    DevicePage { devices, next }
}
