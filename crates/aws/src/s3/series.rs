//! Points of series.

use std::ops::Range;

use fieldline_model::{DeviceId, Metric};
use fieldline_store::{Pager, SeriesPage, SeriesQuery, Span};

use super::ParquetStore;
use super::bucket::{Object, Trouble};
use super::footer::Filter;
use super::rows::{Rows, Series};
use super::scan::{Counts, tasks};

impl ParquetStore {
    pub(super) async fn points(&self, query: &SeriesQuery) -> Result<SeriesPage, Trouble> {
        let mut page = Page { pager: Pager::new(query)?, open: None, full: false };
        let times = query.from.nanos()..query.to.nanos();
        if times.is_empty() {
            return Ok(page.pager.finish());
        }
        match (query.device.exact(), query.metric.exact()) {
            (Some(device), Some(metric)) => {
                if let (Ok(device), Ok(metric)) = (DeviceId::new(device), Metric::new(metric)) {
                    self.one(&mut page, (device, metric)).await?;
                }
            }
            _ => self.many(&mut page, query, &times).await?,
        }
        Ok(page.pager.finish())
    }

    /// One series, day by day until the page is full.
    async fn one(&self, page: &mut Page<'_>, series: Series) -> Result<(), Trouble> {
        let Some(span) = page.begin(&series) else { return Ok(()) };
        let (times, series) = (span.from..span.to, [series]);
        for day in self.days(&times).await? {
            let objects = self.objects(&day).await?;
            let (rows, _damaged) = self.bucket.collect(&objects, &series, &times).await?;
            if page.take(rows) {
                break;
            }
        }
        Ok(())
    }

    /// All series that match: first which there are, then their rows, as many as memory may hold.
    async fn many(
        &self,
        page: &mut Page<'_>,
        query: &SeriesQuery,
        times: &Range<i64>,
    ) -> Result<(), Trouble> {
        let mut days = Vec::new();
        for day in self.days(times).await? {
            days.push(self.objects(&day).await?);
        }
        let counts = self.counts(&days, query, times).await?;
        for task in tasks(counts, days.len()) {
            let objects = days.get(task.days).unwrap_or_default().concat();
            let (rows, _damaged) = self.bucket.collect(&objects, &task.series, times).await?;
            if page.take(rows) {
                break;
            }
        }
        Ok(())
    }

    /// The series that match and may have rows in the time.
    async fn counts(
        &self,
        days: &[Vec<Object>],
        query: &SeriesQuery,
        times: &Range<i64>,
    ) -> Result<Counts, Trouble> {
        let only = |name: Option<&str>| name.map(|name| name.to_owned()..=name.to_owned());
        let devices = only(query.device.exact());
        let filter = Filter { devices, metrics: only(query.metric.exact()), times: times.clone() };
        let after = query.after.as_ref().map(|after| (&after.device, &after.metric));
        let mut counts = Counts::new();
        for (day, objects) in days.iter().enumerate() {
            let wanted = |(device, metric): &Series| {
                query.device.matches(device.as_str())
                    && query.metric.matches(metric.as_str())
                    && after.is_none_or(|after| (device, metric) >= after)
            };
            self.bucket
                .scan(objects, &filter, &mut |group| {
                    for run in group.runs()?.into_iter().filter(|run| wanted(&run.series)) {
                        *counts.entry(run.series).or_default().entry(day).or_default() +=
                            run.rows.len() as u64;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(counts)
    }
}

/// The page, and the series that is open in it.
struct Page<'a> {
    pager: Pager<'a>,
    open: Option<(Series, Option<Span>)>,
    full: bool,
}

impl Page<'_> {
    /// Opens a series unless it is open; `None` when the page wants nothing of it.
    fn begin(&mut self, series: &Series) -> Option<Span> {
        if let Some((_, span)) = self.open.as_ref().filter(|(open, _)| open == series) {
            return *span;
        }
        self.full = self.full || self.pager.end();
        if self.full {
            return None;
        }
        let span = self.pager.begin(&series.0, &series.1);
        self.open = Some((series.clone(), span));
        span
    }

    /// Takes rows that come behind those before; true when the page is full.
    fn take(&mut self, rows: Rows) -> bool {
        for (series, rows) in rows {
            let Some(span) = self.begin(&series) else { continue };
            for row in rows {
                if (span.from..span.to).contains(&row.time) && self.pager.push(row.into()) {
                    return true;
                }
            }
        }
        self.full
    }
}
