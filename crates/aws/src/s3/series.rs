//! Points of series.

use std::ops::RangeInclusive;

use fieldline_model::{DeviceId, Metric};
use fieldline_store::{Pager, SeriesPage, SeriesQuery, Span};

use super::ParquetStore;
use super::bucket::Trouble;
use super::footer::Filter;
use super::rows::{Rows, Series};
use super::scan::tasks;

impl ParquetStore {
    pub(super) async fn points(&self, query: &SeriesQuery) -> Result<SeriesPage, Trouble> {
        let mut page = Page { pager: Pager::new(query)?, open: None, full: false };
        if query.from >= query.to {
            return Ok(page.pager.finish());
        }
        let times = query.from.nanos()..=query.to.nanos() - 1;
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
        let (times, series) = (span.from..=span.to - 1, [series]);
        for day in self.days(&times).await? {
            let objects = self.objects(&day).await?;
            let collected = self.bucket.collect(&objects, &series, &times).await?;
            if page.take(collected.rows) {
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
        times: &RangeInclusive<i64>,
    ) -> Result<(), Trouble> {
        let mut days = Vec::new();
        for day in self.days(times).await? {
            days.push(self.objects(&day).await?);
        }
        let only = |name: Option<&str>| name.map(|name| name.to_owned()..=name.to_owned());
        let (devices, metrics) = (only(query.device.exact()), only(query.metric.exact()));
        let filter = Filter { devices, metrics, times: times.clone() };
        let after = query.after.as_ref().map(|after| (&after.device, &after.metric));
        let wanted = |(device, metric): &Series| {
            query.device.matches(device.as_str())
                && query.metric.matches(metric.as_str())
                && after.is_none_or(|after| (device, metric) >= after)
        };
        let (counts, _damaged) = self.bucket.counts(&days, &filter, wanted).await?;
        for task in tasks(counts, days.len()) {
            let objects = days.get(task.days).unwrap_or_default().concat();
            let collected = self.bucket.collect(&objects, &task.series, times).await?;
            if page.take(collected.rows) {
                break;
            }
        }
        Ok(())
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
