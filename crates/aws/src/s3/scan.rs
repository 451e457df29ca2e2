//! Reading through objects, and planning how much of them at once.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use futures_util::future::join_all;

use super::bucket::{Bucket, Object, Trouble};
use super::decode::{Damage, Group};
use super::footer::{Filter, Opened};
use super::rows::{Rows, Series, settle};
use super::{CALLS_MAX, ParquetStore};

/// How many rows are held at once, unless one series has more of one day.
pub(super) const ROWS_MAX: u64 = 256 << 10;

/// All times.
pub(super) const ALWAYS: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// How many rows of each series lie in which day, at most: rows of other times of the day count too.
pub(super) type Counts = BTreeMap<Series, BTreeMap<usize, u64>>;

/// A part of a reading: these series in these days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// By name; never empty. More than one only where the days are all that there are.
    pub(super) series: Vec<Series>,
    pub(super) days: Range<usize>,
}

/// Cuts a reading into tasks of few enough rows; by series, and of each series by day.
pub(super) fn tasks(counts: Counts, days: usize) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut batch = (Vec::new(), 0);
    for (series, by_day) in counts {
        let total: u64 = by_day.values().sum();
        if batch.1 + total > ROWS_MAX && !batch.0.is_empty() {
            tasks.push(Task { series: std::mem::take(&mut batch.0), days: 0..days });
            batch.1 = 0;
        }
        if total <= ROWS_MAX {
            batch.0.push(series);
            batch.1 += total;
            continue;
        }
        let (mut start, mut rows) = (0, 0);
        for (day, count) in by_day {
            if rows + count > ROWS_MAX && day > start {
                tasks.push(Task { series: vec![series.clone()], days: start..day });
                (start, rows) = (day, 0);
            }
            rows += count;
        }
        tasks.push(Task { series: vec![series], days: start..days });
    }
    if !batch.0.is_empty() {
        tasks.push(Task { series: batch.0, days: 0..days });
    }
    tasks
}

impl Filter {
    /// Everything of these series (by name, at least one) in a time.
    pub(super) fn of(series: &[Series], times: &RangeInclusive<i64>) -> Self {
        let ends = series.first().zip(series.last());
        let devices = ends.map(|(first, last)| first.0.to_string()..=last.0.to_string());
        let metrics = ends.filter(|(first, last)| first.0 == last.0);
        let metrics = metrics.map(|(first, last)| first.1.to_string()..=last.1.to_string());
        Self { devices, metrics, times: times.clone() }
    }
}

impl Bucket {
    /// Hands over the row groups that may hold what is asked for, object by object; at most [`CALLS_MAX`]
    /// small objects, or one row group of a great one, are in memory. What is damaged is noted and
    /// passed over, and named in the answer.
    pub(super) async fn scan(
        &self,
        objects: &[Object],
        filter: &Filter,
        each: &mut (dyn FnMut(&Group<'_>) -> Result<(), Damage> + Send),
    ) -> Result<Vec<String>, Trouble> {
        let mut damaged = Vec::new();
        for some in objects.chunks(CALLS_MAX) {
            let opening: Vec<_> = some.iter().map(|object| Opened::open(self, object)).collect();
            for (object, opened) in some.iter().zip(join_all(opening).await) {
                let read = match opened? {
                    Ok(opened) => self.read(object, &opened, filter, each).await?,
                    Err(damage) => Err(damage),
                };
                if let Err(damage) = read {
                    self.note_damage(object, &damage);
                    damaged.push(object.key.clone());
                }
            }
        }
        Ok(damaged)
    }

    /// One row group after the other; the last damage of them, if there is any.
    async fn read(
        &self,
        object: &Object,
        opened: &Opened,
        filter: &Filter,
        each: &mut (dyn FnMut(&Group<'_>) -> Result<(), Damage> + Send),
    ) -> Result<Result<(), Damage>, Trouble> {
        let mut outcome = Ok(());
        for metadata in opened.groups(filter) {
            let read = match opened.part(self, object, metadata).await? {
                Ok(part) => each(&Group { metadata, part }),
                Err(damage) => Err(damage),
            };
            if read.is_err() {
                outcome = read;
            }
        }
        Ok(outcome)
    }

    /// The series that are wanted and may have rows in the filter's time; and what is damaged.
    pub(super) async fn counts(
        &self,
        days: &[Vec<Object>],
        filter: &Filter,
        wanted: impl Fn(&Series) -> bool + Send + Sync,
    ) -> Result<(Counts, Vec<String>), Trouble> {
        let (mut counts, mut damaged) = (Counts::new(), Vec::new());
        for (day, objects) in days.iter().enumerate() {
            let passed_over = self
                .scan(objects, filter, &mut |group| {
                    for run in group.runs()?.into_iter().filter(|run| wanted(&run.series)) {
                        let by_day = counts.entry(run.series).or_default();
                        *by_day.entry(day).or_default() += run.rows.len() as u64;
                    }
                    Ok(())
                })
                .await?;
            damaged.extend(passed_over);
        }
        Ok((counts, damaged))
    }

    /// The rows of these series, which are sorted, in a time.
    pub(super) async fn collect(
        &self,
        objects: &[Object],
        series: &[Series],
        times: &RangeInclusive<i64>,
    ) -> Result<Collected, Trouble> {
        let mut collected = Collected::default();
        let (rows, read) = (&mut collected.rows, &mut collected.read);
        let wanted = |name: &Series| series.binary_search(name).is_ok();
        let damaged = self
            .scan(objects, &Filter::of(series, times), &mut |group| {
                // A group counts whole or not at all.
                let mut found = Vec::new();
                group.rows(wanted, times, |series, rows| found.push((series.clone(), rows)))?;
                for (series, more) in found {
                    *read += more.len() as u64;
                    rows.entry(series).or_default().extend(more);
                }
                Ok(())
            })
            .await?;
        collected.rows.values_mut().for_each(settle);
        Ok(Collected { damaged, ..collected })
    }
}

/// What was read of some series.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Settled.
    pub(super) rows: Rows,
    /// How many rows there were before they were settled.
    pub(super) read: u64,
    /// The names of objects that were passed over, whole or in part.
    pub(super) damaged: Vec<String>,
}

impl ParquetStore {
    /// The days that a time touches, as far as there are any, in their order.
    pub(super) async fn days(&self, times: &RangeInclusive<i64>) -> Result<Vec<String>, Trouble> {
        use super::key::{day_name, day_of};
        let (first, last) = (day_of(*times.start()), day_of(*times.end()));
        if last - first <= 1 {
            return Ok((first..=last).map(day_name).collect());
        }
        Ok(self.bucket.days(&day_name(first), &day_name(last)).await?)
    }

    /// The objects of a day.
    pub(super) async fn objects(&self, day: &str) -> Result<Vec<Object>, Trouble> {
        Ok(self.bucket.list(&super::key::day_prefix(day)).await?)
    }
}

#[cfg(test)]
mod tests {
    use fieldline_model::{DeviceId, Metric};

    use super::*;

    fn series(name: &str) -> Series {
        (DeviceId::new(name).unwrap(), Metric::new("m").unwrap())
    }

    #[test]
    fn few_series_go_together_and_a_long_one_goes_day_by_day() {
        let counts = Counts::from([
            (series("a"), BTreeMap::from([(0, 10), (2, 10)])),
            (series("b"), BTreeMap::from([(1, 10)])),
            (series("c"), BTreeMap::from([(0, ROWS_MAX), (1, 1), (2, ROWS_MAX + 1)])),
            (series("d"), BTreeMap::from([(0, 1)])),
        ]);
        let task = |names: &[&str], days| Task { series: names.iter().copied().map(series).collect(), days };
        let expected = [
            task(&["a", "b"], 0..3),
            task(&["c"], 0..1),
            task(&["c"], 1..2),
            task(&["c"], 2..3),
            task(&["d"], 0..3),
        ];
        assert_eq!(tasks(counts, 3), expected);
    }
}
