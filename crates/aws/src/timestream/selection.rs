//! Which columns a statement asks for, and the readings in a row of its answer.

use fieldline_model::{Metric, Quality, Value};

use super::cell;
use super::column::{self, Kind, METRIC, PLACE, QUALITY, READING};
use super::read::{Cells, Schema};
use super::sql::{identifier, literal};

/// Columns of some metrics, in wide records and in narrow ones.
#[derive(Debug)]
pub(super) struct Selection {
    metrics: Vec<Chosen>,
    narrow: Vec<Kind>,
    quality: bool,
}

#[derive(Debug)]
struct Chosen {
    metric: Metric,
    base: String,
    kinds: Vec<Kind>,
}

/// A reading in a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// Index among the metrics of the selection.
    pub(super) metric: usize,
    pub(super) time: i64,
    pub(super) place: i64,
    pub(super) value: Value,
    pub(super) quality: Quality,
}

impl Selection {
    /// The columns that these metrics have in the table.
    pub(super) fn new(schema: &Schema, metrics: impl IntoIterator<Item = Metric>) -> Self {
        let chosen = |metric: Metric| Chosen {
            kinds: schema.wide.get(&metric).cloned().unwrap_or_default(),
            base: column::base(metric.as_str()).unwrap_or_default(),
            metric,
        };
        let narrow = if schema.has_narrow() { schema.narrow.clone() } else { Vec::new() };
        Self { metrics: metrics.into_iter().map(chosen).collect(), narrow, quality: schema.quality }
    }

    /// The metrics, in the order in which they were chosen.
    pub(super) fn metric(&self, index: usize) -> Option<&Metric> {
        self.metrics.get(index).map(|chosen| &chosen.metric)
    }

    /// What stands behind `SELECT`.
    pub(super) fn items(&self) -> String {
        let mut items = vec!["to_nanoseconds(time)".to_owned(), identifier(PLACE)];
        if self.quality {
            items.push(identifier(QUALITY));
        }
        for chosen in &self.metrics {
            items.extend(chosen.columns());
        }
        if !self.narrow.is_empty() {
            items.push(identifier(METRIC));
            items.extend(self.narrow.iter().map(|kind| identifier(&format!("{READING}{}", kind.suffix()))));
        }
        items.join(", ")
    }

    /// Rows that have any of it. `None` if no row can.
    pub(super) fn condition(&self) -> Option<String> {
        let mut any = Vec::new();
        for chosen in &self.metrics {
            any.extend(chosen.columns().map(|column| format!("{column} IS NOT NULL")));
            if !self.narrow.is_empty() {
                any.push(format!("{} = {}", identifier(METRIC), literal(chosen.metric.as_str())));
            }
        }
        (!any.is_empty()).then(|| format!("({})", any.join(" OR ")))
    }

    /// The readings in a row; what nobody here has written is left out.
    pub(super) fn read(&self, row: &Cells<'_>) -> Vec<Found> {
        self.try_read(row).unwrap_or_default()
    }

    fn try_read(&self, row: &Cells<'_>) -> Option<Vec<Found>> {
        let mut row = row.iter();
        let time = (*row.next()?)?.parse().ok()?;
        let place = (*row.next()?)?.parse().ok()?;
        let qualities = if self.quality { *row.next()? } else { None };
        let mut found = Vec::new();
        for (metric, chosen) in self.metrics.iter().enumerate() {
            for kind in &chosen.kinds {
                let Some(value) = row.next()?.and_then(|text| cell::decode(*kind, text)) else { continue };
                let quality = cell::quality_of(qualities, &chosen.base);
                found.push(Found { metric, time, place, value, quality });
            }
        }
        if self.narrow.is_empty() {
            return Some(found);
        }
        let name = *row.next()?;
        let metric = self.metrics.iter().position(|chosen| Some(chosen.metric.as_str()) == name);
        for kind in &self.narrow {
            let value = row.next()?.and_then(|text| cell::decode(*kind, text));
            if let (Some(metric), Some(value)) = (metric, value) {
                let quality = cell::quality_of(qualities, READING);
                found.push(Found { metric, time, place, value, quality });
            }
        }
        Some(found)
    }
}

impl Chosen {
    fn columns(&self) -> impl Iterator<Item = String> + '_ {
        self.kinds.iter().map(|kind| identifier(&format!("{}{}", self.base, kind.suffix())))
    }
}
