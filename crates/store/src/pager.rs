use fieldline_model::{DeviceId, Metric, Timestamp};

use crate::aggregate::Summary;
use crate::{Aggregate, Buckets, Cursor, Point, Series, SeriesPage, SeriesQuery, StoreError};

/// The part of a series that a page wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The earliest time, included; nanoseconds.
    pub from: i64,
    /// The latest time, not included; nanoseconds.
    pub to: i64,
    /// With so many points in this span the page is full; `None` where points become buckets.
    pub points_max: Option<usize>,
}

/// Makes a page of an answer out of points that a store reads one after the other.
///
/// Bring the series in their order (by device and metric): [`Pager::begin`] says which part of a
/// series the page wants, [`Pager::push`] takes its points by ascending time, one for each time, and
/// [`Pager::end`] closes the series. As soon as one of them says that the page is full, stop.
#[derive(Debug)]
pub struct Pager<'a> {
    query: &'a SeriesQuery,
    page: SeriesPage,
    left: usize,
    open: Option<Open>,
    full: bool,
}

#[derive(Debug)]
struct Open {
    series: Series,
    bucket: Option<(i64, Summary)>,
}

impl<'a> Pager<'a> {
    /// An empty page.
    ///
    /// # Errors
    /// The query makes no sense.
    pub fn new(query: &'a SeriesQuery) -> Result<Self, StoreError> {
        query.check()?;
        Ok(Self { query, page: SeriesPage::default(), left: query.limit, open: None, full: false })
    }

    /// Opens a series; `None` when the page wants nothing of it.
    pub fn begin(&mut self, device: &DeviceId, metric: &Metric) -> Option<Span> {
        let query = self.query;
        if self.full || !query.device.matches(device.as_str()) || !query.metric.matches(metric.as_str()) {
            return None;
        }
        let mut from = query.from.nanos();
        if let Some(after) = &query.after {
            match (device, metric).cmp(&(&after.device, &after.metric)) {
                std::cmp::Ordering::Less => return None,
                std::cmp::Ordering::Equal => from = from.max(behind(query.buckets, after.time.nanos())?),
                std::cmp::Ordering::Greater => {}
            }
        }
        let to = query.to.nanos();
        if from >= to {
            return None;
        }
        let series = Series { device: device.clone(), metric: metric.clone(), points: Vec::new() };
        self.open = Some(Open { series, bucket: None });
        // One more tells whether there is a next page.
        let points_max = query.buckets.is_none().then_some(self.left + 1);
        Some(Span { from, to, points_max })
    }

    /// Takes the next point of the open series; true when the page is full.
    pub fn push(&mut self, point: Point) -> bool {
        let Some(open) = &mut self.open else { return self.full };
        let Some(buckets) = self.query.buckets else { return self.give(point) };
        let start = buckets.start(point.time.nanos());
        let ended = match &mut open.bucket {
            Some((held, summary)) if *held == start => {
                summary.push(&point.value, point.quality);
                return self.full;
            }
            bucket => bucket.take(),
        };
        let mut summary = Summary::default();
        summary.push(&point.value, point.quality);
        open.bucket = Some((start, summary));
        ended.is_some_and(|(start, summary)| self.close(start, &summary, buckets.aggregate))
    }

    /// Closes the open series; true when the page is full.
    pub fn end(&mut self) -> bool {
        if let (Some(buckets), Some(open)) = (self.query.buckets, &mut self.open)
            && let Some((start, summary)) = open.bucket.take()
        {
            self.close(start, &summary, buckets.aggregate);
        }
        if let Some(open) = self.open.take().filter(|open| !open.series.points.is_empty()) {
            self.page.series.push(open.series);
        }
        self.full
    }

    /// The page.
    pub fn finish(mut self) -> SeriesPage {
        self.end();
        if self.full {
            self.page.next = self.page.series.last().and_then(|series| {
                let time = series.points.last()?.time;
                Some(Cursor { device: series.device.clone(), metric: series.metric.clone(), time })
            });
        }
        self.page
    }

    fn close(&mut self, start: i64, summary: &Summary, aggregate: Aggregate) -> bool {
        match summary.value(aggregate) {
            Some(value) => {
                self.give(Point { time: Timestamp::from_nanos(start), value, quality: summary.worst })
            }
            None => self.full,
        }
    }

    /// Puts a point into the page, or notes that there is one for the next.
    fn give(&mut self, point: Point) -> bool {
        match (&mut self.open, self.left) {
            (Some(open), 1..) if !self.full => {
                open.series.points.push(point);
                self.left -= 1;
            }
            _ => self.full = true,
        }
        self.full
    }
}

/// The first time behind a point or a bucket that an earlier page ended with.
fn behind(buckets: Option<Buckets>, time: i64) -> Option<i64> {
    time.checked_add(buckets.map_or(1, |buckets| buckets.step_nanos))
}
