//! The newest reading of every series up to some day, so that `latest` and `devices` need not read all
//! objects there ever were.
//!
//! A catalog is an object like the others with one row for each series. Its footer names the days that
//! it covers, each with a fingerprint of the names of its objects: a day whose objects are others by
//! now is read itself. Rows are only ever added, so what a catalog says is never newer than the truth.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::ParquetStore;
use super::bucket::{Object, Trouble};
use super::compact::cannot_write;
use super::decode::{Damage, Group};
use super::encode::{COVERED, Encoder};
use super::footer::{Filter, Opened};
use super::key;
use super::rows::{Row, Rows, Series};
use super::scan::ALWAYS;

/// So many of the newest days change all the time: they are read themselves, and not covered.
const DAYS_OPEN: usize = 2;

/// Where to look for the newest readings.
#[derive(Debug)]
pub(super) struct Sources {
    /// The catalog, if there is one that can be used.
    pub(super) catalog: Vec<Object>,
    /// The days that it does not cover, by name, and their objects.
    pub(super) days: BTreeMap<String, Vec<Object>>,
    /// The first day of which there is anything; of older ones a catalog may still know.
    pub(super) first_day: String,
    /// All days and their fingerprints.
    fingerprints: BTreeMap<String, String>,
}

impl Sources {
    /// Whether a row of the catalog still counts: its day may have expired since.
    pub(super) fn stands(&self, time: i64) -> bool {
        key::day_name(key::day_of(time)) >= self.first_day
    }
}

impl ParquetStore {
    pub(super) async fn sources(&self) -> Result<Sources, Trouble> {
        let mut days: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        for object in self.bucket.list(key::DAYS).await? {
            let day = object.key.strip_prefix(key::DAYS).and_then(|rest| rest.split('/').next());
            let Some(day) = day.map(str::to_owned) else { continue };
            days.entry(day).or_default().push(object);
        }
        let fingerprints: BTreeMap<String, String> =
            days.iter().map(|(day, objects)| (day.clone(), fingerprint(objects))).collect();
        let first_day = days.keys().next().cloned().unwrap_or_default();
        let mut sources = Sources { catalog: Vec::new(), days, first_day, fingerprints };
        let Some(object) = self.bucket.list(key::CATALOG).await?.pop() else { return Ok(sources) };
        if self.unusable.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(&*object.key) {
            return Ok(sources);
        }
        match Opened::open(&self.bucket, &object).await? {
            Ok(opened) => sources.cover(object, opened.note(COVERED)),
            Err(damage) => self.bucket.note_damage(&object, &damage),
        }
        Ok(sources)
    }

    /// Reads the catalog. Where it is damaged, whoever asks has to begin anew, and does without it.
    pub(super) async fn scan_catalog(
        &self,
        sources: &Sources,
        filter: &Filter,
        each: &mut (dyn FnMut(&Group<'_>) -> Result<(), Damage> + Send),
    ) -> Result<(), Trouble> {
        match self.bucket.scan(&sources.catalog, filter, each).await?.pop() {
            None => Ok(()),
            Some(damaged) => {
                *self.unusable.lock().unwrap_or_else(PoisonError::into_inner) = Some(damaged);
                Err(Trouble::Gone)
            }
        }
    }

    /// Writes a new catalog if the one that there is lacks anything but the newest days; whether it was
    /// written.
    pub(super) async fn catalogue(&self) -> Result<bool, Trouble> {
        let mut sources = self.sources().await?;
        let open: Vec<String> = sources.fingerprints.keys().rev().take(DAYS_OPEN).cloned().collect();
        for day in &open {
            sources.days.remove(day);
            sources.fingerprints.remove(day);
        }
        if sources.days.is_empty() {
            return Ok(false);
        }
        let rows = self.newest_of_all(&sources).await?;
        let mut encoder = Encoder::new().map_err(cannot_write)?;
        for (series, rows) in &rows {
            encoder.push(series, rows).map_err(cannot_write)?;
        }
        let covered = sources.fingerprints.iter().map(|(day, fingerprint)| format!("{day} {fingerprint}"));
        let covered: Vec<String> = covered.collect();
        encoder.note(COVERED, &covered);
        let before = self.bucket.list(key::CATALOG).await?;
        let newest = before.last().map(|object| object.key.as_str());
        let name = key::of_catalog(newest, &key::hash(covered.iter().map(String::as_str)));
        let written = self.bucket.put(&name, encoder.finish().map_err(cannot_write)?).await?;
        for old in before.iter().filter(|old| old.key < name) {
            self.bucket.delete(&old.key).await?;
        }
        Ok(written)
    }

    async fn newest_of_all(&self, sources: &Sources) -> Result<Rows, Trouble> {
        let everything = Filter { devices: None, metrics: None, times: ALWAYS };
        let mut newest: BTreeMap<Series, Row> = BTreeMap::new();
        let mut take = |series: &Series, rows: Vec<Row>| {
            let best = newest.remove(series).into_iter().chain(rows).max_by_key(Row::order);
            newest.extend(best.map(|row| (series.clone(), row)));
        };
        self.scan_catalog(sources, &everything, &mut |group| {
            group.rows(
                |_| true,
                &ALWAYS,
                |series, rows| {
                    take(series, rows.into_iter().filter(|row| sources.stands(row.time)).collect());
                },
            )
        })
        .await?;
        for objects in sources.days.values() {
            self.bucket
                .scan(objects, &everything, &mut |group| group.rows(|_| true, &ALWAYS, &mut take))
                .await?;
        }
        Ok(newest.into_iter().map(|(series, row)| (series, vec![row])).collect())
    }
}

impl Sources {
    /// Takes a catalog for the days that are as they were when it was made.
    fn cover(&mut self, catalog: Object, covered: Vec<&str>) {
        let covered: Vec<(&str, &str)> =
            covered.into_iter().filter_map(|line| line.split_once(' ')).collect();
        // Days expire from the oldest on. Where one is gone in between, somebody has deleted it, and with
        // it perhaps what the catalog took for the newest.
        let gone = |day: &str| day >= self.first_day.as_str() && !self.fingerprints.contains_key(day);
        if covered.iter().any(|(day, _)| gone(day)) {
            tracing::warn!(catalog = catalog.key, "the catalog covers a day that is gone; it is not used");
            return;
        }
        for (day, fingerprint) in covered {
            if self.fingerprints.get(day).is_some_and(|now| now == fingerprint) {
                self.days.remove(day);
            }
        }
        self.catalog = vec![catalog];
    }
}

fn fingerprint(objects: &[Object]) -> String {
    key::hash(objects.iter().map(|object| object.key.as_str()))
}
