//! Merging small objects.
//!
//! Safe at every step: the merged object is there before any of its inputs is deleted, and its footer
//! names them, so that the next run deletes what a run that died has left. In between readings are there
//! twice with the same place, which reading does not see. Rows that lost against a greater place are let
//! go of; they could never stand again.

use std::collections::{BTreeMap, BTreeSet};

use fieldline_store::StoreError;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::bucket::{Bucket, Object, Trouble};
use super::encode::{Encoder, INPUTS};
use super::footer::{Filter, Opened};
use super::scan::{ALWAYS, tasks};
use super::{ATTEMPTS_MAX, CALLS_MAX, ParquetStore, SERVICE, key};

/// What is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactConfig {
    /// Up to so many small objects of one day and gateway are left alone.
    pub objects_kept: usize,
    /// An object of so many bytes is not small.
    pub small_bytes: u64,
    /// The bytes of objects that are merged at once; about four times as much memory is used.
    pub inputs_bytes_max: u64,
    /// How many objects are merged at once.
    pub inputs_max: usize,
}

impl Default for CompactConfig {
    fn default() -> Self {
        Self { objects_kept: 8, small_bytes: 16 << 20, inputs_bytes_max: 32 << 20, inputs_max: 1_000 }
    }
}

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Days and gateways that were looked at.
    pub folders: u64,
    /// Of them those that could not be finished; the next run goes on there.
    pub failed: u64,
    /// Merged objects that were written.
    pub written: u64,
    /// Objects that were deleted since a merged one holds their readings.
    pub deleted: u64,
    /// Readings in the merged objects.
    pub readings: u64,
    /// Whether a new catalog was written.
    pub catalog: bool,
    /// Objects that were left as they are because they are damaged.
    pub damaged: u64,
}

impl ParquetStore {
    /// Merges the small objects of one day (`2026-11-22`) or of all, the newest first, gateway by gateway;
    /// after all of them the catalog is brought up to date. It may be cut off at any moment and run beside itself: questions are answered the same before, after and in
    /// between. What fails in one folder is logged and counted, and the others are done.
    ///
    /// # Errors
    /// [`StoreError::Query`] if `day` is none; the bucket cannot be listed; the
    /// catalog cannot be written.
    pub async fn compact(&self, day: Option<&str>, config: &CompactConfig) -> Result<Compacted, StoreError> {
        let days = match day {
            Some(day) if key::is_day(day) => vec![day.to_owned()],
            Some(_) => return Err(StoreError::Query { what: "the day is none, such as 2026-11-22" }),
            None => self.days(&ALWAYS).await.map_err(Trouble::into_error)?,
        };
        let mut total = Compacted::default();
        // Where time runs out, it does so among days that earlier runs have merged.
        for day in days.into_iter().rev() {
            let mut folders: BTreeMap<String, Vec<Object>> = BTreeMap::new();
            for object in self.objects(&day).await.map_err(Trouble::into_error)? {
                folders.entry(format!("{}/", key::split(&object.key).0)).or_default().push(object);
            }
            for (folder, objects) in folders {
                total.folders += 1;
                if !is_worth_a_look(&objects, config) {
                    continue;
                }
                // Boxed, or the future's type nests deeper than the compiler follows.
                if let Err(error) = self.bucket.compact_folder(&folder, config, &mut total).boxed().await {
                    total.failed += 1;
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(folder, error, "a folder could not be compacted");
                }
            }
        }
        if day.is_none() && total.failed == 0 {
            total.catalog = self.steadily(|| self.catalogue().boxed()).await?;
        }
        Ok(total)
    }
}

/// Whether there is something to merge, or something that a run may have left. What is not, costs nothing
/// but its line in the day's listing.
fn is_worth_a_look(objects: &[Object], config: &CompactConfig) -> bool {
    let ours = objects.iter().filter(|object| key::level(&object.key).is_some());
    let small = ours.clone().filter(|object| object.size < config.small_bytes).count();
    let merged = ours.clone().any(|object| key::level(&object.key) > Some(0));
    small > config.objects_kept || (merged && ours.count() > 1)
}

impl Bucket {
    async fn compact_folder(
        &self,
        folder: &str,
        config: &CompactConfig,
        total: &mut Compacted,
    ) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.compact_once(folder, config, total).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Gone) => tracing::info!(folder, "another compaction is at work; once more"),
                Err(Trouble::Store(error)) => return Err(error),
            }
        }
        let source = "other compactions are at work all the time".into();
        Err(StoreError::Unavailable { service: SERVICE, source })
    }

    async fn compact_once(
        &self,
        folder: &str,
        config: &CompactConfig,
        total: &mut Compacted,
    ) -> Result<(), Trouble> {
        let mut objects = self.list(folder).await?;
        objects.retain(|object| key::level(&object.key).is_some());
        let left = self.left_over(&objects).await?;
        self.delete_all(&left, total).await?;
        objects.retain(|object| !left.contains(&object.key) && object.size < config.small_bytes);
        if objects.len() <= config.objects_kept {
            return Ok(());
        }
        for batch in batches(objects, config) {
            self.merge(batch, total).await?;
        }
        Ok(())
    }

    /// What a run that died has left: objects whose readings are in a merged one.
    async fn left_over(&self, objects: &[Object]) -> Result<Vec<String>, Trouble> {
        let present: BTreeMap<&str, &Object> =
            objects.iter().map(|object| (key::split(&object.key).1, object)).collect();
        let mut left = BTreeSet::new();
        for object in objects.iter().filter(|object| key::level(&object.key) > Some(0)) {
            if objects.len() == 1 {
                break;
            }
            // What is damaged holds nothing in anyone's place.
            let Ok(opened) = Opened::open(self, object).await? else { continue };
            let inputs = opened.note(INPUTS).into_iter().filter_map(|name| present.get(name));
            left.extend(inputs.map(|input| input.key.clone()));
        }
        Ok(left.into_iter().collect())
    }

    /// Merges objects of one folder into one, unless too few of them are sound.
    async fn merge(&self, mut inputs: Vec<Object>, total: &mut Compacted) -> Result<(), Trouble> {
        while inputs.len() > 1 {
            match self.merged(&inputs).await? {
                Merged::Damaged(keys) => {
                    total.damaged += keys.len() as u64;
                    inputs.retain(|input| !keys.contains(&input.key));
                }
                Merged::Sound { bytes, readings } => {
                    let keys: Vec<&str> = inputs.iter().map(|input| input.key.as_str()).collect();
                    let Some(name) = key::of_merged(&keys) else { return Ok(()) };
                    // One of this name is there if a run has died here: it has the same inputs.
                    total.written += u64::from(self.put(&name, bytes).await?);
                    total.readings += readings;
                    let keys: Vec<String> = inputs.into_iter().map(|input| input.key).collect();
                    return self.delete_all(&keys, total).await;
                }
            }
        }
        Ok(())
    }

    async fn merged(&self, inputs: &[Object]) -> Result<Merged, Trouble> {
        let everything = Filter { devices: None, metrics: None, times: ALWAYS };
        let (counts, damaged) = self.counts(&[inputs.to_vec()], &everything, |_| true).await?;
        if !damaged.is_empty() {
            return Ok(Merged::Damaged(damaged));
        }
        let expected: u64 = counts.values().flat_map(BTreeMap::values).sum();
        let (mut read, mut readings) = (0, 0);
        let mut encoder = Encoder::new().map_err(cannot_write)?;
        for task in tasks(counts, 1) {
            let collected = self.collect(inputs, &task.series, &ALWAYS).await?;
            if !collected.damaged.is_empty() {
                return Ok(Merged::Damaged(collected.damaged));
            }
            read += collected.read;
            for (series, rows) in &collected.rows {
                readings += rows.len() as u64;
                encoder.push(series, rows).map_err(cannot_write)?;
            }
        }
        if read != expected {
            return Err(cannot_write(format!("{read} rows were read of {expected}; nothing is deleted")));
        }
        let names: Vec<&str> = inputs.iter().map(|input| key::split(&input.key).1).collect();
        encoder.note(INPUTS, &names);
        Ok(Merged::Sound { bytes: encoder.finish().map_err(cannot_write)?, readings })
    }

    async fn delete_all(&self, keys: &[String], total: &mut Compacted) -> Result<(), Trouble> {
        for some in keys.chunks(CALLS_MAX) {
            let deletions: Vec<_> = some.iter().map(|key| self.delete(key)).collect();
            for deleted in join_all(deletions).await {
                deleted?;
                total.deleted += 1;
            }
        }
        Ok(())
    }
}

enum Merged {
    Sound {
        bytes: Vec<u8>,
        readings: u64,
    },
    /// These cannot be read in full, and have to stay.
    Damaged(Vec<String>),
}

pub(super) fn cannot_write(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Trouble {
    Trouble::Store(StoreError::Rejected { service: SERVICE, source: source.into() })
}

/// Neighbours in the order of names, as many as may be merged at once.
fn batches(objects: Vec<Object>, config: &CompactConfig) -> Vec<Vec<Object>> {
    let mut batches: Vec<Vec<Object>> = Vec::new();
    let mut bytes = 0;
    for object in objects {
        match batches.last_mut() {
            Some(batch)
                if batch.len() < config.inputs_max && bytes + object.size <= config.inputs_bytes_max =>
            {
                bytes += object.size;
                batch.push(object);
            }
            _ => {
                bytes = object.size;
                batches.push(vec![object]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_to_both_bounds() {
        let object = |size| Object { key: String::new(), size };
        let config = CompactConfig { inputs_bytes_max: 10, inputs_max: 3, ..CompactConfig::default() };
        let sizes = [1, 1, 1, 1, 9, 10, 11, 1];
        let batches = batches(sizes.map(object).to_vec(), &config);
        let found: Vec<Vec<u64>> =
            batches.iter().map(|batch| batch.iter().map(|object| object.size).collect()).collect();
        assert_eq!(found, [vec![1, 1, 1], vec![1, 9], vec![10], vec![11], vec![1]]);
    }
}
